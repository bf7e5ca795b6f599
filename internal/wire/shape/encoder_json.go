package shape

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// separate places the comma before a value or key that is not the first.
func (e *Encoder) separate() {
	if e.comma {
		e.buf = append(e.buf, ',')
	}
	e.comma = true
}

func (e *Encoder) open(c byte) {
	e.separate()
	e.buf = append(e.buf, c)
	e.comma = false
}

func (e *Encoder) shut(c byte) {
	e.buf = append(e.buf, c)
	e.comma = true
}

// quote appends s between quotes. HTML's characters are not escaped: no browser runs this.
func (e *Encoder) quote(s string) {
	e.buf = append(e.buf, '"')
	for {
		n := plainPrefix(s)
		e.buf = append(e.buf, s[:n]...)
		if s = s[n:]; s == "" {
			break
		}
		s = s[e.escape(s):]
	}
	e.buf = append(e.buf, '"')
}

// plainPrefix returns how many bytes of s can stand in a JSON string as they are and are ASCII.
func plainPrefix(s string) int {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote := w ^ lowBits*'"'
		slash := w ^ lowBits*'\\'
		hit := (quote-lowBits)&^quote | (slash-lowBits)&^slash | (w-lowBits*' ')&^w | w
		if hit &= topBits; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// escape appends the first character of s, which plainPrefix refused, and returns its length.
func (e *Encoder) escape(s string) int {
	c := s[0]
	if c >= utf8.RuneSelf {
		r, n := utf8.DecodeRuneInString(s)
		e.buf = utf8.AppendRune(e.buf, r)
		return n
	}
	switch c {
	case '"', '\\':
		e.buf = append(e.buf, '\\', c)
	case '\b':
		e.buf = append(e.buf, `\b`...)
	case '\f':
		e.buf = append(e.buf, `\f`...)
	case '\n':
		e.buf = append(e.buf, `\n`...)
	case '\r':
		e.buf = append(e.buf, `\r`...)
	case '\t':
		e.buf = append(e.buf, `\t`...)
	default:
		const hex = "0123456789abcdef"
		e.buf = append(e.buf, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
	return 1
}

func (e *Encoder) floatJSON(v float64) {
	switch {
	case math.IsNaN(v):
		e.buf = append(e.buf, `"NaN"`...)
	case math.IsInf(v, 1):
		e.buf = append(e.buf, `"Infinity"`...)
	case math.IsInf(v, -1):
		e.buf = append(e.buf, `"-Infinity"`...)
	default:
		format := byte('f')
		if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
			format = 'e'
		}
		e.buf = strconv.AppendFloat(e.buf, v, format, -1, 64)
	}
}

func (e *Encoder) secondsJSON(t Timestamp) {
	sec, ms := int64(t)/1000, int64(t)%1000
	if t < 0 {
		e.buf = append(e.buf, '-')
		sec, ms = -sec, -ms
	}
	e.buf = strconv.AppendInt(e.buf, sec, 10)
	if ms == 0 {
		return
	}
	frac := [...]byte{'.', byte('0' + ms/100), byte('0' + ms/10%10), byte('0' + ms%10)}
	n := len(frac)
	for frac[n-1] == '0' {
		n--
	}
	e.buf = append(e.buf, frac[:n]...)
}
