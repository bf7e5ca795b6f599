package shardlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
)

const (
	// DefaultFlushAge is how long records wait in the lane for a flush when nothing hurries it.
	DefaultFlushAge = time.Minute
	// maxFlushBytes is the most bytes that make a flush where Config leaves it open.
	maxFlushBytes = 512 << 20
	// retryPause is how long the tier waits after a failure.
	retryPause = record.Millis(1000)
	// laneUnit is what a lane's groups are rounded up to, and what their headers may take.
	laneUnit = 4 << 10
)

// tier is the second tier as the committer sees it: which files there are, and when to make, merge
// and delete some.
//
// A flush begins with a freeze: the committer takes a snapshot of every shard's state at the next
// position of the lane and goes on. A goroutine, the flusher, writes the records before that
// position that are in no file yet into new ones, sorted by shard, then one manifest that names all
// files and carries the snapshot. Only when that is durable does the committer point the shards at
// the new files and trim the lane up to the position. The groups stay in memory, as a cache, until
// room is needed; they go oldest first. Nothing is ever carried forward.
//
// A flush is spread over the time until the next one is due: written as fast as the disk takes it, it
// would have every group wait behind it, and then leave the disk alone until the next one. Package pace
// says when a piece may be written, pacing.go asks it.
//
// Merges write their files in a goroutine of their own, so that a flush need not wait for one, and
// become true with the next manifest, as do deletions: files, manifests and merges' inputs are
// deleted once a manifest that does not name them is durable. Whatever a crash leaves behind is
// either named by the newest manifest, still in the lane, or deleted by the next Open.
//
// When the bucket is full a flush is undone and tried again; the lane and the memory keep
// everything, and streams are refused from then on: what room both have left is for the logs and the
// control changes that make some. Package space has it come that far only if somebody else fills the
// disk.
type tier struct {
	store *Store
	fan   int

	jobs     chan *job
	done     chan outcome
	merges   chan *merge
	mergeOut chan *merge
	cancel   context.CancelFunc
	workers  sync.WaitGroup

	nextFile atomic.Uint64

	// The committer's own.

	files  []*file // by id
	stored int64   // bytes of files
	number uint64  // of the last job: manifests take theirs from it
	stands uint64  // number of the newest manifest, 0 if there is none
	// newest is the freeze of the newest manifest: every group before its position is in files.
	newest *freeze
	// floor is the manifests', begun that the newest still says that its lane is to be made.
	floor record.Index
	begun bool
	// fresh is what came since the last freeze, frozen what is being flushed.
	fresh, frozen backlog
	running       *job // nil if there is none
	merging       bool
	merged        *merge // done, but in no manifest yet
	garbage       []string
	// cutting are the cuts that wait for a flush.
	cutting []*cut
	// deaths counts the files that nobody wants, dirty says that a merge may be due, pressed that
	// an append was refused for want of room, full that the last flush found no room.
	deaths               int
	dirty, pressed, full bool
	retryAt, mergeAt     record.Millis
	cleanAt              record.Millis
}

// backlog is groups that are in no file.
type backlog struct {
	bytes int64 // of chunks
	lane  int64 // about what they take in the lane
	since record.Millis
}

func newTier(s *Store) *tier {
	t := &tier{store: s, fan: mergeFan, newest: &freeze{position: 1}, floor: 1}
	if s.cfg.mergeFan > 0 {
		t.fan = s.cfg.mergeFan
	}
	return t
}

// start starts the goroutines. Tests do without, and have the committer wait.
func (t *tier) start() {
	if t.store.cfg.inline {
		t.cancel = func() {}
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	t.jobs, t.done = make(chan *job, 1), make(chan outcome, 1)
	t.merges, t.mergeOut = make(chan *merge, 1), make(chan *merge, 1)
	t.workers.Go(func() {
		for j := range t.jobs {
			t.done <- t.run(ctx, j)
			t.store.signal()
		}
	})
	t.workers.Go(func() {
		for m := range t.merges {
			t.runMerge(ctx, m)
			t.mergeOut <- m
			t.store.signal()
		}
	})
}

// stop ends what runs and waits for it. A flush that is cut short is one that never happened.
func (t *tier) stop() {
	t.cancel()
	if t.jobs != nil {
		close(t.jobs)
		close(t.merges)
	}
	t.workers.Wait()
}

// finished says that an outcome waits to be collected.
func (t *tier) finished() bool { return len(t.done) > 0 || len(t.mergeOut) > 0 }

// note counts a group that the lane has taken.
func (t *tier) note(payload []byte, now record.Millis) {
	n := int64(len(payload) - chunk.GroupHeaderSize)
	if n == 0 {
		return
	}
	if t.fresh.bytes == 0 {
		t.fresh.since = now
	}
	t.fresh.bytes += n
	took := (n+laneUnit-1)/laneUnit*laneUnit + laneUnit
	t.fresh.lane += took
	t.store.flow.add(n, took)
}

// due says whether it is time for a flush.
func (t *tier) due(now record.Millis) bool {
	cfg := &t.store.cfg
	b := &t.fresh
	if b.bytes == 0 || now < t.retryAt {
		return false
	}
	return t.pressed || b.bytes >= cfg.FlushBytes || now-b.since >= record.Millis(cfg.FlushAge.Milliseconds()) ||
		cfg.LaneBytes > 0 && b.lane >= cfg.LaneBytes/2
}

// tend does what the second tier needs done: it takes in what the goroutines have finished, frees
// memory and gives them more to do. It runs between drafts.
func (c *committer) tend() {
	t := c.tier
	for c.failed == nil {
		c.collect()
		c.evict(0)
		if c.failed != nil || !c.startJob() && !c.startMerge() || !c.store.cfg.inline {
			break
		}
	}
	if !t.store.cfg.inline && c.failed == nil {
		c.startMerge()
	}
}

// startJob begins a flush, a manifest for other reasons, or a deletion, if one is due and none runs.
func (c *committer) startJob() bool {
	t, now := c.tier, c.store.time()
	t.store.flow.hurry.Store(t.pressed || len(t.cutting) > 0)
	if t.running != nil {
		return false
	}
	flush := t.due(now) || len(t.cutting) > 0 && now >= t.retryAt
	other := (t.deaths > 0 || t.merged != nil || t.begun) && (now >= t.retryAt || t.full)
	j := &job{doomed: t.garbage}
	switch {
	case flush || other:
		j.manifest = &manifest{number: t.number + 1, position: t.newest.position, states: t.newest.states, stateCount: t.newest.count, floor: t.floor}
		if flush {
			j.freeze = c.freeze()
			j.manifest.position, j.manifest.states, j.manifest.stateCount = j.freeze.position, j.freeze.states, j.freeze.count
			hurried := t.pressed || len(t.cutting) > 0
			t.frozen, t.fresh, t.pressed = t.fresh, backlog{}, false
			j.cuts, t.cutting = t.cutting, nil
			if !hurried && !t.store.cfg.inline {
				j.pace = t.newPacing()
			}
		}
		j.merge = t.merged
		j.manifest.files = t.keep(j.merge)
	case len(t.garbage) == 0 || now < t.cleanAt:
		return false
	}
	t.garbage, t.full, t.running = nil, false, j
	t.number++
	if t.store.cfg.inline {
		c.finishJob(t.run(context.Background(), j))
		return true
	}
	t.jobs <- j
	return true
}

// keep lists the files that the next manifest names besides new ones.
func (t *tier) keep(m *merge) []*file {
	var out []*file
	for _, f := range t.files {
		if f.live > 0 && (m == nil || !slices.Contains(m.inputs, f)) {
			out = append(out, f)
		}
	}
	if m != nil {
		out = append(out, m.files...)
	}
	return out
}

// startMerge begins a merge if one is due and none runs.
func (c *committer) startMerge() bool {
	t := c.tier
	if t.merging || t.merged != nil || !t.dirty || c.store.time() < t.mergeAt {
		return false
	}
	m, starved := t.pickMerge(c.store.time())
	if m == nil {
		if t.dirty = starved; starved {
			t.mergeAt = c.store.time() + retryPause
		}
		return false
	}
	for _, f := range m.inputs {
		f.busy = true
	}
	t.merging = true
	if t.store.cfg.inline {
		t.runMerge(context.Background(), m)
		c.finishMerge(m)
		return true
	}
	t.merges <- m
	return true
}

func (c *committer) collect() {
	t := c.tier
	select {
	case o := <-t.done:
		c.finishJob(o)
	default:
	}
	select {
	case m := <-t.mergeOut:
		c.finishMerge(m)
	default:
	}
}

// finishMerge takes a merge's files in, to be named by the next manifest.
func (c *committer) finishMerge(m *merge) {
	t := c.tier
	t.merging = false
	if m.err == nil {
		t.merged = m
		return
	}
	t.mergeAt = c.store.time() + retryPause
	for _, f := range m.files {
		t.garbage = append(t.garbage, f.key)
	}
	if errors.Is(m.err, ErrCorrupt) {
		c.stalled(fmt.Errorf("merge files: %w", m.err))
		return // the files stay busy: trying again would not mend them
	}
	for _, f := range m.inputs {
		f.busy = false
	}
	if !errors.Is(m.err, objectstore.ErrNotFound) { // else one of them was let go meanwhile
		c.stalled(fmt.Errorf("merge files: %w", m.err))
	}
}

func (c *committer) stalled(err error) {
	if f := c.store.cfg.Events.Stalled; f != nil {
		f(err)
	}
}

// finishJob makes what a manifest says true for readers, or takes back what the job stood for.
func (c *committer) finishJob(o outcome) {
	t := c.tier
	t.running = nil
	c.store.guard.Moved()
	t.garbage = append(t.garbage, o.left...)
	if len(o.left) > 0 {
		t.cleanAt = c.store.time() + retryPause
	}
	switch {
	case o.err == nil && o.manifest == nil:
		return
	case o.err != nil:
		c.unfreeze(o)
		return
	}
	if t.stands > 0 {
		t.garbage = append(t.garbage, manifestKey(t.stands))
	}
	t.stands, t.begun = o.manifest.number, false
	o.cut()
	if o.freeze != nil || t.fresh.bytes == 0 { // there is room for what is to be flushed
		c.store.guard.Exhausted(false)
	}
	kept := make(map[*file]bool)
	for _, f := range o.manifest.files {
		kept[f] = true
	}
	for _, f := range o.files {
		c.attach(f)
	}
	if o.merge != nil {
		t.merged = nil
		c.swap(o.merge)
	}
	for _, f := range t.files {
		if !kept[f] {
			t.garbage = append(t.garbage, f.key)
			c.store.blocks.forget(f)
		}
	}
	t.setFiles(o.manifest.files)
	if o.freeze != nil {
		for i := range o.freeze.shards {
			fr := &o.freeze.shards[i]
			fr.shard.mu.Lock()
			fr.shard.mu.flushed = max(fr.shard.mu.flushed, fr.next)
			fr.shard.mu.Unlock()
			c.flushed(fr.shard)
		}
		o.freeze.shards = nil
		t.newest, t.frozen = o.freeze, backlog{}
	}
}

// setFiles sets the files there are, and counts them.
func (t *tier) setFiles(files []*file) {
	t.files, t.deaths, t.stored, t.dirty = files, 0, 0, true
	for _, f := range files {
		if t.stored += f.layout.Size; f.live == 0 {
			t.deaths++
		}
	}
}

// unfreeze takes a failed job back.
func (c *committer) unfreeze(o outcome) {
	t := c.tier
	o.cut()
	if o.fatal {
		c.failed = o.err
		return
	}
	full := errors.Is(o.err, objectstore.ErrFull)
	if full {
		c.store.guard.Exhausted(true)
		t.pressed = true // those who are refused from now on will not press
	}
	if o.freeze != nil {
		t.fresh.bytes += t.frozen.bytes
		t.fresh.lane += t.frozen.lane
		t.fresh.since, t.frozen = t.frozen.since, backlog{}
		t.full = full
	}
	t.retryAt = c.store.time() + retryPause
	c.stalled(fmt.Errorf("flush: %w", o.err))
}

// attach points the shards at a file's members.
func (c *committer) attach(f *file) {
	for n := range f.members {
		m := &f.members[n]
		if sh := c.wants(f, n); sh != nil {
			sh.mu.Lock()
			sh.mu.spans = append(sh.mu.spans, span{f, int32(n)})
			c.stores(sh, sh.mu.spans[len(sh.mu.spans)-1:], 1)
			sh.mu.Unlock()
			f.live++
			f.dead -= m.Bytes
		}
	}
}

// wants returns the shard that wants the records of a member, nil if none does.
func (c *committer) wants(f *file, n int) *shard {
	m := &f.members[n]
	sh := c.lookup(idOf(m.Shard))
	if sh == nil || uint64(sh.born) != m.Born || m.Next <= sh.mu.ctl.first {
		return nil
	}
	return sh
}

// swap points the shards at the files of a merge instead of its inputs, each shard at once.
func (c *committer) swap(m *merge) {
	for _, f := range m.files { // a shard is in one of them
		for lo := 0; lo < len(f.members); {
			hi := lo + 1
			for hi < len(f.members) && f.members[hi].Shard == f.members[lo].Shard {
				hi++
			}
			c.swapShard(m, f, lo, hi)
			lo = hi
		}
	}
	for _, in := range m.inputs { // what the merge left out, but its shard has not let go yet
		for n := range in.members {
			if sh := c.lookup(idOf(in.members[n].Shard)); sh != nil {
				sh.mu.Lock()
				c.uncountPartial(sh)
				sh.mu.spans = slices.DeleteFunc(sh.mu.spans, func(sp span) bool {
					if sp.file == in {
						c.accountOf(sh).Stored(-sp.stored())
					}
					return sp.file == in
				})
				sh.mu.Unlock()
			}
		}
	}
}

// swapShard swaps the spans of the shard of members lo to hi-1 of f.
func (c *committer) swapShard(m *merge, f *file, lo, hi int) {
	sh := c.wants(f, hi-1)
	if sh == nil {
		return
	}
	var spans []span
	for _, sp := range sh.mu.spans {
		if !slices.Contains(m.inputs, sp.file) {
			spans = append(spans, sp)
		}
	}
	for n := lo; n < hi; n++ {
		if c.wants(f, n) != nil {
			spans = append(spans, span{f, int32(n)})
			f.live++
			f.dead -= f.members[n].Bytes
		}
	}
	sortSpans(spans)
	sh.mu.Lock()
	// What the merge left out is trimmed for everyone, whatever time they think it is.
	if refs := sh.mu.tail.refs(); len(refs) == 0 || refs[0].first > spans[0].member().First {
		sh.mu.ctl.first = max(sh.mu.ctl.first, spans[0].member().First)
	}
	c.uncountPartial(sh)
	c.stores(sh, sh.mu.spans, -1)
	c.stores(sh, spans, 1)
	sh.mu.spans = spans
	sh.mu.Unlock()
}

func sortSpans(spans []span) {
	slices.SortFunc(spans, func(a, b span) int {
		if a.member().First < b.member().First {
			return -1
		}
		return 1
	})
}

// dropSpans lets go of the first n spans of a shard.
//
// REQUIRES: sh.mu held.
func (c *committer) dropSpans(sh *shard, n int) {
	if n == 0 {
		return
	}
	c.uncountPartial(sh)
	c.stores(sh, sh.mu.spans[:n], -1)
	for _, sp := range sh.mu.spans[:n] {
		sp.file.live--
		sp.file.dead += sp.member().Bytes
		if sp.file.live == 0 {
			c.tier.deaths++
		}
		c.tier.dirty = true
	}
	if sh.mu.spans = sh.mu.spans[n:]; len(sh.mu.spans) == 0 {
		sh.mu.spans, sh.mu.horizon = nil, nil
	}
}

// countPartial counts what the trims of a shard have left dead at the front of its first span. Where
// records come of age it is not worth knowing: the rest of the span follows soon.
//
// REQUIRES: sh.mu held.
func (c *committer) countPartial(sh *shard, first record.Index) {
	if len(sh.mu.spans) == 0 || sh.mu.spans[0].file.class != 0 {
		return
	}
	f, m := sh.mu.spans[0].file, sh.mu.spans[0].member()
	if first <= m.First {
		return
	}
	c.uncountPartial(sh)
	sh.mu.partial = uint64(float64(m.Bytes) * float64(first-m.First) / float64(m.Next-m.First))
	f.dead += sh.mu.partial
	c.tier.dirty = c.tier.dirty || f.dead*2 > f.bytes
}

func (c *committer) uncountPartial(sh *shard) {
	if sh.mu.partial > 0 {
		sh.mu.spans[0].file.dead -= sh.mu.partial
		sh.mu.partial = 0
	}
}

// evict frees groups that are in files: those that nobody points at, and the oldest until need more
// bytes fit the budget.
func (c *committer) evict(need int64) {
	t := c.tier
	if to := t.newest.position; to > c.trimmed && c.store.cfg.Lane.TrimTo(context.Background(), to) == nil {
		c.trimmed = to // after an error the next trim covers it
	}
	for c.head < len(c.groups) && c.first() < c.trimmed {
		g := c.groups[c.head]
		if g.live > 0 && c.fits(need) && c.slabs.Used() <= c.store.cfg.Memory && !c.store.cfg.noCache {
			break
		}
		c.evictGroup(g)
	}
	c.compactGroups()
	c.slabs.Collect(c.store.cfg.Memory)
}

// evictGroup takes the oldest group, and whatever comes before its chunks, out of the tails.
func (c *committer) evictGroup(g *group) {
	for r := chunk.NewReader(g.pos, g.payload); g.live > 0 && r.Next(); {
		ch := &r.Chunk
		sh := c.lookup(ShardID(ch.ID))
		if ch.Kind != chunk.Data && ch.Kind != chunk.Part || ch.Count == 0 || sh == nil || sh.born > g.pos {
			continue
		}
		sh.mu.Lock()
		refs := sh.mu.tail.refs()
		n := 0
		for n < len(refs) && refs[n].first <= ch.First {
			c.unlink(&refs[n])
			n++
		}
		sh.mu.tail.pop(n)
		sh.mu.Unlock()
	}
	c.popGroup()
	c.slabs.Drop(g.slab)
}

// restore reads the newest manifest, rebuilds the shards as they stood at its position and returns
// that: replay goes on from there.
func (c *committer) restore(ctx context.Context, held lane.Bounds) (lane.Position, error) {
	t, bucket := c.tier, c.store.cfg.Bucket
	l, err := list(ctx, bucket)
	if err != nil {
		return 0, err
	}
	m, err := newestManifest(ctx, bucket, &l, held)
	if err != nil {
		return 0, fmt.Errorf("find manifest: %w", err)
	}
	t.number = l.manifest
	t.nextFile.Store(l.file)
	if m == nil {
		m = &manifest{position: held.First, floor: 1}
	} else {
		t.nextFile.Store(max(l.file, m.nextFile))
		t.stands, c.restored = m.number, true
	}
	t.floor, t.begun = m.floor, m.begins
	t.newest = &freeze{position: m.position, states: m.states, count: m.stateCount}
	err = m.eachState(func(born lane.Position, id ShardID, st *state) string {
		if c.lookup(id) != nil {
			return "shard appears twice"
		}
		sh := newShard(id, Retention{})
		sh.born = born
		sh.mu.ctl, sh.mu.next, sh.mu.last, sh.producers = st.control, st.next, st.last, st.producers
		sh.mu.flushed = st.next
		c.store.shards.m[id] = sh
		return ""
	})
	if err != nil {
		return 0, err
	}
	if err := c.openFiles(ctx, m); err != nil {
		return 0, err
	}
	c.store.since(m.time)
	t.removeOrphans(ctx, &l, m)
	return m.position, nil
}

// openFiles reads which members the files of a manifest have.
func (c *committer) openFiles(ctx context.Context, m *manifest) error {
	var files []*file
	for _, f := range m.files {
		footer, err := readFooter(ctx, c.store.cfg.Bucket, f.key, f.layout)
		if errors.Is(err, objectstore.ErrNotFound) {
			err = damaged(f.key, 0, "the object is missing")
		}
		if err != nil {
			return fmt.Errorf("open files of manifest %d: %w", m.number, err)
		}
		for n := range footer.Members() {
			f.members = append(f.members, footer.Member(n))
		}
		f = newFile(f.class, f.layout, f.members)
		files = append(files, f)
		c.attach(f)
	}
	c.tier.setFiles(files)
	for _, sh := range c.store.shards.m {
		sortSpans(sh.mu.spans)
	}
	return nil
}

// removeOrphans deletes what no manifest names: what a crash has left. What cannot be deleted now
// waits.
func (t *tier) removeOrphans(ctx context.Context, l *listed, m *manifest) {
	named := make(map[string]bool)
	for _, f := range m.files {
		named[f.key] = true
	}
	if m.number > 0 {
		named[manifestKey(m.number)] = true
	}
	for _, key := range slices.Concat(l.blocks, l.manifests) {
		if !named[key] {
			t.garbage = append(t.garbage, t.deleteAll(ctx, []string{key})...)
		}
	}
}
