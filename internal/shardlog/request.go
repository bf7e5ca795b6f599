package shardlog

import (
	"context"
	"sync/atomic"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
)

// maxPooledBuffer is the largest request buffer that is kept for the next request.
const maxPooledBuffer = 2 << 20

// request is one call on its way through the committer: batches to append, or a control change.
//
// It goes back to the pool when both sides are done with it. The caller gives it back after done;
// a caller whose context ended marks it abandoned, and the committer gives it back then.
type request struct {
	items   []item
	buf     []byte
	results []Result

	// control makes the change by staging chunks.
	control func(*committer) error
	// alone asks for a draft of its own, as what creates or ends shards does: nothing else in the
	// draft then depends on a shard that may not come to be.
	alone bool

	err   error
	done  chan struct{}
	state atomic.Int32
}

const (
	requestWaiting int32 = iota
	requestAbandoned
	requestDone
)

// item is one encoded batch: a data chunk in the request's buffer.
type item struct {
	id           ShardID
	offset, size int
	count, bytes uint32
	producer     Producer
	// tooLarge says that the batch is beyond what a chunk can hold, so it was not encoded.
	tooLarge bool
}

func (s *Store) newRequest() *request {
	r, _ := s.requests.Get().(*request)
	if r == nil {
		r = &request{done: make(chan struct{}, 1)}
	}
	r.state.Store(requestWaiting)
	return r
}

// recycle REQUIRES that nobody else holds r.
func (s *Store) recycle(r *request) {
	if cap(r.buf) > maxPooledBuffer {
		r.buf = nil
	}
	clear(r.items)
	r.items, r.buf, r.results = r.items[:0], r.buf[:0], nil
	r.control, r.alone, r.err = nil, false, nil
	s.requests.Put(r)
}

// finish tells the caller; the committer must not touch r afterwards.
func (s *Store) finish(r *request) {
	if r.state.CompareAndSwap(requestWaiting, requestDone) {
		r.done <- struct{}{}
		return
	}
	s.recycle(r)
}

// do queues r, waits for it and gives it back. The request's own error counts only if do returns
// nil or that error.
func (s *Store) do(ctx context.Context, r *request) error {
	s.queue.Lock()
	if err := s.queue.down; err != nil {
		s.queue.Unlock()
		s.recycle(r)
		return err
	}
	s.queue.requests = append(s.queue.requests, r)
	s.queue.Unlock()
	s.signal()
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(requestWaiting, requestAbandoned) {
			return ctx.Err()
		}
		<-r.done
	}
	err := r.err
	s.recycle(r)
	return err
}

// Append implements Log.
func (s *Store) Append(ctx context.Context, batches []Batch) ([]Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.down.Load(); err != nil {
		return nil, *err
	}
	if len(batches) == 0 {
		return nil, nil
	}
	r := s.newRequest()
	r.encode(batches)
	results := make([]Result, len(batches))
	r.results = results
	if err := s.do(ctx, r); err != nil {
		return nil, err
	}
	return results, nil
}

func (r *request) encode(batches []Batch) {
	total := 0
	for i := range batches {
		if n := chunk.DataSize(batches[i].Entries); n <= chunk.MaxSize {
			total += n
		}
	}
	if cap(r.buf) < total {
		r.buf = make([]byte, 0, total)
	}
	for i := range batches {
		b := &batches[i]
		it := item{id: b.Shard, offset: len(r.buf), count: uint32(len(b.Entries)), producer: b.Producer}
		if chunk.DataSize(b.Entries) > chunk.MaxSize {
			it.tooLarge = true
		} else {
			r.buf = chunk.AppendData(r.buf, chunk.ID(b.Shard), b.Entries, chunk.Producer(b.Producer))
			it.size = len(r.buf) - it.offset
			for k := range b.Entries {
				it.bytes += uint32(b.Entries[k].Size())
			}
		}
		r.items = append(r.items, it)
	}
}

// Seal implements Log.
func (s *Store) Seal(ctx context.Context, id ShardID) (Bounds, error) {
	if _, err := s.lookup(ctx, id); err != nil && err != ErrNotFound {
		return Bounds{}, err
	}
	var sealed *shard
	s.warm(ctx, id)
	r := s.newRequest()
	r.control = func(c *committer) error {
		return c.change(id, func(sh *shard, ctl *control) bool {
			sealed = sh
			was := ctl.sealed
			ctl.sealed = true
			return !was
		})
	}
	if err := s.do(ctx, r); err != nil {
		return Bounds{}, err
	}
	return s.bounds(ctx, sealed)
}

// TrimTo implements Log.
func (s *Store) TrimTo(ctx context.Context, id ShardID, first record.Index) error {
	s.warm(ctx, id)
	return s.control(ctx, false, func(c *committer) error {
		return c.change(id, func(sh *shard, ctl *control) bool {
			to := min(first, sh.stage.next)
			if to <= ctl.trim {
				return false
			}
			ctl.trim = to
			return true
		})
	})
}

// control runs a control change.
func (s *Store) control(ctx context.Context, alone bool, f func(*committer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := s.newRequest()
	r.control, r.alone = f, alone
	return s.do(ctx, r)
}
