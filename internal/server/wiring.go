package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/auth/access"
	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/wire"
)

// system is everything that runs, in the order it was made; close takes it down in reverse.
type system struct {
	handler http.Handler
	// endStreams ends the event streams under way.
	endStreams func()

	ready   atomic.Bool
	keys    *keyring.Keyring
	data    vfs.FS // the data directory, nil without one
	port    *metrics.Port
	disk    disk
	closers []func() error
}

func (s *system) onClose(f func() error) { s.closers = append(s.closers, f) }

// run runs f until close, which waits for it. What f returns is given to failed, if that is not nil.
func (s *system) run(ctx context.Context, f func(context.Context) error, failed func(error)) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := f(ctx); err != nil && failed != nil {
			failed(err)
		}
	}()
	s.onClose(func() error {
		stop()
		<-stopped
		return nil
	})
}

// close stops what assemble started, newest first, and waits for it.
func (s *system) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

// requestShare is the part of the memory budget that requests in flight may take, and eventShare that of
// events on their way to subscribers; records get the rest.
const (
	requestShare      = 4
	eventShare        = 8
	maxRequestMemory  = 256 << 20
	idleBufferDivisor = 16
	maxIdleBuffers    = 128 << 20
)

// assemble makes the engines, the domains that stand on them, their APIs and the handler of the one
// port. A failure that makes going on unsafe is given to fail, which ends Run.
func assemble(ctx context.Context, cfg Config, fail context.CancelCauseFunc) (_ *system, err error) {
	sys := new(system)
	defer func() {
		if err != nil {
			err = errors.Join(err, sys.close())
		}
	}()
	meters, err := metrics.New(cfg.Registry, cfg.Build)
	if err != nil {
		return nil, fmt.Errorf("make metrics: %w", err)
	}
	now := clock.NewBounded(cfg.Clock, func(ahead time.Duration) {
		cfg.Logger.Error("the wall clock jumped ahead; arrival times follow slowly", "ahead", ahead)
	})
	sys.port = meters.Port()
	requests := min(cfg.MemoryBytes/requestShare, maxRequestMemory)
	events := requests * requestShare / eventShare
	engines, err := openEngines(ctx, cfg, sys, now, cfg.MemoryBytes-requests-events, fail)
	if err != nil {
		return nil, err
	}
	node, err := nodeKey(ctx, cfg, engines)
	if err != nil {
		return nil, err
	}
	streams, err := openStreams(ctx, cfg, sys, engines, node, meters, now, fail)
	if err != nil {
		return nil, err
	}
	keys, err := openAccess(ctx, cfg, sys, engines.rows, node, now, fail)
	if err != nil {
		return nil, err
	}
	written, err := openAudit(ctx, cfg, sys, now, sys.port)
	if err != nil {
		return nil, err
	}
	bounds := newRates(cfg, sys.port)
	decider := access.New(access.Config{Keys: keys, Governed: streams.Governed, Clock: now})
	identify := authenticator(cfg, keys, now)
	calls := wire.NewHandler(wire.Config{
		Services:     services(cfg, streams, meters, keys, decider, now),
		Authenticate: identify,
		Admit:        bounds.admit,
		Allow:        bounds.allow,
		Authorize:    authorizer(cfg, decider),
		Clock:        now,
		Observer:     observer(meters, cfg, written, now),
		MaxBody:      cfg.MaxBodyBytes,
		Memory:       requests,
		Events:       events,
		IdleBuffers:  min(cfg.MemoryBytes/idleBufferDivisor, maxIdleBuffers),
	})
	if err := cfg.Registry.Register(metrics.NewStorage(sys.disk.storage)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	sys.endStreams = calls.EndStreams
	sys.handler = port(calls, pages{
		ready: &sys.ready, registry: cfg.Registry, metricsFrom: cfg.MetricsFrom,
		note:           func() string { return sys.disk.note() + lockedNote(streams) },
		controls:       ownCalls(ctx, cfg, engines, identify, heats(cfg, identify, decider, streams)),
		administration: administration(cfg, keys, decider, bounds, meters, written, now),
	})
	return sys, nil
}

// openStreams makes Data Streams on the engines.
func openStreams(ctx context.Context, cfg Config, sys *system, engines engines, node secret.Key, meters *metrics.Metrics, now clock.Clock, fail context.CancelCauseFunc) (*stream.Streams, error) {
	streams, err := stream.New(ctx, stream.Config{
		Log:             engines.log,
		Registry:        engines.log,
		Coordinator:     engines.rows,
		Clock:           now,
		TransitionDelay: cfg.TransitionDelay,
		RestoredAt:      engines.log.RestoredAt(),
		KeyBox:          stream.KeyBox(node),
		Caps:            stream.Caps{Streams: cfg.Caps.Streams, OnDemandStreams: cfg.Caps.OnDemandStreams, Shards: cfg.Caps.Shards},
		Limits:          cfg.Limits.AWS,
		Scaling:         stream.Scaling{On: cfg.Limits.Scaling, MostShards: cfg.Limits.MostShards},
		Events: stream.Events{
			Appeared: func(sc stream.Scope, name string) {
				meters.AddStream(metrics.StreamID{Account: sc.Account, Region: sc.Region, Name: name})
			},
			Gone: func(sc stream.Scope, name string) {
				meters.RemoveStream(metrics.StreamID{Account: sc.Account, Region: sc.Region, Name: name})
			},
			Monitored: func(sc stream.Scope, name string, on []stream.ShardMetric, shards []int32) {
				names := make([]string, len(on))
				for i, m := range on {
					names[i] = string(m)
				}
				meters.MonitorShards(metrics.StreamID{Account: sc.Account, Region: sc.Region, Name: name}, names, shards)
			},
			Consumers: func(sc stream.Scope, name string, consumers []string) {
				meters.SetConsumers(metrics.StreamID{Account: sc.Account, Region: sc.Region, Name: name}, consumers)
			},
			TransitionFailed: func(sc stream.Scope, name string, err error) {
				meters.TransitionFailed()
				cfg.Logger.Error("a stream's transition failed and will be tried again", "account", sc.Account, "region", sc.Region, "stream", name, "error", err)
			},
		},
	})
	if err != nil {
		return nil, err
	}
	sys.disk.streams.Store(streams)
	logLocked(cfg.Logger, streams)
	// The runner stops before the coordinator that it watches: it is closed first.
	sys.run(ctx, streams.Run, func(err error) { fail(fmt.Errorf("streams failed: %w", err)) })
	return streams, nil
}

// observer counts requests, logs those that failed on our side or were slow, and has calls written down.
func observer(meters *metrics.Metrics, cfg Config, written *auditor, now clock.Clock) wire.Observer {
	operations := newOperations(meters)
	slow := newSlowLog(cfg.SlowRequests, cfg.Logger, now)
	o := wire.Observer{
		Done: func(e wire.Event) {
			operations.of(e.Service, e.Operation).Done(e.ErrorCode, e.Duration)
			slow.done(&e)
		},
		Failed: func(e wire.Event, err error, stack []byte) {
			attrs := []any{"request", e.RequestID, "service", e.Service, "operation", e.Operation, "error", err}
			if stack != nil {
				attrs = append(attrs, "stack", string(stack))
			}
			cfg.Logger.Error("a request failed on our side", attrs...)
		},
	}
	if written != nil {
		count := o.Done
		o.Called = written.called
		o.Done = func(e wire.Event) {
			count(e)
			written.done(e)
		}
	}
	return o
}
