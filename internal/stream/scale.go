package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/capacity"
	"github.com/headrace/headrace/internal/stream/hot"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/quota"
	"github.com/headrace/headrace/internal/stream/row"
)

// Scaling says how on-demand streams follow their load.
type Scaling struct {
	// On has them split and merge; without it they keep the shards they have.
	On bool
	// MostShards is the most shards that a stream is split into by itself; 0 means 200, AWS's default of
	// 200 MB/s.
	MostShards int
}

const (
	// defaultMostShards is Scaling.MostShards if it is not set.
	defaultMostShards = 200
	// lookEvery is how often streams are looked at: what counts as load is that of so long.
	lookEvery = time.Minute
	// leastLook is the shortest time, in milliseconds, that a load is worked out of.
	leastLook record.Millis = 30_000
)

// scaler looks at on-demand streams again and again, and has them split and merged. It is for one goroutine.
// What it counts is what this node puts.
type scaler struct {
	s *Streams
	// seen is what it knows of each stream.
	seen map[*entry]*observed
}

// observed is what a scaler knows of a stream.
type observed struct {
	history capacity.History
	version coordinator.Version
	// unwritten says that the history is not as it was written.
	unwritten bool
	meter     capacity.Meter
}

// runScaler looks at the streams until ctx is done.
func (s *Streams) runScaler(ctx context.Context) {
	sc := &scaler{s: s, seen: map[*entry]*observed{}}
	sc.look(ctx)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			sc.look(ctx)
		}
	}
}

// look looks at every stream once.
func (sc *scaler) look(ctx context.Context) {
	sc.s.rows.Lock()
	all := make([]*entry, 0, len(sc.s.rows.byID))
	for _, e := range sc.s.rows.byID {
		all = append(all, e)
	}
	sc.s.rows.Unlock()
	for e := range sc.seen {
		if v := e.view.Load(); v.gone || v.row.Mode != OnDemand {
			delete(sc.seen, e)
		}
	}
	for _, e := range all {
		if v := e.view.Load(); v.row.Mode != OnDemand || v.row.Status != Active || ctx.Err() != nil {
			continue // what it takes meanwhile is counted, and looked at next time
		}
		// A stream that could not be looked at is looked at again in a minute. What is wrong with
		// storage is told by whoever needs it at once.
		if err := sc.lookAt(ctx, e); err != nil && ctx.Err() == nil {
			var refused *Error
			if f := sc.s.cfg.Events.TransitionFailed; f != nil && !errors.As(err, &refused) {
				f(e.scope, e.name, err)
			}
		}
	}
}

// lookAt looks at one stream.
func (sc *scaler) lookAt(ctx context.Context, e *entry) error {
	s, now := sc.s, sc.s.now()
	o := sc.seen[e]
	if o == nil {
		o = &observed{}
		if err := s.readCapacity(ctx, e, o, now); err != nil {
			return err
		}
		sc.seen[e] = o
		o.meter.Take(now, s.readings(e, e.view.Load(), now))
		return nil
	}
	if passed := now - o.meter.At(); passed >= 0 && passed < leastLook {
		return nil
	}
	v := e.view.Load()
	shards, total := o.meter.Take(now, s.readings(e, v, now))
	if len(shards) == 0 {
		return nil
	}
	o.unwritten = o.history.Note(now, total) || o.unwritten
	plan := capacity.Make(now, shards, &o.history, capacity.Rules{
		Most: min(s.cfg.Scaling.MostShards, maxShards), Warm: v.row.WarmMiBps / shardMiBps, AtOnce: opsAtOnce,
	})
	plan, release := s.reserveFor(e, plan)
	defer release()
	if !plan.Empty() {
		// First what happened is written down, then it happens: a crash between the two costs the
		// stream a few minutes, the other way round it could double too often.
		o.history.Did(now, len(shards), plan)
		o.unwritten = true
	}
	if !o.unwritten {
		return nil
	}
	if err := s.writeCapacity(ctx, e, o); err != nil || plan.Empty() {
		return err
	}
	return s.rescale(ctx, e, v, plan)
}

// readings returns what this node has put into the shards of a view.
func (s *Streams) readings(e *entry, v *view, now record.Millis) []capacity.Reading {
	var all []capacity.Reading
	for _, sh := range v.shards {
		if sh.Closed != 0 {
			all = append(all, sh.reading())
		}
	}
	for _, sh := range v.open {
		r := sh.reading()
		load, _ := s.hot.Load(hot.Shard{Stream: e.id, Number: sh.Number}, now)
		if r.Open, r.Width = true, sh.Hash.Width(); len(load.Keys) > 0 && !v.row.Auto {
			r.TopKey = load.Keys[0].Share
		}
		all = append(all, r)
	}
	return all
}

func (sh *shard) reading() capacity.Reading {
	return capacity.Reading{Number: sh.Number, Bytes: sh.budget.bytes.Load(), Records: sh.budget.records.Load()}
}

// reserveFor claims the shards that a plan adds, and returns so much of it as the account has shards for. The
// release is never nil.
func (s *Streams) reserveFor(e *entry, p capacity.Plan) (fits capacity.Plan, release func()) {
	for !p.Empty() {
		release, err := s.reserve(e.scope, quota.Usage{Open: len(p.Split), Held: 2*len(p.Split) + len(p.Merge)})
		if err == nil {
			return p, release
		}
		p.Split, p.Merge = p.Split[:len(p.Split)/2], p.Merge[:len(p.Merge)/2]
	}
	return p, func() {}
}

// rescale splits and merges shards of a stream as a plan for a view of it says. A stream that was changed
// meanwhile stays as it is.
func (s *Streams) rescale(ctx context.Context, e *entry, planned *view, p capacity.Plan) error {
	return s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		if v.row.Status != Active || v.row.Mode != OnDemand || !slices.Equal(v.open, planned.open) {
			return errUnchanged
		}
		next := row.NextShard
		var ops []op
		for _, i := range p.Split {
			ops = append(ops, keyspace.Split(v.open[i].Place(), v.open[i].Hash.Middle(), next))
			next += 2
		}
		for _, i := range p.Merge {
			ops = append(ops, keyspace.Merge(v.open[i].Place(), v.open[i+1].Place(), next))
			next++
		}
		row.Plan, row.NextShard = &plan{Ops: ops}, next
		return nil
	})
}

// readCapacity reads the history of a stream; one that has none begins now.
func (s *Streams) readCapacity(ctx context.Context, e *entry, o *observed, now record.Millis) error {
	key := row.CapacityKey(e.id)
	got, err := s.cfg.Coordinator.Get(ctx, key)
	switch {
	case errors.Is(err, coordinator.ErrNotFound):
		o.history, o.version = capacity.History{Changed: now}, 0
		return nil
	case err != nil:
		return fmt.Errorf("read row %s: %w", key, err)
	}
	if o.history, err = capacity.Decode(got.Value); err != nil {
		return fmt.Errorf("read row %s: %w", key, err)
	}
	o.version = got.Version
	return nil
}

// writeCapacity writes the history of a stream, with what another node wrote meanwhile. A stream that is
// being changed is left alone: it may be on its way out, and its row must not come back after it.
func (s *Streams) writeCapacity(ctx context.Context, e *entry, o *observed) error {
	select {
	case e.driving <- struct{}{}:
	default:
		return refuse(InUse, "Stream %s under account %s is being changed.", e.name, e.scope.Account)
	}
	defer func() { <-e.driving }()
	key := row.CapacityKey(e.id)
	for range attempts {
		if v := e.view.Load(); v.gone || v.row.Status == Deleting {
			return streamNotFound(e.scope, e.name)
		}
		version, err := s.cfg.Coordinator.Put(ctx, key, o.history.Encode(), o.version)
		switch {
		case err == nil:
			o.version, o.unwritten = version, false
			return nil
		case errors.Is(err, shardlog.ErrFull):
			return refuse(LimitExceeded, "Rate exceeded for stream %s under account %s.", e.name, e.scope.Account)
		case !errors.Is(err, coordinator.ErrConflict):
			return fmt.Errorf("write row %s: %w", key, err)
		}
		mine := o.history
		if err := s.readCapacity(ctx, e, o, mine.Changed); err != nil {
			return err
		}
		o.history.Merge(mine)
	}
	return fmt.Errorf("write row %s: %w", key, coordinator.ErrConflict)
}

// forgetCapacity deletes the history of a stream, if it has one.
func (s *Streams) forgetCapacity(ctx context.Context, e *entry) error {
	key := row.CapacityKey(e.id)
	got, err := s.cfg.Coordinator.Get(ctx, key)
	if errors.Is(err, coordinator.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = s.cfg.Coordinator.Delete(ctx, key, got.Version)
	}
	if err != nil {
		return fmt.Errorf("delete row %s: %w", key, err)
	}
	return nil
}
