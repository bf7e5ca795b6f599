package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/coordinator/mem"
)

// TestSameAsInMemory gives the same random histories to this engine and to the one in memory and
// expects the same answers, versions included, through kills, clean restarts, full and broken lanes,
// and snapshots at any time.
func TestSameAsInMemory(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pair{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 5)), mem: mem.New()}
				defer p.stop()
				defer p.mem.Close()
				p.snapshotBytes = int64(1 + p.rng.IntN(2000))
				p.start()
				p.watch()
				for range 150 {
					p.step()
				}
			})
		})
	}
}

// pair is a coordinator on disk and its model.
type pair struct {
	*world
	rng *rand.Rand
	mem *mem.Coordinator
	// seen is what a watcher of the present process was told.
	watcher coordinator.Watcher
	seen    map[string]coordinator.Entry
}

func (p *pair) step() {
	switch n := p.rng.IntN(20); n {
	case 0: // killed
		p.start()
		p.watch()
	case 1: // stopped and started
		p.compareWatch()
		p.stop()
		p.start()
		p.watch()
	case 2:
		p.lane.full.Store(true)
		p.write()
		p.lane.heal()
	case 3:
		p.breakLane()
	case 4:
		p.compareLists()
	case 5:
		p.compareWatch()
	default:
		p.write()
	}
}

// write makes the same change to both, unless the one on disk has no room.
func (p *pair) write() {
	p.t.Helper()
	key, value, expect := p.pick()
	if p.rng.IntN(3) == 0 {
		got := p.c.Delete(p.t.Context(), key, expect)
		if p.full(got) {
			return
		}
		want := p.mem.Delete(p.t.Context(), key, expect)
		p.same("Delete", 0, 0, got, want)
		return
	}
	v, got := p.c.Put(p.t.Context(), key, value, expect)
	if p.full(got) {
		return
	}
	wantV, want := p.mem.Put(p.t.Context(), key, value, expect)
	p.same("Put", v, wantV, got, want)
}

func (p *pair) full(err error) bool {
	return p.lane.full.Load() && err != nil && !errors.Is(err, coordinator.ErrConflict)
}

// pick returns a key, a value, and a version that mostly fits.
func (p *pair) pick() (key string, value []byte, expect coordinator.Version) {
	key = fmt.Sprint("k/", p.rng.IntN(12))
	e, err := p.mem.Get(p.t.Context(), key)
	if got, gerr := p.c.Get(p.t.Context(), key); !errors.Is(gerr, err) || !same(got, e) {
		p.t.Fatalf("Get(%q) = %v, %v; want %v, %v", key, got, gerr, e, err)
	}
	expect = e.Version
	if p.rng.IntN(4) == 0 {
		expect += coordinator.Version(p.rng.IntN(3)) - 1
	}
	return key, make([]byte, p.rng.IntN(40)), expect
}

func (p *pair) same(what string, v, want coordinator.Version, got, wantErr error) {
	p.t.Helper()
	if v != want || !errors.Is(got, wantErr) || (got == nil) != (wantErr == nil) {
		p.t.Fatalf("%s = %d, %v; want %d, %v", what, v, got, want, wantErr)
	}
}

// breakLane fails the lane under a write and recovers: the write happened whole or not at all.
func (p *pair) breakLane() {
	p.t.Helper()
	key := fmt.Sprint("k/", p.rng.IntN(12))
	e, _ := p.mem.Get(p.t.Context(), key)
	synctest.Wait() // a snapshot's trim is not to meet the broken lane first
	took := p.rng.IntN(2) == 0
	p.lane.failBefore.Store(!took)
	p.lane.failAfter.Store(took)
	if _, err := p.c.Put(p.t.Context(), key, []byte("doubtful"), e.Version); !errors.Is(err, errBroken) {
		p.t.Fatalf("Put on a broken lane = %v, want %v", err, errBroken)
	}
	p.lane.heal()
	if took {
		if _, err := p.mem.Put(p.t.Context(), key, []byte("doubtful"), e.Version); err != nil {
			p.t.Fatal(err)
		}
	}
	p.start()
	p.watch()
	p.compareLists()
}

func (p *pair) compareLists() {
	p.t.Helper()
	for _, q := range []struct {
		prefix, after string
		limit         int
	}{{"", "", 100}, {"k/1", "", 100}, {"", "k/1", 3}, {"k/", "k/5", 100}} {
		got, err := p.c.List(p.t.Context(), q.prefix, q.after, q.limit)
		want, _ := p.mem.List(p.t.Context(), q.prefix, q.after, q.limit)
		if err != nil || !slices.EqualFunc(got, want, same) {
			p.t.Fatalf("List(%+v) = %v, %v; want %v", q, got, err, want)
		}
	}
}

func same(a, b coordinator.Entry) bool {
	return a.Key == b.Key && a.Version == b.Version && string(a.Value) == string(b.Value)
}

// watch begins anew, as a process that was restarted does.
func (p *pair) watch() {
	w, err := p.c.Watch(p.t.Context(), "k/")
	if err != nil {
		p.t.Fatal(err)
	}
	p.watcher, p.seen = w, map[string]coordinator.Entry{}
}

// compareWatch takes everything the watcher has: applied in order it leads to what is listed.
func (p *pair) compareWatch() {
	p.t.Helper()
	want, _ := p.mem.List(p.t.Context(), "k/", "", 100)
	w := p.watcher.(*watcher)
	for len(w.pending) > 0 {
		entries, err := w.Next(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		p.note(entries)
	}
	if len(p.seen) != len(want) {
		p.t.Fatalf("the watch led to %d keys, want %d", len(p.seen), len(want))
	}
	for _, e := range want {
		if !same(p.seen[e.Key], e) {
			p.t.Fatalf("the watch led to %v, want %v", p.seen[e.Key], e)
		}
	}
}

func (p *pair) note(entries []coordinator.Entry) {
	p.t.Helper()
	last := coordinator.Version(0)
	for _, e := range entries {
		if e.Version <= last {
			p.t.Fatalf("version %d reported after %d", e.Version, last)
		}
		last = e.Version
		if e.Value != nil {
			p.seen[e.Key] = e
			continue
		}
		if _, known := p.seen[e.Key]; !known {
			p.t.Fatalf("the deletion of %q was reported, which never was", e.Key)
		}
		delete(p.seen, e.Key)
	}
}
