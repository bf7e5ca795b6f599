package shardlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
	"github.com/headrace/headrace/internal/shardlog/slab"
)

// sweepPause is how long, at least, a full store waits between two looks at every shard.
const sweepPause = 100 // milliseconds

// committer is the goroutine that changes a Store, and what it alone knows: which groups the lane
// holds, what of them is wanted, and the group being built.
type committer struct {
	store *Store
	// opening holds the shards that the draft creates.
	opening map[ShardID]*shard
	// groups[head:] are the lane's groups, oldest first; the next gets position next.
	groups []*group
	head   int
	next   lane.Position
	// trimmed is the position the lane was last trimmed to.
	trimmed lane.Position
	// laneBytes counts the chunks in the lane's groups, spanBytes the chunks put together from
	// parts, live what of laneBytes is wanted, chunks the refs in all tails.
	laneBytes, spanBytes, live, chunks int64

	// tier is nil for a store in memory. restored says that a manifest was found.
	tier     *tier
	restored bool

	slabs slab.Pool
	// dropped are the slabs of groups that are gone but not yet trimmed from the lane, one entry a
	// group.
	dropped []*slab.Slab

	draft draft
	// waiting is how many bytes of the requests taken are still to be dealt with.
	waiting int
	// current is the control request being run.
	current *request
	sweptAt record.Millis
	failed  error
	// unanswered are complete, but wait until the second tier is at rest: inline stores answer only
	// then, or what a test does next could come before what it did is carried out.
	unanswered []*request
}

// draft is the group being built, and what it will change once it is durable.
type draft struct {
	buf      []byte
	chunks   uint32
	now      record.Millis // for retention
	arrival  record.Millis // what the clock says, for what arrives
	effects  []effect
	touched  []*shard
	results  []*Result  // verdicts that hold only if the group is written
	controls []*request // control requests whose outcome holds only if the group is written
	done     []*request // requests that are complete with this group
}

type effectKind uint8

const (
	effectData effectKind = iota
	effectControl
	effectDrop
	effectMove
)

// effect is what one chunk changes. ref.group is nil for a chunk of the draft itself.
type effect struct {
	kind     effectKind
	whole    bool
	shard    *shard
	ref      ref
	producer Producer
	ctl      control
}

func (c *committer) run() {
	sweep := time.NewTicker(c.store.cfg.Sweep)
	defer sweep.Stop()
	var spare []*request
	if c.tier != nil {
		c.guardSpace() // before a merge begins
		c.reclaim()    // recovery may have brought more than the memory is meant for
	}
	for c.failed == nil {
		take, down := c.take(spare)
		spare = take[:0]
		if len(take) > 0 {
			c.serve(take)
			c.reclaim()
			c.answer()
			clear(take)
			select { // a busy store sweeps too
			case <-sweep.C:
				c.expireAll(c.store.time())
			default:
			}
			continue
		}
		if down != nil {
			c.stop(down)
			return
		}
		if c.tier != nil && c.tier.finished() {
			c.reclaim()
			continue
		}
		select {
		case <-c.store.wakeup:
		case <-sweep.C:
			c.expireAll(c.store.time())
			c.reclaim()
			c.slabs.Shrink()
		}
	}
	c.stop(c.failed)
	if f := c.store.cfg.Events.Fatal; f != nil {
		f(c.failed)
	}
}

// take returns everything that waits, leaving spare as the next queue.
func (c *committer) take(spare []*request) ([]*request, error) {
	q := &c.store.queue
	q.Lock()
	defer q.Unlock()
	take := q.requests
	q.requests = spare
	return take, q.down
}

// stop makes everything answer with the given error, those who wait included.
func (c *committer) stop(why error) {
	s := c.store
	s.shutdown(why)
	if c.tier != nil {
		c.tier.stop()
		c.tier.endCuts(why)
	}
	s.queue.Lock()
	s.queue.down = why
	left := s.queue.requests
	s.queue.requests = nil
	s.queue.Unlock()
	for _, r := range left {
		r.err = why
		s.finish(r)
	}
	s.down.Store(&why)
	s.shards.RLock()
	defer s.shards.RUnlock()
	for _, sh := range s.shards.m {
		sh.mu.Lock()
		sh.mu.tail = tail{} // whoever gets the lock from now on hears why the store is down
		sh.wake(true)
		sh.mu.Unlock()
	}
	c.slabs.Close()
}

// serve deals with the requests in order; when it returns all of them are finished.
func (c *committer) serve(take []*request) {
	c.waiting = 0
	for _, r := range take {
		c.waiting += len(r.buf)
	}
	for _, r := range take {
		if r.alone {
			c.commit()
		}
		if r.control != nil {
			c.current = r
			if err := r.control(c); err != nil {
				r.err = err
			}
			c.current = nil
		}
		for i := range r.items {
			c.decide(&r.items[i], r.buf, &r.results[i])
		}
		c.draft.done = append(c.draft.done, r)
		if r.alone {
			c.commit()
		}
	}
	c.commit()
}

// answer finishes the requests that waited for the second tier.
func (c *committer) answer() {
	for _, r := range c.unanswered {
		c.store.finish(r)
	}
	clear(c.unanswered)
	c.unanswered = c.unanswered[:0]
}

// lookup returns the shard, nil if there is none.
func (c *committer) lookup(id ShardID) *shard {
	return c.store.shards.m[id] // nobody else writes the map
}

// ensure makes room for a chunk of up to n bytes, committing the draft if it must.
func (c *committer) ensure(n int) {
	d := &c.draft
	if d.chunks > 0 && len(d.buf)+n > c.store.maxGroup {
		c.commit()
	}
	if d.buf == nil {
		room := chunk.GroupHeaderSize + max(n, min(c.waiting+n, c.store.maxGroup-chunk.GroupHeaderSize))
		d.buf = append(c.slabs.Room(room), make([]byte, chunk.GroupHeaderSize)...)
	}
}

// stage returns how the shard will stand once the draft is durable.
func (c *committer) stage(sh *shard) *stage {
	st := &sh.stage
	if !st.active {
		d := &c.draft
		if len(d.touched) == 0 {
			d.arrival = record.MillisOf(c.store.cfg.Clock.Now())
			d.now = c.store.since(d.arrival)
		}
		d.touched = append(d.touched, sh)
		*st = stage{active: true, ctl: sh.mu.ctl, next: sh.mu.next, last: sh.mu.last, producers: st.producers[:0]}
	}
	return st
}

// decide accepts or rejects one batch and stages it if accepted.
func (c *committer) decide(it *item, buf []byte, res *Result) {
	c.waiting -= it.size
	sh := c.lookup(it.id)
	if sh == nil {
		res.Err = ErrNotFound
		return
	}
	spanning := it.size > c.store.maxGroup-chunk.GroupHeaderSize
	if spanning {
		c.commit()
	} else if len(c.draft.buf)+it.size > c.store.maxGroup {
		c.commit()
	}
	if c.failed != nil {
		return
	}
	d, st := &c.draft, c.stage(sh)
	d.results = append(d.results, res)
	if res.Err = c.verdict(sh, it); res.Err != nil {
		return
	}
	res.First, res.ArrivalTime = st.next, max(d.arrival, st.last)
	if it.count == 0 && it.producer.ID == 0 {
		return
	}
	e := effect{kind: effectData, shard: sh, producer: it.producer, ref: ref{
		first: res.First, arrival: res.ArrivalTime, size: uint32(it.size), count: it.count, bytes: it.bytes,
	}}
	if it.count > 0 {
		st.next, st.last = e.ref.end(), res.ArrivalTime
	}
	if it.producer.ID != 0 {
		st.producers = append(st.producers, it.producer)
	}
	encoded := buf[it.offset : it.offset+it.size]
	chunk.Stamp(encoded, res.First, res.ArrivalTime)
	if spanning {
		c.commitSpan(e, slices.Clone(encoded))
		return
	}
	c.ensure(it.size)
	e.ref.offset = uint32(len(d.buf))
	c.add(append(d.buf, encoded...), e)
}

// verdict says whether the batch may be appended. Who wrote it comes before whether the shard is
// sealed: a retry of what landed before the seal must hear that it landed.
func (c *committer) verdict(sh *shard, it *item) error {
	st := &sh.stage
	if it.producer.ID != 0 {
		if err := sh.admit(it.producer); err != nil {
			return err
		}
	}
	switch {
	case st.ctl.sealed:
		return ErrSealed
	case it.tooLarge, record.Index(it.count) > record.MaxIndex+1-st.next:
		return ErrFull
	case it.count == 0 && it.producer.ID == 0:
		return nil
	}
	need := int64(it.size + refCost)
	if it.size > c.store.maxGroup-chunk.GroupHeaderSize {
		need += int64(it.size) + groupCost*int64(c.parts(it.size))
	}
	if st.ctl.limited() {
		if it.count > 0 && !c.admits(sh, it) {
			return ErrFull
		}
		if c.tier != nil {
			reserve := c.store.cfg.Memory / memoryReserve
			if need += reserve; !c.fits(need+reserve) && c.greedy(sh) {
				need += reserve
			}
		}
	}
	if c.fits(need) {
		return nil
	}
	if c.tier != nil {
		if c.evict(need); c.fits(need) {
			return nil
		}
		c.tier.pressed = true
		return ErrFull
	}
	if c.draft.now-c.sweptAt >= sweepPause {
		c.expireAll(c.draft.now)
		c.trimHead()
		if c.fits(need) {
			return nil
		}
	}
	return ErrFull
}

// parts is at most how many groups a chunk takes that is too large for one.
func (c *committer) parts(size int) int {
	return size/(c.store.maxGroup-chunk.GroupHeaderSize-chunk.HeaderSize-chunk.SliceHeaderSize) + 1
}

// admit checks the order of a producer's batches against what is durable and what is staged.
func (s *shard) admit(p Producer) error {
	last, ok := s.producers[p.ID]
	for i := range s.stage.producers {
		if q := s.stage.producers[i]; q.ID == p.ID {
			last, ok = q, true
		}
	}
	switch {
	case !ok || p.Epoch > last.Epoch:
		return nil
	case p.Epoch < last.Epoch:
		return ErrFencedProducer
	case p.Sequence <= last.Sequence:
		return ErrDuplicate
	}
	return nil
}

func (c *committer) held() int64 {
	return c.laneBytes + c.spanBytes + int64(len(c.groups)-c.head)*groupCost + c.chunks*refCost
}

func (c *committer) fits(n int64) bool {
	draft := int64(len(c.draft.buf)) + int64(c.draft.chunks)*refCost + groupCost
	return c.held()+draft+n <= c.store.cfg.Memory
}

// add puts a chunk that has just been appended to the draft's bytes, and its effect, on the draft.
func (c *committer) add(buf []byte, e effect) {
	c.draft.buf = buf
	c.draft.chunks++
	c.draft.effects = append(c.draft.effects, e)
}

// change stages a control change of one shard. f alters ctl and reports whether there is anything
// to write.
func (c *committer) change(id ShardID, f func(*shard, *control) bool) error {
	sh := c.lookup(id)
	if sh == nil {
		return ErrNotFound
	}
	st := c.stage(sh)
	c.draft.controls = append(c.draft.controls, c.current)
	sh.mu.Lock()
	if sh.mu.frozen == 0 {
		sh.mu.frozen = c.store.time()
	}
	now := sh.mu.frozen
	sh.mu.Unlock()
	ctl := st.ctl
	first, err := c.store.lockFirst(context.Background(), sh, &ctl, now)
	if err != nil {
		return err
	}
	sh.mu.Unlock()
	ctl.first = first
	if !f(sh, &ctl) {
		return nil
	}
	size := stateSize(&ctl, 0)
	if size > c.store.maxGroup-chunk.GroupHeaderSize {
		return fmt.Errorf("change shard log: %w", lane.ErrTooLarge)
	}
	if c.draft.chunks > 0 && len(c.draft.buf)+size > c.store.maxGroup {
		c.commit()
		if c.failed != nil {
			return c.failed
		}
		return c.change(id, f) // the stage is gone, and the time it was taken at
	}
	st.ctl = ctl
	c.stageState(sh)
	return nil
}

// stageState stages the state of a shard as its stage has it. The state is whole unless it would
// have to list producers: those are listed when the state is carried forward, not at each change.
//
// REQUIRES: room for the chunk was checked.
func (c *committer) stageState(sh *shard) {
	st := c.stage(sh)
	c.putState(sh, &state{control: st.ctl, next: st.next, last: st.last,
		whole: len(sh.producers) == 0 && len(st.producers) == 0})
}

func (c *committer) putState(sh *shard, st *state) {
	c.ensure(stateSize(&st.control, len(st.producers)))
	d := &c.draft
	at := len(d.buf)
	buf := appendState(d.buf, sh.id, st)
	c.add(buf, effect{kind: effectControl, shard: sh, ctl: st.control, whole: st.whole,
		ref: ref{offset: uint32(at), size: uint32(len(buf) - at)}})
}

// stageDrop stages the end of a shard.
func (c *committer) stageDrop(sh *shard) {
	if sh.stage.active && sh.stage.dropped {
		return
	}
	c.ensure(chunk.HeaderSize)
	c.stage(sh).dropped = true
	d := &c.draft
	at := len(d.buf)
	buf := chunk.End(chunk.AppendHeader(d.buf, &chunk.Chunk{Kind: chunk.Drop, ID: chunk.ID(sh.id)}), at)
	c.add(buf, effect{kind: effectDrop, shard: sh})
	d.controls = append(d.controls, c.current)
}

// commit makes the draft durable and visible and finishes the requests that end with it.
func (c *committer) commit() {
	d := &c.draft
	if d.chunks == 0 || c.failed != nil {
		c.settle(nil, c.failed)
		return
	}
	binary.LittleEndian.PutUint32(d.buf[4:], d.chunks)
	d.buf[0] = chunk.Version
	c.settle(c.write(d.buf))
}

// write appends one group to the lane. An error other than ErrFull and ErrTooLarge is the end.
func (c *committer) write(payload []byte) (*group, error) {
	err := c.store.cfg.Lane.Append(context.Background(), c.next, payload)
	switch {
	case errors.Is(err, lane.ErrFull):
		if c.tier != nil {
			c.tier.pressed = true
		}
		return nil, ErrFull
	case errors.Is(err, lane.ErrTooLarge):
		return nil, err
	case err != nil:
		c.failed = fmt.Errorf("append group %d: %w", c.next, err)
		return nil, c.failed
	}
	return c.hold(payload), nil
}

// hold takes note of a group the lane holds, at position next.
func (c *committer) hold(payload []byte) *group {
	g := &group{pos: c.next, payload: payload, slab: c.slabs.Keep(payload)}
	c.groups = append(c.groups, g)
	c.next++
	c.laneBytes += int64(len(payload) - chunk.GroupHeaderSize)
	if c.tier != nil {
		c.tier.note(payload, c.store.time())
	}
	return g
}

// commitSpan makes a batch durable that is too large for a group. It runs on a draft that holds
// nothing else.
func (c *committer) commitSpan(e effect, encoded []byte) {
	span, err := c.writeSpan(encoded, 0)
	if err == nil {
		e.ref.group = span
		c.draft.effects = append(c.draft.effects, e)
	}
	c.settle(nil, err)
}

// writeSpan writes an encoded data chunk as parts in groups of their own. The batch comes into
// being with the last of them; a span cut short means nothing to anyone.
func (c *committer) writeSpan(encoded []byte, extra chunk.Flags) (*group, error) {
	head, _ := chunk.Decode(encoded)
	span := &group{payload: encoded}
	body := head.Body
	per := c.store.maxGroup - chunk.GroupHeaderSize - chunk.HeaderSize - chunk.SliceHeaderSize
	head.Flags |= extra
	for at := 0; at < len(body); at += per {
		slice := body[at:min(at+per, len(body))]
		buf := make([]byte, chunk.GroupHeaderSize, chunk.GroupHeaderSize+chunk.HeaderSize+chunk.SliceHeaderSize+len(slice))
		buf[0] = chunk.Version
		binary.LittleEndian.PutUint32(buf[4:], 1)
		buf = chunk.AppendPart(buf, head, chunk.Slice{Number: uint32(at / per), Offset: uint64(at), Total: uint64(len(body)), Bytes: slice})
		g, err := c.write(buf)
		if err != nil {
			return nil, err
		}
		span.parts = append(span.parts, g)
		span.partSizes = append(span.partSizes, int64(len(buf)-chunk.GroupHeaderSize))
	}
	return span, nil
}
