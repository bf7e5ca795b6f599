package kinesis

// Compatible: all five starting positions, JSON and CBOR, HTTP/1.1 and HTTP/2; an event at least every 5 s;
// five minutes a subscription; a second one of the same consumer to the same shard takes over after 5 s;
// the last event of a closed shard has ChildShards with ParentShards and no ContinuationSequenceNumber;
// errors before the stream are answers, those after its beginning its last message.
// Differs: one call a second a consumer and shard, and 2 MiB a second, hold with limits.mode aws alone.
// Test: TestSubscribe, TestSubscriptionsEnd, TestFanOutAgreesWithPolling, TestSlowSubscriber, TestFramesAreShared,
// TestSubscriptionLimits, TestConsumerMetrics,
// internal/api/kinesis/testdata/subscribe_to_shard.txt, compat/gosdk/fanout.go

import (
	"context"
	"errors"
	"time"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

// heartbeat is how long a stream may be without an event. AWS's SDK for Java gives up after 10 s.
const heartbeat = 5 * time.Second

func (s *Service) subscribeToShard(ctx context.Context, call *shape.Call, in *kinesis.SubscribeToShardInput, _ *kinesis.SubscribeToShardOutput) error {
	p := &in.StartingPosition
	sub, ctx, err := s.streams.Subscribe(ctx, scope(call), stream.SubscribeInput{
		ConsumerARN: in.ConsumerARN,
		Position: stream.IteratorInput{
			ShardID:      in.ShardId,
			Type:         stream.IteratorType(p.Type),
			Sequence:     p.SequenceNumber.Value,
			Timestamp:    record.Millis(p.Timestamp.Value),
			HasTimestamp: p.Timestamp.Set,
		},
		DryRun: in.DryRun.Value,
	})
	if err != nil {
		if sub != nil {
			s.consumerMeter(sub).RateExceeded()
		}
		return answer(err)
	}
	if in.DryRun.Value {
		return dryRun()
	}
	call.OnDone(sub.Close)
	meter := s.consumerMeter(sub)
	meter.Subscribed()
	call.Push(func(_ context.Context, to shape.Events) error {
		err := s.push(ctx, sub, to, meter)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if errors.Is(err, stream.ErrLifeOver) || errors.Is(err, context.Canceled) {
			return nil // the client subscribes again
		}
		return answer(err)
	})
	return nil
}

// consumerMeter returns what counts for the consumer of a subscription.
func (s *Service) consumerMeter(sub *stream.Subscription) *metrics.Consumer {
	sc, name, consumer := sub.Subscriber()
	return s.metrics.Stream(metrics.StreamID{Account: sc.Account, Region: sc.Region, Name: name}).Consumer(consumer)
}

// push sends a subscription's events until the shard ends, which is nil, or ctx is done. The first comes at
// once, so that the client knows where it stands.
func (s *Service) push(ctx context.Context, sub *stream.Subscription, to shape.Events, meter *metrics.Consumer) error {
	var quiet []byte
	for first := true; ; first = false {
		var err error
		if !first {
			err = waitFor(ctx, sub, heartbeat)
		}
		var f *frame
		if err == nil {
			f, err = s.frames.take(ctx, sub, to)
		}
		switch {
		case err == nil:
			err = to.Send(f.bytes)
			sub.Advance(f.reached)
			ended := f.reached.Ended
			if err != nil {
				s.frames.taint(f)
			} else {
				meter.Pushed(f.carries)
			}
			s.frames.give(f, to)
			if err != nil || ended {
				return err
			}
		case errors.Is(err, errQuiet):
			if quiet, err = beat(ctx, quiet, sub, to, meter); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// beat sends an event without records, which it encodes in buf.
func beat(ctx context.Context, buf []byte, sub *stream.Subscription, to shape.Events, meter *metrics.Consumer) ([]byte, error) {
	behind, err := sub.MillisBehind(ctx)
	if err != nil {
		return buf, err
	}
	buf = to.Encode(buf[:0], eventType, &kinesis.SubscribeToShardEvent{
		Records: []kinesis.Record{}, ContinuationSequenceNumber: some(sub.Continuation().String()), MillisBehindLatest: behind,
	})
	if err = to.Send(buf); err == nil {
		meter.Pushed(metrics.Event{Behind: time.Duration(behind) * time.Millisecond})
	}
	return buf, err
}

// errQuiet says that there is nothing to send yet, or no memory for it.
var errQuiet = errors.New("kinesis: nothing to push yet")

// waitFor waits until there is something to push, errQuiet if that takes longer than patience.
func waitFor(ctx context.Context, sub *stream.Subscription, patience time.Duration) error {
	wait, cancel := context.WithTimeoutCause(ctx, patience, errQuiet)
	defer cancel()
	err := sub.Wait(wait)
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		return errQuiet
	}
	return err
}
