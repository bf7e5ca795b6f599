package claim

import (
	"errors"
	"testing"

	"github.com/headrace/headrace/internal/record"
)

// TestTable gives one thing to several holders, one after the other.
func TestTable(t *testing.T) {
	var table Table[string]
	other, refused, over := errors.New("other"), errors.New("refused"), errors.New("over")
	heard := map[string]error{}
	holder := func(name string, began int) *Holder {
		return &Holder{Began: record.Millis(began), End: func(why error) { heard[name] = why }}
	}
	begin := func(h *Holder, admit, want error) {
		t.Helper()
		if err := table.Begin("shard", h, 5000, other, func() error { return admit }); !errors.Is(err, want) {
			t.Errorf("Begin: %v; want %v", err, want)
		}
	}
	a, b, c := holder("a", 0), holder("b", 5000), holder("c", 20_000)
	begin(a, nil, nil)
	begin(holder("young", 4999), refused, other) // admit is not asked
	begin(b, refused, refused)
	if len(heard) != 0 {
		t.Errorf("a was told to end by one that was refused: %v", heard)
	}
	begin(b, nil, nil)
	if heard["a"] != other || len(heard) != 1 {
		t.Errorf("heard %v", heard)
	}
	table.Remove("shard", a) // which has it no more
	begin(holder("young", 5001), nil, other)
	table.Remove("shard", b)
	begin(c, nil, nil)
	if heard["b"] != nil {
		t.Errorf("b was told to end after it was removed: %v", heard["b"])
	}
	table.End(over, func(key *string) bool { return *key == "another" })
	if heard["c"] != nil {
		t.Errorf("c heard %v", heard["c"])
	}
	table.End(over, func(key *string) bool { return *key == "shard" })
	if heard["c"] != over {
		t.Errorf("c heard %v; want %v", heard["c"], over)
	}
}
