// Package slab is where the groups of a lane get their memory: large blocks that groups are cut from
// one after the other, and that serve again once all of theirs have gone. It counts groups and readers;
// what is written on a slab, and when a group has left the lane, its caller knows.
//
//	p := slab.New(budget, true)
//	b := append(p.Room(n), group...)   // at most n bytes
//	s := p.Keep(b)                     // b is a group now
//	s.Pin(1)                           // while somebody reads it
//	p.Drop(s)                          // the lane has let go of it
package slab

import (
	"iter"
	"maps"
	"sync/atomic"
)

// poison is no length, no kind and no text of anything that is written on a slab.
const poison = 0xdb

const (
	minSlab, maxSlab = 1 << 20, 32 << 20
	// slabShare is how many slabs a full store has: what a slab wastes at its end, and keeps until
	// its last group has gone, stays a small part of the budget.
	slabShare = 64
	// slabAlign keeps groups on lines of their own.
	slabAlign = 64
)

// Pool is the slabs of one store.
//
// Leaving the memory of groups to the garbage collector was tried first. Memory that has gone back to the system costs
// a page fault for every 4 KiB when it is next written, on a virtual machine one of the hypervisor
// besides, and a store that fills, empties and fills again paid that with every record: four times
// what all else costs together. And a heap may grow to twice what lives in it; slabs are only made
// while the budget lasts.
//
// Slabs are memory of the system's, not the heap's, where the lane has done with a payload when its
// Append returns: the garbage collector then neither counts them nor decides when they go back, and
// the system is asked for large pages, of which a whole slab takes a few. A lane that keeps payloads
// may outlive the store, and so must they: there slabs come from the heap, and the last who points
// at one keeps it.
//
// Groups leave the lane in the order they came, so slabs empty in that order too. One is used again
// when its groups have been trimmed from the lane and no page reads from it. A page that is never
// released keeps its slabs from being used again and from going back, and no more.
//
// One goroutine, the store's committer, calls its methods. Use New.
type Pool struct {
	size    int
	system  bool // memory is the system's
	current *Slab
	free    []*Slab
	// emptied are slabs without groups that pages may still read from.
	emptied []*Slab
	// all are the slabs there are, those in use included.
	all map[*Slab]struct{}
	// taken tells a sweep whether slabs have been asked for since the last one.
	taken bool
	// poison has what nobody may read any more overwritten, so that whoever reads it all the same sees
	// something else than what was there: see poisoned.
	poison bool
}

// Slab is one block. A group's bytes are mem[:used] in part; the rest is room for the next ones.
//
// Whoever uses it holds a pin: the store one as long as the slab is among its own, and every page
// that reads from it. A page takes its pin while a shard's tail still points at the slab, which is
// while the store has its own, so once all are gone none can come, and the memory goes back.
type Slab struct {
	mem    []byte
	system bool
	used   int
	// groups counts the groups cut from it that the lane may still hold.
	groups int
	pins   atomic.Int32
}

// New returns a pool for a store that holds memory bytes; its slabs are the system's memory, or the
// heap'p.
func New(memory int64, system bool) Pool {
	return Pool{size: int(min(max(memory/slabShare, minSlab), maxSlab)), system: system, all: make(map[*Slab]struct{}), poison: poisoned}
}

// add makes a slab, of the heap if the system gives no memory.
func (p *Pool) add() *Slab {
	b := &Slab{}
	if p.system {
		b.mem = mapMemory(p.size)
		b.system = b.mem != nil
	}
	if b.mem == nil {
		b.mem = make([]byte, p.size)
	}
	b.Pin(1)
	p.all[b] = struct{}{}
	return b
}

// remove lets go of a slab that nothing of the store's points at any more.
func (p *Pool) remove(b *Slab) {
	delete(p.all, b)
	b.Pin(-1)
}

// Pin adds n pins and, with the last one taken away, gives the memory back.
func (b *Slab) Pin(n int32) {
	if b.pins.Add(n) == 0 && b.system {
		unmapMemory(b.mem)
		b.mem = nil
	}
}

// idle says that nobody but the store uses the slab.
func (b *Slab) idle() bool { return b.pins.Load() == 1 }

// Made is how many slabs there are.
func (p *Pool) Made() int { return len(p.all) }

// Used is how many bytes the slabs take that may hold something: more than their groups, for the room
// left over at their ends and for groups that have gone from the middle of one.
func (p *Pool) Used() int64 { return int64(p.Made()-len(p.free)) * int64(p.size) }

// Close lets go of all slabs. Nothing may point at them any more but pages that are out.
func (p *Pool) Close() {
	for b := range p.all {
		p.remove(b)
	}
	p.current, p.free, p.emptied = nil, nil, nil
}

// Room returns an empty buffer with room for n bytes on the current slab, or on none if n is too
// much for one. What is written there stays only if Keep is called with it.
func (p *Pool) Room(n int) []byte {
	if n > p.size {
		return make([]byte, 0, n)
	}
	p.taken = true
	if p.current == nil || len(p.current.mem)-p.current.used < n {
		p.next()
	}
	at := p.current.used
	return p.current.mem[at : at : at+n]
}

// next makes a free slab, or a new one, the current one.
func (p *Pool) next() {
	p.leave(p.current)
	if n := len(p.free); n > 0 {
		p.current = p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		return
	}
	p.current = p.add()
}

// Keep notes that payload, which Room gave the memory for, is a group now, and returns its slab: nil
// if it is on none.
func (p *Pool) Keep(payload []byte) *Slab {
	c := p.current
	if c == nil || c.used == len(c.mem) || &payload[0] != &c.mem[c.used] {
		return nil
	}
	c.used = min((c.used+len(payload)+slabAlign-1)&^(slabAlign-1), len(c.mem))
	c.groups++
	return c
}

// Adopt returns a payload that the lane has read: its bytes on a slab, if slabs are the system's, so
// that the lane's buffer can go.
func (p *Pool) Adopt(payload []byte) []byte {
	if !p.system || len(payload) > p.size {
		return payload
	}
	return append(p.Room(len(payload)), payload...)
}

// Drop notes that one group of the slab is no longer in the lane.
func (p *Pool) Drop(b *Slab) {
	if b == nil {
		return
	}
	if b.groups--; b != p.current {
		p.leave(b)
	}
}

// leave sees a slab that is not the current one off, if nothing stands on it.
func (p *Pool) leave(b *Slab) {
	if b != nil && b.groups == 0 {
		p.emptied = append(p.emptied, b)
	}
}

// Collect makes the emptied slabs that nobody reads from free, as long as there are no more slabs
// than limit bytes of them.
func (p *Pool) Collect(limit int64) {
	kept := p.emptied[:0]
	for _, b := range p.emptied {
		switch {
		case !b.idle():
			kept = append(kept, b)
		case int64(p.Made())*int64(p.size) > limit:
			p.remove(b)
		default:
			if p.poison {
				for i := range b.mem[:b.used] {
					b.mem[i] = poison
				}
			}
			b.used = 0
			p.free = append(p.free, b)
		}
	}
	clear(p.emptied[len(kept):])
	p.emptied = kept
}

// Shrink gives an eighth of the free slabs back if none was asked for since the last call: memory
// that a burst took returns to the system within minutes.
func (p *Pool) Shrink() {
	if !p.taken {
		n := len(p.free) - (len(p.free)+7)/8
		for _, b := range p.free[n:] {
			p.remove(b)
		}
		clear(p.free[n:])
		p.free = p.free[:n]
	}
	p.taken = false
}

// All are the slabs there are.
func (p *Pool) All() iter.Seq[*Slab] { return maps.Keys(p.all) }

// OfSystem says whether the slab's memory is the system's.
func (b *Slab) OfSystem() bool { return b.system }

// GivenBack says that the slab's memory was the system's and is not ours any more: nobody uses it.
func (b *Slab) GivenBack() bool { return b.system && b.pins.Load() == 0 }

// HasSystem says whether slabs can be the system's here.
func HasSystem() bool {
	b := mapMemory(minSlab)
	if b != nil {
		unmapMemory(b)
	}
	return b != nil
}
