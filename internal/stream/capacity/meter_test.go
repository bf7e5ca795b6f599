package capacity

import (
	"fmt"
	"testing"

	"github.com/headrace/headrace/internal/record"
)

// TestMeter makes rates of what shards have taken, through a split.
func TestMeter(t *testing.T) {
	var m Meter
	f := func(what string, seconds int, want string, readings ...Reading) {
		t.Helper()
		open, load := m.Take(start+record.Millis(seconds)*1000, readings)
		if got := fmt.Sprint(open, load); got != want {
			t.Errorf("%s: %s; want %s", what, got, want)
		}
	}
	f("first", 0, "[] 0", Reading{Number: 0, Open: true, Bytes: 5 << 20, Records: 7, Width: 1})
	f("a minute", 60, "[{1.048576e+06 10 1 0.5}] 1", Reading{Number: 0, Open: true, Bytes: 65 << 20, Records: 607, Width: 1, TopKey: 0.5})
	f("split", 70, "[{0 100 0.5 0} {0 2000 0.5 0}] 3.1",
		Reading{Number: 0, Bytes: 65 << 20, Records: 10607},
		Reading{Number: 1, Open: true, Records: 1000, Width: 0.5}, Reading{Number: 2, Open: true, Records: 20000, Width: 0.5})
	f("the clock goes back", 60, "[] 0", Reading{Number: 1, Open: true, Records: 5000, Width: 0.5})
	f("and on", 61, "[{0 1000 0.5 0}] 1", Reading{Number: 1, Open: true, Records: 6000, Width: 0.5})
}

// TestStored stores a history and reads it, and refuses what is none.
func TestStored(t *testing.T) {
	h := History{Changed: start}
	h.Note(start, 3)
	h.Did(start+minute, 4, Plan{Split: []int{1}})
	back, err := Decode(h.Encode())
	if err != nil || fmt.Sprint(back) != fmt.Sprint(h) {
		t.Errorf("%+v, %v; want %+v", back, err, h)
	}
	for _, bad := range []string{"", "{}", `{"v":2}`, `{"v":1,"peaks":3}`, "null"} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

// FuzzDecode reads anything as a history: what passes can be planned with.
func FuzzDecode(f *testing.F) {
	h := History{Changed: start}
	h.Note(start, 3)
	h.Did(start, 4, Plan{Split: []int{1}})
	f.Add(h.Encode())
	f.Add([]byte(`{"v":1,"peaks":[{"d":-1,"l":-1e308},{"d":9223372036854775807,"l":1e308}],"grown":[{"at":-1,"from":-1}]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		h, err := Decode(value)
		if err != nil {
			return
		}
		shards := []Shard{{Bytes: NominalBytes, Width: .5}, {Width: .5}}
		p := Make(start, shards, &h, Rules{Most: 200})
		for _, i := range append(p.Split, p.Merge...) {
			if i < 0 || i >= len(shards) {
				t.Fatalf("a plan for shard %d of %d", i, len(shards))
			}
		}
		h.Note(start, 1)
		h.Did(start, len(shards), p)
		h.Encode()
	})
}
