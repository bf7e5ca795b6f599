package shardlog

import "github.com/headrace/headrace/internal/record"

// maxKeptEffects is how many effects a draft's room is kept for.
const maxKeptEffects = 16 << 10

// settle ends the draft: its effects become visible, with g as the group of those that name none,
// or nothing of it happened because of err. Then the requests that end with it are finished.
func (c *committer) settle(g *group, err error) {
	d := &c.draft
	if err == nil {
		for i := range d.effects {
			c.publish(&d.effects[i], g)
		}
	} else {
		for _, res := range d.results {
			*res = Result{Err: err}
		}
		for _, r := range d.controls {
			r.err = err
		}
		clear(c.opening)
	}
	for _, sh := range d.touched {
		c.unstage(sh)
	}
	c.report()
	for _, r := range d.done {
		if c.failed != nil {
			r.err = c.failed
		}
		if c.store.cfg.inline {
			c.unanswered = append(c.unanswered, r)
			continue
		}
		c.store.finish(r)
	}
	clear(d.effects)
	clear(d.touched)
	clear(d.results)
	clear(d.controls)
	clear(d.done)
	if cap(d.effects) > maxKeptEffects {
		*d = draft{}
		return
	}
	*d = draft{effects: d.effects[:0], touched: d.touched[:0], results: d.results[:0],
		controls: d.controls[:0], done: d.done[:0]}
}

func (c *committer) unstage(sh *shard) {
	sh.stage.active, sh.stage.dropped, sh.stage.ctl = false, false, control{}
	if cap(sh.stage.producers) > 64 {
		sh.stage.producers = nil
	}
	sh.mu.Lock()
	sh.mu.frozen = 0
	sh.mu.Unlock()
	c.expire(sh, c.draft.now)
}

// report makes the committer's counts visible to Stats.
func (c *committer) report() {
	st := &c.store.stats
	st.held.Store(c.held())
	st.live.Store(c.live)
	st.groups.Store(int64(len(c.groups) - c.head))
	st.chunks.Store(c.chunks)
	st.slabs.Store(int64(c.slabs.Made()))
	if t := c.tier; t != nil {
		st.files.Store(int64(len(t.files)))
		st.stored.Store(t.stored)
		st.unflushed.Store(t.fresh.bytes + t.frozen.bytes)
	}
}

// publish makes one effect visible.
func (c *committer) publish(e *effect, g *group) {
	if e.ref.group == nil {
		e.ref.group = g
	}
	sh := e.shard
	switch e.kind {
	case effectData:
		c.publishData(sh, e)
	case effectControl:
		c.publishControl(sh, e)
	case effectDrop:
		c.forget(sh)
	case effectMove:
		if _, ok := sh.find(e.ref.first); !ok {
			return // trimmed meanwhile
		}
		sh.mu.Lock()
		old, _ := sh.mu.tail.insert(e.ref)
		sh.mu.Unlock()
		c.link(&e.ref)
		c.unlink(&old)
	}
}

func (c *committer) publishData(sh *shard, e *effect) {
	if e.producer.ID != 0 {
		sh.remember(e.producer)
	}
	if e.ref.count == 0 {
		return
	}
	c.link(&e.ref)
	c.took(sh, &e.ref)
	if sh.mu.ctl.limited() {
		sh.account.Wrote(int64(e.ref.size))
	}
	sh.mu.Lock()
	sh.mu.tail.push(e.ref)
	sh.mu.next, sh.mu.last = e.ref.end(), e.ref.arrival
	if len(sh.mu.waiters) > 0 {
		sh.wake(false)
	}
	sh.mu.Unlock()
}

func (s *shard) remember(p Producer) {
	if s.producers == nil {
		s.producers = make(map[uint64]Producer)
	}
	s.producers[p.ID] = p
}

func (c *committer) publishControl(sh *shard, e *effect) {
	if c.opening[sh.id] == sh {
		delete(c.opening, sh.id)
		sh.born = e.ref.group.pos
		c.store.shards.Lock()
		c.store.shards.m[sh.id] = sh
		c.store.shards.Unlock()
	}
	sh.mu.Lock()
	e.ctl.first = max(e.ctl.first, sh.mu.ctl.first)
	sealed := e.ctl.sealed && !sh.mu.ctl.sealed
	sh.mu.ctl = e.ctl
	if sealed {
		sh.wake(true)
	}
	sh.mu.Unlock()
	if e.whole {
		c.rebase(sh, e.ref)
	}
}

// rebase notes where the shard's last whole state stands.
func (c *committer) rebase(sh *shard, base ref) {
	if c.tier != nil {
		return // manifests hold the states
	}
	c.want(base.group, int64(base.size))
	c.unbase(sh)
	sh.base = base
}

func (c *committer) unbase(sh *shard) {
	if sh.base.group != nil {
		c.want(sh.base.group, -int64(sh.base.size))
	}
	sh.base = ref{}
}

// forget drops the shard.
func (c *committer) forget(sh *shard) {
	c.store.shards.Lock()
	delete(c.store.shards.m, sh.id)
	c.store.shards.Unlock()
	sh.mu.Lock()
	sh.mu.dropped = true
	refs := sh.mu.tail.refs()
	sh.mu.tail = tail{}
	if c.tier != nil {
		c.dropSpans(sh, len(sh.mu.spans))
	}
	sh.wake(true)
	sh.mu.Unlock()
	for i := range refs {
		c.unlink(&refs[i])
	}
	c.closeAccount(sh)
	c.unbase(sh)
	sh.producers = nil
}

// want counts n more bytes of g as wanted, or fewer.
func (c *committer) want(g *group, n int64) {
	g.live += n
	c.live += n
}

// link counts a chunk that a tail points at.
func (c *committer) link(r *ref) {
	c.chunks++
	if r.group.parts == nil {
		c.want(r.group, int64(r.size))
		return
	}
	c.spanBytes += int64(len(r.group.payload))
	for i, g := range r.group.parts {
		c.want(g, r.group.partSizes[i])
	}
}

// unlink undoes link.
func (c *committer) unlink(r *ref) {
	c.chunks--
	if r.group.parts == nil {
		c.want(r.group, -int64(r.size))
		return
	}
	c.spanBytes -= int64(len(r.group.payload))
	for i, g := range r.group.parts {
		c.want(g, -r.group.partSizes[i])
	}
}

// expire lets go of the chunks that have been trimmed.
func (c *committer) expire(sh *shard, now record.Millis) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.mu.dropped {
		return
	}
	refs := sh.mu.tail.refs()
	if len(refs) == 0 && len(sh.mu.spans) == 0 {
		return
	}
	first := sh.firstAt(now)
	if spans := sh.mu.spans; len(spans) > 0 {
		n := 0
		for n < len(spans) && spans[n].member().Next <= first {
			sh.mu.ctl.first = max(sh.mu.ctl.first, spans[n].member().Next)
			n++
		}
		c.dropSpans(sh, n)
		c.countPartial(sh, first)
	}
	if c.tier != nil {
		sh.mu.ctl.first = max(sh.mu.ctl.first, first) // whatever is held begins here
	}
	n := seek(refs, first)
	if n == 0 {
		return
	}
	sh.mu.ctl.first = max(sh.mu.ctl.first, refs[n-1].end())
	c.gave(sh, refs[:n])
	for i := range refs[:n] {
		c.unlink(&refs[i])
	}
	sh.mu.tail.pop(n)
}
