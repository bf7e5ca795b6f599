package shardlog

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/block"
	"github.com/headrace/headrace/internal/shardlog/chunk"
	"github.com/headrace/headrace/internal/shardlog/entry"
)

// ownFile is how many bytes of a stream in one flush or merge get a file of their own, so that
// dropping the stream frees its space at once.
const ownFile = 32 << 20

// freeze is every shard's state at a position of the lane, and which records before it are in no
// file yet.
type freeze struct {
	position lane.Position
	states   []byte
	count    uint32
	shards   []frozen
}

// frozen is a shard with records to be stored, up to next.
type frozen struct {
	shard *shard
	next  record.Index
	class class
	bytes int64
}

// freeze takes a snapshot. It runs between drafts: every group below next is published, and every
// batch that spans groups is complete.
func (c *committer) freeze() *freeze {
	fz := &freeze{position: c.next}
	for id, sh := range c.store.shards.m {
		fz.states = binary.LittleEndian.AppendUint64(fz.states, uint64(sh.born))
		fz.states = appendState(fz.states, id, &state{control: sh.mu.ctl, next: sh.mu.next, last: sh.mu.last,
			producers: sh.producers, whole: true})
		fz.count++
		if sh.mu.next > sh.mu.flushed && len(sh.mu.tail.refs()) > 0 {
			fz.shards = append(fz.shards, frozen{shard: sh, next: sh.mu.next, class: classOf(sh.mu.ctl.keep)})
			sh.unstored.Freeze(sh.mu.next)
		}
	}
	slices.SortFunc(fz.shards, func(a, b frozen) int {
		if a.class != b.class {
			return cmp.Compare(a.class, b.class)
		}
		return shardOf(a.shard.id, 0).Compare(shardOf(b.shard.id, 0))
	})
	return fz
}

// pending returns the chunks to be stored. What was trimmed since the freeze is no longer there.
func (fr *frozen) pending(dst []ref) []ref {
	mu := &fr.shard.mu
	mu.Lock()
	defer mu.Unlock()
	refs := mu.tail.refs()
	for i := seek(refs, mu.flushed); i < len(refs) && refs[i].first < fr.next; i++ {
		dst = append(dst, refs[i])
	}
	return dst
}

// plan divides the shards into files: one for each class, and one for each stream that fills it.
func (fz *freeze) plan() [][]frozen {
	var refs []ref
	total := int64(0)
	for i := range fz.shards {
		refs = fz.shards[i].pending(refs[:0])
		for k := range refs {
			fz.shards[i].bytes += int64(refs[k].size)
		}
		total += fz.shards[i].bytes
	}
	var out [][]frozen
	for rest := fz.shards; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].class == rest[0].class {
			n++
		}
		out = append(out, planClass(rest[:n])...)
		rest = rest[n:]
	}
	return out
}

func planClass(shards []frozen) [][]frozen {
	var out [][]frozen
	var shared []frozen
	for len(shards) > 0 {
		n, bytes := 0, int64(0)
		for n < len(shards) && shards[n].shard.id.Stream == shards[0].shard.id.Stream {
			bytes += shards[n].bytes
			n++
		}
		if bytes >= ownFile {
			out = append(out, shards[:n])
		} else {
			shared = append(shared, shards[:n]...)
		}
		shards = shards[n:]
	}
	if len(shared) > 0 {
		out = append(out, shared)
	}
	return out
}

// tailSource yields the records of shards from their tails. The groups they stand in stay as long
// as the lane holds them, which is at least until the flush is done.
type tailSource struct {
	shards []frozen
	own    block.Shard
	refs   []ref
	at     int
	run    block.Run // what is left of the chunk being cut
}

func (ts *tailSource) next() (block.Shard, block.Run, error) {
	for ts.run.Count == 0 {
		if ts.at == len(ts.refs) {
			if len(ts.shards) == 0 {
				return block.Shard{}, block.Run{}, io.EOF
			}
			fr := &ts.shards[0]
			ts.refs, ts.at = fr.pending(ts.refs[:0]), 0
			ts.own = shardOf(fr.shard.id, uint64(fr.shard.born))
			ts.shards = ts.shards[1:]
			continue
		}
		r := &ts.refs[ts.at]
		ts.at++
		ch, wrong := chunk.Decode(r.group.payload[r.offset:])
		if wrong != "" {
			return block.Shard{}, block.Run{}, fmt.Errorf("flush group %d at offset %d: %s: %w", r.group.pos, r.offset, wrong, ErrCorrupt)
		}
		ts.run = block.Run{First: r.first, Arrival: r.arrival, Count: r.count, Records: ch.Records()}
	}
	run, err := cutRun(&ts.run)
	return ts.own, run, err
}

// cutRun takes as many records off the front of r as fit in a piece, at least one.
func cutRun(r *block.Run) (block.Run, error) {
	head := *r
	if len(r.Records) <= block.MaxPiece {
		r.Count = 0
		return head, nil
	}
	var e record.Entry
	rest, n := r.Records, uint32(0)
	for n < r.Count {
		after, ok := entry.Decode(rest, &e)
		if !ok {
			return head, fmt.Errorf("flush record %d: malformed: %w", r.First+record.Index(n), ErrCorrupt)
		}
		if n > 0 && len(r.Records)-len(after) > block.MaxPiece {
			break
		}
		rest, n = after, n+1
	}
	head.Count, head.Records = n, r.Records[:len(r.Records)-len(rest)]
	r.First, r.Count, r.Records = r.First+record.Index(n), r.Count-n, rest
	return head, nil
}

// job is one transaction of the second tier: what the next manifest says, or only objects to
// delete.
type job struct {
	// doomed are keys that no manifest names any more.
	doomed []string
	// manifest is what to store, without the files the flush makes; nil to delete only.
	manifest *manifest
	// freeze is what to flush; nil if the position stays where it is.
	freeze *freeze
	merge  *merge
	// cuts wait for the manifest.
	cuts []*cut
	// pace spreads the flush; nil if it must not wait.
	pace *pacing
}

// outcome is what became of a job.
type outcome struct {
	*job
	files []*file
	// size is the manifest's.
	size int64
	// left are keys that are still to be deleted.
	left []string
	err  error
	// fatal says that nobody knows what is durable.
	fatal bool
}

// run does a job: files first, then the manifest that names them. A file that was stored in part,
// or that no manifest came to name, is deleted and stored anew under another id another time; a
// manifest of which nobody knows whether it is stored ends the process.
func (t *tier) run(ctx context.Context, j *job) outcome {
	o := outcome{job: j, left: t.deleteAll(ctx, j.doomed)}
	if j.manifest == nil {
		return o
	}
	if j.freeze != nil {
		o.files, o.err = t.writeFiles(ctx, j)
	}
	if o.err == nil {
		m := j.manifest
		m.files = append(slices.Clip(m.files), o.files...)
		m.states = t.raiseFirsts(m.states)
		m.time, m.nextFile = record.Millis(t.store.now.Load()), t.nextFile.Load()+1
		o.size, o.err = m.put(ctx, t.store.cfg.Bucket)
		o.fatal = o.err != nil && !errors.Is(o.err, objectstore.ErrFull) && ctx.Err() == nil
	} else {
		o.fatal = errors.Is(o.err, ErrCorrupt) || errors.Is(o.err, block.ErrOrder)
	}
	if o.err != nil && !o.fatal && ctx.Err() == nil {
		for _, f := range o.files {
			o.left = append(o.left, t.deleteAll(ctx, []string{f.key})...)
		}
		o.files = nil
	}
	return o
}

// raiseFirsts returns the states with the oldest records that the shards keep by now: files without
// what comes before them may have been chosen since the states were taken. So a start can tell what
// was let go from what is lost.
func (t *tier) raiseFirsts(states []byte) []byte {
	states = slices.Clone(states)
	le := binary.LittleEndian
	for rest := states; len(rest) > 0; {
		ch, wrong := chunk.Decode(rest[8:])
		if wrong != "" {
			return states // restore will say so
		}
		if first, ok := t.keptFrom(ShardID(ch.ID), le.Uint64(rest)); ok {
			next := record.Index(le.Uint64(ch.Body))
			le.PutUint64(rest[8+24:], uint64(max(ch.First, min(first, next))))
		}
		rest = rest[8+ch.Size:]
	}
	return states
}

// deleteAll deletes objects and returns those that are still there.
func (t *tier) deleteAll(ctx context.Context, keys []string) (left []string) {
	for _, key := range keys {
		if err := t.store.cfg.Bucket.Delete(ctx, key); err != nil {
			left = append(left, key)
		}
	}
	return left
}

// writeFiles stores the records of a job's freeze. On an error it returns the files stored so far.
func (t *tier) writeFiles(ctx context.Context, j *job) ([]*file, error) {
	var out []*file
	parts := j.freeze.plan()
	j.pace.begin(parts)
	for _, shards := range parts {
		src := &tailSource{shards: shards}
		f, err := t.writeFile(ctx, shards[0].class, j.pace.source(ctx, src.next), j.pace.body)
		if f != nil {
			out = append(out, f)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// writeFile stores one file, of what stored makes of its content; it returns nil if the source yields nothing.
func (t *tier) writeFile(ctx context.Context, c class, src block.Source, stored func(*block.Body) io.Reader) (*file, error) {
	sh, run, err := src()
	if err == io.EOF {
		return nil, nil
	}
	first := true
	id := t.nextFile.Add(1)
	body := block.NewBody(id, func() (block.Shard, block.Run, error) {
		if first {
			first = false
			return sh, run, err
		}
		return src()
	})
	info, err := t.store.cfg.Bucket.Put(ctx, fileKey(c, id), stored(body))
	if err != nil {
		return nil, fmt.Errorf("store file %s: %w", fileKey(c, id), err)
	}
	f := newFile(c, body.Layout(), body.Members())
	if info.Size != f.layout.Size {
		return f, fmt.Errorf("store file %s: %d bytes were stored of %d", f.key, info.Size, f.layout.Size)
	}
	return f, nil
}
