package stream

import (
	"fmt"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
)

// TestHeat finds the key that makes one shard hot, in a stream that was split, and forgets with the stream.
func TestHeat(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 2)
	for i := range 100 {
		_, err := w.Put(t.Context(), home, ref, record.Entry{PartitionKey: "hot", Data: make([]byte, 997)}, "")
		w.must(err)
		_, err = w.PutAll(t.Context(), home, ref, []record.Entry{{PartitionKey: fmt.Sprint(i), Data: make([]byte, 10)}}, nil)
		w.must(err)
	}
	w.tick(time.Second)
	h, err := w.Heat(home, ref)
	w.must(err)
	if h.Name != "mill" || h.ARN != home.arn("mill") || len(h.Shards) != 2 {
		t.Fatalf("heat: %+v", h)
	}
	hot, cold := h.Shards[0], h.Shards[1]
	if hot.BytesPerSecond < cold.BytesPerSecond {
		hot, cold = cold, hot
	}
	if hot.BytesPerSecond < 100_000 || len(hot.Keys) == 0 || hot.Keys[0].PartitionKey != "hot" || hot.Keys[0].Share < 0.98 {
		t.Errorf("the hot shard: %+v", hot)
	}
	if cold.RecordsPerSecond < 30 || len(cold.Keys) < 10 || cold.Keys[0].Share > 0.1 {
		t.Errorf("the cold shard: %+v", cold)
	}
	// A closed shard is not shown, its children begin with nothing.
	w.must(w.SplitShard(t.Context(), home, ref, hot.ID, hot.HashKeyRange.Start.Next().Next().Next().String()))
	h, err = w.Heat(home, ref)
	w.must(err)
	if len(h.Shards) != 3 {
		t.Errorf("after a split: %+v", h)
	}
	for _, sh := range h.Shards {
		if sh.ID != cold.ID && (sh.BytesPerSecond != 0 || len(sh.Keys) != 0) {
			t.Errorf("a child that got nothing: %+v", sh)
		}
	}
	w.must(w.DeleteStream(t.Context(), home, ref, false))
	_, err = w.Heat(home, ref)
	refused(t, err, NotFound, "Stream mill under account 123456789012 not found.")
	ref = w.create("mill", 2)
	h, err = w.Heat(home, ref)
	w.must(err)
	for _, sh := range h.Shards {
		if len(sh.Keys) != 0 {
			t.Errorf("the new stream has the heat of the old one: %+v", sh)
		}
	}
}
