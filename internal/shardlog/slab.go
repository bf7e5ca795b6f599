package shardlog

import "sync/atomic"

const (
	minSlab, maxSlab = 1 << 20, 32 << 20
	// slabShare is how many slabs a full store has: what a slab wastes at its end, and keeps until
	// its last group has gone, stays a small part of the budget.
	slabShare = 64
	// slabAlign keeps groups on lines of their own.
	slabAlign = 64
)

// slabs is where groups get their memory: large blocks that groups are cut from one after the
// other, and that serve again once all of theirs have gone.
//
// Leaving it to the garbage collector was tried first. Memory that has gone back to the system costs
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
// Only the committer calls its methods; pins are everyone's.
type slabs struct {
	size    int
	system  bool // memory is the system's
	current *slab
	free    []*slab
	// emptied are slabs without groups that pages may still read from.
	emptied []*slab
	// all are the slabs there are, those in use included.
	all map[*slab]struct{}
	// taken tells a sweep whether slabs have been asked for since the last one.
	taken bool
}

// slab is one block. A group's bytes are mem[:used] in part; the rest is room for the next ones.
//
// Whoever uses it holds a pin: the store one as long as the slab is among its own, and every page
// that reads from it. A page takes its pin while a shard's tail still points at the slab, which is
// while the store has its own, so once all are gone none can come, and the memory goes back.
type slab struct {
	mem    []byte
	system bool
	used   int
	// groups counts the groups cut from it that the lane may still hold.
	groups int
	pins   atomic.Int32
}

func newSlabs(memory int64, system bool) slabs {
	return slabs{size: int(min(max(memory/slabShare, minSlab), maxSlab)), system: system, all: make(map[*slab]struct{})}
}

// add makes a slab, of the heap if the system gives no memory.
func (s *slabs) add() *slab {
	b := &slab{}
	if s.system {
		b.mem = mapMemory(s.size)
		b.system = b.mem != nil
	}
	if b.mem == nil {
		b.mem = make([]byte, s.size)
	}
	b.pin(1)
	s.all[b] = struct{}{}
	return b
}

// remove lets go of a slab that nothing of the store's points at any more.
func (s *slabs) remove(b *slab) {
	delete(s.all, b)
	b.pin(-1)
}

// pin adds n pins and, with the last one taken away, gives the memory back.
func (b *slab) pin(n int32) {
	if b.pins.Add(n) == 0 && b.system {
		unmapMemory(b.mem)
		b.mem = nil
	}
}

// idle says that nobody but the store uses the slab.
func (b *slab) idle() bool { return b.pins.Load() == 1 }

// made is how many slabs there are.
func (s *slabs) made() int { return len(s.all) }

// used is how many bytes the slabs take that may hold something: more than their groups, for the room
// left over at their ends and for groups that have gone from the middle of one.
func (s *slabs) used() int64 { return int64(s.made()-len(s.free)) * int64(s.size) }

// close lets go of all slabs. Nothing may point at them any more but pages that are out.
func (s *slabs) close() {
	for b := range s.all {
		s.remove(b)
	}
	s.current, s.free, s.emptied = nil, nil, nil
}

// room returns an empty buffer with room for n bytes on the current slab, or on none if n is too
// much for one. What is written there stays only if keep is called with it.
func (s *slabs) room(n int) []byte {
	if n > s.size {
		return make([]byte, 0, n)
	}
	s.taken = true
	if s.current == nil || len(s.current.mem)-s.current.used < n {
		s.next()
	}
	at := s.current.used
	return s.current.mem[at : at : at+n]
}

// next makes a free slab, or a new one, the current one.
func (s *slabs) next() {
	s.leave(s.current)
	if n := len(s.free); n > 0 {
		s.current = s.free[n-1]
		s.free[n-1] = nil
		s.free = s.free[:n-1]
		return
	}
	s.current = s.add()
}

// keep notes that payload, which room gave the memory for, is a group now, and returns its slab: nil
// if it is on none.
func (s *slabs) keep(payload []byte) *slab {
	c := s.current
	if c == nil || c.used == len(c.mem) || &payload[0] != &c.mem[c.used] {
		return nil
	}
	c.used = min((c.used+len(payload)+slabAlign-1)&^(slabAlign-1), len(c.mem))
	c.groups++
	return c
}

// adopt returns a payload that the lane has read: its bytes on a slab, if slabs are the system's, so
// that the lane's buffer can go.
func (s *slabs) adopt(payload []byte) []byte {
	if !s.system || len(payload) > s.size {
		return payload
	}
	return append(s.room(len(payload)), payload...)
}

// drop notes that one group of the slab is no longer in the lane.
func (s *slabs) drop(b *slab) {
	if b == nil {
		return
	}
	if b.groups--; b != s.current {
		s.leave(b)
	}
}

// leave sees a slab that is not the current one off, if nothing stands on it.
func (s *slabs) leave(b *slab) {
	if b != nil && b.groups == 0 {
		s.emptied = append(s.emptied, b)
	}
}

// collect makes the emptied slabs that nobody reads from free, as long as there are no more slabs
// than limit bytes of them.
func (s *slabs) collect(limit int64) {
	kept := s.emptied[:0]
	for _, b := range s.emptied {
		switch {
		case !b.idle():
			kept = append(kept, b)
		case int64(s.made())*int64(s.size) > limit:
			s.remove(b)
		default:
			b.used = 0
			s.free = append(s.free, b)
		}
	}
	clear(s.emptied[len(kept):])
	s.emptied = kept
}

// shrink gives an eighth of the free slabs back if none was asked for since the last call: memory
// that a burst took returns to the system within minutes.
func (s *slabs) shrink() {
	if !s.taken {
		n := len(s.free) - (len(s.free)+7)/8
		for _, b := range s.free[n:] {
			s.remove(b)
		}
		clear(s.free[n:])
		s.free = s.free[:n]
	}
	s.taken = false
}

// pin keeps the slabs that the refs stand on from being used again until unpin is called with the
// same refs. REQUIRES: the lock of the shard whose tail holds them.
func pin(refs []ref) { countPins(refs, 1) }

func unpin(refs []ref) { countPins(refs, -1) }

// countPins counts a run of refs on one slab once.
func countPins(refs []ref, n int32) {
	var last *slab
	for i := range refs {
		if b := refs[i].group.slab; b != nil && b != last {
			b.pin(n)
			last = b
		}
	}
}
