package shardlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/block"
)

const (
	// footerBytes is how many bytes of footers are kept in memory.
	footerBytes = 32 << 20
	// readAhead is the most stored bytes a page fetches at once.
	readAhead = 4 << 20
	// maxPooledBlock is the largest buffer that is kept for the next block or the next fetch.
	maxPooledBlock = readAhead + block.MaxPiece
	// maxMarks is how many arrival times of one block are kept for a shard's horizon.
	maxMarks = 1024
)

// class is what sets files apart by how long their records are kept, so that a file's records come
// of age together.
type class uint8

// classes names them in object keys. Class 0 holds what is kept until TrimTo.
var classes = [...]struct {
	name string
	age  time.Duration
}{{"trim", 0}, {"1d", 24 * time.Hour}, {"7d", 168 * time.Hour}, {"30d", 720 * time.Hour}, {"90d", 2160 * time.Hour}, {"365d", 8760 * time.Hour}}

func classOf(keep Retention) class {
	for i := range classes {
		if keep.Age <= classes[i].age {
			return class(i)
		}
	}
	return class(len(classes) - 1)
}

// file is a block file that the store reads from. What it holds never changes; live, bytes, dead
// and busy are the committer's.
type file struct {
	key     string
	class   class
	layout  block.Layout
	members []block.Member
	// owner is the stream that all of it belongs to if that fills a file, else 0.
	owner uint64

	// live counts the members that shards point at; at 0 the file can go. bytes counts what the
	// members take before compression, dead what of it no shard points at.
	live        int
	bytes, dead uint64
	// last is when its newest record arrived.
	last record.Millis
	// busy says that a merge reads the file, or has found it damaged.
	busy bool
}

const blockPrefix = "blocks/"

func newFile(c class, l block.Layout, members []block.Member) *file {
	f := &file{key: fileKey(c, l.ID), class: c, layout: l, members: members}
	for i := range members {
		f.bytes += members[i].Bytes
		f.last = max(f.last, members[i].LastArrival)
	}
	// Members are in the order of streams.
	if n := len(members); f.bytes >= ownFile && members[0].Stream == members[n-1].Stream {
		f.owner = members[0].Stream
	}
	f.dead = f.bytes
	return f
}

func fileKey(c class, id uint64) string {
	return fmt.Sprintf("%s%s/%016x", blockPrefix, classes[c].name, id)
}

// span is a run of a shard's records in a file.
type span struct {
	file *file
	n    int32
}

func (sp span) member() *block.Member { return &sp.file.members[sp.n] }

func shardOf(id ShardID, born uint64) block.Shard {
	return block.Shard{Stream: id.Stream, Number: id.Shard, Born: born}
}

func idOf(s block.Shard) ShardID { return ShardID{Stream: s.Stream, Shard: s.Number} }

// blocks is how readers get at block files. It is safe for concurrent use.
type blocks struct {
	bucket objectstore.Bucket

	footers struct {
		sync.Mutex
		m     map[*file]*cachedFooter
		bytes int
		clock uint64
	}
	buffers sync.Pool // *buffer: decompressed blocks
	fetched sync.Pool // *buffer: stored bytes
}

type cachedFooter struct {
	footer *block.Footer
	used   uint64
}

// buffer is bytes that are used again.
type buffer struct{ b []byte }

func newBlocks(bucket objectstore.Bucket) *blocks {
	b := &blocks{bucket: bucket}
	b.footers.m = make(map[*file]*cachedFooter)
	return b
}

func takeBuffer(p *sync.Pool) *buffer {
	if b, ok := p.Get().(*buffer); ok {
		return b
	}
	return &buffer{}
}

func giveBuffer(p *sync.Pool, b *buffer) {
	if cap(b.b) <= maxPooledBlock {
		p.Put(b)
	}
}

// corrupt makes an error about an object that is not as it was written.
func corrupt(err error) error { return fmt.Errorf("%w: %w", ErrCorrupt, err) }

func damaged(key string, offset int64, what string) error {
	return fmt.Errorf("read object %s at offset %d: %s: %w", key, offset, what, ErrCorrupt)
}

// readRange reads n bytes of an object from offset into dst, grown if need be.
func readRange(ctx context.Context, bucket objectstore.Bucket, key string, offset, n int64, dst []byte) ([]byte, error) {
	body, err := openRange(ctx, bucket, key, offset, n)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if int64(cap(dst)) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	return dst, readFull(body, key, offset, dst)
}

// openRange opens n bytes of an object.
func openRange(ctx context.Context, bucket objectstore.Bucket, key string, offset, n int64) (io.ReadCloser, error) {
	body, err := bucket.Get(ctx, key, offset, n)
	if errors.Is(err, objectstore.ErrRange) {
		return nil, damaged(key, offset, "the object is too short")
	}
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", key, err)
	}
	return body, nil
}

// readFull reads the next bytes of an object, which stand at offset.
func readFull(body io.Reader, key string, offset int64, dst []byte) error {
	_, err := io.ReadFull(body, dst)
	switch {
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return damaged(key, offset, "the object is too short")
	case err != nil:
		return fmt.Errorf("read object %s: %w", key, err)
	}
	return nil
}

// footer returns a file's footer, from memory if it was used lately.
func (b *blocks) footer(ctx context.Context, f *file) (*block.Footer, error) {
	c := &b.footers
	c.Lock()
	if e := c.m[f]; e != nil {
		c.clock++
		e.used = c.clock
		c.Unlock()
		return e.footer, nil
	}
	c.Unlock()
	footer, err := readFooter(ctx, b.bucket, f.key, f.layout)
	if err != nil {
		return nil, err
	}
	if footer.Members() != len(f.members) {
		return nil, damaged(f.key, f.layout.Footer, "the footer has changed")
	}
	c.Lock()
	defer c.Unlock()
	c.clock++
	if c.m[f] == nil {
		c.bytes += footer.Size()
	}
	c.m[f] = &cachedFooter{footer, c.clock}
	for c.bytes > footerBytes && len(c.m) > 1 {
		b.dropOldestLocked()
	}
	return footer, nil
}

func readFooter(ctx context.Context, bucket objectstore.Bucket, key string, l block.Layout) (*block.Footer, error) {
	tail, err := readRange(ctx, bucket, key, l.Footer, l.Size-l.Footer, nil)
	if err != nil {
		return nil, err
	}
	footer, err := block.ParseFooter(key, l, tail)
	if err != nil {
		return nil, corrupt(err)
	}
	return footer, nil
}

func (b *blocks) dropOldestLocked() {
	c := &b.footers
	var oldest *file
	for f, e := range c.m {
		if oldest == nil || e.used < c.m[oldest].used {
			oldest = f
		}
	}
	c.bytes -= c.m[oldest].footer.Size()
	delete(c.m, oldest)
}

// forget drops what is kept of a file that is no more.
func (b *blocks) forget(f *file) {
	c := &b.footers
	c.Lock()
	defer c.Unlock()
	if e := c.m[f]; e != nil {
		c.bytes -= e.footer.Size()
		delete(c.m, f)
	}
}

// ahead is stored bytes of consecutive blocks of one file, asked for at once and read a block at a
// time: what is checked and decoded as it comes is still in the processor's cache.
type ahead struct {
	buf    *buffer
	body   io.ReadCloser
	key    string
	from   int64
	length int64
	// kept says that a page's records stand in buf: in blocks that are not compressed.
	kept bool
	none []byte // room that such blocks do not need
}

// leave ends the fetch and gives the buffer back, or to the page if that reads from it.
func (b *blocks) leave(p *page, a *ahead) {
	if a.buf == nil {
		return
	}
	_ = a.body.Close() // all that was wanted of it was read
	if a.kept {
		p.fetched = append(p.fetched, a.buf)
	} else {
		giveBuffer(&b.fetched, a.buf)
	}
	*a = ahead{}
}

// fill adds the records of sp from p.Next on to the page, as far as the limit allows.
func (b *blocks) fill(ctx context.Context, p *page, sp span, limit Limit) error {
	f, m := sp.file, sp.member()
	if m.First == p.Next && p.holdsAll(limit) {
		p.full, p.NextArrival = true, m.FirstArrival
		return nil
	}
	footer, err := b.footer(ctx, f)
	if err != nil {
		return err
	}
	var a ahead
	defer func() { b.leave(p, &a) }()
	_, end := m.Pieces()
	for i := footer.SeekIndex(m, p.Next); i < end && !p.full; i++ {
		pc := footer.Piece(i)
		if pc.First == p.Next && p.holdsAll(limit) {
			p.full, p.NextArrival = true, pc.Arrival
			return nil
		}
		ref := footer.Block(pc.Block)
		if ref.Offset < a.from || ref.Offset+int64(ref.Length) > a.from+a.length {
			b.leave(p, &a)
			if err := b.fetch(ctx, &a, f, a.plan(footer, m, i, p, limit)); err != nil {
				return err
			}
		}
		if err := b.fillPiece(p, &a, f, m, pc, ref, limit); err != nil {
			return err
		}
	}
	if !p.full && p.Next != m.Next {
		return damaged(f.key, f.layout.Footer, "records are missing from their blocks")
	}
	return nil
}

// plan says how many stored bytes from the block of piece i on the page is likely to need.
func (a *ahead) plan(footer *block.Footer, m *block.Member, i int, p *page, limit Limit) block.Ref {
	_, end := m.Pieces()
	pc := footer.Piece(i)
	at := footer.Block(pc.Block)
	raw, last := int64(at.Raw), pc.Block
	for i++; i < end; i++ {
		next := footer.Piece(i)
		ref := footer.Block(next.Block)
		if next.Block != last+1 || raw > int64(limit.Bytes-p.bytes) ||
			next.First-p.Next >= record.Index(limit.Records-len(p.Records)) || int64(at.Length)+int64(ref.Length) > readAhead {
			break
		}
		at.Length += ref.Length
		raw, last = raw+int64(ref.Raw), next.Block
	}
	return at
}

// fetch begins to fetch the bytes at the given place.
func (b *blocks) fetch(ctx context.Context, a *ahead, f *file, at block.Ref) (err error) {
	body, err := openRange(ctx, b.bucket, f.key, at.Offset, int64(at.Length))
	if err != nil {
		return err
	}
	*a = ahead{buf: takeBuffer(&b.fetched), body: body, key: f.key, from: at.Offset, length: int64(at.Length)}
	if cap(a.buf.b) < int(at.Length) {
		a.buf.b = make([]byte, at.Length)
	}
	a.buf.b = a.buf.b[:0]
	return nil
}

// block returns a block's stored bytes. Blocks are asked for in order.
func (a *ahead) block(ref block.Ref) ([]byte, error) {
	begin := int(ref.Offset - a.from)
	end := begin + int(ref.Length)
	if have := len(a.buf.b); end > have {
		if err := readFull(a.body, a.key, a.from+int64(have), a.buf.b[have:end]); err != nil {
			return nil, err
		}
		a.buf.b = a.buf.b[:end]
	}
	return a.buf.b[begin:end], nil
}

// fillPiece adds the records of one piece. The page keeps the block, as it was fetched or decompressed.
func (b *blocks) fillPiece(p *page, a *ahead, f *file, m *block.Member, pc block.Piece, ref block.Ref, limit Limit) error {
	stored, err := a.block(ref)
	if err != nil {
		return err
	}
	room := &a.none
	if block.Compressed(stored) {
		buf := takeBuffer(&b.buffers)
		p.blocks = append(p.blocks, buf)
		room = &buf.b
	} else {
		a.kept = true
	}
	raw, err := block.Decode(f.key, ref, stored, room)
	if err != nil {
		return corrupt(err)
	}
	runs, err := block.Section(f.key, ref, raw, m, pc)
	if err != nil {
		return corrupt(err)
	}
	for runs.Next() {
		run := &runs.Run
		if run.End() <= p.Next {
			continue
		}
		if run.First > p.Next {
			return damaged(f.key, ref.Offset, "records are missing from their block")
		}
		more, ok := p.fillRun(run.First, run.Arrival, run.Count, run.Records, limit)
		if !ok {
			return damaged(f.key, ref.Offset, "malformed record")
		}
		if !more {
			p.full, p.NextArrival = true, run.Arrival
			return nil
		}
	}
	if runs.Err != nil {
		return corrupt(runs.Err)
	}
	return nil
}

// horizon is what a shard remembers of the block in which its oldest records stand: which of them
// arrived when. It saves reading the block whenever the time is asked.
type horizon struct {
	// before is when the record before marks[0] arrived.
	before record.Millis
	marks  []mark
}

// mark is the first record of those that arrived at a time.
type mark struct {
	first   record.Index
	arrival record.Millis
}

// seek returns the first record that arrived at or after t, if h knows.
func (h *horizon) seek(t record.Millis) (record.Index, bool) {
	if h == nil || t <= h.before || len(h.marks) == 0 || h.marks[len(h.marks)-1].arrival < t {
		return 0, false
	}
	lo, hi := 0, len(h.marks)-1
	for lo < hi {
		if mid := (lo + hi) / 2; h.marks[mid].arrival < t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return h.marks[lo].first, true
}

// horizon reads from sp what arrived at t and after. t lies after the span's first arrival and not
// after its last.
func (b *blocks) horizon(ctx context.Context, sp span, t record.Millis) (*horizon, error) {
	f, m := sp.file, sp.member()
	footer, err := b.footer(ctx, f)
	if err != nil {
		return nil, err
	}
	i := footer.SeekArrival(m, t)
	pc := footer.Piece(i)
	ref := footer.Block(pc.Block)
	var a ahead
	if err := b.fetch(ctx, &a, f, ref); err != nil {
		return nil, err
	}
	defer giveBuffer(&b.fetched, a.buf)
	defer a.body.Close()
	stored, err := a.block(ref)
	if err != nil {
		return nil, err
	}
	room := takeBuffer(&b.buffers)
	defer giveBuffer(&b.buffers, room)
	raw, err := block.Decode(f.key, ref, stored, &room.b)
	if err != nil {
		return nil, corrupt(err)
	}
	runs, err := block.Section(f.key, ref, raw, m, pc)
	if err != nil {
		return nil, corrupt(err)
	}
	h := &horizon{before: pc.Arrival}
	for runs.Next() && len(h.marks) < maxMarks {
		if run := &runs.Run; run.Arrival < t {
			h.before = run.Arrival
		} else {
			h.marks = append(h.marks, mark{run.First, run.Arrival})
		}
	}
	if runs.Err != nil {
		return nil, corrupt(runs.Err)
	}
	if _, end := m.Pieces(); i+1 < end && len(h.marks) < maxMarks {
		pc := footer.Piece(i + 1)
		h.marks = append(h.marks, mark{pc.First, pc.Arrival})
	}
	if _, ok := h.seek(t); !ok {
		return nil, damaged(f.key, ref.Offset, "arrival times are not those of the footer")
	}
	return h, nil
}
