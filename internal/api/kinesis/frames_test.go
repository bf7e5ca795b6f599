package kinesis_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/headrace/headrace/internal/api/kinesis"
	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

// ledger is what many streams share in this test: how often something was encoded, and their memory.
type ledger struct {
	mu      sync.Mutex
	encoded int
	held    int64
	none    bool // there is no memory
}

// events is one stream: shape.Events without a client.
type events struct {
	*ledger
	format shape.Format
	sent   []string // of each event, how many records it has and how far behind it is
}

func (e *events) Format() shape.Format { return e.format }

func (e *events) Encode(dst []byte, _ string, v shape.Shape) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	event := v.(*kinesis.SubscribeToShardEvent)
	if len(event.Records) > 0 {
		e.encoded++
	}
	behind := "at the tip"
	if event.MillisBehindLatest > 0 {
		behind = "behind"
	}
	return fmt.Appendf(dst, "%d %s", len(event.Records), behind)
}

func (e *events) Send(b []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent = append(e.sent, string(b))
	return nil
}

func (e *events) Reserve(ctx context.Context, n int64, patience time.Duration) bool {
	e.mu.Lock()
	none := e.none
	if !none {
		e.held += n
	}
	e.mu.Unlock()
	if none {
		select {
		case <-time.After(patience):
		case <-ctx.Done():
		}
	}
	return !none
}

func (e *events) Release(n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held -= n
}

func (e *events) last() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sent) == 0 {
		return "nothing"
	}
	return e.sent[len(e.sent)-1]
}

// TestFramesAreShared pushes to thirty streams in two formats: a record is encoded twice, not thirty times.
// Without memory the streams get signs of life that say how far behind they are, and with it the records.
func TestFramesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		defer w.close()
		meters, err := metrics.New(metrics.NewRegistry(), metrics.Build{})
		w.must(err)
		var subscribe shape.Operation
		for _, o := range api.New(w.streams, meters, clock.System{}, checkPolicy).Wire().Operations {
			if o.Name == "SubscribeToShard" {
				subscribe = o
			}
		}
		home := stream.Scope{Account: "123456789012", Region: "eu-west-1"}
		ctx, stop := context.WithCancel(t.Context())
		w.must(w.streams.CreateStream(ctx, home, stream.CreateInput{Name: "mill", ShardCount: 2}))
		shared := new(ledger)
		var all []*events
		var running sync.WaitGroup
		var calls []*shape.Call
		for i := range 30 {
			if i < 15 {
				_, err := w.streams.RegisterConsumer(ctx, home, mill, fmt.Sprintf("c%d", i), nil)
				w.must(err)
			}
			c, err := w.streams.DescribeConsumer(home, stream.ConsumerRef{StreamARN: mill, Name: fmt.Sprintf("c%d", i%15)})
			w.must(err)
			e := &events{ledger: shared, format: []shape.Format{shape.JSON, shape.CBOR}[i%2]}
			call := &shape.Call{Account: home.Account, Region: home.Region}
			in := &kinesis.SubscribeToShardInput{ConsumerARN: c.ARN, ShardId: fmt.Sprint(i / 15)}
			in.StartingPosition.Type = kinesis.ShardIteratorTypeLatest
			w.must(subscribe.Handle(ctx, call, in, &kinesis.SubscribeToShardOutput{}))
			all, calls = append(all, e), append(calls, call)
			running.Go(func() {
				if err := call.Pusher()(ctx, e); err != nil {
					t.Errorf("stream %d: %v", i, err)
				}
			})
		}
		put := func() {
			_, err := w.streams.Put(ctx, home, stream.Ref{Name: "mill"}, record.Entry{PartitionKey: "k", HasExplicitHashKey: true, Data: []byte("data")}, "")
			w.must(err)
			synctest.Wait()
		}
		expect := func(when, want string) {
			t.Helper()
			for i, e := range all {
				if got := e.last(); i < 15 && got != want {
					t.Errorf("%s: stream %d was sent %q, want %q", when, i, got, want)
				} else if i >= 15 && got != "0 at the tip" {
					t.Errorf("%s: stream %d, of the other shard, was sent %q", when, i, got)
				}
			}
		}
		synctest.Wait()
		expect("at the beginning", "0 at the tip")
		for n := range 10 {
			put()
			expect("put", "1 at the tip")
			if shared.encoded != 2*(n+1) {
				t.Fatalf("%d records were encoded %d times, want twice each", n+1, shared.encoded)
			}
		}
		shared.mu.Lock()
		shared.none = true
		shared.mu.Unlock()
		put()
		<-time.After(4 * time.Second)
		put()
		expect("without memory", "0 behind")
		shared.mu.Lock()
		shared.none = false
		shared.mu.Unlock()
		<-time.After(6 * time.Second)
		for i, e := range all[:15] {
			e.mu.Lock()
			if at := len(e.sent) - 1; e.sent[at] != "2 at the tip" && e.sent[at-1] != "2 at the tip" {
				t.Errorf("stream %d was sent %v", i, e.sent)
			}
			e.mu.Unlock()
		}
		stop()
		running.Wait()
		for _, call := range calls {
			call.Done()
		}
		if shared.held < 0 || shared.held > 64*16<<10 { // what is kept for others to come
			t.Errorf("%d bytes are held", shared.held)
		}
	})
}
