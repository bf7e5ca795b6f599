package shardlog

import (
	"context"
	"fmt"
	"slices"

	"github.com/headrace/headrace/internal/record"
)

// maxPooledRecords is the most records a pooled page has room for: enough for the 10,000 that
// GetRecords returns.
const maxPooledRecords = 16 << 10

// page is a Page with what it is built from.
type page struct {
	Page
	refs []ref
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
	if err := sh.gather(p, s.time(), from, limit); err != nil {
		s.recyclePage(p)
		return nil, err
	}
	if err := p.fill(limit); err != nil {
		s.recyclePage(p)
		return nil, err
	}
	return &p.Page, nil
}

// gather notes in p the chunks that a page may need, and the one after it for NextArrival, and pins
// them, so that the records can be taken out of them without the lock.
func (s *shard) gather(p *page, now record.Millis, from record.Index, limit Limit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.dropped {
		return ErrNotFound
	}
	p.Bounds = s.boundsAt(now)
	p.Next = max(from, p.Bounds.First)
	refs := s.mu.tail.refs()
	refs = refs[seek(refs, p.Next):]
	records, bytes := 0, 0
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
	p.Records = slices.Grow(p.Records, max(0, min(records, limit.Records, maxPooledRecords)))
	return nil
}

// fill takes the page's records out of the chunks gathered.
func (p *page) fill(limit Limit) error {
	bytes := 0
	for i := range p.refs {
		r := &p.refs[i]
		more, err := p.fillFrom(r, limit, &bytes)
		if err != nil {
			return err
		}
		if !more {
			p.NextArrival = r.arrival
			return nil
		}
	}
	return nil
}

// fillFrom adds the records of one chunk from Next on; it reports false when the page is full with
// records of the chunk left.
func (p *page) fillFrom(r *ref, limit Limit, bytes *int) (more bool, err error) {
	ch, wrong := decodeChunk(r.group.payload[r.offset:])
	if wrong != "" {
		return false, fmt.Errorf("read group %d at offset %d: %s: %w", r.group.pos, r.offset, wrong, ErrCorrupt)
	}
	var skip record.Entry
	rest, ok := ch.records(), true
	for at := r.first; at < r.end(); at++ {
		if at < p.Next {
			rest, ok = decodeEntry(rest, &skip)
		} else {
			n := len(p.Records)
			if n >= limit.Records {
				return false, nil
			}
			p.Records = append(p.Records, record.Record{Index: at, ArrivalTime: r.arrival})
			rec := &p.Records[n]
			if rest, ok = decodeEntry(rest, &rec.Entry); ok {
				*bytes += rec.Size()
				if n > 0 && *bytes > limit.Bytes {
					p.Records[n] = record.Record{}
					p.Records = p.Records[:n]
					return false, nil
				}
				p.Next = at + 1
			}
		}
		if !ok {
			return false, fmt.Errorf("read group %d at offset %d: malformed record: %w", r.group.pos, r.offset, ErrCorrupt)
		}
	}
	return true, nil
}

// Bounds implements Log.
func (s *Store) Bounds(ctx context.Context, id ShardID) (Bounds, error) {
	sh, err := s.lookup(ctx, id)
	if err != nil {
		return Bounds{}, err
	}
	now := s.time()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.mu.dropped {
		return Bounds{}, ErrNotFound
	}
	return sh.boundsAt(now), nil
}

// SeekTime implements Log.
func (s *Store) SeekTime(ctx context.Context, id ShardID, t record.Millis) (record.Index, error) {
	sh, err := s.lookup(ctx, id)
	if err != nil {
		return 0, err
	}
	now := s.time()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.mu.dropped {
		return 0, ErrNotFound
	}
	b := sh.boundsAt(now)
	refs := sh.mu.tail.refs()
	if i := seekArrival(refs, t); i < len(refs) {
		return max(refs[i].first, b.First), nil
	}
	return b.Next, nil
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
	b := sh.boundsAt(now)
	switch {
	case sh.mu.dropped:
		return true, ErrNotFound
	case b.Sealed, b.Next > w.from && b.First < b.Next:
		return true, nil
	}
	sh.addWaiter(w)
	return false, nil
}
