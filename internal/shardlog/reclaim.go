package shardlog

import (
	"context"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
)

const (
	// carryStep is how many bytes are carried forward in one go while requests may be waiting.
	carryStep = 1 << 20
	// minDead is how many dead bytes are not worth carrying anything for.
	minDead = 4 << 20
)

// expireAll lets go of what retention has trimmed since the last time.
func (c *committer) expireAll(now record.Millis) {
	c.sweptAt = now
	for _, sh := range c.store.shards.m {
		c.expire(sh, now)
	}
}

// reclaim gives memory back: it trims the lane up to the first group that is wanted, and carries
// forward what pins too much behind it. It runs between drafts.
//
// A lane is trimmed only from the front, so a group with one byte still wanted (a quiet shard's
// last records, a shard's state) keeps every later group. Once the dead bytes exceed half the live
// ones, the wanted chunks of the oldest groups are appended again, marked as moved, and the lane is
// trimmed past the old ones. One pass over the lane writes at most twice what it frees, and at
// least two thirds of the budget can be live. Where all shards let go of their records in the order
// they came, as retention by age does, nothing is ever carried but a little state.
func (c *committer) reclaim() {
	if c.tier != nil {
		c.tend()
		c.guardSpace()
		c.report()
		return
	}
	c.guardSpace()
	c.trimHead()
	if c.tooDead() {
		// What has come of age unnoticed is not to be carried.
		if now := c.store.time(); now-c.sweptAt >= sweepPause {
			c.expireAll(now)
			c.trimHead()
		}
	}
	for c.failed == nil && c.tooDead() {
		if !c.carry() {
			break
		}
	}
	c.report()
}

// tooDead says whether carrying is worth while.
func (c *committer) tooDead() bool {
	dead := c.laneBytes - c.live
	if c.store.cfg.eager {
		return dead > 0
	}
	return dead > max(c.live/2, min(minDead, c.store.cfg.Memory/8))
}

// trimHead forgets the groups at the front of which nothing is wanted.
func (c *committer) trimHead() {
	for c.head < len(c.groups) && c.groups[c.head].live == 0 {
		if b := c.groups[c.head].slab; b != nil {
			c.dropped = append(c.dropped, b)
		}
		c.popGroup()
	}
	first := c.first()
	c.compactGroups()
	if first > c.trimmed && c.store.cfg.Lane.TrimTo(context.Background(), first) == nil {
		c.trimmed = first // after an error the next trim covers it
		for _, b := range c.dropped {
			c.slabs.Drop(b)
		}
		clear(c.dropped)
		c.dropped = c.dropped[:0]
	}
	c.slabs.Collect(c.store.cfg.Memory)
}

// popGroup forgets the oldest group.
func (c *committer) popGroup() {
	c.laneBytes -= int64(len(c.groups[c.head].payload) - chunk.GroupHeaderSize)
	c.groups[c.head] = nil
	c.head++
}

// compactGroups gives the room of forgotten groups back once it is the larger half.
func (c *committer) compactGroups() {
	if c.head > len(c.groups)/2 {
		held := c.groups[c.head:]
		if cap(c.groups) > 1024 && len(held) < cap(c.groups)/4 {
			c.groups = append(make([]*group, 0, 2*len(held)), held...)
		} else {
			n := copy(c.groups, held)
			clear(c.groups[n:])
			c.groups = c.groups[:n]
		}
		c.head = 0
	}
}

// first is the position of the first group held.
func (c *committer) first() lane.Position {
	return c.next - lane.Position(len(c.groups)-c.head)
}

// carry moves what is wanted of the oldest groups into new ones and trims. It reports whether the
// lane got shorter at the front.
func (c *committer) carry() bool {
	before, end := c.first(), c.next
	moved := int64(0)
	for at := before; at < end && moved < carryStep && c.failed == nil; at++ {
		g := c.groups[c.head+int(at-before)]
		moved += g.live
		if g.live > 0 {
			c.carryGroup(g)
		}
	}
	c.commit()
	c.trimHead()
	return c.first() > before
}

func (c *committer) carryGroup(g *group) {
	now := c.store.time()
	for r := chunk.NewReader(g.pos, g.payload); r.Next() && c.failed == nil; {
		sh := c.lookup(ShardID(r.Chunk.ID))
		if sh == nil {
			continue
		}
		switch r.Chunk.Kind {
		case chunk.Data, chunk.Part:
			c.expire(sh, now)
			if old, ok := sh.find(r.Chunk.First); ok {
				c.carryData(sh, old, g, &r.Chunk)
			}
		case chunk.State:
			if sh.base.group == g && int(sh.base.offset) == r.Chunk.Offset {
				c.carryState(sh)
			}
		}
	}
}

// find returns the chunk that starts at the given index.
func (s *shard) find(first record.Index) (ref, bool) {
	refs := s.mu.tail.refs()
	i := seek(refs, first)
	if i == len(refs) || refs[i].first != first {
		return ref{}, false
	}
	return refs[i], true
}

// carryData carries a chunk of g forward if it is the one that old points at.
func (c *committer) carryData(sh *shard, old ref, g *group, ch *chunk.Chunk) {
	if old.group.parts != nil {
		for _, p := range old.group.parts {
			if p == g {
				c.carrySpan(sh, old)
				return
			}
		}
		return
	}
	if old.group != g || int(old.offset) != ch.Offset {
		return
	}
	c.ensure(ch.Size)
	d := &c.draft
	at := len(d.buf)
	buf := append(d.buf, g.payload[ch.Offset:ch.Offset+ch.Size]...)
	chunk.SetFlag(buf[at:], chunk.Moved)
	old.group, old.offset = nil, uint32(at)
	c.add(buf, effect{kind: effectMove, shard: sh, ref: old})
}

// carrySpan writes all parts of a span again.
func (c *committer) carrySpan(sh *shard, old ref) {
	c.commit()
	if c.failed != nil {
		return
	}
	span, err := c.writeSpan(old.group.payload, chunk.Moved)
	if err != nil {
		return // no room now, or the end
	}
	old.group = span
	c.publish(&effect{kind: effectMove, shard: sh, ref: old}, nil)
}

// carryState writes the shard's state again, whole this time.
func (c *committer) carryState(sh *shard) {
	st := state{control: sh.mu.ctl, next: sh.mu.next, last: sh.mu.last, producers: sh.producers, whole: true}
	if stateSize(&st.control, len(st.producers)) > c.store.maxGroup-chunk.GroupHeaderSize {
		return // its group stays
	}
	c.putState(sh, &st)
}
