package kinesis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/api/kinesis"
	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	coordinator "github.com/headrace/headrace/internal/coordinator/mem"
	lane "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire"
)

// setup is what tests may want otherwise than the defaults.
type setup struct {
	delay  time.Duration
	memory int64
	caps   stream.Caps
	// limits has AWS's limits hold, and on-demand streams scale.
	limits bool
}

// world is the whole service in one process: the wire layer, the API, the domain with its runner
// and the engines in memory. Time is the machine's, which in a synctest bubble is the bubble's.
type world struct {
	t       testing.TB // who hears of failures
	handler *wire.Handler
	streams *stream.Streams
	closers []func() error
}

// newWorld makes a world. A fault on the server's side, which a client would see as a 500 without
// details, fails the test.
func newWorld(t testing.TB, s setup) *world {
	t.Helper()
	w := &world{t: t}
	now := clock.System{}
	log, err := shardlog.Open(context.Background(), shardlog.Config{
		Lane: lane.New(lane.Config{}), Clock: now, Memory: s.memory, Sweep: time.Hour,
	})
	w.must(err)
	w.closers = append(w.closers, log.Close)
	rows := coordinator.New()
	w.closers = append(w.closers, rows.Close)
	w.streams, err = stream.New(context.Background(), stream.Config{
		Log: log, Registry: log, Coordinator: rows, Clock: now, TransitionDelay: s.delay, Caps: s.caps,
		Limits: s.limits, Scaling: stream.Scaling{On: s.limits},
		Events: stream.Events{TransitionFailed: func(_ stream.Scope, name string, err error) {
			w.t.Errorf("transition of stream %s failed: %v", name, err)
		}},
	})
	w.must(err)
	w.run()
	meters, err := metrics.New(metrics.NewRegistry(), metrics.Build{})
	w.must(err)
	w.handler = wire.NewHandler(wire.Config{
		Services:     []wire.Service{kinesis.New(w.streams, meters, now, checkPolicy).Wire()},
		Authenticate: sigv4.FormOnly{},
		Clock:        now,
		Observer: wire.Observer{Failed: func(e wire.Event, err error, stack []byte) {
			w.t.Errorf("%s failed on the server's side: %v\n%s", e.Operation, err, stack)
		}},
	})
	return w
}

// run starts what carries out transitions that are due later.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.streams.Run(ctx) }()
	w.closers = append(w.closers, func() error {
		cancel()
		return <-ended
	})
}

// close takes the world down, newest part first.
func (w *world) close() {
	var errs []error
	for i := len(w.closers) - 1; i >= 0; i-- {
		errs = append(errs, w.closers[i]())
	}
	w.closers = nil
	w.must(errors.Join(errs...))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// checkPolicy stands for the policy language, which has tests of its own: it takes JSON objects.
func checkPolicy(document string) error {
	if !strings.HasPrefix(document, "{") {
		return errors.New("Policy is malformed")
	}
	return nil
}
