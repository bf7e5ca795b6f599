package slab

import "testing"

// group puts a group of n bytes on the pool.
func group(t *testing.T, p *Pool, n int) *Slab {
	t.Helper()
	b := p.Room(n)
	if len(b) != 0 || cap(b) != n {
		t.Fatalf("Room(%d) has length %d and capacity %d", n, len(b), cap(b))
	}
	return p.Keep(append(b, make([]byte, n)...))
}

// each runs f with slabs of the heap's memory and, where there is some, of the system's.
func each(t *testing.T, f func(t *testing.T, p *Pool)) {
	for name, system := range map[string]bool{"Heap": false, "System": true} {
		t.Run(name, func(t *testing.T) {
			if system && !HasSystem() {
				t.Skip("slabs come from the heap here")
			}
			p := New(64<<20, system) // slabs of a MiB
			defer p.Close()
			f(t, &p)
		})
	}
}

// TestServesAgain fills slabs and lets go of them, with and without a reader.
func TestServesAgain(t *testing.T) {
	each(t, func(t *testing.T, p *Pool) {
		first := group(t, p, 600<<10)
		second := group(t, p, 600<<10)
		if first == second || p.Made() != 2 {
			t.Fatalf("two groups of 600 KiB share a slab of a MiB, or %d were made", p.Made())
		}
		first.Pin(1)
		p.Drop(first)
		p.Collect(64 << 20)
		if third := group(t, p, 600<<10); third == first || p.Made() != 3 {
			t.Error("a slab serves again while somebody reads from it")
		}
		first.Pin(-1)
		p.Collect(64 << 20)
		if again := group(t, p, 600<<10); again != first || p.Made() != 3 {
			t.Error("a slab that nobody reads from does not serve again")
		}
		if large := group(t, p, 2<<20); large != nil || p.Made() != 3 {
			t.Error("a group larger than a slab is on one")
		}
	})
}

// TestGivesBack has fewer slabs than the budget after a burst, and next to none after a while.
func TestGivesBack(t *testing.T) {
	each(t, func(t *testing.T, p *Pool) {
		var all []*Slab
		for range 40 {
			all = append(all, group(t, p, 1<<20))
		}
		for _, b := range all {
			p.Drop(b)
		}
		if p.Collect(16 << 20); p.Made() > 17 { // the current one is not emptied
			t.Errorf("%d slabs of a MiB are kept in a budget of 16", p.Made())
		}
		p.Shrink() // they were asked for
		before := p.Made()
		for range 60 {
			p.Shrink()
		}
		if p.Made() > 1 || before < 10 {
			t.Errorf("%d slabs are kept of %d that nobody has asked for in a while", p.Made(), before)
		}
		back := 0
		for _, b := range all {
			if b.GivenBack() {
				back++
			}
		}
		if all[0].OfSystem() && back != len(all)-1 {
			t.Errorf("%d slabs of %d went back to the system; want all but the one in use", back, len(all))
		}
	})
}

// TestPoison has a reader that reads on after it has let go of a slab find other bytes there.
func TestPoison(t *testing.T) {
	each(t, func(t *testing.T, p *Pool) {
		p.poison = true
		first := group(t, p, 600<<10)
		mem := first.mem
		copy(mem, "a record")
		group(t, p, 600<<10) // on another slab
		first.Pin(1)
		p.Drop(first)
		if p.Collect(64 << 20); string(mem[:8]) != "a record" {
			t.Errorf("what somebody reads became %q", mem[:8])
		}
		first.Pin(-1)
		if p.Collect(64 << 20); mem[0] != poison || mem[600<<10-1] != poison {
			t.Errorf("what nobody may read any more is still %q", mem[:8])
		}
	})
}
