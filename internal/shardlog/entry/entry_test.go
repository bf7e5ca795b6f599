package entry

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/headrace/headrace/internal/record"
)

func TestRoundTrip(t *testing.T) {
	var all []byte
	want := []record.Entry{
		{PartitionKey: "k", Data: []byte("data")},
		{PartitionKey: "ü", HasExplicitHashKey: true, ExplicitHashKey: record.HashKey{Hi: 1, Lo: 2}, Data: []byte{}},
		{Data: bytes.Repeat([]byte{7}, 300)},
		{PartitionKey: "k", Seal: record.Sealed, Data: bytes.Repeat([]byte{8}, record.SealOverhead)},
		{PartitionKey: "k", HasExplicitHashKey: true, Seal: record.Sealed, Data: bytes.Repeat([]byte{8}, 70)},
	}
	for i := range want {
		all = Append(all, &want[i])
	}
	for i := range want {
		var got record.Entry
		rest, ok := Decode(all, &got)
		if !ok || !reflect.DeepEqual(got, want[i]) {
			t.Fatalf("entry %d becomes %+v, %t; want %+v", i, got, ok, want[i])
		}
		for n := range len(all) - len(rest) {
			if _, ok := Decode(all[:n], &got); ok {
				t.Errorf("entry %d passes with %d of %d bytes", i, n, len(all)-len(rest))
			}
		}
		all = rest
	}
	if len(all) != 0 {
		t.Errorf("%d bytes are left", len(all))
	}
}

// TestSealedIsRefusedByOlderPrograms checks that to whoever does not know the mark, the key of a sealed
// record is longer than the largest chunk, which has 1 GiB.
func TestSealedIsRefusedByOlderPrograms(t *testing.T) {
	e := record.Entry{PartitionKey: "k", Seal: record.Sealed, Data: make([]byte, record.SealOverhead)}
	b := Append(nil, &e)
	if key, _ := binary.Uvarint(b[1:]); key>>1 < 1<<30 {
		t.Errorf("an older program takes %d bytes for the key", key>>1)
	}
}

// TestShortSealed checks that data too short to be sealed is malformed.
func TestShortSealed(t *testing.T) {
	e := record.Entry{PartitionKey: "k", Seal: record.Sealed, Data: make([]byte, record.SealOverhead-1)}
	if _, ok := Decode(Append(nil, &e), &e); ok {
		t.Error("sealed data without a tag passes")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, &record.Entry{PartitionKey: "k", Data: []byte("data")}))
	f.Add(Append(nil, &record.Entry{PartitionKey: "k", HasExplicitHashKey: true, Data: []byte("data")}))
	f.Add(Append(nil, &record.Entry{PartitionKey: "k", Seal: record.Sealed, Data: make([]byte, record.SealOverhead)}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again record.Entry
		rest, ok := Decode(b, &e)
		if !ok {
			return
		}
		if len(rest) > len(b) {
			t.Fatalf("%d bytes are left of %d", len(rest), len(b))
		}
		if _, ok := Decode(Append(nil, &e), &again); !ok || !reflect.DeepEqual(e, again) {
			t.Fatalf("%+v becomes %+v", e, again)
		}
	})
}
