package keyring

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	coordinatordisk "github.com/headrace/headrace/internal/coordinator/disk"
	coordinatormem "github.com/headrace/headrace/internal/coordinator/mem"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

const (
	acct  = "111122223333"
	other = "444455556666"
	trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`
	doc   = `{"Version":"2012-10-17","Statement":[]}`
)

// engine is something that keeps rows and can be stopped and started again.
type engine interface {
	// open returns the rows as they are kept.
	open(t *testing.T) coordinator.Coordinator
	// stop ends what open began.
	stop(t *testing.T)
}

// inMemory keeps rows as long as the test runs.
type inMemory struct{ c *coordinatormem.Coordinator }

func (m *inMemory) open(*testing.T) coordinator.Coordinator {
	if m.c == nil {
		m.c = coordinatormem.New()
	}
	return m.c
}

func (m *inMemory) stop(*testing.T) {}

// onDisk keeps rows as a server does.
type onDisk struct {
	fs    vfs.FS
	rng   *rand.Rand
	lane  *lanedisk.Lane
	store *shardlog.Store
	rows  *coordinatordisk.Coordinator
}

func newDisk() *onDisk { return &onDisk{fs: memfs.New(), rng: rand.New(rand.NewPCG(1, 2))} }

func (d *onDisk) open(t *testing.T) coordinator.Coordinator {
	if err := d.start(t); err != nil {
		t.Fatal(err)
	}
	return d.rows
}

func (d *onDisk) start(t *testing.T) (err error) {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(d.rng.IntN(256))
	}
	d.lane, d.store, d.rows = nil, nil, nil
	if d.lane, err = lanedisk.Open(t.Context(), d.fs, lanedisk.Config{Segments: 6, SegmentBytes: 64 << 10, Random: rand.NewChaCha8(seed)}); err != nil {
		return err
	}
	if d.store, err = shardlog.Open(t.Context(), shardlog.Config{Lane: d.lane, Clock: clock.System{}, Memory: 128 << 10}); err != nil {
		return err
	}
	bucket, err := dir.Open(d.fs, "objects", clock.System{})
	if err != nil {
		return err
	}
	d.rows, err = coordinatordisk.Open(t.Context(), coordinatordisk.Config{Log: d.store, Registry: d.store, Bucket: bucket, Shard: shardlog.ShardID{}, SnapshotBytes: 4000})
	return err
}

func (d *onDisk) stop(t *testing.T) {
	var errs []error
	if d.rows != nil {
		errs = append(errs, d.rows.Close())
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	if d.lane != nil {
		errs = append(errs, d.lane.Close())
	}
	if err := errors.Join(errs...); err != nil {
		t.Logf("stop: %v", err)
	}
}

// onEngines runs a test on every engine.
func onEngines(t *testing.T, f func(t *testing.T, e engine)) {
	t.Run("mem", func(t *testing.T) { f(t, &inMemory{}) })
	t.Run("disk", func(t *testing.T) { f(t, newDisk()) })
}

// testKey is a key that is the same in all tests.
func testKey(t testing.TB) secret.Key {
	t.Helper()
	k, err := secret.KeyOf(make([]byte, secret.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// world is a keyring in a test.
type world struct {
	*Keyring
	t     testing.TB
	clock *clock.Manual
}

func newWorld(t testing.TB, rows coordinator.Coordinator, change ...func(*Config)) *world {
	t.Helper()
	now := clock.NewManual(time.Date(2026, 11, 23, 10, 11, 12, 345e6, time.UTC))
	cfg := Config{Coordinator: rows, Key: testKey(t), Clock: now}
	for _, f := range change {
		f(&cfg)
	}
	k, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return &world{Keyring: k, t: t, clock: now}
}

// ok fails the test on an error.
func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// populate makes an account with a user that has a key, and a role.
func (w *world) populate() (user, root *NewKey) {
	w.t.Helper()
	root, err := w.Bootstrap(w.t.Context(), acct, "main")
	w.ok(err)
	_, err = w.CreateUser(w.t.Context(), acct, "alice")
	w.ok(err)
	user, err = w.CreateAccessKey(w.t.Context(), Whose{acct, "alice"})
	w.ok(err)
	_, err = w.CreateRole(w.t.Context(), acct, "reader", RoleSpec{Trust: trust})
	w.ok(err)
	return user, root
}

// lookup finds a key or fails.
func (w *world) lookup(id, token string) *Credential {
	w.t.Helper()
	c, err := w.Lookup(id, token)
	w.ok(err)
	return c
}

// refused checks why a credential is not accepted.
func (w *world) refused(id, token string, want error) {
	w.t.Helper()
	if c, err := w.Lookup(id, token); !errors.Is(err, want) || c != nil {
		w.t.Errorf("%s: got %v, %v; want %v", id, c, err, want)
	}
}

// says checks a refusal's kind and text.
func (w *world) says(err error, kind Kind, text string) {
	w.t.Helper()
	if !IsKind(err, kind) || err.Error() != text {
		w.t.Errorf("got kind %v, %v; want %v, %q", kind, err, kind, text)
	}
}

// contextUntil returns a context that is done when stop is closed.
func contextUntil(t *testing.T, stop <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-stop
		cancel()
	}()
	return ctx
}
