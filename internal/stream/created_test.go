package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
)

// latest returns the latest creation time of a stream's shards, and how many are open.
func (w *world) latest(ref Ref) (created record.Millis, open int) {
	w.t.Helper()
	_, v, err := w.find(home, ref)
	w.must(err)
	for _, sh := range v.shards {
		created = max(created, record.Millis(sh.Created)*1000)
	}
	return created, len(v.open)
}

// churn makes the stream's shards so many, half or twice what they are.
func (w *world) churn(ref Ref, count int) {
	w.t.Helper()
	_, err := w.UpdateShardCount(w.t.Context(), home, ref, count)
	w.must(err)
}

// TestReshardsStayNearTheClock reshards as fast as it can: each generation is created a second after the
// one before, up to maxLead ahead of the clock, and then waits for it.
func TestReshardsStayNearTheClock(t *testing.T) {
	const reshards, lead = 200, int(maxLead / 1000)
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	waited := 0
	for i := range reshards {
		w.churn(ref, 2-i%2)
		for w.status(ref) != Active {
			waited++
			w.tick(time.Second / 2)
		}
		created, open := w.latest(ref)
		if open != 2-i%2 {
			t.Fatalf("%d open shards after reshard %d", open, i)
		}
		if ahead := created - w.now(); ahead > maxLead+2000 {
			t.Fatalf("shards are created %d ms ahead of the clock", ahead)
		}
	}
	if want := 2 * (reshards - lead); waited < want-5 || waited > want+5 {
		t.Errorf("waited %d times half a second; want a second for every reshard after the first %d", waited, lead)
	}
	// Whatever the clock does, a reshard waits for no longer than maxLead.
	w.clock.Advance(-time.Hour)
	w.churn(ref, 2)
	w.tick(time.Duration(maxLead-1) * time.Millisecond)
	if got := w.status(ref); got != Updating {
		t.Errorf("%s while the shards are an hour ahead of the clock; want UPDATING", got)
	}
	w.tick(2 * time.Millisecond)
	if got := w.status(ref); got != Active {
		t.Errorf("%s after the longest wait; want ACTIVE", got)
	}
}

// TestCreatedAboveWhatWasLost loses what somebody resharded as fast as possible, so that every shard is a
// generation further ahead, and makes shards of the same numbers again after a restore, most of them in
// few generations: each is created later than the one that was lost.
func TestCreatedAboveWhatWasLost(t *testing.T) {
	life := func(restored record.Millis, at time.Time, counts ...int) (map[string]int64, time.Time) {
		w := newWorld(t, 0, Caps{})
		w.clock.Advance(at.Sub(began))
		w.cfg.RestoredAt = restored
		w.restart()
		ref := w.create("mill", 1)
		for _, n := range counts {
			w.churn(ref, n)
			for w.status(ref) != Active {
				w.tick(time.Second)
			}
		}
		_, v, err := w.find(home, ref)
		w.must(err)
		created := make(map[string]int64)
		for _, sh := range v.shards {
			created[sh.ID] = sh.Created
		}
		return created, w.clock.Now()
	}
	lost, end := life(0, began, slices.Repeat([]int{2, 1}, 10)...)
	for range 2 { // the second restore is of the same backup
		end = end.Add(time.Second)
		var again map[string]int64
		again, end = life(record.MillisOf(end), end, 2, 4, 8, 16, 32)
		for id, created := range again {
			if created <= lost[id] {
				t.Errorf("%s was created at %d and, after a restore, at %d", id, lost[id], created)
			}
		}
		if len(again) < len(lost) {
			t.Errorf("%d shards, %d before", len(again), len(lost))
		}
		lost = again
	}
}
