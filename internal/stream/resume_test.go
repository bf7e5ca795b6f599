package stream

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/keyspace"
)

// outcome is what a stream looks like from outside, without times.
type outcome struct {
	Exists  bool
	Status  Status
	Hours   int
	KeyID   string
	Shards  []string
	Records map[int32][]string
}

func (w *world) outcome(ref Ref) outcome {
	w.t.Helper()
	d, err := w.DescribeStream(home, ref, "", 0)
	if err != nil {
		refused(w.t, err, NotFound, "Stream "+ref.Name+" under account 123456789012 not found.")
		return outcome{}
	}
	o := outcome{Exists: true, Status: d.Status, Hours: d.RetentionHours, KeyID: d.KeyID, Records: w.readEverything(ref)}
	for _, s := range d.Shards {
		o.Shards = append(o.Shards, fmt.Sprint(s.ID, s.HashKeyRange, s.ParentID, s.AdjacentParentID, s.Closed))
	}
	return o
}

// fill puts a record at each end of each sixteenth of the hash keys.
func (w *world) fill(ref Ref, data string) {
	w.t.Helper()
	var recs []record.Entry
	for i := range 16 {
		r := keyspace.Uniform(i, 16)
		recs = append(recs, explicit(r.Start, data), explicit(r.End, data))
	}
	out, err := w.PutAll(w.t.Context(), home, ref, recs, nil)
	w.must(err)
	for _, r := range out {
		if r.Err != nil {
			w.t.Fatal(r.Err)
		}
	}
}

// TestCutAnywhere cuts the power after every write of every operation that changes more than one
// row, and checks that the stream ends up as if nothing had happened: whole, if the call was
// accepted, or else untouched.
func TestCutAnywhere(t *testing.T) {
	ctx := t.Context()
	half := keyspace.UniformStart(1, 2).String()
	encrypted := func(w *world, ref Ref) { w.must(w.StartEncryption(ctx, home, ref, "alias/mill")) }
	for _, op := range []struct {
		name   string
		shards int               // 0: the stream does not exist before
		before func(*world, Ref) // what is done to it before, if anything
		do     func(w *world, ref Ref) error
	}{
		{"create", 0, nil, func(w *world, ref Ref) error {
			return w.CreateStream(ctx, home, CreateInput{Name: ref.Name, ShardCount: 3})
		}},
		{"delete", 3, nil, func(w *world, ref Ref) error { return w.DeleteStream(ctx, home, ref, false) }},
		{"split", 1, nil, func(w *world, ref Ref) error { return w.SplitShard(ctx, home, ref, "0", half) }},
		{"merge", 3, nil, func(w *world, ref Ref) error { return w.MergeShards(ctx, home, ref, "1", "2") }},
		{"update count", 2, nil, func(w *world, ref Ref) error { _, err := w.UpdateShardCount(ctx, home, ref, 3); return err }},
		{"retention", 2, nil, func(w *world, ref Ref) error { return w.IncreaseRetention(ctx, home, ref, 48) }},
		{"encrypt", 2, nil, func(w *world, ref Ref) error { return w.StartEncryption(ctx, home, ref, "alias/mill") }},
		{"another key", 2, encrypted, func(w *world, ref Ref) error { return w.StartEncryption(ctx, home, ref, "alias/race") }},
		{"no longer encrypt", 2, encrypted, func(w *world, ref Ref) error { return w.StopEncryption(ctx, home, ref, "alias/mill") }},
		{"delete encrypted", 2, encrypted, func(w *world, ref Ref) error { return w.DeleteStream(ctx, home, ref, false) }},
		{"split encrypted", 1, encrypted, func(w *world, ref Ref) error { return w.SplitShard(ctx, home, ref, "0", half) }},
	} {
		for _, restart := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/restart=%v", op.name, restart), func(t *testing.T) {
				testCut(t, op.shards, op.before, restart, op.do)
			})
		}
	}
}

func testCut(t *testing.T, shards int, prepare func(*world, Ref), restart bool, do func(w *world, ref Ref) error) {
	ref := Ref{Name: "mill"}
	start := func() *world {
		w := newWorld(t, 0, Caps{})
		if shards > 0 {
			w.create(ref.Name, shards)
			w.fill(ref, "before")
		}
		if prepare != nil {
			prepare(w, ref)
			w.fill(ref, "prepared")
		}
		return w
	}
	w := start()
	before := w.outcome(ref)
	used := w.fuse.used
	w.must(do(w, ref))
	w.clock.Advance(2 * time.Second)
	after, steps := w.outcome(ref), w.fuse.used-used
	if reflect.DeepEqual(before, after) {
		t.Fatal("the operation changes nothing")
	}
	for cut := range steps {
		w := start()
		w.fuse.left = cut
		err := do(w, ref)
		if (err == nil) != (cut > 0) || err != nil && !errors.Is(err, errCut) {
			t.Errorf("cut after %d of %d writes: the call returned %v", cut, steps, err)
		}
		if err == nil && len(w.failed) != 1 {
			t.Errorf("cut after %d of %d writes: reported %v", cut, steps, w.failed)
		}
		w.fuse.left = -1
		if restart {
			w.restart()
		}
		w.tick(2 * time.Second)
		want := after
		if err != nil {
			want = before
		}
		if got := w.outcome(ref); !reflect.DeepEqual(got, want) {
			t.Errorf("cut after %d of %d writes:\n got %+v\nwant %+v", cut, steps, got, want)
		}
		if want.Exists {
			w.fill(ref, "after")
		}
		if w.restart(); want.Exists {
			w.fill(ref, "after restart")
		}
	}
}

// TestCutTwice cuts a reshard of many pieces again and again, a few writes at a time.
func TestCutTwice(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 5)
	w.fill(ref, "before")
	w.fuse.left = 3
	if _, err := w.UpdateShardCount(t.Context(), home, ref, 7); err != nil {
		t.Fatal(err)
	}
	passes := 0
	for w.outcome(ref).Status != Active {
		w.fuse.left = 2 + passes%3
		w.tick(2 * time.Second)
		w.fuse.left = -1
		if passes++; passes > 100 {
			t.Fatal("the reshard does not end")
		}
		w.restart()
	}
	v := w.view(ref)
	if len(v.open) != 7 {
		t.Errorf("%d shards are open; want 7", len(v.open))
	}
	for i, s := range v.open {
		if want := keyspace.Uniform(i, 7); s.Hash != want {
			t.Errorf("open shard %d is %v; want %v", i, s.Hash, want)
		}
	}
	if passes < 5 {
		t.Errorf("cut %d times only", passes)
	}
	w.fill(ref, "after")
	total := 0
	for _, records := range w.readEverything(ref) {
		total += len(records)
	}
	if want := 64; total != want {
		t.Errorf("read %d records; want %d", total, want)
	}
}

func (w *world) view(ref Ref) *view {
	w.t.Helper()
	_, v, err := w.find(home, ref)
	w.must(err)
	return v
}

// TestExpireResumes cuts the removal of expired shards.
func TestExpireResumes(t *testing.T) {
	for cut := range 5 {
		w := newWorld(t, 0, Caps{})
		ref := w.create("mill", 2)
		w.must(w.MergeShards(t.Context(), home, ref, "0", "1"))
		w.must(w.SplitShard(t.Context(), home, ref, "2", "2"))
		w.fuse.left = cut
		w.tick(25 * time.Hour)
		if got := len(w.view(ref).after(-1, w.now())); got != 2 {
			t.Errorf("cut after %d: %d shards are listed; want 2", cut, got)
		}
		w.fuse.left = -1
		w.restart()
		w.tick(time.Second)
		e, _, err := w.find(home, ref)
		w.must(err)
		if got := len(w.known(e)); got != 2 {
			t.Errorf("cut after %d: %d rows are left; want 2", cut, got)
		}
		w.fill(ref, "x")
	}
}
