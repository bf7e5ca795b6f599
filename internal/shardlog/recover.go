package shardlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
)

const (
	replayBytes   = 8 << 20 // read from the lane at a time
	fenceAttempts = 100
)

// recover takes the lane over and replays it.
func (c *committer) recover(ctx context.Context) error {
	end, err := c.fence(ctx)
	if err != nil {
		return err
	}
	b, err := c.store.cfg.Lane.Bounds(ctx)
	if err != nil {
		return fmt.Errorf("read lane bounds: %w", err)
	}
	c.next, c.trimmed = b.First, b.First
	if c.tier != nil {
		if c.next, err = c.restore(ctx, b); err != nil {
			return err
		}
	}
	rp := replay{c: c, spans: make(map[ShardID]*pending)}
	ahead := lane.ReadAhead(ctx, c.store.cfg.Lane, c.next, end, replayBytes)
	defer ahead.Stop()
	for c.next < end {
		groups, err := ahead.Next()
		if err != nil {
			return fmt.Errorf("read group %d: %w", c.next, err)
		}
		if len(groups) == 0 {
			return fmt.Errorf("read group %d: the lane ends before %d: %w", c.next, end, ErrCorrupt)
		}
		for _, g := range groups {
			if g.Position != c.next {
				return fmt.Errorf("read group %d: got group %d: %w", c.next, g.Position, ErrCorrupt)
			}
			if err := rp.group(g); err != nil {
				return err
			}
		}
	}
	return rp.finish()
}

// fence appends an empty group so that a former owner's next append fails, and returns the
// position after it. A full lane is taken over without: the first append will tell.
func (c *committer) fence(ctx context.Context) (lane.Position, error) {
	payload := []byte{chunk.Version, 0, 0, 0, 0, 0, 0, 0}
	for range fenceAttempts {
		b, err := c.store.cfg.Lane.Bounds(ctx)
		if err != nil {
			return 0, fmt.Errorf("read lane bounds: %w", err)
		}
		err = c.store.cfg.Lane.Append(ctx, b.Next, payload)
		switch {
		case err == nil:
			return b.Next + 1, nil
		case errors.Is(err, lane.ErrFull):
			return b.Next, nil
		case !errors.Is(err, lane.ErrFenced):
			return 0, fmt.Errorf("fence lane: %w", err)
		}
	}
	return 0, fmt.Errorf("fence lane: another writer keeps appending: %w", lane.ErrFenced)
}

// replay rebuilds the shards from groups read in order.
//
// The lane's front may have been trimmed, so a shard's records may come before anything that says
// what the shard is: it is unresolved until its whole state or its end turns up. Chunks that were
// carried forward come late and go where their index belongs.
type replay struct {
	c *committer
	// spans holds the batches of which not all parts have come. One that never gets its last part
	// was never acknowledged.
	spans map[ShardID]*pending
}

type pending struct {
	*chunk.Span
	group *group
}

func (rp *replay) group(lg lane.Group) error {
	r := chunk.NewReader(lg.Position, lg.Payload)
	if r.Err != nil {
		return r.Err
	}
	g := rp.c.hold(rp.c.slabs.Adopt(lg.Payload))
	for r.Next() {
		if wrong := rp.chunk(g, &r.Chunk); wrong != "" {
			r.Fail(wrong)
		}
	}
	return r.Err
}

// chunk applies one chunk, or says what is wrong with it.
func (rp *replay) chunk(g *group, ch *chunk.Chunk) (wrong string) {
	switch ch.Kind {
	case chunk.Data:
		return rp.data(ref{first: ch.First, arrival: ch.Arrival, group: g, offset: uint32(ch.Offset),
			size: uint32(ch.Size), count: ch.Count, bytes: ch.Bytes}, ch)
	case chunk.Part:
		return rp.part(g, ch)
	case chunk.State:
		return rp.state(g, ch)
	case chunk.Drop:
		delete(rp.spans, ShardID(ch.ID))
		if sh := rp.c.lookup(ShardID(ch.ID)); sh != nil {
			rp.c.forget(sh)
		}
	}
	return ""
}

// shard returns the shard, making an unresolved one if need be.
func (rp *replay) shard(id ShardID) *shard {
	sh := rp.c.lookup(id)
	if sh == nil {
		sh = newShard(id, Retention{})
		sh.mu.next, sh.unresolved, sh.born = 0, true, rp.c.next-1
		rp.c.store.shards.m[id] = sh
	}
	return sh
}

func (rp *replay) data(r ref, ch *chunk.Chunk) (wrong string) {
	if wrong := ch.CheckRecords(); wrong != "" {
		return wrong
	}
	sh := rp.shard(ShardID(ch.ID))
	if ch.Flags&chunk.Moved != 0 {
		return rp.moved(sh, r)
	}
	delete(rp.spans, ShardID(ch.ID))
	if sh.mu.next == 0 {
		sh.mu.next = r.first
	}
	if r.first != sh.mu.next {
		return "records do not follow their shard's"
	}
	if r.arrival < sh.mu.last {
		return "arrival time falls"
	}
	if p := Producer(ch.Producer()); p.ID != 0 {
		sh.remember(p)
	}
	if r.count > 0 {
		rp.c.link(&r)
		rp.c.took(sh, &r)
		sh.mu.tail.push(r)
		sh.mu.next, sh.mu.last = r.end(), r.arrival
	}
	return ""
}

func (rp *replay) moved(sh *shard, r ref) (wrong string) {
	if sh.unresolved {
		sh.mu.next = max(sh.mu.next, r.end())
		sh.mu.last = max(sh.mu.last, r.arrival)
	}
	if r.count == 0 || r.end() > sh.mu.next || r.arrival > sh.mu.last {
		return "moved records were never in their shard"
	}
	rp.c.link(&r)
	rp.c.took(sh, &r)
	if old, replaced := sh.mu.tail.insert(r); replaced {
		rp.c.gave(sh, []ref{old})
		rp.c.unlink(&old)
	}
	return ""
}

func (rp *replay) part(g *group, ch *chunk.Chunk) (wrong string) {
	id := ShardID(ch.ID)
	sp := rp.spans[id]
	if ch.Slice().Number == 0 {
		span, wrong := chunk.NewSpan(ch)
		if wrong != "" {
			return wrong
		}
		sp = &pending{Span: span, group: &group{}}
		rp.spans[id] = sp
	}
	if sp == nil {
		// Its first parts were trimmed, so nobody wants it.
		if sh := rp.c.lookup(id); sh != nil && !sh.unresolved {
			return "part without a beginning"
		}
		return ""
	}
	done, wrong := sp.Add(ch)
	if wrong != "" {
		return wrong
	}
	sp.group.parts = append(sp.group.parts, g)
	sp.group.partSizes = append(sp.group.partSizes, int64(ch.Size))
	if !done {
		return ""
	}
	delete(rp.spans, id)
	return rp.span(sp)
}

// span puts a batch of which all parts have come together.
func (rp *replay) span(sp *pending) (wrong string) {
	sp.group.payload = sp.Encoded()
	ch, wrong := chunk.Decode(sp.group.payload)
	if wrong != "" {
		return wrong
	}
	return rp.data(ref{first: ch.First, arrival: ch.Arrival, group: sp.group, size: uint32(ch.Size), count: ch.Count, bytes: ch.Bytes}, &ch)
}

func (rp *replay) state(g *group, ch *chunk.Chunk) (wrong string) {
	st, ok := decodeState(ch)
	if !ok {
		return "malformed state"
	}
	sh := rp.c.lookup(ShardID(ch.ID))
	switch {
	case sh == nil:
		sh = rp.shard(ShardID(ch.ID))
	case !sh.unresolved && st.next != sh.mu.next:
		return "state does not follow its shard's records"
	}
	st.first = max(st.first, sh.mu.ctl.first)
	if st.first > st.next {
		return "state keeps what its shard has lost"
	}
	sh.mu.ctl, sh.mu.next, sh.mu.last = st.control, st.next, max(st.last, sh.mu.last)
	if st.whole {
		sh.producers, sh.unresolved = st.producers, false
		rp.c.rebase(sh, ref{group: g, offset: uint32(ch.Offset), size: uint32(ch.Size)})
	}
	return ""
}

// finish checks that every shard is known and lets go of what is trimmed.
func (rp *replay) finish() error {
	c := rp.c
	latest := record.Millis(0)
	for id, sh := range c.store.shards.m {
		if sh.unresolved {
			return fmt.Errorf("replay shard %d of stream %d: the lane holds records but not its state: %w", id.Shard, id.Stream, ErrCorrupt)
		}
		latest = max(latest, sh.mu.last)
	}
	c.store.since(latest) // time does not fall through a restart either
	for _, sh := range c.store.shards.m {
		if err := rp.cut(sh); err != nil {
			return err
		}
	}
	c.expireAll(c.store.time())
	if c.tier == nil {
		c.trimHead()
	} else {
		c.evict(0)
	}
	c.report()
	return nil
}

// cut drops what comes before a gap: records go from the front only, so whatever is still held of a
// shard before a gap had been trimmed too. Where a manifest says what was kept, a gap elsewhere is
// damage.
func (rp *replay) cut(sh *shard) error {
	refs := sh.mu.tail.refs()
	n, next := len(refs), sh.mu.next
	ctl := &sh.mu.ctl
	for n > 0 && ctl.jumps.Pass(refs[n-1].end()) == next {
		n--
		next = refs[n].first
	}
	spans := sh.mu.spans
	k := len(spans)
	for k > 0 && ctl.jumps.Pass(spans[k-1].member().Next) >= next {
		k--
		next = min(next, spans[k].member().First)
	}
	if rp.c.restored && ctl.jumps.Pass(ctl.first) < next {
		return fmt.Errorf("recover shard %d of stream %d: neither the lane nor a file holds the records before %d: %w", sh.id.Shard, sh.id.Stream, next, ErrCorrupt)
	}
	rp.c.gave(sh, refs[:n])
	for i := range refs[:n] {
		rp.c.unlink(&refs[i])
	}
	sh.mu.tail.pop(n)
	if rp.c.tier != nil {
		rp.c.dropSpans(sh, k)
	}
	ctl.first = max(ctl.first, next)
	return nil
}
