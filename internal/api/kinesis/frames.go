package kinesis

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

const (
	// eventType is the type of the events that carry records.
	eventType = "SubscribeToShardEvent"
	// freshFor is how long a frame is sent to others: what it says of the distance to the tip ages. That
	// matters less for a frame of records that are old anyway.
	freshFor, oldFreshFor = 250 * time.Millisecond, 2 * time.Second
	// keptFrames and keptBytes bound the frames that are kept for others who come to their place: many
	// who read a shard from its beginning stay together if the slower of them find what the faster left.
	// A server with less memory for events keeps fewer: what is kept goes when there is none for another.
	keptFrames, keptBytes = 1024, 64 << 20
	// largestPooled is the largest buffer that is used again.
	largestPooled = 4 << 20
	// memoryPatience is how long a frame waits for memory before its streams send a sign of life instead.
	memoryPatience = 2 * time.Second
)

// frameKey is what makes two events the same: where they begin, and the format.
type frameKey struct {
	place  stream.Place
	format shape.Format
}

// frame is one event, encoded. Whoever comes to its place while it is fresh is sent the same bytes.
type frame struct {
	key     frameKey
	bytes   []byte
	reached stream.Reached
	carries metrics.Event
	// err says why it could not be made.
	err error
	// made is when, and ready closes when, the fields above are there; fresh is how long they are good.
	made  time.Time
	fresh time.Duration
	ready chan struct{}

	reserved int64 // of the memory for events
	// The rest is guarded by frames.
	uses    int
	tainted bool // see taint
}

// frames are the events that are being sent, and the last ones that were. A frame is made by the first
// subscription that comes to its place; those that come meanwhile wait for it. It is a copy of its records:
// however slowly a client takes it, storage is not held up. It is safe for concurrent use.
type frames struct {
	clock   clock.Clock
	pool    sync.Pool // of *frame
	events  sync.Pool // of *eventBuffers
	mu      sync.Mutex
	current map[frameKey]*frame
	recent  []*frame // kept, the oldest first
	bytes   int      // of recent
}

func newFrames(c clock.Clock) *frames {
	return &frames{clock: c, current: map[frameKey]*frame{}}
}

// take returns the frame at a subscription's place; errQuiet if there is no memory for it now, or nothing in
// it. It is given back with give.
func (fs *frames) take(ctx context.Context, sub *stream.Subscription, to shape.Events) (*frame, error) {
	key := frameKey{sub.Place(), to.Format()}
	for {
		f, mine := fs.claim(key)
		if mine {
			fs.build(ctx, f, sub, to)
			if err := f.err; err != nil {
				fs.give(f, to)
				return nil, err
			}
			return f, nil
		}
		select {
		case <-f.ready:
		case <-ctx.Done():
			fs.give(f, to)
			return nil, ctx.Err()
		}
		switch err := f.err; {
		case err == nil:
			return f, nil
		case errors.Is(err, errQuiet):
			fs.give(f, to)
			return nil, err
		}
		fs.give(f, to) // its maker failed, perhaps because its own client is gone: try again
	}
}

// claim returns the frame of a key, and whether the caller is to make it.
func (fs *frames) claim(key frameKey) (f *frame, mine bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f = fs.current[key]; f != nil && (f.made.IsZero() || fs.clock.Now().Sub(f.made) < f.fresh) {
		f.uses++
		return f, false
	}
	if f, _ = fs.pool.Get().(*frame); f == nil {
		f = new(frame)
	}
	*f = frame{key: key, bytes: f.bytes[:0], ready: make(chan struct{}), uses: 1}
	fs.current[key] = f
	return f, true
}

// errUnfinished is what others hear of a frame whose making ended in a panic.
var errUnfinished = errors.New("kinesis: an event was not finished")

// build makes a frame. Whatever happens, those who wait for it hear of it.
func (fs *frames) build(ctx context.Context, f *frame, sub *stream.Subscription, to shape.Events) {
	err := errUnfinished
	defer func() {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		f.err, f.made = err, fs.clock.Now()
		if err == nil {
			fs.keep(f, to)
		} else if fs.current[f.key] == f {
			delete(fs.current, f.key)
		}
		close(f.ready)
	}()
	var batch *stream.Batch
	if batch, err = fs.read(ctx, f, sub, to); err != nil {
		return
	}
	defer batch.Release()
	err = errUnfinished
	b, _ := fs.events.Get().(*eventBuffers)
	if b == nil {
		b = new(eventBuffers)
	}
	size := b.fill(batch)
	f.carries = metrics.Event{Records: len(batch.Page.Records), Bytes: size, Behind: time.Duration(batch.MillisBehind) * time.Millisecond}
	f.bytes = to.Encode(f.bytes[:0], eventType, &b.event)
	f.reached, f.fresh = batch.Reached(), freshFor
	if batch.MillisBehind > int64(oldFreshFor/time.Millisecond) {
		f.fresh = oldFreshFor
	}
	b.event.Reset()
	fs.events.Put(b)
	err = nil
}

// read reads the records of a frame and reserves memory for it. Storage is not held up meanwhile: records
// for which there is no memory are given back, and read again when there is.
func (fs *frames) read(ctx context.Context, f *frame, sub *stream.Subscription, to shape.Events) (*stream.Batch, error) {
	for {
		batch, err := sub.Read(ctx)
		if err != nil {
			return nil, err
		}
		records := batch.Page.Records
		if len(records) == 0 && len(batch.Children) == 0 && batch.Reached() == sub.Reached() {
			batch.Release()
			return nil, errQuiet
		}
		size := 0
		for i := range records {
			size += records[i].Size()
		}
		need := encodedSize(size, len(records))
		if need <= f.reserved {
			return batch, nil
		}
		fs.unreserve(f, to)
		if to.Reserve(ctx, need, 0) {
			f.reserved = need
			return batch, nil
		}
		batch.Release()
		if !fs.reserve(ctx, need, to) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, errQuiet
		}
		f.reserved = need
	}
}

// reserve takes memory from the frames that are kept, the older half of them first, and waits if that is
// not enough.
func (fs *frames) reserve(ctx context.Context, need int64, to shape.Events) bool {
	fs.shrink(to, 2)
	if to.Reserve(ctx, need, 0) {
		return true
	}
	fs.shrink(to, 1)
	return to.Reserve(ctx, need, memoryPatience)
}

func (fs *frames) unreserve(f *frame, to shape.Events) {
	if f.reserved > 0 {
		to.Release(f.reserved)
		f.reserved = 0
	}
}

// keep has a frame stay for others, in place of older ones. REQUIRES: fs.mu held.
func (fs *frames) keep(f *frame, to shape.Events) {
	f.uses++
	fs.recent = append(fs.recent, f)
	fs.bytes += len(f.bytes)
	drop := 0
	for len(fs.recent)-drop > keptFrames || fs.bytes > keptBytes {
		fs.forget(fs.recent[drop], to)
		drop++
	}
	fs.recent = slices.Delete(fs.recent, 0, drop)
}

// forget ends the keeping of a frame. REQUIRES: fs.mu held; the caller takes it out of recent.
func (fs *frames) forget(f *frame, to shape.Events) {
	fs.bytes -= len(f.bytes)
	if fs.current[f.key] == f {
		delete(fs.current, f.key)
	}
	fs.giveLocked(f, to)
}

// shrink forgets one in so many of the frames that are kept, the oldest, and at least one.
func (fs *frames) shrink(to shape.Events, oneIn int) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	drop := (len(fs.recent) + oneIn - 1) / oneIn
	for _, f := range fs.recent[:drop] {
		fs.forget(f, to)
	}
	fs.recent = slices.Delete(fs.recent, 0, drop)
}

// give gives a frame back.
func (fs *frames) give(f *frame, to shape.Events) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.giveLocked(f, to)
}

// taint keeps the bytes of a frame from being used again: the HTTP/2 server may still read what it was told
// to write to a stream that broke.
func (fs *frames) taint(f *frame) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.tainted = true
}

// giveLocked is give. REQUIRES: fs.mu held.
func (fs *frames) giveLocked(f *frame, to shape.Events) {
	if f.uses--; f.uses > 0 {
		return
	}
	fs.unreserve(f, to)
	if !f.tainted && cap(f.bytes) <= largestPooled {
		fs.pool.Put(f)
	}
}

// eventBuffers is what an event lives in until it is encoded.
type eventBuffers struct {
	event     kinesis.SubscribeToShardEvent
	digits    []byte
	numbering record.Numbering
}

// fill makes the event of a batch, and returns the bytes of its records.
func (b *eventBuffers) fill(batch *stream.Batch) (size int) {
	out, page := &b.event, batch.Page.Records
	out.Reset()
	if out.Records == nil {
		out.Records = []kinesis.Record{} // an empty list stays a list
	}
	b.digits = b.digits[:0]
	for i := range page {
		b.digits = b.numbering.Append(b.digits, batch.Sequence(i))
	}
	numbers := string(b.digits) // one string for all: each record's is a part of it
	out.Records, size = appendRecords(out.Records, page, numbers)
	out.MillisBehindLatest = batch.MillisBehind
	out.ChildShards = childShards(batch.Children)
	if len(batch.Children) == 0 {
		out.ContinuationSequenceNumber = shape.Some(batch.Continuation.String())
	}
	return size
}

// childShards turns the domain's child shards into the API's.
func childShards(from []stream.ChildShard) []kinesis.ChildShard {
	var to []kinesis.ChildShard
	for _, c := range from {
		to = append(to, kinesis.ChildShard{ShardId: c.ID, ParentShards: c.Parents, HashKeyRange: hashKeyRange(c.HashKeyRange)})
	}
	return to
}
