package cli

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/headrace/headrace/internal/clock"
)

const (
	// followPause is how long a follower that has read everything waits before it looks again. AWS
	// allows five reads a shard and second.
	followPause = 250 * time.Millisecond
	// followLimit is how many records a read asks for, which bounds what is held for each shard.
	followLimit = 1000
	// followParallel is how many shards are read at a time.
	followParallel = 8
)

// follower reads all shards of a stream and emits their records merged by time of arrival.
//
// Shards are read in rounds; a round reads every shard of which nothing is left. The oldest record
// at hand may be emitted when no shard can still bring an older one: each other shard either has
// records at hand, which come in order of arrival, or had nothing more in a round that began after
// that record was read, so that whatever it gets later also arrives later. This compares arrival
// times with each other alone, never with this machine's clock. A timer ("emit what is older than a
// second") was the alternative; it is wrong when a shard is slow or clocks differ.
//
// At a shard's end its children are followed, once everything of all their followed parents was
// emitted: a record of a child may bear the same millisecond as its parent's last, and a stream with
// a long history is not held in memory all at once. While a child waits for its turn nothing newer
// overtakes it.
type follower struct {
	api    Reader
	stream string
	clock  clock.Clock
	// start is where shards are read from; children that are met later are read from childStart.
	start, childStart position
	// untilIdle ends following when nothing new was found for that long; negative means never.
	untilIdle time.Duration
	// emit is given each record. Returning errStop ends following without an error.
	emit func(shard string, r types.Record) error
	// idle is called before each pause.
	idle func() error

	round   int
	cursors []*cursor
	waiting []*cursor // children whose parents are still being read
	known   map[string]bool
}

// position is where to start in a shard.
type position struct {
	kind types.ShardIteratorType
	at   *time.Time // of AT_TIMESTAMP
}

// cursor is how far one shard has been read.
type cursor struct {
	shard    string
	parents  []string
	start    position
	iterator *string // nil when none was got yet, or it expired
	last     *string // sequence number of the last record read
	queue    []types.Record
	read     int  // the round in which the shard was last read
	caughtUp bool // nothing more was there in that round
	ended    bool // closed and read to its end
}

// errStop is returned by emit to end following.
var errStop = fmt.Errorf("stop")

// run follows until ctx is done, untilIdle holds, emit says stop or every shard has ended.
func (f *follower) run(ctx context.Context) error {
	if err := f.begin(ctx); err != nil {
		return err
	}
	idleSince := time.Time{}
	for {
		f.admit()
		if len(f.cursors) == 0 {
			return f.idle()
		}
		progress, err := f.readRound(ctx)
		if err != nil {
			return err
		}
		emitted, err := f.drain()
		if err != nil {
			return err
		}
		if progress || emitted {
			idleSince = time.Time{}
			continue
		}
		if f.settled() && f.untilIdle >= 0 {
			now := f.clock.Now()
			if idleSince.IsZero() {
				idleSince = now
			}
			if now.Sub(idleSince) >= f.untilIdle {
				return f.idle()
			}
		}
		if err := f.idle(); err != nil {
			return err
		}
		if err := sleep(ctx, followPause); err != nil {
			return err
		}
	}
}

// begin finds the shards to start from: the open ones to read what is new, else all of them,
// beginning with those whose parents are gone.
func (f *follower) begin(ctx context.Context) error {
	shards, err := listShards(ctx, f.api, f.stream)
	if err != nil {
		return err
	}
	f.known = map[string]bool{}
	for _, s := range shards {
		if f.start.kind == types.ShardIteratorTypeLatest && !isOpen(s) {
			continue
		}
		parents := []string{text(s.ParentShardId), text(s.AdjacentParentShardId)}
		f.known[text(s.ShardId)] = true
		f.waiting = append(f.waiting, &cursor{shard: text(s.ShardId), parents: parents, start: f.start})
	}
	return nil
}

// admit drops the shards that were read and emitted to their end and starts those whose parents
// are all done.
func (f *follower) admit() {
	f.cursors = slices.DeleteFunc(f.cursors, func(c *cursor) bool { return c.ended && len(c.queue) == 0 })
	busy := map[string]bool{}
	for _, c := range slices.Concat(f.cursors, f.waiting) {
		busy[c.shard] = true
	}
	var waiting []*cursor
	for _, c := range f.waiting {
		if slices.ContainsFunc(c.parents, func(p string) bool { return busy[p] }) {
			waiting = append(waiting, c)
		} else {
			f.cursors = append(f.cursors, c)
		}
	}
	f.waiting = waiting
}

// readRound reads every shard of which nothing is at hand and reports whether that brought
// anything: records, a shard's end, or news that a shard has more.
func (f *follower) readRound(ctx context.Context) (progress bool, err error) {
	f.round++
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, followParallel)
		outs  = make([]*kinesis.GetRecordsOutput, len(f.cursors))
		errs  = make([]error, len(f.cursors))
	)
	for i, c := range f.cursors {
		if len(c.queue) > 0 || c.ended {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			outs[i], errs[i] = f.read(ctx, c)
			<-slots
		})
	}
	wg.Wait()
	for i, out := range outs {
		if errs[i] != nil {
			return false, errs[i]
		}
		if out != nil && f.accept(f.cursors[i], out) {
			progress = true
		}
	}
	return progress, nil
}

// read makes one GetRecords call. Being throttled is an answer without news.
func (f *follower) read(ctx context.Context, c *cursor) (*kinesis.GetRecordsOutput, error) {
	c.caughtUp = false // until this read says so
	if c.iterator == nil {
		if err := f.seek(ctx, c); err != nil {
			return nil, err
		}
	}
	out, err := f.api.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: c.iterator, Limit: aws.Int32(followLimit)})
	switch {
	case hasCode(err, "ExpiredIteratorException"): // whoever takes our output was slow
		c.iterator = nil
		return nil, nil
	case hasCode(err, "ProvisionedThroughputExceededException"):
		return nil, nil
	}
	return out, failed("read shard "+c.shard, err)
}

// seek gets an iterator for where the shard is to be read on.
func (f *follower) seek(ctx context.Context, c *cursor) error {
	in := &kinesis.GetShardIteratorInput{
		StreamName: &f.stream, ShardId: &c.shard, ShardIteratorType: c.start.kind, Timestamp: c.start.at,
	}
	if c.last != nil {
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAfterSequenceNumber, nil
		in.StartingSequenceNumber = c.last
	}
	out, err := f.api.GetShardIterator(ctx, in)
	if err != nil {
		return failed("read shard "+c.shard, err)
	}
	c.iterator = out.ShardIterator
	return nil
}

// accept takes an answer into the cursor and reports whether there is reason to go on at once.
func (f *follower) accept(c *cursor, out *kinesis.GetRecordsOutput) bool {
	c.read = f.round
	c.iterator = out.NextShardIterator
	c.ended = c.iterator == nil
	c.queue = out.Records
	c.caughtUp = len(out.Records) == 0 && aws.ToInt64(out.MillisBehindLatest) == 0
	if n := len(out.Records); n > 0 {
		c.last = out.Records[n-1].SequenceNumber
	}
	for _, child := range out.ChildShards {
		if id := text(child.ShardId); !f.known[id] {
			f.known[id] = true
			f.waiting = append(f.waiting, &cursor{shard: id, parents: child.ParentShards, start: f.childStart})
		}
	}
	return c.ended || !c.caughtUp
}

// drain emits what can be emitted and reports whether that was anything.
func (f *follower) drain() (emitted bool, err error) {
	for {
		c := f.next()
		if c == nil {
			return emitted, nil
		}
		r := c.queue[0]
		c.queue = c.queue[1:]
		if err := f.emit(c.shard, r); err != nil {
			return emitted, err
		}
		emitted = true
	}
}

// next returns the cursor whose first record is the oldest, if no shard can bring an older one.
func (f *follower) next() *cursor {
	var oldest *cursor
	for _, c := range f.cursors {
		if len(c.queue) > 0 && (oldest == nil || arrival(c).Before(arrival(oldest))) {
			oldest = c
		}
	}
	for _, c := range f.cursors {
		switch {
		case oldest == nil:
			return nil
		case len(c.queue) > 0:
		case c.ended && f.hasWaitingChild(c.shard): // the child must be read first
			return nil
		case !c.ended && (!c.caughtUp || c.read <= oldest.read):
			return nil
		}
	}
	return oldest
}

func (f *follower) hasWaitingChild(shard string) bool {
	return slices.ContainsFunc(f.waiting, func(c *cursor) bool { return slices.Contains(c.parents, shard) })
}

// settled reports whether every shard is read to its present end and everything was emitted.
func (f *follower) settled() bool {
	return len(f.waiting) == 0 && !slices.ContainsFunc(f.cursors, func(c *cursor) bool {
		return len(c.queue) > 0 || !c.caughtUp && !c.ended
	})
}

func arrival(c *cursor) time.Time { return aws.ToTime(c.queue[0].ApproximateArrivalTimestamp) }
