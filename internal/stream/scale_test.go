package stream

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/capacity"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/row"
)

// scaled is a node in a synctest bubble whose on-demand streams scale. Loads are counted rather than put: a
// month of records would not fit into memory.
type scaled struct {
	*Streams
	t    *testing.T
	cfg  Config
	ref  Ref
	stop func()
}

func inBubble(t *testing.T, f func(n *scaled)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &scaled{t: t, ref: Ref{Name: "mill"}, cfg: inMemory(t)}
		n.cfg.Limits, n.cfg.Scaling = true, Scaling{On: true, MostShards: 64}
		n.cfg.Events.TransitionFailed = func(_ Scope, name string, err error) { t.Errorf("%s: %v", name, err) }
		n.start()
		defer func() { n.stop() }()
		n.must(n.CreateStream(t.Context(), home, CreateInput{Name: n.ref.Name, Mode: OnDemand}))
		n.minutes(2, 0)
		f(n)
	})
}

func (n *scaled) start() {
	s, err := New(n.t.Context(), n.cfg)
	n.must(err)
	ctx, cancel := context.WithCancel(n.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	synctest.Wait()
	n.Streams, n.stop = s, func() {
		cancel()
		if err := <-ended; err != nil {
			n.t.Error(err)
		}
	}
}

func (n *scaled) restart() {
	n.stop()
	n.start()
	n.minutes(1, 0) // it is seen for the first time
}

func (n *scaled) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *scaled) open() []*shard {
	n.t.Helper()
	_, v, err := n.find(home, n.ref)
	n.must(err)
	if v.row.Status != Active || !keyspace.IsPartition(places(v.open)) {
		n.t.Fatalf("the stream is %s with %d open shards", v.row.Status, len(v.open))
	}
	return v.open
}

// minutes offers a load for minutes: so many times what a shard takes, of which each takes no more than it can.
func (n *scaled) minutes(minutes int, load float64) {
	n.t.Helper()
	for range minutes {
		for _, sh := range n.open() {
			sh.budget.records.Add(uint64(math.Round(60_000 * min(1, load*sh.Hash.Width()))))
		}
		<-time.After(time.Minute)
		synctest.Wait()
	}
}

func (n *scaled) want(what string, shards int) {
	n.t.Helper()
	if got := len(n.open()); got != shards {
		n.t.Errorf("%s: %d shards; want %d", what, got, shards)
	}
}

// TestScaleRamp lets a load grow by less than twice in 15 minutes, with restarts in between: there are shards
// for twice of it at any time.
func TestScaleRamp(t *testing.T) {
	inBubble(t, func(n *scaled) {
		for load, step := 1.0, 0; load < 16; load, step = load*1.2, step+1 {
			n.minutes(6, load)
			if got := float64(len(n.open())); got < 2*load {
				n.t.Errorf("%v shards for a load of %.2f", got, load)
			}
			if step%4 == 1 {
				n.restart()
			}
		}
	})
}

// TestScaleSpike lets a load grow at once: the stream doubles in 15 minutes, and a restart neither helps nor
// hinders that. The cap ends it.
func TestScaleSpike(t *testing.T) {
	inBubble(t, func(n *scaled) {
		n.minutes(5, 2)
		n.want("before", 4)
		n.minutes(2, 50)
		n.want("after 2 minutes", 8)
		n.restart()
		n.minutes(5, 50)
		n.want("after a restart", 8)
		n.minutes(8, 50)
		n.want("after 15 minutes", 16)
		n.minutes(15, 50)
		n.want("after half an hour", 32)
		n.minutes(60, 50)
		n.want("at the cap", 64)
		_, v, err := n.find(home, n.ref)
		n.must(err)
		for _, sh := range v.shards {
			if sh.Number >= 4 && sh.Parent < 0 {
				n.t.Errorf("%s has no parent", sh.ID)
			}
		}
	})
}

// TestScaleIdle goes idle after a peak, with a restart each week: the shards stay for 30 days and go within
// the next ones. What was put before can be read to the end.
func TestScaleIdle(t *testing.T) {
	inBubble(t, func(n *scaled) {
		n.minutes(60, 5)
		n.want("after the peak", 10)
		for range 4 {
			n.minutes(7*24*60, 0.5)
			n.restart()
		}
		n.want("four weeks later", 10)
		n.minutes(60*60, 0.5)
		n.want("after 30 days", 5)
		n.minutes(2*24*60, 0.5)
		n.want("at rest", 4)
		// Rows of closed shards go with their retention, and those of the load with the stream.
		n.minutes(26*60, 0.5)
		e, _, err := n.find(home, n.ref)
		n.must(err)
		if rows := len(n.known(e)); rows != 4 {
			n.t.Errorf("%d rows of shards are left; want 4", rows)
		}
		if _, err := n.cfg.Coordinator.Get(n.t.Context(), row.CapacityKey(e.id)); err != nil {
			n.t.Errorf("the row of the load: %v", err)
		}
		n.must(n.DeleteStream(n.t.Context(), home, n.ref, false))
		synctest.Wait()
		if _, err := n.cfg.Coordinator.Get(n.t.Context(), row.CapacityKey(e.id)); !errors.Is(err, coordinator.ErrNotFound) {
			n.t.Errorf("the row of the load after the stream was deleted: %v", err)
		}
	})
}

// TestScaleCounts puts records and finds that they are the load that is written down, by bytes and by records.
func TestScaleCounts(t *testing.T) {
	inBubble(t, func(n *scaled) {
		peak := func() float64 {
			e, _, err := n.find(home, n.ref)
			n.must(err)
			var o observed
			n.must(n.readCapacity(n.t.Context(), e, &o, 0))
			return o.history.Peak()
		}
		put := func(each time.Duration, recs []record.Entry) {
			for at := time.Duration(0); at < time.Minute; at += each {
				out, err := n.PutAll(n.t.Context(), home, n.ref, recs, nil)
				n.must(err)
				for _, r := range out {
					if r.Err != nil {
						n.t.Fatal(r.Err)
					}
				}
				<-time.After(each)
			}
			<-time.After(time.Minute) // until it was looked at
			synctest.Wait()
		}
		var recs []record.Entry
		for i := range 4 {
			recs = append(recs, sized(keyspace.UniformStart(i, 4), mib/8))
		}
		put(time.Second, recs)
		if got := peak(); got < 0.24 || got > 0.5 { // of a minute that may have begun before
			n.t.Errorf("a peak of %v; want half a shard's bytes, or a part of it", got)
		}
		recs = recs[:0]
		for i := range 400 {
			recs = append(recs, explicit(keyspace.UniformStart(i, 400), "x"))
		}
		put(200*time.Millisecond, recs)
		if got := peak(); got < 0.95 || got > 2.05 {
			n.t.Errorf("a peak of %v; want two shards' records, or a part of it", got)
		}
	})
}

// TestScaleCut cuts the power at every write of a split and of a merge: after a restart the stream is whole,
// has what was planned or what it had, and goes on.
func TestScaleCut(t *testing.T) {
	for _, grow := range []bool{true, false} {
		for cut := 0; ; cut++ {
			w := newWorld(t, 0, Caps{})
			w.cfg.Scaling = Scaling{On: true}
			w.restart()
			w.must(w.CreateStream(t.Context(), home, CreateInput{Name: "mill", Mode: OnDemand}))
			e, v, err := w.find(home, Ref{Name: "mill"})
			w.must(err)
			from, to := 4, 6
			if !grow {
				w.must(w.begin(t.Context(), e, Updating, func(_ *view, row *streamRow) error {
					row.Plan = &plan{Target: 6}
					return nil
				}))
				_, v, err = w.find(home, Ref{Name: "mill"})
				w.must(err)
				from, to = 6, 4
			}
			sc := &scaler{s: w.Streams, seen: map[*entry]*observed{}}
			sc.look(t.Context())
			if grow {
				for _, sh := range v.open {
					sh.budget.bytes.Add(60 * mib * 3 / 4)
				}
			}
			w.clock.Advance(map[bool]time.Duration{true: time.Minute, false: 25 * time.Hour}[grow])
			w.fuse.left = cut
			w.fuse.used = 0
			sc.look(t.Context())
			done := w.fuse.left > 0
			w.fuse.left = -1
			w.restart()
			w.tick(2 * time.Second)
			w.tick(2 * time.Second)
			_, v, err = w.find(home, Ref{Name: "mill"})
			w.must(err)
			if n := len(v.open); v.row.Status != Active || !keyspace.IsPartition(places(v.open)) || n != from && n != to {
				t.Fatalf("cut %d: %s with %d shards", cut, v.row.Status, n)
			}
			if done {
				if len(v.open) != to {
					t.Errorf("%d shards; want %d", len(v.open), to)
				}
				if cut < 5 {
					t.Errorf("only %d writes", cut)
				}
				break
			}
		}
	}
}

// TestScaleTogether has two nodes note the load of a stream: the higher peak stands, whoever wrote first.
func TestScaleTogether(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	w.cfg.Scaling = Scaling{On: true}
	w.restart()
	w.must(w.CreateStream(t.Context(), home, CreateInput{Name: "mill", Mode: OnDemand}))
	e, v, err := w.find(home, Ref{Name: "mill"})
	w.must(err)
	mine := &scaler{s: w.Streams, seen: map[*entry]*observed{}}
	mine.look(t.Context())
	theirs := capacity.History{Changed: w.now()}
	theirs.Note(w.now(), 1.5)
	_, err = w.cfg.Coordinator.Put(t.Context(), row.CapacityKey(e.id), theirs.Encode(), 0)
	w.must(err)
	for _, load := range []float64{1.2, 1.8} {
		v.open[0].budget.bytes.Add(uint64(60 * mib * load / 2))
		v.open[1].budget.bytes.Add(uint64(60 * mib * load / 2))
		w.clock.Advance(time.Minute)
		mine.look(t.Context())
		var o observed
		w.must(w.readCapacity(t.Context(), e, &o, 0))
		if want := max(1.5, load); o.history.Peak() != want || mine.seen[e].history.Peak() != want {
			t.Errorf("a peak of %v is stored, and %v known; want %v", o.history.Peak(), mine.seen[e].history.Peak(), want)
		}
	}
	if len(w.failed) > 0 {
		t.Error(w.failed)
	}
}

// TestScaleLimits keeps the shards where the account has no more, and leaves provisioned streams alone.
func TestScaleLimits(t *testing.T) {
	inBubble(t, func(n *scaled) {
		n.stop()
		n.cfg.Caps.Shards = 9
		n.start()
		n.must(n.CreateStream(t.Context(), home, CreateInput{Name: "provisioned", ShardCount: 1}))
		n.minutes(1, 0)
		_, v, err := n.find(home, Ref{Name: "provisioned"})
		n.must(err)
		v.open[0].budget.records.Add(60_000)
		n.minutes(40, 3.8)
		n.want("where the account has room for 8", 8)
		if _, v, _ := n.find(home, Ref{Name: "provisioned"}); len(v.open) != 1 {
			n.t.Errorf("a provisioned stream was scaled to %d shards", len(v.open))
		}
	})
}
