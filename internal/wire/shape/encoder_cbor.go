package shape

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// head appends an initial byte with the shortest form of its argument.
func (e *Encoder) head(major byte, arg uint64) {
	major <<= 5
	switch {
	case arg < 24:
		e.buf = append(e.buf, major|byte(arg))
	case arg <= math.MaxUint8:
		e.buf = append(e.buf, major|24, byte(arg))
	case arg <= math.MaxUint16:
		e.buf = binary.BigEndian.AppendUint16(append(e.buf, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		e.buf = binary.BigEndian.AppendUint32(append(e.buf, major|26), uint32(arg))
	default:
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, major|27), arg)
	}
}

func (e *Encoder) intCBOR(v int64) {
	if v < 0 {
		e.head(majorNegative, uint64(-1-v))
		return
	}
	e.head(majorUint, uint64(v))
}

func (e *Encoder) floatCBOR(v float64) {
	e.buf = binary.BigEndian.AppendUint64(append(e.buf, cborDouble), math.Float64bits(v))
}

func (e *Encoder) textCBOR(s string) {
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // each stray byte becomes U+FFFD, as in JSON
	}
	e.head(majorText, uint64(len(s)))
	e.buf = append(e.buf, s...)
}
