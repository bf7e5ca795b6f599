package shardlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/block"
	"github.com/headrace/headrace/internal/shardlog/chunk"
	"github.com/headrace/headrace/internal/shardlog/entry"
)

// Finding is something that is not as a Store wrote it.
type Finding struct {
	// Object is the key of the object it is in, Group the lane's group; one of the two, or neither
	// where something is missing as a whole.
	Object string
	Group  lane.Position
	// Offset is where in the object or in the group's payload, in bytes.
	Offset int64
	What   string
}

// CheckConfig says what Check reads.
type CheckConfig struct {
	// Lane holds the groups; nil checks the objects only.
	Lane interface {
		Read(ctx context.Context, from lane.Position, maxBytes int) ([]lane.Group, error)
	}
	// Held is what the lane holds.
	Held   lane.Bounds
	Bucket objectstore.Bucket
	// Found is called for each finding.
	Found func(Finding)
	// Journal names a shard whose records Check is to return.
	Journal ShardID
}

// Checked says what Check read.
type Checked struct {
	// Manifest is the number of the manifest that counts, 0 if there is none.
	Manifest uint64
	Files    int
	Shards   int
	// Groups is how many groups were replayed.
	Groups int
	// Journal is what is held of the journal's shard, Commands its records' data by index. They are
	// complete only if nothing was found.
	Journal  Bounds
	Commands map[record.Index][]byte
}

// Check reads everything that Open would recover a Store with a bucket from, and every record in
// its files besides, and changes nothing. No Store may be open. The damage that the bucket itself
// tells of (objectstore.ErrCorrupt) is left to whoever checks the bucket. The error is ctx's, or
// that of a read that failed for another reason than damage.
func Check(ctx context.Context, cfg CheckConfig) (Checked, error) {
	c := &checker{cfg: cfg, shards: make(map[ShardID]*checkedShard)}
	c.out.Commands = make(map[record.Index][]byte)
	l, err := list(ctx, cfg.Bucket)
	if err != nil {
		return c.out, err
	}
	m, err := c.manifests(ctx, &l)
	if err != nil {
		return c.out, err
	}
	if err := c.files(ctx, &l, m); err != nil {
		return c.out, err
	}
	if cfg.Lane != nil && !c.manifestLost {
		if err := c.replay(ctx, m); err != nil {
			return c.out, err
		}
		c.gaps(m)
	}
	c.out.Shards = len(c.shards)
	return c.out, nil
}

// checker follows what Open does, shard by shard, without keeping records.
type checker struct {
	cfg    CheckConfig
	out    Checked
	shards map[ShardID]*checkedShard
	// manifestLost says that it is not known how the shards stood where replay begins; filesLost
	// and laneLost that what is missing in a file or behind a group has been told.
	manifestLost, filesLost, laneLost bool
}

// checkedShard is a shard as far as recovery depends on it.
type checkedShard struct {
	control
	born lane.Position
	// low is the first record that follows the others without a gap, in the lane or before it.
	low, next record.Index
	last      record.Millis
	members   []block.Member
	part      *chunk.Span // a batch of which not all parts have come
}

func (c *checker) object(key string, offset int64, what string) {
	c.cfg.Found(Finding{Object: key, Offset: offset, What: what})
}

// told takes an error about an object, and returns it if it is no damage.
func (c *checker) told(key string, err error) error {
	switch {
	case errors.Is(err, objectstore.ErrCorrupt):
		return nil
	case errors.Is(err, objectstore.ErrNotFound):
		c.object(key, 0, "the object is missing")
		return nil
	case errors.Is(err, ErrCorrupt), errors.Is(err, block.ErrCorrupt):
		what, offset := wording(err)
		c.object(key, offset, what)
		return nil
	}
	return err
}

// wording takes an error about damage apart: what is wrong, and where in its object or group.
func wording(err error) (what string, offset int64) {
	what = strings.TrimSuffix(strings.TrimSuffix(err.Error(), ": "+block.ErrCorrupt.Error()), ": "+ErrCorrupt.Error())
	if _, rest, ok := strings.Cut(what, " at offset "); ok {
		at, rest, _ := strings.Cut(rest, ": ")
		if offset, err := strconv.ParseInt(at, 10, 64); err == nil {
			return rest, offset
		}
	}
	return what, 0
}

// manifests reads every manifest and returns the one that counts, nil if there is none.
func (c *checker) manifests(ctx context.Context, l *listed) (newest *manifest, err error) {
	damage := false
	for _, key := range l.manifests {
		m, err := readManifest(ctx, c.cfg.Bucket, key)
		if err != nil {
			damage = true
			if err := c.told(key, err); err != nil {
				return nil, err
			}
			continue
		}
		newest = m
	}
	held := c.cfg.Held
	switch {
	case newest == nil && damage:
		c.manifestLost = true
	case newest == nil && c.cfg.Lane != nil && held.First > 1:
		c.manifestLost = true
		c.cfg.Found(Finding{What: fmt.Sprintf("no manifest is there, and the lane begins at group %d", held.First)})
	case newest == nil:
	case c.cfg.Lane != nil && (newest.position < held.First || newest.position > held.Next):
		c.manifestLost = true
		if !damage {
			c.object(manifestKey(newest.number), 16, fmt.Sprintf("the manifest goes with position %d of the lane, which holds groups %d to %d", newest.position, held.First, held.Next-1))
		}
	default:
		c.out.Manifest = newest.number
		return newest, c.states(newest)
	}
	return newest, nil
}

// states takes the shards as the manifest has them.
func (c *checker) states(m *manifest) error {
	err := m.eachState(func(born lane.Position, id ShardID, st *state) string {
		if c.shards[id] != nil {
			return "shard appears twice"
		}
		c.shards[id] = &checkedShard{control: st.control, born: born, low: st.next, next: st.next, last: st.last}
		return ""
	})
	if err != nil {
		c.manifestLost = true
		return c.told(manifestKey(m.number), err)
	}
	return nil
}

// files reads every block file to its end. Those that the manifest does not name are left over from
// a crash, and whole like all others.
func (c *checker) files(ctx context.Context, l *listed, m *manifest) error {
	layouts := make(map[string]block.Layout)
	keys := slices.Clone(l.blocks)
	if m != nil {
		for _, f := range m.files {
			layouts[f.key] = f.layout
			if !slices.Contains(keys, f.key) {
				keys = append(keys, f.key)
			}
		}
	}
	for _, key := range keys {
		layout, named := layouts[key]
		err := c.file(ctx, key, layout, named)
		if err != nil {
			c.filesLost = true
			if err := c.told(key, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) file(ctx context.Context, key string, layout block.Layout, named bool) error {
	info, err := c.cfg.Bucket.Stat(ctx, key)
	if err != nil {
		return err
	}
	if !named {
		at := max(info.Size-block.TrailerSize, 0)
		trailer, err := readRange(ctx, c.cfg.Bucket, key, at, info.Size-at, nil)
		if err != nil {
			return err
		}
		if layout, err = block.ParseTrailer(key, info.Size, trailer); err != nil {
			return err
		}
	}
	if info.Size != layout.Size {
		return damaged(key, info.Size, fmt.Sprintf("the file should have %d bytes", layout.Size))
	}
	footer, err := readFooter(ctx, c.cfg.Bucket, key, layout)
	if err != nil {
		return err
	}
	head, err := readRange(ctx, c.cfg.Bucket, key, 0, min(block.HeaderSize, layout.Footer), nil)
	if err != nil {
		return err
	}
	if err := block.CheckHeader(key, layout.ID, head); err != nil {
		return err
	}
	c.out.Files++
	f := checkedFile{c: c, key: key, footer: footer, block: -1}
	for n := range footer.Members() {
		m := footer.Member(n)
		var sh *checkedShard
		if named {
			sh = c.member(key, layout, &m)
		}
		if err := f.member(ctx, &m, sh); err != nil {
			return err
		}
	}
	return f.decodeTo(ctx, footer.Blocks()-1)
}

// member gives a member to the shard that wants it and returns that, nil if none does.
func (c *checker) member(key string, l block.Layout, m *block.Member) *checkedShard {
	sh := c.shards[idOf(m.Shard)]
	if sh == nil || uint64(sh.born) != m.Born || m.Next <= sh.first {
		return nil
	}
	if m.Next > sh.next || m.LastArrival > sh.last {
		c.object(key, l.Footer, fmt.Sprintf("records %d to %d of shard %d of stream %d, which the manifest has only to %d", m.First, m.Next-1, m.Number, m.Stream, sh.next-1))
	}
	sh.members = append(sh.members, *m)
	return sh
}

// checkedFile is a file on its way through Check: one block at a time, in order.
type checkedFile struct {
	c           *checker
	key         string
	footer      *block.Footer
	block       int // in raw, -1 before the first
	stored, raw []byte
	room        []byte
}

// decodeTo reads and decodes the blocks up to block n.
func (f *checkedFile) decodeTo(ctx context.Context, n int) (err error) {
	for f.block < n {
		f.block++
		ref := f.footer.Block(f.block)
		if f.stored, err = readRange(ctx, f.c.cfg.Bucket, f.key, ref.Offset, int64(ref.Length), f.stored); err != nil {
			return err
		}
		if f.raw, err = block.Decode(f.key, ref, f.stored, &f.room); err != nil {
			return err
		}
	}
	return nil
}

// member reads a member's records. sh is the shard that wants them.
func (f *checkedFile) member(ctx context.Context, m *block.Member, sh *checkedShard) error {
	next, last := m.First, m.FirstArrival
	lo, hi := m.Pieces()
	for i := lo; i < hi; i++ {
		p := f.footer.Piece(i)
		if err := f.decodeTo(ctx, p.Block); err != nil {
			return err
		}
		ref := f.footer.Block(p.Block)
		runs, err := block.Section(f.key, ref, f.raw, m, p)
		if err != nil {
			return err
		}
		for runs.Next() {
			if runs.Run.First != next || runs.Run.Arrival < last {
				return damaged(f.key, ref.Offset, "records do not follow each other")
			}
			next, last = runs.Run.End(), runs.Run.Arrival
			if !f.c.records(runs.Run, idOf(m.Shard), sh) {
				return damaged(f.key, ref.Offset, "malformed record")
			}
		}
		if runs.Err != nil {
			return runs.Err
		}
	}
	if next != m.Next || last != m.LastArrival {
		return damaged(f.key, f.footer.Block(f.block).Offset, "records are not those of the footer")
	}
	return nil
}

// records walks a run's records and keeps the data of those that the journal's shard wants.
func (c *checker) records(run block.Run, id ShardID, sh *checkedShard) bool {
	var e record.Entry
	rest, ok := run.Records, true
	for i := range run.Count {
		if rest, ok = entry.Decode(rest, &e); !ok {
			return false
		}
		if at := run.First + record.Index(i); sh != nil && id == c.cfg.Journal && at >= sh.first {
			c.out.Commands[at] = bytes.Clone(e.Data)
		}
	}
	return len(rest) == 0
}

// replay follows the groups that no manifest has taken in.
func (c *checker) replay(ctx context.Context, m *manifest) error {
	next := c.cfg.Held.First
	if m != nil {
		next = m.position
	}
	for next < c.cfg.Held.Next {
		groups, err := c.cfg.Lane.Read(ctx, next, replayBytes)
		if err != nil {
			return fmt.Errorf("read group %d: %w", next, err)
		}
		if len(groups) == 0 {
			return fmt.Errorf("read group %d: the lane ends before %d: %w", next, c.cfg.Held.Next, ErrCorrupt)
		}
		for _, g := range groups {
			if !c.group(g) {
				c.laneLost = true
				return nil
			}
			c.out.Groups++
			next = g.Position + 1
		}
	}
	return nil
}

// group follows one group; it reports false if the group is damaged: what comes after it then makes
// no sense.
func (c *checker) group(g lane.Group) bool {
	r := chunk.NewReader(g.Position, g.Payload)
	wrong := ""
	for wrong == "" && r.Next() {
		wrong = c.chunk(g.Position, &r.Chunk)
	}
	if r.Err != nil {
		wrong, _ = wording(r.Err)
	}
	if wrong != "" {
		c.cfg.Found(Finding{Group: g.Position, Offset: int64(r.At()), What: wrong})
	}
	return wrong == ""
}

// chunk follows one chunk, or says what is wrong with it.
func (c *checker) chunk(at lane.Position, ch *chunk.Chunk) (wrong string) {
	sh := c.shards[ShardID(ch.ID)]
	switch {
	case ch.Kind == chunk.Drop:
		delete(c.shards, ShardID(ch.ID))
		if ShardID(ch.ID) == c.cfg.Journal {
			clear(c.out.Commands)
		}
		return ""
	case ch.Kind == chunk.State:
		return c.state(at, sh, ch)
	case sh == nil:
		return fmt.Sprintf("records of shard %d of stream %d, which does not exist", ShardID(ch.ID).Shard, ShardID(ch.ID).Stream)
	case ch.Kind == chunk.Part:
		return c.part(sh, ch)
	}
	return c.data(sh, ch)
}

func (c *checker) state(at lane.Position, sh *checkedShard, ch *chunk.Chunk) (wrong string) {
	st, ok := decodeState(ch)
	switch {
	case !ok:
		return "malformed state"
	case sh == nil:
		c.shards[ShardID(ch.ID)] = &checkedShard{control: st.control, born: at, low: st.next, next: st.next, last: st.last}
		return ""
	case st.next != sh.next:
		return "state does not follow its shard's records"
	}
	if st.first = max(st.first, sh.first); st.first > st.next {
		return "state keeps what its shard has lost"
	}
	sh.control, sh.last = st.control, max(st.last, sh.last)
	return ""
}

func (c *checker) data(sh *checkedShard, ch *chunk.Chunk) (wrong string) {
	if wrong := ch.CheckRecords(); wrong != "" {
		return wrong
	}
	run := block.Run{First: ch.First, Arrival: ch.Arrival, Count: ch.Count, Records: ch.Records()}
	switch {
	case ch.Flags&chunk.Moved != 0:
		return ""
	case ch.First != sh.next:
		return "records do not follow their shard's"
	case ch.Arrival < sh.last:
		return "arrival time falls"
	}
	sh.part = nil
	if ch.Count > 0 {
		sh.next, sh.last = run.End(), ch.Arrival
	}
	c.records(run, ShardID(ch.ID), sh)
	return ""
}

func (c *checker) part(sh *checkedShard, ch *chunk.Chunk) (wrong string) {
	if ch.Slice().Number == 0 {
		if sh.part, wrong = chunk.NewSpan(ch); wrong != "" {
			return wrong
		}
	}
	if sh.part == nil {
		return "part without a beginning"
	}
	done, wrong := sh.part.Add(ch)
	if !done || wrong != "" {
		return wrong
	}
	whole, wrong := chunk.Decode(sh.part.Encoded())
	if wrong != "" {
		return wrong
	}
	return c.data(sh, &whole)
}

// gaps looks for records that are still kept and neither in the lane nor in a file. Where damage
// that explains them has been told it looks for none.
func (c *checker) gaps(m *manifest) {
	if c.filesLost || c.laneLost || c.manifestLost {
		return
	}
	now := record.Millis(0)
	if m != nil {
		now = m.time
	}
	for _, sh := range c.shards {
		now = max(now, sh.last)
	}
	for id, sh := range c.shards {
		slices.SortFunc(sh.members, func(a, b block.Member) int {
			if a.First < b.First {
				return -1
			}
			return 1
		})
		for k := len(sh.members); k > 0 && sh.jumps.Pass(sh.members[k-1].Next) >= sh.low; k-- {
			sh.low = min(sh.low, sh.members[k-1].First)
		}
		// As a start does: what the manifest says is kept was not let go by then.
		if first := sh.jumps.Pass(sh.first); m != nil && first < sh.low {
			c.object(manifestKey(m.number), 0, fmt.Sprintf("neither the lane nor a file holds records %d to %d of shard %d of stream %d", first, sh.low-1, id.Shard, id.Stream))
		}
		if id == c.cfg.Journal {
			c.out.Journal = Bounds{First: max(sh.low, sh.kept(now)), Next: sh.next, LastArrival: sh.last, Sealed: sh.sealed}
		}
	}
}

// kept returns the oldest record kept at the given time, or one before it in the same member.
func (sh *checkedShard) kept(now record.Millis) record.Index {
	first := sh.trim
	if sh.keep.Age > 0 {
		aged := sh.low
		if i := slices.IndexFunc(sh.members, func(m block.Member) bool { return m.LastArrival >= sh.cutoff(now) }); i >= 0 {
			aged = min(aged, sh.members[i].First)
		}
		first = max(first, aged)
	}
	for _, h := range sh.holds {
		first = min(first, h.from)
	}
	return sh.jumps.Pass(max(first, sh.first))
}
