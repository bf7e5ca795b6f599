package token

import "testing"

func FuzzDecodeIterator(f *testing.F) {
	seed := Iterator{Stream: 1, Shard: 2, Next: 3, Made: 4, Name: "mill"}
	f.Add(seed.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		var it Iterator
		if it.Decode(b) && string(it.Encode()) != string(b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, it, it.Encode())
		}
	})
}
