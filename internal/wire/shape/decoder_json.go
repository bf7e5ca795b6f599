package shape

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON syntax is RFC 8259's, read strictly: no comments, no trailing commas, no leading zeros. Text
// that is not UTF-8 makes a document unparsable, as it does for AWS's parser; replacing it would
// change partition keys behind the producer's back. Only escaped lone surrogates, which JSON allows
// and UTF-8 cannot hold, become U+FFFD.

func (d *Decoder) skipSpace() {
	for d.pos < len(d.buf) {
		switch d.buf[d.pos] {
		case ' ', '\n', '\t', '\r':
			d.pos++
		default:
			return
		}
	}
}

// next returns the byte after white space, or 0 at the end of the document.
func (d *Decoder) next() byte {
	if d.pos < len(d.buf) && d.buf[d.pos] > ' ' {
		return d.buf[d.pos]
	}
	d.skipSpace()
	if d.pos < len(d.buf) {
		return d.buf[d.pos]
	}
	return 0
}

func (d *Decoder) peekJSON() kind {
	switch c := d.next(); c {
	case '"':
		return kindString
	case '{':
		return kindMap
	case '[':
		return kindList
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return kindNumber
		}
		d.fail("no value where one is expected")
		return kindInvalid
	}
}

// nextJSON goes to the next entry of the innermost container, or closes it at the byte end.
func (d *Decoder) nextJSON(end byte) bool {
	if d.broken || d.depth == 0 {
		return false
	}
	f := &d.stack[d.depth-1]
	if f.kind == frameEmpty {
		d.depth--
		return false
	}
	c := d.next()
	switch {
	case c == end:
		d.pos++
		d.depth--
		return false
	case f.kind == frameFirst:
		f.kind = frameMore
	case c == ',':
		d.pos++
	default:
		d.fail("no comma or end of container where one is expected")
		return false
	}
	return true
}

func (d *Decoder) readKeyJSON() bool {
	if d.next() != '"' {
		d.fail("no key where one is expected")
		return false
	}
	d.key = d.readStringJSON()
	return d.colon()
}

func (d *Decoder) skipKeyJSON() bool {
	if d.next() != '"' {
		d.fail("no key where one is expected")
		return false
	}
	d.scanString()
	return d.colon()
}

func (d *Decoder) colon() bool {
	if d.broken {
		return false
	}
	if d.next() != ':' {
		d.fail("no colon after a key")
		return false
	}
	d.pos++
	return true
}

func (d *Decoder) skipScalarJSON() {
	switch d.next() {
	case '"':
		d.scanString()
	case 't':
		d.literal("true")
	case 'f':
		d.literal("false")
	case 'n':
		d.literal("null")
	default:
		d.scanNumber()
	}
}

func (d *Decoder) literal(word string) {
	if len(d.buf)-d.pos < len(word) || string(d.buf[d.pos:d.pos+len(word)]) != word {
		d.fail("unknown word")
		return
	}
	d.pos += len(word)
}

func (d *Decoder) readBool() bool {
	var v bool
	if d.format == CBOR {
		v = d.buf[d.pos] == cborTrue
	} else {
		v = d.buf[d.pos] == 't'
	}
	d.skipScalar()
	return v && !d.broken
}

// readNumber reads the number that peek found, in either format.
func (d *Decoder) readNumber() number {
	if d.format == CBOR {
		return d.readNumberCBOR()
	}
	b, real := d.scanNumber()
	if d.broken {
		return number{}
	}
	return parseNumber(b, real)
}

// scanNumber passes over a number and returns its bytes and whether it has a fraction or exponent.
func (d *Decoder) scanNumber() (b []byte, real bool) {
	start := d.pos
	if d.at(d.pos) == '-' {
		d.pos++
	}
	if d.at(d.pos) == '0' {
		d.pos++
	} else if !d.digits() {
		return nil, false
	}
	if d.at(d.pos) == '.' {
		real = true
		d.pos++
		if !d.digits() {
			return nil, false
		}
	}
	if c := d.at(d.pos); c == 'e' || c == 'E' {
		real = true
		d.pos++
		if c = d.at(d.pos); c == '+' || c == '-' {
			d.pos++
		}
		if !d.digits() {
			return nil, false
		}
	}
	return d.buf[start:d.pos], real
}

// at returns the byte at i, or 0 beyond the end.
func (d *Decoder) at(i int) byte {
	if i < len(d.buf) {
		return d.buf[i]
	}
	return 0
}

// digits passes over one or more digits.
func (d *Decoder) digits() bool {
	start := d.pos
	for c := d.at(d.pos); '0' <= c && c <= '9'; c = d.at(d.pos) {
		d.pos++
	}
	if d.pos == start {
		d.fail("no digit where one is expected")
	}
	return d.pos > start
}

// floatOfString reads one of the strings that stand for a double without a JSON number.
func (d *Decoder) floatOfString() float64 {
	s := text(d.stringBytes())
	switch s {
	case "NaN":
		return math.NaN()
	case "Infinity":
		return math.Inf(1)
	case "-Infinity":
		return math.Inf(-1)
	}
	d.reject(kindString, asDouble)
	return 0
}

// readStringJSON reads the string whose opening quote is at the position, unescaped in place.
func (d *Decoder) readStringJSON() []byte {
	b, escaped := d.scanString()
	if escaped && !d.broken {
		b = unescape(b)
	}
	return b
}

// scanString passes over a string and returns what stands between its quotes, nil on an error.
func (d *Decoder) scanString() (b []byte, escaped bool) {
	d.pos++
	start := d.pos
	var high uint64 // collects top bits: any set means that the text may not be ASCII
	for {
		high |= d.plainRun()
		switch c := d.at(d.pos); {
		case c == '"':
			b = d.buf[start:d.pos:d.pos]
			if high&topBits != 0 && !utf8.Valid(b) {
				d.fail("text that is not UTF-8")
				return nil, false
			}
			d.pos++
			return b, escaped
		case c == '\\':
			escaped = true
			if !d.escapeSequence() {
				return nil, false
			}
		case c >= ' ':
			high |= uint64(c)
			d.pos++
		case d.pos < len(d.buf):
			d.fail("control character in a string")
			return nil, false
		default:
			d.fail("string without an end")
			return nil, false
		}
	}
}

const (
	lowBits = 0x0101010101010101
	topBits = 0x8080808080808080
)

// plainRun goes over bytes that have no meaning in a string, eight at a time, and stops before the
// first that may have one or when fewer than eight are left. It returns the OR of all it looked at.
func (d *Decoder) plainRun() (high uint64) {
	b := d.buf
	i := d.pos
	for len(b)-i >= 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		high |= w
		// Each term has the top bit of the first byte set that is a quote, a backslash or below a
		// space; a borrow can only spoil bytes after it.
		quote := w ^ lowBits*'"'
		slash := w ^ lowBits*'\\'
		hit := (quote-lowBits)&^quote | (slash-lowBits)&^slash | (w-lowBits*' ')&^w
		if hit &= topBits; hit != 0 {
			i += bits.TrailingZeros64(hit) / 8
			break
		}
		i += 8
	}
	d.pos = i
	return high
}

// escapeSequence passes over a backslash and what it escapes.
func (d *Decoder) escapeSequence() bool {
	switch d.at(d.pos + 1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		d.pos += 2
		return true
	case 'u':
		if len(d.buf)-d.pos >= 6 && hex4(d.buf[d.pos+2:]) >= 0 {
			d.pos += 6
			return true
		}
	}
	d.fail("unknown escape in a string")
	return false
}

// hex4 returns the value of four hexadecimal digits, or -1.
func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// unescape resolves the escapes of b, which scanString has checked, in place: no escape is shorter
// than what it stands for.
func unescape(b []byte) []byte {
	from := bytes.IndexByte(b, '\\')
	to := from
	for from < len(b) {
		if b[from] != '\\' {
			n := bytes.IndexByte(b[from:], '\\')
			if n < 0 {
				n = len(b) - from
			}
			to += copy(b[to:], b[from:from+n])
			from += n
			continue
		}
		if b[from+1] != 'u' {
			b[to] = unescapeByte(b[from+1])
			to++
			from += 2
			continue
		}
		r, n := unescapeRune(b[from:])
		from += n
		to += utf8.EncodeRune(b[to:], r)
	}
	return b[:to:to]
}

func unescapeByte(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// unescapeRune reads \uXXXX, or two of them that are a surrogate pair, and returns how long it was.
func unescapeRune(b []byte) (rune, int) {
	r := hex4(b[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(b[8:])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// readBlobJSON reads a base64 string. Payloads are most of the bytes Headrace is sent, so this looks
// at them only as often as it must: a search for the closing quote, then the base64 decoder, whose
// alphabet leaves no room for escapes, control characters or broken UTF-8. What the decoder refuses
// is scanned like any other string.
func (d *Decoder) readBlobJSON() []byte {
	start := d.pos + 1
	if n := bytes.IndexByte(d.buf[start:], '"'); n >= 0 {
		if blob, ok := d.decodeBase64(d.buf[start : start+n : start+n]); ok {
			d.pos = start + n + 1
			return blob
		}
	}
	b, escaped := d.scanString()
	if d.broken {
		return nil
	}
	if escaped {
		return d.decodeBlob(unescape(b))
	}
	d.rejectBlob(b)
	return nil
}

// decodeBlob decodes base64 text in place.
func (d *Decoder) decodeBlob(b []byte) []byte {
	if d.broken {
		return nil
	}
	blob, ok := d.decodeBase64(b)
	if !ok {
		d.rejectBlob(b)
	}
	return blob
}
