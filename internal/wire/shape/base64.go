package shape

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	simd "github.com/segmentio/asm/base64"
)

// chunkChars is how many characters are decoded at a time: few enough for the first-level cache.
const chunkChars = 4096

// chunkBytes holds what chunkChars decode to.
type chunkBytes [chunkChars / 4 * 3]byte

// decodeBase64 decodes b in place and returns the decoded front of it. It accepts exactly what AWS
// does: the standard alphabet, padded, no line breaks, the unused bits of the last character zero.
// When it returns false, b is unchanged, for the message that quotes it.
//
// The vector code decodes to a buffer beside b from which the result is copied to b's front, chunk
// by chunk. Decoding straight into b happens to work with segmentio/asm and the standard library,
// but neither promises it, and what they do to b before they refuse a character could not always be
// undone. The copy stays in cache and costs little beside the decoding.
func (d *Decoder) decodeBase64(b []byte) (blob []byte, ok bool) {
	if len(b)%4 != 0 {
		return nil, false
	}
	if len(b) == 0 {
		return b, true
	}
	body := len(b) - 4
	var tail [3]byte
	t, ok := lastQuantum(&tail, b[body:])
	if !ok {
		return nil, false
	}
	n := 0
	for from := 0; from < body; from += chunkChars {
		c := b[from:min(from+chunkChars, body)]
		// Line breaks, which the decoder passes over, and padding make the result too short.
		m, err := simd.StdEncoding.Decode(d.chunk64[:], c)
		if err != nil || m != len(c)/4*3 {
			copy(b, simd.StdEncoding.EncodeToString(b[:n]))
			return nil, false
		}
		n += copy(b[n:], d.chunk64[:m])
	}
	n += copy(b[n:], tail[:t])
	return b[:n:n], true
}

// lastQuantum decodes the last four characters, which may be padded.
func lastQuantum(dst *[3]byte, src []byte) (n int, ok bool) {
	n = 3
	if src[3] == '=' {
		n--
		if src[2] == '=' {
			n--
		}
	}
	var v uint32
	for i, c := range src {
		six := uint32(sextets[c])
		if i > n {
			six = 0
		} else if six > 63 {
			return 0, false
		}
		v = v<<6 | six
	}
	if v<<(8+8*n) != 0 {
		return 0, false
	}
	dst[0], dst[1], dst[2] = byte(v>>16), byte(v>>8), byte(v)
	return n, true
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// sextets holds the value of each base64 character, and 64 for any other byte.
var sextets = func() (t [256]byte) {
	for c := range t {
		t[c] = 64
	}
	for i, c := range alphabet {
		t[c] = byte(i)
	}
	return t
}()

// rejectBlob notes the type error for base64 text that could not be decoded.
func (d *Decoder) rejectBlob(b []byte) {
	if d.wrong == nil && !d.broken {
		d.wrong = &SerializationError{Message: "'" + excerpt(text(b)) + "' can not be converted to a Blob: " + base64Flaw(b)}
	}
}

// base64Flaw says in AWS's words what is wrong with b (its spelling included). AWS counts UTF-16
// code units.
func base64Flaw(b []byte) string {
	units := 0
	for _, r := range text(b) {
		units += utf16.RuneLen(r)
	}
	if units%4 != 0 {
		return "Base64 encoded length is expected a multiple of 4 bytes but found: " + strconv.Itoa(units)
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		bad := r >= utf8.RuneSelf || r != '=' && sextets[b[i]] > 63
		inside := r == '=' && i+1 < len(b) && b[i+1] != '='
		if bad || inside {
			return "Invalid Base64 character: '" + string(r) + "'"
		}
		i += n
	}
	return "Invalid last non-pad Base64 character dectected"
}

// appendBase64 appends b in base64.
func appendBase64(dst, b []byte) []byte {
	start := len(dst)
	n := simd.StdEncoding.EncodedLen(len(b))
	dst = grow(dst, n)[:start+n]
	simd.StdEncoding.Encode(dst[start:], b)
	return dst
}
