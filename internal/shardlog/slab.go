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
// Groups leave the lane in the order they came, so slabs empty in that order too. One is used again
// when its groups have been trimmed from the lane and no page reads from it. A page that is never
// released keeps its slabs from being used again, and no more.
//
// Only the committer calls its methods; pins are everyone's.
type slabs struct {
	size    int
	current *slab
	free    []*slab
	// emptied are slabs without groups that pages may still read from.
	emptied []*slab
	// made counts the slabs there are, those in use included.
	made int
	// taken tells a sweep whether slabs have been asked for since the last one.
	taken bool
}

// slab is one block. A group's bytes are mem[:used] in part; the rest is room for the next ones.
type slab struct {
	mem  []byte
	used int
	// groups counts the groups cut from it that the lane may still hold.
	groups int
	// pins counts the pages that read from it.
	pins atomic.Int32
}

func newSlabs(memory int64) slabs {
	return slabs{size: int(min(max(memory/slabShare, minSlab), maxSlab))}
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
	s.current = &slab{mem: make([]byte, s.size)}
	s.made++
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
		case b.pins.Load() > 0:
			kept = append(kept, b)
		case int64(s.made)*int64(s.size) > limit:
			s.made--
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
		s.made -= len(s.free) - n
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
			b.pins.Add(n)
			last = b
		}
	}
}
