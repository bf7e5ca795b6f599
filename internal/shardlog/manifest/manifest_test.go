package manifest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"testing"

	"github.com/headrace/headrace/internal/shardlog/block"
)

func samples() []*Manifest {
	file := File{block.Layout{ID: 3, Size: 900, Footer: 600, Sum: 77}, 1}
	return []*Manifest{
		{Number: 1, Position: 1, States: []byte{}, Floor: 1},
		{Number: 7, Position: 9, Time: 1000, NextFile: 4, Files: []File{file, file}, States: []byte("states"), StateCount: 2, Floor: 1},
		{Number: 7, Position: 9, Time: 1000, NextFile: 4, Files: []File{file}, States: []byte("states"), StateCount: 2, Floor: 1 << 58},
		{Number: 8, Position: 9, Files: []File{file}, States: []byte{}, Floor: 1 << 58, Begins: true},
		{Number: 8, Position: 9, States: []byte{}, Floor: 1, Begins: true},
	}
}

// TestRoundTrip encodes and decodes, and damages every bit: each is noticed.
func TestRoundTrip(t *testing.T) {
	for i, want := range samples() {
		b := want.Encode()
		got, _, wrong := Decode(b, 2)
		if wrong != "" || !reflect.DeepEqual(got, want) {
			t.Errorf("sample %d becomes %+v, %s; want %+v", i, got, wrong, want)
		}
		for bit := range 8 * len(b) {
			bad := bytes.Clone(b)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, _, wrong := Decode(bad, 2); wrong == "" {
				t.Errorf("sample %d with bit %d changed is taken", i, bit)
			}
		}
	}
}

// TestOfNothingRestored keeps the bytes of stores that were never restored as they always were.
func TestOfNothingRestored(t *testing.T) {
	b := samples()[1].Encode()
	if b[5] != 0 || len(b) != headerSize+2*fileSize+6+4 {
		t.Errorf("%d bytes, flags %d; want %d and none", len(b), b[5], headerSize+2*fileSize+6+4)
	}
}

// TestWrong gives what the checksum does not tell.
func TestWrong(t *testing.T) {
	f := func(want string, at int64, i int, change func(b []byte) []byte) {
		t.Helper()
		b := samples()[i].Encode()
		b = change(b[:len(b)-4])
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		if _, offset, wrong := Decode(b, 2); wrong != want || offset != at {
			t.Errorf("got %q at %d, want %q at %d", wrong, offset, want, at)
		}
	}
	set := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	f("unknown version", 4, 1, set(4, 2))
	f("unknown version", 4, 1, set(5, 4))
	f("unknown version", 4, 1, set(7, 1))
	f("lengths disagree", 56, 1, set(40, 3))
	f("lengths disagree", 56, 1, set(48, 5))
	f("lengths disagree", 56, 0, set(5, flagRestored))
	f("first index of new shards out of range", 56, 2, func(b []byte) []byte { clear(b[56:64]); return b })
	f("first index of new shards out of range", 56, 2, set(63, 0xff))
	f("file entry out of range", 64+28-28, 2, set(64+28, 2))
	f("file entry out of range", 64, 2, set(64+31, 1))
	f("file entry out of range", 64, 2, set(64+15, 0xff))
	f("not a manifest", 0, 1, set(0, 'x'))
	f("not a manifest", 0, 1, func(b []byte) []byte { return b[:40] })
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		b := m.Encode()
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		m, _, wrong := Decode(b, 6)
		if wrong == "" && !bytes.Equal(m.Encode(), b) {
			t.Fatalf("%x becomes %+v, which becomes %x", b, m, m.Encode())
		}
	})
}
