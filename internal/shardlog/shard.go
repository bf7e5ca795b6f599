package shardlog

import (
	"sort"
	"sync"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/jump"
	"github.com/headrace/headrace/internal/shardlog/slab"
	"github.com/headrace/headrace/internal/shardlog/space"
)

// group is a group of the lane that the store still needs something from. All fields but live are
// set before anyone else sees it; live is the committer's.
//
// The payload of a group that stands on a slab changes some time after the group was trimmed from the
// lane: whoever reads it, but for the committer, has found it through a ref in a shard's tail and
// pinned that under the shard's lock.
//
// A span is a group that is in no lane: the data chunk of a batch that spans several groups, put
// together again. Its parts are the groups it stands in.
type group struct {
	pos     lane.Position
	payload []byte
	slab    *slab.Slab // nil if the payload has memory of its own
	// live counts the bytes of the group that are still wanted; at 0 the lane need not hold it.
	live      int64
	parts     []*group
	partSizes []int64
}

// ref points at one data chunk. All its records arrived at once.
type ref struct {
	first        record.Index
	arrival      record.Millis
	group        *group
	offset, size uint32
	count, bytes uint32
}

func (r *ref) end() record.Index { return r.first + record.Index(r.count) }

// pin keeps the slabs that the refs stand on from being used again until unpin is called with the
// same refs. REQUIRES: the lock of the shard whose tail holds them.
func pin(refs []ref) { countPins(refs, 1) }

func unpin(refs []ref) { countPins(refs, -1) }

// countPins counts a run of refs on one slab once.
func countPins(refs []ref, n int32) {
	var last *slab.Slab
	for i := range refs {
		if b := refs[i].group.slab; b != nil && b != last {
			b.Pin(n)
			last = b
		}
	}
}

// tail is a shard's data chunks in index order: a slice that is cut at the front.
type tail struct {
	all  []ref
	head int
}

func (t *tail) refs() []ref { return t.all[t.head:] }

func (t *tail) push(r ref) { t.all = append(t.all, r) }

// pop drops the first n chunks and gives room back once most of it is unused.
func (t *tail) pop(n int) {
	clear(t.all[t.head : t.head+n])
	t.head += n
	refs := t.refs()
	switch {
	case t.head <= len(t.all)/2:
	case cap(t.all) > 64 && len(refs) < cap(t.all)/4:
		t.all, t.head = append(make([]ref, 0, 2*len(refs)), refs...), 0
	default:
		n := copy(t.all, refs)
		clear(t.all[n:])
		t.all, t.head = t.all[:n], 0
	}
}

// insert puts r where its index belongs and returns the chunk of the same index it replaces.
func (t *tail) insert(r ref) (old ref, replaced bool) {
	refs := t.refs()
	i := seek(refs, r.first)
	if i < len(refs) && refs[i].first == r.first {
		old, refs[i] = refs[i], r
		return old, true
	}
	t.all = append(t.all, ref{})
	refs = t.refs()
	copy(refs[i+1:], refs[i:])
	refs[i] = r
	return ref{}, false
}

// seek returns the position of the first chunk that ends beyond at.
func seek(refs []ref, at record.Index) int {
	// Most readers are at the end or at the beginning.
	if n := len(refs); n == 0 || refs[0].end() > at {
		return 0
	} else if refs[n-1].first <= at {
		if refs[n-1].end() > at {
			return n - 1
		}
		return n
	}
	return sort.Search(len(refs), func(i int) bool { return refs[i].end() > at })
}

// seekArrival returns the position of the first chunk that arrived at or after t.
func seekArrival(refs []ref, t record.Millis) int {
	if len(refs) == 0 || refs[0].arrival >= t {
		return 0
	}
	return sort.Search(len(refs), func(i int) bool { return refs[i].arrival >= t })
}

type hold struct {
	name string
	from record.Index
}

// control is what Registry, Seal and TrimTo set. It is a value: holds is never changed in place.
type control struct {
	keep Retention
	// first is the oldest record kept as of the last change; retention may have moved on.
	first record.Index
	// trim is how far TrimTo has asked; holds may keep records below it.
	trim   record.Index
	sealed bool
	holds  []hold
	// jumps are what restores have left out.
	jumps jump.Jumps
}

// shard is one log. The committer alone changes mu's fields (but waiters), with the lock held, and
// so may read them without; everyone else reads them with the lock held.
type shard struct {
	id ShardID
	// born is the position of the group that opened the shard: it tells the shard's files from
	// those of a former shard of the same name. It is set before anyone else sees the shard.
	born lane.Position

	mu struct {
		sync.Mutex
		tail    tail
		ctl     control
		next    record.Index
		last    record.Millis
		dropped bool
		// spans are the shard's records in block files, in index order. Records may be in the
		// tail as well. Those below flushed are in files, if they are still kept.
		spans   []span
		flushed record.Index
		// partial is how many bytes of spans[0] are counted as dead already.
		partial uint64
		// horizon is what was last read of the block that holds the oldest record.
		horizon *horizon
		// frozen, when not 0, stops time for retention while a control change is on its way to
		// the lane: what the change says about the oldest record must still be so when it lands.
		frozen  record.Millis
		waiters []*waiter
	}

	// The committer's own.

	// stage is how the shard will stand once the group being built is durable.
	stage stage
	// producers holds the last append of each producer.
	producers map[uint64]Producer
	// base is the chunk of the last whole state, which the lane must keep.
	base ref
	// account is its stream's, nil before its first record. unstored counts the bytes of the tail that
	// are in no file.
	account  *space.Account
	unstored space.Backlog
	// unresolved marks a shard of which replay has seen records but no whole state yet.
	unresolved bool
}

type stage struct {
	active    bool
	ctl       control
	next      record.Index
	last      record.Millis
	producers []Producer
	dropped   bool
}

func newShard(id ShardID, keep Retention) *shard {
	s := &shard{id: id}
	s.mu.next = 1
	s.mu.ctl = control{keep: keep, first: 1}
	return s
}

// firstAt returns the oldest record kept at the given time, or one before it if finding out takes
// reading a block: it is never too high, and Bounds.Next only if nothing is kept.
//
// REQUIRES: s.mu held, or the caller is the committer.
func (s *shard) firstAt(now record.Millis) record.Index {
	first, _ := s.firstUnder(&s.mu.ctl, now, nil)
	return first
}

// firstUnder returns the oldest record kept at the given time under ctl:
// min(named holds, max(trim, what has come of age)), and never less than it was. If neither s nor h
// knows, it lies between lo and hi.
//
// REQUIRES: s.mu held, or the caller is the committer.
func (s *shard) firstUnder(ctl *control, now record.Millis, h *horizon) (lo, hi record.Index) {
	if s.mu.frozen != 0 {
		now = min(now, s.mu.frozen)
	}
	lo, hi = ctl.trim, ctl.trim
	if ctl.keep.Age > 0 {
		from, to, _ := s.seek(ctl.cutoff(now), h)
		lo, hi = max(lo, from), max(hi, to)
	}
	for _, h := range ctl.holds {
		lo, hi = min(lo, h.from), min(hi, h.from)
	}
	return ctl.jumps.Pass(max(lo, ctl.first)), ctl.jumps.Pass(max(hi, ctl.first))
}

// cutoff is the arrival time of the oldest records that are not of age.
func (ctl *control) cutoff(now record.Millis) record.Millis {
	return now - record.Millis(ctl.keep.Age.Milliseconds()) + 1
}

// seek returns the first record that arrived at or after t, Bounds.Next if there is none. Where
// that takes reading at, and h has not been read from there, lo and hi are its limits.
//
// REQUIRES: s.mu held, or the caller is the committer.
func (s *shard) seek(t record.Millis, h *horizon) (lo, hi record.Index, at span) {
	refs, spans := s.mu.tail.refs(), s.mu.spans
	if len(spans) == 0 || len(refs) > 0 && refs[0].arrival < t {
		if i := seekArrival(refs, t); i < len(refs) {
			return refs[i].first, refs[i].first, at
		}
		return s.mu.next, s.mu.next, at
	}
	i := sort.Search(len(spans), func(i int) bool { return spans[i].member().LastArrival >= t })
	if i == len(spans) {
		refs = refs[seek(refs, spans[i-1].member().Next):]
		if len(refs) > 0 {
			return refs[0].first, refs[0].first, at
		}
		return s.mu.next, s.mu.next, at
	}
	m := spans[i].member()
	if m.FirstArrival >= t {
		return m.First, m.First, at
	}
	if first, ok := h.seek(t); ok {
		return first, first, at
	}
	if first, ok := s.mu.horizon.seek(t); ok {
		return first, first, at
	}
	return m.First, m.Next - 1, spans[i]
}

// boundsFrom returns the bounds of a shard whose oldest record is first.
//
// REQUIRES: s.mu held, or the caller is the committer.
func (s *shard) boundsFrom(first record.Index) Bounds {
	return Bounds{First: first, Next: s.mu.next, LastArrival: s.mu.last, Sealed: s.mu.ctl.sealed}
}

// spanAt returns the span that holds the record at the given index.
//
// REQUIRES: s.mu held, or the caller is the committer.
func (s *shard) spanAt(at record.Index) (span, bool) {
	spans := s.mu.spans
	i := sort.Search(len(spans), func(i int) bool { return spans[i].member().Next > at })
	if i == len(spans) || spans[i].member().First > at {
		return span{}, false
	}
	return spans[i], true
}

// waiter is one blocked Wait. ch holds at most one wake-up.
type waiter struct {
	from record.Index
	ch   chan struct{}
	at   int // its place in waiters, -1 when woken
}

// addWaiter REQUIRES s.mu held.
func (s *shard) addWaiter(w *waiter) {
	w.at = len(s.mu.waiters)
	s.mu.waiters = append(s.mu.waiters, w)
}

// removeWaiter takes w off the list; it reports false if w has been woken already.
//
// REQUIRES: s.mu held.
func (s *shard) removeWaiter(w *waiter) bool {
	if w.at < 0 {
		return false
	}
	n := len(s.mu.waiters) - 1
	moved := s.mu.waiters[n]
	s.mu.waiters[w.at], moved.at = moved, w.at
	s.mu.waiters[n] = nil
	s.mu.waiters = s.mu.waiters[:n]
	w.at = -1
	return true
}

// wake wakes those whom the shard's state concerns: all of them, or those who wait for an index
// below next.
//
// REQUIRES: s.mu held.
func (s *shard) wake(all bool) {
	for i := len(s.mu.waiters) - 1; i >= 0; i-- {
		if w := s.mu.waiters[i]; all || w.from < s.mu.next {
			s.removeWaiter(w)
			w.ch <- struct{}{}
		}
	}
}
