package shardlog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
	"github.com/headrace/headrace/internal/shardlog/entry"
)

// maxPooledRecords is the most records a pooled page has room for: enough for the 10,000 that
// GetRecords returns.
const maxPooledRecords = 16 << 10

// page is a Page with what it is built from.
type page struct {
	Page
	refs []ref
	// blocks are the decompressed blocks that records alias, fetched those that were not compressed;
	// bytes is the size of the records.
	blocks, fetched []*buffer
	bytes           int
	// full says that the limit is reached and NextArrival known.
	full bool
}

func (s *Store) newPage() *page {
	p, _ := s.pages.Get().(*page)
	if p == nil {
		p = &page{}
		p.release = func(*Page) { s.recyclePage(p) }
	}
	return p
}

func (s *Store) recyclePage(p *page) {
	unpin(p.refs)
	if cap(p.Records) > maxPooledRecords {
		p.Records = nil
	}
	clear(p.Records)
	clear(p.refs)
	for _, b := range p.blocks {
		giveBuffer(&s.blocks.buffers, b)
	}
	for _, b := range p.fetched {
		giveBuffer(&s.blocks.fetched, b)
	}
	clear(p.blocks)
	clear(p.fetched)
	p.blocks, p.fetched, p.bytes, p.full = p.blocks[:0], p.fetched[:0], 0, false
	p.Page = Page{Records: p.Records[:0], release: p.release}
	p.refs = p.refs[:0]
	s.pages.Put(p)
}

// Read implements Log.
func (s *Store) Read(ctx context.Context, id ShardID, from record.Index, limit Limit) (*Page, error) {
	sh, err := s.lookup(ctx, id)
	if err != nil {
		return nil, err
	}
	p := s.newPage()
	if err := s.read(ctx, sh, p, from, limit); err != nil {
		s.recyclePage(p)
		return nil, err
	}
	return &p.Page, nil
}

// staleReads is how often a read begins anew because the file it was about to read is gone. Each
// time the shard has been given another file for the same records.
const staleReads = 10

// read fills p: from files as long as the tail does not hold the next record, then from the tail.
func (s *Store) read(ctx context.Context, sh *shard, p *page, from record.Index, limit Limit) error {
	first, err := s.lockFirst(ctx, sh, nil, s.time())
	if err != nil {
		return err
	}
	p.Bounds, p.Next = sh.boundsFrom(first), max(from, first)
	for stale := 0; ; {
		sp, stored, err := sh.gather(p, limit)
		sh.mu.Unlock()
		if err != nil {
			return err
		}
		if !stored {
			return p.fill(limit)
		}
		switch err := s.blocks.fill(ctx, p, sp, limit); {
		case errors.Is(err, objectstore.ErrNotFound) && stale < staleReads:
			stale++
		case errors.Is(err, objectstore.ErrNotFound):
			return damaged(sp.file.key, 0, "the object is missing")
		case err != nil:
			return err
		case p.full:
			return nil
		}
		sh.mu.Lock()
		if err := s.gone(sh); err != nil {
			sh.mu.Unlock()
			return err
		}
		if first := sh.mu.ctl.first; first > p.Next { // trimmed meanwhile: the page ends here
			p.Next, limit.Records = first, len(p.Records)
		}
		p.Bounds = sh.boundsFrom(max(p.Bounds.First, sh.mu.ctl.first))
	}
}

// lockFirst locks sh and returns its oldest record kept at the given time under ctl, nil for the
// shard's own. It unlocks to read a block where that is needed. On an error sh is not locked.
func (s *Store) lockFirst(ctx context.Context, sh *shard, ctl *control, now record.Millis) (record.Index, error) {
	var h *horizon
	for stale := 0; ; {
		sh.mu.Lock()
		use := ctl
		if use == nil {
			use = &sh.mu.ctl
		}
		if err := s.gone(sh); err != nil {
			sh.mu.Unlock()
			return 0, err
		}
		lo, hi := sh.firstUnder(use, now, h)
		if lo == hi {
			if h != nil {
				sh.mu.horizon = h
			}
			return lo, nil
		}
		at := now
		if sh.mu.frozen != 0 {
			at = min(at, sh.mu.frozen)
		}
		t := use.cutoff(at)
		_, _, sp := sh.seek(t, h)
		sh.mu.Unlock()
		var err error
		if h, err = s.blocks.horizon(ctx, sp, t); err != nil {
			if stale++; !errors.Is(err, objectstore.ErrNotFound) || stale > staleReads {
				return 0, fmt.Errorf("find oldest record: %w", err)
			}
		}
	}
}

// gone says why nothing can be read of a shard any more, if that is so: a store that is down has
// taken the tails away.
//
// REQUIRES: sh.mu held.
func (s *Store) gone(sh *shard) error {
	if err := s.down.Load(); err != nil {
		return *err
	}
	if sh.mu.dropped {
		return ErrNotFound
	}
	return nil
}

// warm reads what a control change will ask of the shard, so that the committer need not.
func (s *Store) warm(ctx context.Context, id ShardID) {
	if s.blocks == nil {
		return
	}
	if sh, err := s.lookup(ctx, id); err == nil {
		if _, err := s.lockFirst(ctx, sh, nil, s.time()); err == nil {
			sh.mu.Unlock()
		}
	}
}

// gather notes in p the chunks of the tail that a page may need, and the one after it for
// NextArrival, and pins them, so that the records can be taken out of them without the lock. If the
// record at p.Next is not in the tail it notes nothing and returns the span of a file that holds it.
//
// REQUIRES: s.mu held.
func (s *shard) gather(p *page, limit Limit) (sp span, stored bool, err error) {
	refs := s.mu.tail.refs()
	p.Next = s.mu.ctl.jumps.Pass(p.Next)
	if p.Next < s.mu.next && (len(refs) == 0 || p.Next < refs[0].first) {
		if sp, stored = s.spanAt(p.Next); !stored {
			return sp, false, fmt.Errorf("read shard %d of stream %d: no file holds record %d: %w", s.id.Shard, s.id.Stream, p.Next, ErrCorrupt)
		}
		return sp, true, nil
	}
	refs = refs[seek(refs, p.Next):]
	records, bytes := len(p.Records), p.bytes
	for i := range refs {
		r := &refs[i]
		p.refs = append(p.refs, *r)
		if records >= limit.Records || bytes > limit.Bytes {
			break
		}
		if i == 0 { // the page may start inside it, with few of its bytes
			records += int(r.end() - p.Next)
			continue
		}
		records += int(r.count)
		bytes += int(r.bytes)
	}
	pin(p.refs)
	p.Records = slices.Grow(p.Records, max(0, min(records, limit.Records, maxPooledRecords)-len(p.Records)))
	return sp, false, nil
}

// fill takes the page's records out of the chunks gathered.
func (p *page) fill(limit Limit) error {
	for i := range p.refs {
		r := &p.refs[i]
		ch, wrong := chunk.Decode(r.group.payload[r.offset:])
		if wrong != "" {
			return fmt.Errorf("read group %d at offset %d: %s: %w", r.group.pos, r.offset, wrong, ErrCorrupt)
		}
		more, ok := p.fillRun(r.first, r.arrival, r.count, ch.Records(), limit)
		if !ok {
			return fmt.Errorf("read group %d at offset %d: malformed record: %w", r.group.pos, r.offset, ErrCorrupt)
		}
		if !more {
			p.NextArrival = r.arrival
			return nil
		}
	}
	return nil
}

// holdsAll says that no record fits any more.
func (p *page) holdsAll(limit Limit) bool {
	return len(p.Records) >= limit.Records || len(p.Records) > 0 && p.bytes >= limit.Bytes
}

// fillRun adds records that follow each other and arrived at once, from Next on; more is false when
// the page is full with some of them left, ok is false if they are malformed.
func (p *page) fillRun(first record.Index, arrival record.Millis, count uint32, rest []byte, limit Limit) (more, ok bool) {
	var skip record.Entry
	ok = true
	for at := first; at < first+record.Index(count); at++ {
		if at < p.Next {
			rest, ok = entry.Decode(rest, &skip)
		} else {
			n := len(p.Records)
			if n >= limit.Records {
				return false, true
			}
			p.Records = append(p.Records, record.Record{Index: at, ArrivalTime: arrival})
			rec := &p.Records[n]
			if rest, ok = entry.Decode(rest, &rec.Entry); ok {
				if n > 0 && p.bytes+rec.Size() > limit.Bytes {
					p.Records[n] = record.Record{}
					p.Records = p.Records[:n]
					return false, true
				}
				p.bytes += rec.Size()
				p.Next = at + 1
			}
		}
		if !ok {
			return false, false
		}
	}
	return true, true
}

// Bounds implements Log.
func (s *Store) Bounds(ctx context.Context, id ShardID) (Bounds, error) {
	sh, err := s.lookup(ctx, id)
	if err != nil {
		return Bounds{}, err
	}
	return s.bounds(ctx, sh)
}

func (s *Store) bounds(ctx context.Context, sh *shard) (Bounds, error) {
	first, err := s.lockFirst(ctx, sh, nil, s.time())
	if err != nil {
		return Bounds{}, err
	}
	defer sh.mu.Unlock()
	return sh.boundsFrom(first), nil
}

// SeekTime implements Log.
func (s *Store) SeekTime(ctx context.Context, id ShardID, t record.Millis) (record.Index, error) {
	sh, err := s.lookup(ctx, id)
	if err != nil {
		return 0, err
	}
	var h *horizon
	for stale := 0; ; {
		first, err := s.lockFirst(ctx, sh, nil, s.time())
		if err != nil {
			return 0, err
		}
		lo, hi, sp := sh.seek(t, h)
		sh.mu.Unlock()
		if lo, hi = max(lo, first), max(hi, first); lo == hi {
			return lo, nil
		}
		if h, err = s.blocks.horizon(ctx, sp, t); err != nil {
			if stale++; !errors.Is(err, objectstore.ErrNotFound) || stale > staleReads {
				return 0, fmt.Errorf("seek time: %w", err)
			}
		}
	}
}

// Wait implements Log.
func (s *Store) Wait(ctx context.Context, id ShardID, from record.Index) error {
	sh, err := s.lookup(ctx, id)
	if err != nil {
		return err
	}
	w, _ := s.waiters.Get().(*waiter)
	if w == nil {
		w = &waiter{ch: make(chan struct{}, 1)}
	}
	defer s.waiters.Put(w)
	w.from = from
	for {
		if ready, err := s.ready(sh, w); ready {
			return err
		}
		select {
		case <-w.ch:
		case <-ctx.Done():
			sh.mu.Lock()
			if !sh.removeWaiter(w) {
				<-w.ch // woken meanwhile
			}
			sh.mu.Unlock()
			return ctx.Err()
		}
	}
}

// ready reports whether w need not wait, and with what error; otherwise it puts w on the list.
func (s *Store) ready(sh *shard, w *waiter) (bool, error) {
	now := s.time()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := s.down.Load(); err != nil {
		return true, *err
	}
	switch {
	case sh.mu.dropped:
		return true, ErrNotFound
	case sh.mu.ctl.sealed, sh.mu.next > sh.mu.ctl.jumps.Pass(w.from) && sh.firstAt(now) < sh.mu.next:
		return true, nil
	}
	sh.addWaiter(w)
	return false, nil
}
