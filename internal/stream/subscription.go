package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/claim"
	"github.com/headrace/headrace/internal/stream/limit"
)

const (
	// SubscriptionLife is how long a subscription pushes records; then its consumer subscribes again.
	SubscriptionLife = 5 * time.Minute
	// takeOver is how old a subscription must be before its consumer may begin another one to its shard.
	takeOver record.Millis = 5000
	// pushBytes and pushRecords bound what one event holds; one record may be larger.
	pushBytes, pushRecords = 256 << 10, 10_000
	// subscribeRate is how often a second a consumer may subscribe to a shard, where AWS's limits hold.
	subscribeRate = 1
)

// ErrLifeOver ends a subscription that has lasted for SubscriptionLife: its stream ends as it should.
var ErrLifeOver = errors.New("stream: the subscription has had its time")

// SubscribeInput asks for a subscription.
type SubscribeInput struct {
	ConsumerARN string
	// Position is the shard and where in it to start, as for GetShardIterator.
	Position IteratorInput
	// DryRun checks everything and begins nothing.
	DryRun bool
}

// Subscription is a consumer's claim to be sent the records of one shard. Whoever begins it reads with
// Next, and ends it with Close. It is for one goroutine, but for what ends it from outside.
type Subscription struct {
	streams *Streams
	entry   *entry
	shard   *shard
	key     subscriptionKey
	holder  claim.Holder
	// end ends it with a cause, from any goroutine; stop lets go of its timer.
	end  context.CancelCauseFunc
	stop context.CancelFunc
	next record.Index
	// last is when the record before next arrived, as far as that is known.
	last record.Millis
	// pushed is what was sent lately, and rest until when nothing more is, where AWS's limits hold.
	pushed limit.Bucket
	rest   record.Millis
}

// subscriptionKey is what there is one subscription of.
type subscriptionKey struct {
	stream  uint64
	name    string
	created int64
	shard   int32
}

// subscriptions is the subscriptions under way. It is safe for concurrent use.
type subscriptions struct{ claim.Table[subscriptionKey] }

// endConsumer ends the subscriptions of a consumer, and endStream those of all consumers of a stream.
func (ss *subscriptions) endConsumer(c *consumer, why error) {
	ss.End(why, func(k *subscriptionKey) bool {
		return k.stream == c.Stream && k.name == c.Name && k.created == c.Created
	})
}

func (ss *subscriptions) endStream(stream uint64, why error) {
	ss.End(why, func(k *subscriptionKey) bool { return k.stream == stream })
}

func anotherSubscription() *Error {
	return refuse(InUse, "Another active subscription exists for this consumer.")
}

// Subscribe begins a subscription, and takes over from one of the same consumer to the same shard that is
// at least five seconds old; a younger one is InUse. The context it returns comes from ctx, and is done
// when the subscription ends from outside: its cause is ErrLifeOver, or the *Error that says why. A consumer
// that has another subscription, or has called too often, comes back with the error in one that is closed.
func (s *Streams) Subscribe(ctx context.Context, sc Scope, in SubscribeInput) (*Subscription, context.Context, error) {
	e, v, c, err := s.findConsumer(sc, ConsumerRef{ARN: in.ConsumerARN})
	if err != nil {
		return nil, nil, err
	}
	now := s.now()
	if c.Status(now) != Active {
		return nil, nil, consumerNotActive(sc, e.name, c)
	}
	if !v.writable() {
		return nil, nil, notActive(sc, e.name, v.row.Status)
	}
	number, ok := ParseShardID(in.Position.ShardID)
	if !ok {
		return nil, nil, noSuchShard(sc, e.name, in.Position.ShardID)
	}
	sh := v.shard(number, now)
	if sh == nil {
		return nil, nil, shardNotFound(sc, e.name, number)
	}
	sub := &Subscription{
		streams: s, entry: e, shard: sh,
		key: subscriptionKey{stream: e.id, name: c.Name, created: c.Created, shard: number},
	}
	if sub.next, sub.last, err = s.position(ctx, sc, e.name, sh, in.Position); err != nil {
		return nil, nil, err
	}
	if in.DryRun {
		return sub, ctx, nil
	}
	ctx, sub.stop = context.WithTimeoutCause(ctx, SubscriptionLife, ErrLifeOver)
	ctx, sub.end = context.WithCancelCause(ctx)
	sub.holder = claim.Holder{Began: now, End: sub.end}
	if err := s.subscriptions.Begin(sub.key, &sub.holder, takeOver, anotherSubscription(), func() error {
		return s.Admit(sc, "SubscribeToShard", c.arn(v.arn())+"/"+sh.ID, subscribeRate)
	}); err != nil {
		sub.Close()
		return sub, nil, err
	}
	return sub, ctx, nil
}

// Subscriber returns whose subscription it is: a consumer of a stream.
func (sub *Subscription) Subscriber() (sc Scope, stream, consumer string) {
	return sub.entry.scope, sub.entry.name, sub.key.name
}

// position returns the index that in means, and when the record before it arrived, 0 if that is not known.
func (s *Streams) position(ctx context.Context, sc Scope, name string, sh *shard, in IteratorInput) (next record.Index, last record.Millis, err error) {
	switch {
	case in.Sequence != "":
		next, err = startAt(sc, name, sh, in)
	case in.Type == TrimHorizon:
		next = 1
	case in.Type == Latest:
		var b shardlog.Bounds
		b, err = s.cfg.Log.Bounds(ctx, sh.log())
		next, last = b.Next, b.LastArrival
	case in.Type == FromTime:
		next, err = s.seek(ctx, sh, in)
	default:
		err = sequenceMisplaced(in.Type, "no")
	}
	if errors.Is(err, shardlog.ErrNotFound) {
		err = shardNotFound(sc, name, sh.Number)
	}
	return next, last, err
}

// Close ends the subscription. It must be called once.
func (sub *Subscription) Close() {
	sub.end(nil)
	sub.stop()
	sub.streams.subscriptions.Remove(sub.key, &sub.holder)
}

// Place is where a subscription stands: subscriptions that stand at the same place are sent the same.
type Place struct {
	stream uint64
	shard  int32
	next   record.Index
}

// Place returns where the subscription stands.
func (sub *Subscription) Place() Place {
	return Place{sub.shard.Stream, sub.shard.Number, sub.next}
}

// Continuation returns the number that a consumer goes on after: that of the record before the place.
func (sub *Subscription) Continuation() record.SequenceNumber {
	return sub.shard.Sequence(sub.next-1, sub.last)
}

// Wait returns nil when there is something to read, or the shard has ended; the error of ctx, or NotFound
// when the shard or the consumer is there no more.
func (sub *Subscription) Wait(ctx context.Context) error {
	if err := sub.pause(ctx); err != nil {
		return err
	}
	for {
		v := sub.entry.view.Load()
		if v.gone || v.row.Status == Deleting {
			return streamNotFound(sub.entry.scope, sub.entry.name)
		}
		if c := v.consumers[sub.key.name]; c == nil || c.Deleting || c.Created != sub.key.created {
			return consumerNotFound(sub.entry.scope, sub.key.name) // it went while the subscription began
		}
		err := sub.streams.cfg.Log.Wait(ctx, sub.shard.log(), sub.next)
		switch {
		case errors.Is(err, shardlog.ErrNotFound):
			return shardNotFound(sub.entry.scope, sub.entry.name, sub.shard.Number)
		case err != nil:
			return err
		}
		bounds, err := sub.streams.cfg.Log.Bounds(ctx, sub.shard.log())
		if err != nil && !errors.Is(err, shardlog.ErrNotFound) {
			return fmt.Errorf("look at %s of stream %s: %w", sub.shard.ID, sub.entry.name, err)
		}
		if sub.next < bounds.Next || err != nil || len(v.ended(sub.shard.Number)) > 0 {
			return nil
		}
		select { // the shard is sealed, and its children are yet to come
		case <-v.superseded:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ended returns what a closed shard became; nothing while it is open.
func (v *view) ended(number int32) []ChildShard {
	for _, sh := range v.shards {
		if sh.Number == number && sh.Closed != 0 {
			return v.childShards(number)
		}
	}
	return nil
}

// Batch is what a subscription is sent at a time. Release it when it was encoded.
type Batch struct {
	Records
	// Continuation is the number to go on after. It means nothing when there are Children: then the
	// shard is wholly read.
	Continuation record.SequenceNumber

	next record.Index
	last record.Millis
	size int
}

// Reached is where a batch ends: what Advance is told.
type Reached struct {
	next record.Index
	last record.Millis
	size int // of the records on the way there

	// Ended says that the shard ends there.
	Ended bool
}

// Read returns the records at the subscription's place, about 256 KiB of them at most. It never waits: the
// batch may be empty.
func (sub *Subscription) Read(ctx context.Context) (*Batch, error) {
	v := sub.entry.view.Load() // first: what a closed shard holds is known to its last record
	page, err := sub.page(ctx, pushRecords)
	if err != nil {
		return nil, err
	}
	opener, err := sub.streams.openPage(ctx, sub.entry, sub.shard, page)
	if err != nil {
		page.Release()
		return nil, err
	}
	b := &Batch{
		Records: Records{
			Page: page, Stream: sub.entry.name, shard: sub.shard, opener: opener, streams: sub.streams, MillisBehind: sub.behind(page),
		},
		next: max(sub.next, page.Next), last: sub.last,
	}
	if n := len(page.Records); n > 0 {
		b.last = page.Records[n-1].ArrivalTime
	}
	if sub.streams.cfg.Limits {
		b.size = sizeOf(page)
	}
	if b.MillisBehind == 0 {
		b.Children = v.ended(sub.shard.Number)
	}
	b.Continuation = sub.shard.Sequence(b.next-1, b.last)
	return b, nil
}

// MillisBehind returns how long ago the first record arrived that the subscription has not got yet, at
// least 1; 0 if there is none.
func (sub *Subscription) MillisBehind(ctx context.Context) (int64, error) {
	page, err := sub.page(ctx, 0)
	if err != nil {
		return 0, err
	}
	defer page.Release()
	return sub.behind(page), nil
}

// page reads at most so many records.
func (sub *Subscription) page(ctx context.Context, records int) (*shardlog.Page, error) {
	page, err := sub.streams.cfg.Log.Read(ctx, sub.shard.log(), sub.next, shardlog.Limit{Records: records, Bytes: pushBytes})
	switch {
	case errors.Is(err, shardlog.ErrNotFound):
		return nil, shardNotFound(sub.entry.scope, sub.entry.name, sub.shard.Number)
	case err != nil:
		return nil, fmt.Errorf("read %s of stream %s: %w", sub.shard.ID, sub.entry.name, err)
	}
	return page, nil
}

// behind returns how long ago the first record after a page arrived, 0 if there is none yet.
func (sub *Subscription) behind(page *shardlog.Page) int64 {
	if max(sub.next, page.Next) >= page.Bounds.Next {
		return 0
	}
	return max(1, int64(sub.streams.now()-page.NextArrival))
}

// Reached returns where the subscription stands.
func (sub *Subscription) Reached() Reached { return Reached{next: sub.next, last: sub.last} }

// Reached returns where the batch ends.
func (b *Batch) Reached() Reached { return Reached{b.next, b.last, b.size, len(b.Children) > 0} }

// Advance moves the subscription behind a batch that was sent: its own, or that of another subscription at
// the same place.
func (sub *Subscription) Advance(to Reached) {
	sub.next, sub.last = to.next, to.last
	if sub.streams.cfg.Limits {
		now := sub.streams.now()
		sub.rest = now + sub.pushed.Spend(now, int64(to.size), limit.ReadBytes, pushBytes)
	}
}

// pause waits until as much has been pushed as a consumer gets of a shard in the time, where AWS's limits hold.
func (sub *Subscription) pause(ctx context.Context) error {
	left := sub.rest - sub.streams.now()
	if left <= 0 {
		return nil
	}
	timer := time.NewTimer(time.Duration(left) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
