package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/row"
)

// Run follows the coordinator's rows and carries out transitions that are due: those with a delay,
// those that a crash or an error interrupted, the expiry of closed shards and the end of consumers. It has
// on-demand streams follow their load if they are to. It returns nil when
// ctx is done, and an error when it can no longer follow the rows, for then this node must not go
// on answering from what it knew. Only one Run may be under way.
func (s *Streams) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.cfg.Coordinator.Watch(ctx, row.Prefix)
	if err != nil {
		return endOfRun(ctx, fmt.Errorf("watch streams: %w", err))
	}
	s.watch(true)
	defer s.watch(false)
	// The watch has begun, so what a full listing does not show was deleted before it.
	if err := s.load(ctx); err != nil {
		return endOfRun(ctx, err)
	}
	if err := s.sweepConsumers(ctx); err != nil {
		return endOfRun(ctx, err)
	}
	followed := make(chan error, 1)
	go func() {
		defer cancel()
		followed <- s.follow(ctx, w)
	}()
	scaled := make(chan struct{})
	go func() {
		defer close(scaled)
		if s.cfg.Scaling.On {
			s.runScaler(ctx)
		}
	}()
	s.tend(ctx)
	<-scaled
	_ = w.Close() // unblocks follow, whose own error is the one that matters
	return endOfRun(ctx, <-followed)
}

// endOfRun hides the errors that only say that Run was asked to stop.
func endOfRun(ctx context.Context, err error) error {
	if err == nil || context.Cause(ctx) != nil && isCancel(err) {
		return nil
	}
	return err
}

// watch notes whether deletions are being reported.
func (s *Streams) watch(on bool) {
	s.rows.Lock()
	defer s.rows.Unlock()
	s.rows.watched = on
	clear(s.rows.gone)
}

// follow takes in rows as the watch reports them, until ctx is done.
func (s *Streams) follow(ctx context.Context, w coordinator.Watcher) error {
	for {
		entries, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("watch streams: %w", err)
		}
		changes := make([]change, 0, len(entries))
		for _, e := range entries {
			c, ok, err := changeOf(e)
			if err != nil {
				return err
			}
			if ok {
				changes = append(changes, c)
			}
		}
		s.report(changes...)
	}
}

// tend carries out what is due until ctx is done.
func (s *Streams) tend(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		if at, any := s.pass(ctx); any {
			timer.Reset(max(at.Time().Sub(s.cfg.Clock.Now()), time.Millisecond))
		}
	}
}

// pass carries out once whatever is due now and returns when to look again, if ever.
func (s *Streams) pass(ctx context.Context) (at record.Millis, any bool) {
	s.rows.Lock()
	var todo []*entry
	for e := range s.rows.pending {
		todo = append(todo, e)
	}
	s.rows.Unlock()
	for _, e := range todo {
		if ctx.Err() != nil {
			return 0, false
		}
		if next, ok := s.attend(ctx, e); ok && (!any || next < at) {
			at, any = next, true
		}
	}
	return at, any
}

// attend does what is due for one stream and returns when there is more to do, if ever. A stream
// that a call is just driving is left to that call.
func (s *Streams) attend(ctx context.Context, e *entry) (record.Millis, bool) {
	at, ok := s.next(e)
	if !ok || at > s.now() {
		return at, ok
	}
	select {
	case e.driving <- struct{}{}:
	default:
		return s.now() + busy, true
	}
	err := s.drive(ctx, e)
	if err == nil {
		err = s.expire(ctx, e)
	}
	if err == nil {
		err = s.finishConsumers(ctx, e)
	}
	<-e.driving
	if err != nil && ctx.Err() == nil {
		s.failed(e, err)
	}
	return s.next(e)
}

// busy is how long in milliseconds to leave a stream to the call that is driving it.
const busy = 1000

// next returns when a stream needs attention, if ever: when its transition is due, its first closed shard
// expires or the first of its consumers goes.
func (s *Streams) next(e *entry) (at record.Millis, ok bool) {
	v := e.view.Load()
	if v.gone {
		return 0, false
	}
	if v.row.Status != Active {
		at, ok = v.row.Due, true
	} else {
		for _, sh := range v.shards {
			expires := sh.Closed + v.row.Retention()
			if v.expired(sh, 0) {
				expires = 0 // the row outlived an interrupted removal
			}
			if sh.Closed != 0 && (!ok || expires < at) {
				at, ok = expires, true
			}
		}
		for _, c := range v.consumers {
			if c.Deleting && (!ok || c.Due < at) {
				at, ok = c.Due, true
			}
		}
	}
	s.rows.Lock()
	defer s.rows.Unlock()
	return max(at, e.retry), ok
}
