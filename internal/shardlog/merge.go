package shardlog

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/block"
)

const (
	// mergeFan is how many files of one size make a merge.
	mergeFan = 8
	// levelBase is the size below which all files are alike; each level above is mergeFan as large.
	levelBase = 64 << 10
	// smallFile is the size from which a file is not merged for being small.
	smallFile = 256 << 20
	// maxMerge is how many stored bytes one merge reads at most, if that leaves it two files.
	maxMerge = 1 << 30
)

// merge makes one file of several of the same class, without what no shard wants of them.
//
// Files are merged when mergeFan of about the same size have come together, which keeps their number
// within a few for each class and each power of mergeFan, and costs every byte one more write a
// level; and when more than half of what a file holds is dead.
//
// A stream that fills ownFile gets a file of its own, as in a flush, and such files are merged with
// their own kind only. Mixed with others', a deleted stream's records would stay until half of what
// lies around them has gone too, and letting them go would take room for a copy of the rest.
type merge struct {
	class  class
	inputs []*file
	// files are the result, none if nothing was left to keep.
	files []*file
	err   error
}

// pickMerge returns files that should be merged, nil if there are none. starved says that there are
// some, but no room for what would be made of them: a merge's inputs go only after it is done.
func (t *tier) pickMerge(now record.Millis) (m *merge, starved bool) {
	type kind struct {
		class class
		owner uint64
		level int
	}
	groups := make(map[kind][]*file)
	for _, f := range t.files { // in the order they were made
		if f.busy || f.live == 0 {
			continue
		}
		if f.dead*2 > f.bytes && !f.dying(now) {
			k := kind{f.class, f.owner, -1}
			groups[k] = append(groups[k], f)
		}
		if f.layout.Size < smallFile {
			k := kind{f.class, f.owner, levelOf(f.layout.Size)}
			groups[k] = append(groups[k], f)
		}
	}
	for k, files := range groups {
		if k.level >= 0 && len(files) < t.fan {
			continue
		}
		files = files[:min(len(files), t.fan)]
		n, bytes, room := 0, int64(0), t.store.guard.Spare(k.level < 0)
		for n < len(files) && (n < 2 || bytes+files[n].layout.Size <= maxMerge) && files[n].alive() <= room {
			bytes += files[n].layout.Size
			room -= files[n].alive()
			n++
		}
		if n > 1 || n == 1 && k.level < 0 {
			return &merge{class: k.class, inputs: files[:n:n]}, false
		}
		starved = true
	}
	return nil, starved
}

// alive is about how much of what is stored of the file is not dead.
func (f *file) alive() int64 {
	return int64(float64(f.layout.Size) * (1 - float64(f.dead)/float64(max(f.bytes, 1))))
}

// dying says that all of a file is about to come of age, so that writing the rest of it anew would
// save little.
func (f *file) dying(now record.Millis) bool {
	age := record.Millis(classes[f.class].age.Milliseconds())
	left := f.last + age - now
	return age > 0 && left < age/16 && left > -age/16
}

func levelOf(size int64) int {
	level := 0
	for size /= levelBase; size > 0; size /= mergeFan {
		level++
	}
	return level
}

// runMerge writes the new files. Nothing names them until a manifest does.
func (t *tier) runMerge(ctx context.Context, m *merge) {
	var items []wanted
	for _, f := range m.inputs {
		in := &input{file: f, block: -1}
		for n := range f.members {
			if from, ok := t.wanted(&f.members[n]); ok {
				items = append(items, wanted{in, &f.members[n], from})
			}
		}
	}
	slices.SortFunc(items, func(a, b wanted) int {
		if c := a.member.Compare(b.member.Shard); c != 0 {
			return c
		}
		return cmp.Compare(a.member.First, b.member.First)
	})
	for _, part := range divide(items) {
		src := &fileSource{blocks: t.store.blocks, items: part}
		f, err := t.writeFile(ctx, m.class, func() (block.Shard, block.Run, error) { return src.next(ctx) }, t.mergeBody)
		if f != nil {
			m.files = append(m.files, f)
		}
		if m.err = err; err != nil {
			return
		}
	}
}

// divide divides members into files: one for each stream that fills it, and one for the others.
func divide(items []wanted) (parts [][]wanted) {
	var shared []wanted
	for len(items) > 0 {
		n, bytes := 0, uint64(0)
		for n < len(items) && items[n].member.Stream == items[0].member.Stream {
			bytes += items[n].member.Bytes
			n++
		}
		if bytes >= ownFile {
			parts = append(parts, items[:n:n])
		} else {
			shared = append(shared, items[:n]...)
		}
		items = items[n:]
	}
	if len(shared) > 0 {
		parts = append(parts, shared)
	}
	return parts
}

// input is a file being merged, with the block that was read last: each is read once, in order.
type input struct {
	file   *file
	footer *block.Footer
	block  int
	stored []byte
	raw    []byte // a part of stored, or in room
	room   []byte
}

// wanted is a member that a shard wants from an index on.
type wanted struct {
	*input
	member *block.Member
	from   record.Index
}

// fileSource yields the records of members, in their order.
type fileSource struct {
	blocks *blocks
	items  []wanted
	// runs are those of the piece before piece; the pieces of items[0] end at end.
	runs       block.Runs
	piece, end int
}

func (fs *fileSource) next(ctx context.Context) (block.Shard, block.Run, error) {
	for {
		for fs.piece > 0 && fs.runs.Next() {
			if it := &fs.items[0]; fs.runs.Run.End() > it.from {
				return it.member.Shard, fs.runs.Run, nil
			}
		}
		if fs.runs.Err != nil {
			return block.Shard{}, block.Run{}, corrupt(fs.runs.Err)
		}
		if fs.piece > 0 && fs.piece == fs.end {
			fs.items, fs.piece = fs.items[1:], 0
		}
		if len(fs.items) == 0 {
			return block.Shard{}, block.Run{}, io.EOF
		}
		if err := fs.open(ctx, &fs.items[0]); err != nil {
			return block.Shard{}, block.Run{}, fmt.Errorf("merge: %w", err)
		}
	}
}

// open begins the next piece of it.
func (fs *fileSource) open(ctx context.Context, it *wanted) (err error) {
	if it.footer == nil {
		if it.footer, err = fs.blocks.footer(ctx, it.file); err != nil {
			return err
		}
	}
	if fs.piece == 0 {
		fs.piece, fs.end = it.member.Pieces()
		if it.from > it.member.First {
			fs.piece = it.footer.SeekIndex(it.member, it.from)
		}
	}
	p := it.footer.Piece(fs.piece)
	ref := it.footer.Block(p.Block)
	if p.Block != it.block {
		it.stored, err = readRange(ctx, fs.blocks.bucket, it.file.key, ref.Offset, int64(ref.Length), it.stored)
		if err != nil {
			return err
		}
		if it.raw, err = block.Decode(it.file.key, ref, it.stored, &it.room); err != nil {
			return corrupt(err)
		}
		it.block = p.Block
	}
	if fs.runs, err = block.Section(it.file.key, ref, it.raw, it.member, p); err != nil {
		return corrupt(err)
	}
	fs.piece++
	return nil
}

// wanted says whether a shard wants something of a member, and from which index on.
func (t *tier) wanted(m *block.Member) (from record.Index, ok bool) {
	from, ok = t.keptFrom(idOf(m.Shard), m.Born)
	return from, ok && from < m.Next
}

// keptFrom returns the index before which a shard has let go of everything, false if there is no such
// shard.
func (t *tier) keptFrom(id ShardID, born uint64) (record.Index, bool) {
	s := t.store
	s.shards.RLock()
	sh := s.shards.m[id]
	s.shards.RUnlock()
	if sh == nil || uint64(sh.born) != born {
		return 0, false
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.mu.ctl.first, !sh.mu.dropped
}
