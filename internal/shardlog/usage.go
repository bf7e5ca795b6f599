package shardlog

import (
	"github.com/headrace/headrace/internal/shardlog/chunk"
	"github.com/headrace/headrace/internal/shardlog/space"
)

// laneReserve and memoryReserve are the parts of the lane and of the budget that limited shards leave
// to the others and to control changes, one of which may be the deletion that makes room. Twice as much
// is left by streams that have more than their share of what waits for a flush: where one writes faster
// than files can be, it is that one which waits, and not whoever comes with a record next.
const laneReserve, memoryReserve = 16, 32

// limited says whether the limits hold for a shard. Logs that are kept until TrimTo are the process's
// own (the coordinator's journal), and whoever writes them trims them.
func (ctl *control) limited() bool { return ctl.keep.Age > 0 }

// admits says whether quota, disk and lane have room for a batch of a limited shard.
func (c *committer) admits(sh *shard, it *item) bool {
	if !c.store.guard.Admits(c.accountOf(sh), int64(it.size), it.count) {
		return false
	}
	room := c.store.cfg.LaneRoom
	if room == nil {
		return true
	}
	n := max(len(c.draft.buf), chunk.GroupHeaderSize) + it.size
	if it.size > c.store.maxGroup-chunk.GroupHeaderSize {
		n = c.parts(it.size) * c.store.maxGroup
	}
	left, reserve := room(n), c.store.cfg.LaneBytes/laneReserve
	if left >= 2*reserve || left >= reserve && !c.greedy(sh) {
		return true
	}
	c.tier.pressed = true
	return false
}

// greedy says whether the shard's stream has more than its share of what is in no file yet.
func (c *committer) greedy(sh *shard) bool {
	return c.store.guard.Greedy(c.accountOf(sh), c.tier.fresh.bytes+c.tier.frozen.bytes)
}

// accountOf returns the account of the shard's stream.
func (c *committer) accountOf(sh *shard) *space.Account {
	if sh.account == nil {
		sh.account = c.store.guard.Join(sh.id.Stream)
	}
	return sh.account
}

// took counts a chunk that the shard has taken.
func (c *committer) took(sh *shard, r *ref) {
	c.accountOf(sh).Unflushed(int64(r.size))
	sh.unstored.Add(int64(r.size))
}

// gave counts chunks that the shard has let go of; those that are in a file no longer count as in the
// lane.
func (c *committer) gave(sh *shard, refs []ref) {
	for i := range refs {
		if r := &refs[i]; r.first >= sh.mu.flushed {
			c.accountOf(sh).Unflushed(-int64(r.size))
			sh.unstored.Remove(r.first, int64(r.size))
		}
	}
}

// flushed notes that a flush has stored what the shard had when it began.
func (c *committer) flushed(sh *shard) {
	if n := sh.unstored.Stored(); n > 0 {
		c.accountOf(sh).Unflushed(-n)
	}
}

// stores counts what spans of the shard take: sign is 1 for those it has got, -1 for those it has not
// any more.
func (c *committer) stores(sh *shard, spans []span, sign int64) {
	for _, sp := range spans {
		c.accountOf(sh).Stored(sign * sp.stored())
	}
}

// stored is the part of its file that a span takes: as much of what is stored as it has of what was
// compressed.
func (sp span) stored() int64 {
	f := sp.file
	return int64(float64(f.layout.Size) * float64(sp.member().Bytes) / float64(max(f.bytes, 1)))
}

// closeAccount forgets what a dropped shard took.
func (c *committer) closeAccount(sh *shard) {
	if a := sh.account; a != nil {
		a.Unflushed(-sh.unstored.Bytes())
		c.store.guard.Leave(a)
	}
	sh.account, sh.unstored = nil, space.Backlog{}
}

// guardSpace has the guard look at what the disk has left.
func (c *committer) guardSpace() {
	t, unflushed, resting := c.tier, int64(0), true
	if t != nil {
		unflushed = t.fresh.bytes + t.frozen.bytes
		// What could not be deleted, because it is held for a backup, say, waits for its next turn.
		waits := len(t.garbage) == 0 || c.store.time() < t.cleanAt
		resting = t.running == nil && !t.merging && t.merged == nil && waits
	}
	c.store.guard.Tend(c.store.time(), unflushed, resting)
}

// Space returns what is known of the disk and who may write to it.
func (s *Store) Space() space.View { return s.guard.View() }

// Used returns what a stream takes of the disk: nothing if it has no records.
func (s *Store) Used(stream uint64) space.Usage { return s.guard.Used(stream) }
