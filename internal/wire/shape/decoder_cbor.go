package shape

import (
	"encoding/binary"
	"math"
)

// CBOR is RFC 8949's, read for what the AWS SDKs write: maps have text keys; tags are passed over,
// so the tag 1 of a timestamp is not needed; undefined is null; simple values without a meaning
// make a document unparsable, as does text that is not UTF-8.
//
//	byte  = major<<5 | info
//	info  < 24: the argument itself   24..27: in the next 1, 2, 4, 8 bytes   31: indefinite length
const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorList
	majorMap
	majorTag
	majorSimple
)

const (
	cborFalse  = 0xf4
	cborTrue   = 0xf5
	cborNull   = 0xf6
	cborUndef  = 0xf7
	cborHalf   = 0xf9
	cborSingle = 0xfa
	cborDouble = 0xfb
	cborBreak  = 0xff

	infoIndefinite = 31
)

func (d *Decoder) peekCBOR() kind {
	for d.pos < len(d.buf) {
		c := d.buf[d.pos]
		switch c >> 5 {
		case majorUint, majorNegative:
			return kindNumber
		case majorBytes:
			return kindBytes
		case majorText:
			return kindString
		case majorList:
			return kindList
		case majorMap:
			return kindMap
		case majorTag:
			if _, definite := d.head(); !definite {
				d.fail("tag of indefinite length")
				return kindInvalid
			}
			continue
		}
		return d.peekSimple(c)
	}
	d.fail("no value where one is expected")
	return kindInvalid
}

func (d *Decoder) peekSimple(c byte) kind {
	switch c {
	case cborFalse, cborTrue:
		return kindBool
	case cborNull, cborUndef:
		return kindNull
	case cborHalf, cborSingle, cborDouble:
		return kindNumber
	}
	d.fail("simple value or break where a value is expected")
	return kindInvalid
}

// head reads an initial byte and its argument. definite is false for indefinite lengths and after a
// syntax error.
func (d *Decoder) head() (arg uint64, definite bool) {
	info := d.buf[d.pos] & 31
	if info < 24 {
		d.pos++
		return uint64(info), true
	}
	if info == infoIndefinite {
		d.pos++
		return 0, false
	}
	if info > 27 {
		d.fail("reserved argument")
		return 0, false
	}
	rest := d.buf[d.pos+1:]
	size := 1 << (info - 24)
	if len(rest) < size {
		d.fail("argument beyond the end of the document")
		return 0, false
	}
	switch size {
	case 1:
		arg = uint64(rest[0])
	case 2:
		arg = uint64(binary.BigEndian.Uint16(rest))
	case 4:
		arg = uint64(binary.BigEndian.Uint32(rest))
	case 8:
		arg = binary.BigEndian.Uint64(rest)
	}
	d.pos += 1 + size
	return arg, true
}

// openCBOR enters the list or map that peek found. Each entry takes at least a byte, each of a map
// two, so a count that cannot be met is refused before anything relies on it.
func (d *Decoder) openCBOR() {
	size := uint64(1)
	if d.buf[d.pos]>>5 == majorMap {
		size = 2
	}
	n, definite := d.head()
	switch {
	case !definite:
		d.push(frame{kind: frameOpen})
	case n > uint64(len(d.buf)-d.pos)/size:
		d.fail("container beyond the end of the document")
	default:
		d.push(frame{kind: frameCounted, left: n})
	}
}

// nextCBOR goes to the next entry of the innermost container or closes it.
func (d *Decoder) nextCBOR() bool {
	if d.broken || d.depth == 0 {
		return false
	}
	f := &d.stack[d.depth-1]
	switch f.kind {
	case frameCounted:
		if f.left > 0 {
			f.left--
			return true
		}
	case frameOpen:
		if d.at(d.pos) != cborBreak {
			return true // the end of the document is found by who reads the entry
		}
		d.pos++
	}
	d.depth--
	return false
}

func (d *Decoder) readKeyCBOR() bool {
	if d.peekCBOR() != kindString {
		d.fail("key that is not text")
		return false
	}
	d.key = d.joinChunks()
	return !d.broken
}

func (d *Decoder) skipKeyCBOR() bool {
	if d.peekCBOR() != kindString {
		d.fail("key that is not text")
		return false
	}
	d.skipScalarCBOR()
	return !d.broken
}

// joinChunks reads a byte or text string. The chunks of one of indefinite length are moved together
// over their heads.
func (d *Decoder) joinChunks() []byte {
	major := d.buf[d.pos] >> 5
	n, definite := d.head()
	if definite || d.broken {
		return d.chunk(major, n)
	}
	start := d.pos
	end := start
	for d.nextChunk(major) {
		n, _ := d.head()
		end += copy(d.buf[end:], d.chunk(major, n))
	}
	if d.broken {
		return nil
	}
	return d.buf[start:end:end]
}

// nextChunk reports whether another chunk follows, and passes over the break if none does.
func (d *Decoder) nextChunk(major byte) bool {
	if d.broken {
		return false
	}
	c := d.at(d.pos)
	if c == cborBreak {
		d.pos++
		return false
	}
	if d.pos == len(d.buf) || c>>5 != major || c&31 == infoIndefinite {
		d.fail("chunk of another type or length")
		return false
	}
	return true
}

// chunk takes the n bytes at the position.
func (d *Decoder) chunk(major byte, n uint64) []byte {
	if d.broken {
		return nil
	}
	if n > uint64(len(d.buf)-d.pos) {
		d.fail("string beyond the end of the document")
		return nil
	}
	end := d.pos + int(n)
	b := d.buf[d.pos:end:end]
	if major == majorText && !validText(b) {
		d.fail("text that is not UTF-8")
		return nil
	}
	d.pos = end
	return b
}

// skipScalarCBOR passes over what is not a container without changing the body.
func (d *Decoder) skipScalarCBOR() {
	switch major := d.buf[d.pos] >> 5; major {
	case majorBytes, majorText:
		n, definite := d.head()
		if definite || d.broken {
			d.chunk(major, n)
			return
		}
		for d.nextChunk(major) {
			n, _ := d.head()
			d.chunk(major, n)
		}
	default:
		d.readNumberCBOR() // the argument of a simple value is read as a number's is
	}
}

// readNumberCBOR reads an integer or a float.
func (d *Decoder) readNumberCBOR() number {
	c := d.buf[d.pos]
	arg, definite := d.head()
	if !definite {
		d.fail("number of indefinite length")
		return number{}
	}
	switch {
	case c>>5 == majorUint && arg > math.MaxInt64:
		return number{real: true, f: float64(arg)}
	case c>>5 == majorUint:
		return number{i: int64(arg)}
	case c>>5 == majorNegative && arg > math.MaxInt64:
		return number{real: true, f: -1 - float64(arg)}
	case c>>5 == majorNegative:
		return number{i: -1 - int64(arg)}
	case c == cborHalf:
		return realNumber(halfFloat(uint16(arg)))
	case c == cborSingle:
		return realNumber(float64(math.Float32frombits(uint32(arg))))
	}
	return realNumber(math.Float64frombits(arg))
}

// halfFloat widens an IEEE 754 half-precision number.
func halfFloat(h uint16) float64 {
	exp, frac := int(h>>10)&31, float64(h&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(frac, -24)
	case 31:
		f = math.Inf(1)
		if frac != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(1024+frac, exp-25)
	}
	if h&0x8000 != 0 {
		return -f
	}
	return f
}
