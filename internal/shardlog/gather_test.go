package shardlog_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/testpoll"
)

// gated is a lane that counts appends and keeps each waiting while the gate is closed.
type gated struct {
	lane.Lane
	appends atomic.Int64
	gate    sync.RWMutex
}

func (g *gated) Append(ctx context.Context, next lane.Position, payload []byte) error {
	g.appends.Add(1)
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.Lane.Append(ctx, next, payload)
}

// TestOneAppendForAllThatWait holds a call to one append to the lane for all its shards, and calls that
// come while the lane works to one for all of them: the lane turns each into one write and one sync.
func TestOneAppendForAllThatWait(t *testing.T) {
	l := &gated{Lane: mem.New(mem.Config{})}
	s := open(t, shardlog.Config{Lane: l})
	openShards(t, s, 8, day)
	before := l.appends.Load()
	all := make([]shardlog.Batch, 8)
	for n := range all {
		all[n] = batch(n, 60, 1000)
	}
	if _, err := s.Append(ctx, all); err != nil {
		t.Fatal(err)
	}
	if n := l.appends.Load() - before; n != 1 {
		t.Errorf("a call with batches for 8 shards made %d appends to the lane; want 1", n)
	}

	l.gate.Lock()
	var wg sync.WaitGroup
	call := func(shard int) {
		wg.Go(func() {
			if _, err := s.Append(ctx, []shardlog.Batch{batch(shard, 1, 1000)}); err != nil {
				t.Error(err)
			}
		})
	}
	before = l.appends.Load()
	call(0)
	testpoll.Until(t, 10*time.Second, func() bool { return l.appends.Load() == before+1 }, "the first append")
	for n := range 64 {
		call(n % 8)
	}
	testpoll.Until(t, 10*time.Second, func() bool { return s.Waiting() == 64 }, "64 calls in the queue")
	l.gate.Unlock()
	wg.Wait()
	if n := l.appends.Load() - before; n != 2 {
		t.Errorf("one call and 64 that waited for it made %d appends to the lane; want 2", n)
	}
}
