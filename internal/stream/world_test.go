package stream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	coordmem "github.com/headrace/headrace/internal/coordinator/mem"
	lanemem "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/shardlog"
)

var (
	home = Scope{Account: "123456789012", Region: "eu-west-1"}
	// began is when every test world begins.
	began = time.Date(2015, 1, 22, 1, 22, 2, 500e6, time.UTC)
)

// errCut is what a world's storage answers when its steps are used up.
var errCut = errors.New("power cut")

// world is a Streams on storage in memory, a clock that moves only when told to, and a fuse that
// cuts the power after a number of writes.
type world struct {
	*Streams
	t     testing.TB
	cfg   Config
	clock *clock.Manual
	fuse  fuse
	// failed are the errors of transitions that nobody was told.
	failed []error
}

// fuse lets a number of writes through and then fails all; a negative number lets all through.
type fuse struct{ left, used int }

func (f *fuse) burn() error {
	if f.left == 0 {
		return errCut
	}
	f.left--
	f.used++
	return nil
}

func newWorld(t testing.TB, delay time.Duration, caps Caps) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(began), fuse: fuse{left: -1}}
	store, err := shardlog.Open(t.Context(), shardlog.Config{Lane: lanemem.New(lanemem.Config{}), Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	c := coordmem.New()
	t.Cleanup(func() {
		if err := errors.Join(store.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	w.cfg = Config{
		Log: fusedLog{store, &w.fuse}, Registry: fusedRegistry{store, &w.fuse}, Coordinator: fusedCoordinator{c, &w.fuse},
		Clock: w.clock, TransitionDelay: delay, Caps: caps, KeyBox: KeyBox(secret.NewKey()),
		Events: Events{TransitionFailed: func(_ Scope, _ string, err error) { w.failed = append(w.failed, err) }},
	}
	w.restart()
	return w
}

// restart forgets everything that is not in storage.
func (w *world) restart() {
	w.t.Helper()
	s, err := New(w.t.Context(), w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Streams = s
}

// tick moves the clock and does what Run would do then.
func (w *world) tick(d time.Duration) {
	w.clock.Advance(d)
	w.pass(w.t.Context())
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(name string, shards int) Ref {
	w.t.Helper()
	w.must(w.CreateStream(w.t.Context(), home, CreateInput{Name: name, ShardCount: shards}))
	return Ref{Name: name}
}

func (w *world) iterator(ref Ref, in IteratorInput) string {
	w.t.Helper()
	text, err := w.GetShardIterator(w.t.Context(), home, ref, in)
	w.must(err)
	return text
}

// refused checks that err is what AWS would answer.
func refused(t testing.TB, err error, kind Kind, message string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || e.Message != message {
		t.Errorf("error = %v\nwant %v: %s", err, kind, message)
	}
}

type fusedLog struct {
	*shardlog.Store
	f *fuse
}

func (l fusedLog) Seal(ctx context.Context, id shardlog.ShardID) (shardlog.Bounds, error) {
	if err := l.f.burn(); err != nil {
		return shardlog.Bounds{}, err
	}
	return l.Store.Seal(ctx, id)
}

type fusedRegistry struct {
	shardlog.Registry
	f *fuse
}

func (r fusedRegistry) Open(ctx context.Context, ids []shardlog.ShardID, keep shardlog.Retention) error {
	if err := r.f.burn(); err != nil {
		return err
	}
	return r.Registry.Open(ctx, ids, keep)
}

func (r fusedRegistry) SetRetention(ctx context.Context, ids []shardlog.ShardID, keep shardlog.Retention) error {
	if err := r.f.burn(); err != nil {
		return err
	}
	return r.Registry.SetRetention(ctx, ids, keep)
}

func (r fusedRegistry) Drop(ctx context.Context, ids []shardlog.ShardID) error {
	if err := r.f.burn(); err != nil {
		return err
	}
	return r.Registry.Drop(ctx, ids)
}

type fusedCoordinator struct {
	coordinator.Coordinator
	f *fuse
}

func (c fusedCoordinator) Put(ctx context.Context, key string, value []byte, expect coordinator.Version) (coordinator.Version, error) {
	if err := c.f.burn(); err != nil {
		return 0, err
	}
	return c.Coordinator.Put(ctx, key, value, expect)
}

func (c fusedCoordinator) Delete(ctx context.Context, key string, expect coordinator.Version) error {
	if err := c.f.burn(); err != nil {
		return err
	}
	return c.Coordinator.Delete(ctx, key, expect)
}

func entry1(key, data string) record.Entry {
	return record.Entry{PartitionKey: key, Data: []byte(data)}
}

// explicit is a record for a hash key.
func explicit(h record.HashKey, data string) record.Entry {
	return record.Entry{PartitionKey: "k", ExplicitHashKey: h, HasExplicitHashKey: true, Data: []byte(data)}
}
