package shape

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"
)

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestBase64InPlace decodes and encodes every length that the vector loops, their ends and the
// chunks can meet.
func TestBase64InPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var d Decoder
	lengths := []int{chunkChars - 5, chunkChars / 4 * 3, chunkChars/4*3 + 1, 2 * chunkChars, 100_000}
	for n := range 400 {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		want := randomBytes(r, n)
		chars := base64.StdEncoding.AppendEncode(nil, want)
		if got := appendBase64(nil, want); !bytes.Equal(got, chars) {
			t.Fatalf("encoding %d bytes: got %q, want %q", n, got, chars)
		}
		if got, ok := d.decodeBase64(chars); !ok || !bytes.Equal(got, want) {
			t.Fatalf("decoding %d bytes: got %x, %v, want %x", n, got, ok, want)
		}
	}
}

// TestBase64Refuses puts each byte that is no base64 character in each place of a text, and finds
// the text unchanged after it was refused.
func TestBase64Refuses(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var d Decoder
	for _, n := range []int{4, 8, 48, 100, 240, chunkChars + 200} {
		good := base64.StdEncoding.AppendEncode(nil, randomBytes(r, n/4*3))
		places := len(good)
		for i := range places {
			if places > 1000 && i%97 != 0 {
				continue
			}
			for c := range 256 {
				if sextets[c] < 64 || c == '=' && i == places-1 {
					continue
				}
				bad := bytes.Clone(good)
				bad[i] = byte(c)
				kept := bytes.Clone(bad)
				if got, ok := d.decodeBase64(bad); ok {
					t.Fatalf("accepted byte %#x at %d of %d: %x", c, i, places, got)
				}
				if !bytes.Equal(bad, kept) {
					t.Fatalf("byte %#x at %d of %d: text was changed", c, i, places)
				}
			}
		}
	}
}

// TestBase64LikeStrict compares all texts of four characters from a small alphabet with the strict
// decoder of the standard library.
func TestBase64LikeStrict(t *testing.T) {
	const chars = "AQRZaz09+/=-"
	strict := base64.StdEncoding.Strict()
	var d Decoder
	for i := range len(chars) * len(chars) * len(chars) * len(chars) {
		var s [4]byte
		for j := range s {
			s[j] = chars[i%len(chars)]
			i /= len(chars)
		}
		want, err := strict.DecodeString(string(s[:]))
		text := string(s[:])
		got, ok := d.decodeBase64(s[:])
		if ok != (err == nil) || ok && !bytes.Equal(got, want) {
			t.Errorf("%q: got %x, %v, want %x, %v", text, got, ok, want, err)
		}
	}
}
