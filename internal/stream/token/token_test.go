package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"
)

func sealer(t testing.TB, b byte) *Sealer {
	t.Helper()
	s, err := New([KeySize]byte(bytes.Repeat([]byte{b}, KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestVector checks the construction against the vector its specification publishes.
func TestVector(t *testing.T) {
	nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
	got := sealer(t, 1).aead(nonce[:12]).Seal(nil, nonce[12:], []byte("XAES-256-GCM"), nil)
	const want = "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
	if hex.EncodeToString(got) != want {
		t.Errorf("sealed = %x; want %s", got, want)
	}
}

func TestSealOpen(t *testing.T) {
	s := sealer(t, 1)
	seen := map[string]bool{}
	for size := range 200 {
		payload := bytes.Repeat([]byte{7}, size)
		text := s.Seal("mine", payload, 152)
		if seen[text] {
			t.Fatalf("the text for %d bytes came up twice", size)
		}
		seen[text] = true
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if string(raw[:8]) != header || len(raw) < 152 || (len(raw)-8)%16 != 0 {
			t.Fatalf("layout of %x is wrong", raw)
		}
		if got, err := s.Open("mine", text); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("Open = %x, %v; want %x", got, err, payload)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	s := sealer(t, 1)
	text := s.Seal("mine", []byte("payload"), 0)
	f := func(name string, s *Sealer, context, text string) {
		t.Helper()
		if got, err := s.Open(context, text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Open = %q, %v; want ErrInvalid", name, got, err)
		}
	}
	f("another context", s, "yours", text)
	f("another key", sealer(t, 2), "mine", text)
	f("empty", s, "mine", "")
	f("not base64", s, "mine", "!"+text[1:])
	f("a line break", s, "mine", text[:8]+"\n"+text[8:])
	f("too long", s, "mine", string(bytes.Repeat([]byte("A"), maxText+4)))
	raw, _ := base64.StdEncoding.DecodeString(text)
	for i := range raw {
		raw[i] ^= 1
		f("a flipped bit", s, "mine", base64.StdEncoding.EncodeToString(raw))
		raw[i] ^= 1
		f("cut short", s, "mine", base64.StdEncoding.EncodeToString(raw[:i]))
	}
}

func FuzzOpen(f *testing.F) {
	s := sealer(f, 1)
	f.Add(s.Seal("mine", []byte("payload"), 152))
	f.Add("AAAAAAAAAAE=")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		payload, err := s.Open("mine", text)
		if err == nil && string(payload) != "payload" {
			t.Fatalf("%q opens to %q, which was never sealed", text, payload)
		}
	})
}
