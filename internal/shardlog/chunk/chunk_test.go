package chunk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/headrace/headrace/internal/record"
)

// group returns a group of chunks.
func group(chunks ...[]byte) []byte {
	g := binary.LittleEndian.AppendUint32([]byte{Version, 0, 0, 0}, uint32(len(chunks)))
	return append(g, bytes.Join(chunks, nil)...)
}

var (
	id      = ID{Stream: 7, Shard: 3}
	entries = []record.Entry{{PartitionKey: "k", Data: []byte("data")}, {PartitionKey: "ü", Data: bytes.Repeat([]byte{1}, 300)}}
)

// data returns an encoded chunk of the entries.
func data(p Producer) []byte {
	b := AppendData(nil, id, entries, p)
	Stamp(b, 5, 99)
	return b
}

func TestReader(t *testing.T) {
	producer := Producer{ID: 1, Epoch: 2, Sequence: 3}
	marked := data(producer)
	SetFlag(marked, Moved)
	payload := group(data(Producer{}), marked, End(AppendHeader(nil, &Chunk{Kind: Drop, ID: id}), 0))
	r, got := NewReader(4, payload), []Chunk(nil)
	for r.Next() {
		got = append(got, r.Chunk)
	}
	if r.Err != nil || len(got) != 3 {
		t.Fatalf("%d chunks, %v; want 3", len(got), r.Err)
	}
	plain, with, drop := got[0], got[1], got[2]
	if plain.Kind != Data || plain.ID != id || plain.First != 5 || plain.Arrival != 99 || plain.Count != 2 || plain.Producer() != (Producer{}) {
		t.Errorf("data reads as %+v", plain)
	}
	if with.Flags != WithProducer|Moved || with.Producer() != producer || !bytes.Equal(with.Records(), plain.Records()) {
		t.Errorf("data with a producer reads as %+v", with)
	}
	if drop.Kind != Drop || drop.Offset+drop.Size != len(payload) {
		t.Errorf("drop reads as %+v", drop)
	}
	if n := DataSize(entries); n < with.Size {
		t.Errorf("DataSize() = %d, less than %d", n, with.Size)
	}
	for _, c := range got[:2] {
		if wrong := c.CheckRecords(); wrong != "" {
			t.Errorf("CheckRecords() = %q", wrong)
		}
	}
}

func TestSpan(t *testing.T) {
	whole, _ := Decode(data(Producer{ID: 1}))
	parts := func(n int) (out []Chunk) {
		for number, at := uint32(0), 0; at < len(whole.Body); number, at = number+1, at+n {
			slice := whole.Body[at:min(at+n, len(whole.Body))]
			c, wrong := Decode(AppendPart(nil, whole, Slice{number, uint64(at), uint64(len(whole.Body)), slice}))
			if wrong != "" {
				t.Fatal(wrong)
			}
			out = append(out, c)
		}
		return out
	}
	all := parts(100)
	s, wrong := NewSpan(&all[0])
	for i := range all {
		done, w := s.Add(&all[i])
		if wrong += w; wrong != "" || done != (i == len(all)-1) {
			t.Fatalf("part %d: %t, %q", i, done, wrong)
		}
	}
	got, wrong := Decode(s.Encoded())
	if got.Offset = whole.Offset; wrong != "" || !reflect.DeepEqual(got, whole) {
		t.Errorf("parts become %+v, %q; want %+v", got, wrong, whole)
	}
	s, _ = NewSpan(&all[0])
	if _, wrong := s.Add(&all[1]); wrong == "" {
		t.Error("a span takes its second part first")
	}
	huge, _ := Decode(AppendPart(nil, whole, Slice{Total: MaxSize + 1}))
	if _, wrong := NewSpan(&huge); wrong == "" {
		t.Error("a span of more than MaxSize begins")
	}
}

func FuzzReader(f *testing.F) {
	whole, _ := Decode(data(Producer{}))
	f.Add([]byte{})
	f.Add(group())
	f.Add(group(data(Producer{}), data(Producer{ID: 1})))
	f.Add(group(AppendPart(nil, whole, Slice{0, 0, uint64(len(whole.Body)), whole.Body})))
	f.Fuzz(func(t *testing.T, payload []byte) {
		r := NewReader(1, payload)
		for r.Next() {
			c := &r.Chunk
			switch c.Kind {
			case Data:
				_, _ = c.Producer(), c.CheckRecords()
			case Part:
				if s, wrong := NewSpan(c); wrong == "" {
					if done, wrong := s.Add(c); done && wrong == "" {
						_, _ = Decode(s.Encoded())
					}
				}
			}
		}
		if r.Err != nil && !errors.Is(r.Err, ErrCorrupt) {
			t.Fatalf("the reader fails with %v; want ErrCorrupt", r.Err)
		}
	})
}
