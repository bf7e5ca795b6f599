package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane"
	lanemem "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	bucketmem "github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/shardlog"
)

// registers is the machine of these tests: eight registers that are set by compare-and-set, and a
// list of every command's id in the order applied, so that a command lost or applied twice shows.
type registers struct {
	values [8]uint64
	ids    []uint64
}

// verdict is its answer: whether the register was set, and what it held before.
type verdict struct {
	set bool
	old uint64
}

var errNoCommand = errors.New("not a command")

// set encodes a command that sets a register to id if it holds expect.
func set(id uint64, register int, expect uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, id)
	return append(binary.LittleEndian.AppendUint64(b, expect), byte(register))
}

func (r *registers) Apply(command []byte) (verdict, error) {
	if len(command) < 17 {
		return verdict{}, errNoCommand
	}
	id, expect := binary.LittleEndian.Uint64(command), binary.LittleEndian.Uint64(command[8:])
	value := &r.values[command[16]%8]
	r.ids = append(r.ids, id)
	v := verdict{set: *value == expect, old: *value}
	if v.set {
		*value = id
	}
	return v, nil
}

// Freeze gives one row for the registers and then one for each ten commands.
func (r *registers) Freeze() iter.Seq[[]byte] {
	values, ids := r.values, r.ids[:len(r.ids):len(r.ids)]
	return func(yield func([]byte) bool) {
		var row []byte
		for _, v := range values {
			row = binary.LittleEndian.AppendUint64(row, v)
		}
		if !yield(row) {
			return
		}
		for chunk := range slices.Chunk(ids, 10) {
			row = row[:0]
			for _, id := range chunk {
				row = binary.LittleEndian.AppendUint64(row, id)
			}
			if !yield(row) {
				return
			}
		}
	}
}

func (r *registers) Restore(row []byte) error {
	first := len(r.ids) == 0 && r.values == [8]uint64{}
	for i := 0; i+8 <= len(row); i += 8 {
		v := binary.LittleEndian.Uint64(row[i:])
		if first && i < 64 && len(row) == 64 {
			r.values[i/8] = v
		} else {
			r.ids = append(r.ids, v)
		}
	}
	return nil
}

func (r *registers) String() string { return fmt.Sprint(r.values, r.ids) }

// faultyLane is a lane whose next Append may fail, before or after it took the group.
type faultyLane struct {
	lane.Lane
	fail atomic.Int32
}

const (
	failNot int32 = iota
	failBefore
	failAfter
	failFull
)

var errBroken = errors.New("broken")

func (l *faultyLane) Append(ctx context.Context, next lane.Position, payload []byte) error {
	switch l.fail.Load() {
	case failBefore:
		return errBroken
	case failAfter:
		return errors.Join(errBroken, l.Lane.Append(ctx, next, payload))
	case failFull:
		return lane.ErrFull
	}
	return l.Lane.Append(ctx, next, payload)
}

// faultyBucket is a bucket in which calls fail or lie.
type faultyBucket struct {
	objectstore.Bucket
	failPut, failDelete, losePut atomic.Bool
	// gate, when not nil, holds every Put up.
	gate chan struct{}
}

func (b *faultyBucket) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	if b.failPut.Load() {
		return objectstore.Info{}, objectstore.ErrFull
	}
	if b.gate != nil {
		<-b.gate
	}
	if b.losePut.Load() {
		n, err := io.Copy(io.Discard, body)
		return objectstore.Info{Key: key, Size: n}, err
	}
	return b.Bucket.Put(ctx, key, body)
}

func (b *faultyBucket) Delete(ctx context.Context, key string) error {
	if b.failDelete.Load() {
		return errBroken
	}
	return b.Bucket.Delete(ctx, key)
}

var (
	shard = shardlog.ShardID{Stream: 1 << 63, Shard: 1}
	other = shardlog.ShardID{Stream: 7}
)

// world is a lane and a bucket that outlive the processes which use them, and the present one.
type world struct {
	t      *testing.T
	lane   *faultyLane
	bucket *faultyBucket
	cfg    Config

	store   *shardlog.Store
	machine *registers
	journal *Journal[verdict]

	failedSnapshots atomic.Int32
	failures        atomic.Int32
}

func newWorld(t *testing.T) *world {
	w := &world{
		t:      t,
		lane:   &faultyLane{Lane: lanemem.New(lanemem.Config{MaxGroup: 64 << 10})},
		bucket: &faultyBucket{Bucket: bucketmem.New(clock.System{}, 0)},
	}
	w.cfg = Config{Bucket: w.bucket, Shard: shard, Name: "test", SnapshotBytes: 20 * (17 + commandCost)}
	w.cfg.Events = Events{
		SnapshotFailed: func(error) { w.failedSnapshots.Add(1) },
		Failed:         func(error) { w.failures.Add(1) },
	}
	t.Cleanup(w.close)
	return w
}

// open starts a process. One that ran before is gone without a word: it learns at its next append
// that the lane has been taken over.
func (w *world) open() error {
	w.t.Helper()
	before, journal := w.store, w.journal
	store, err := shardlog.Open(w.t.Context(), shardlog.Config{Lane: w.lane, Clock: clock.System{}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store, w.machine, w.journal = store, &registers{}, nil
	w.cfg.Log, w.cfg.Registry = store, store
	j, err := Open(w.t.Context(), w.cfg, w.machine)
	if err == nil {
		w.journal = j
	}
	if journal != nil {
		journal.Close()
	}
	if before != nil {
		before.Close()
	}
	return err
}

func (w *world) mustOpen() {
	w.t.Helper()
	if err := w.open(); err != nil {
		w.t.Fatalf("Open = %v", err)
	}
}

// close ends the present process in good order.
func (w *world) close() {
	if w.journal != nil {
		w.journal.Close()
	}
	if w.store != nil {
		w.store.Close()
	}
	w.journal, w.store = nil, nil
}

func (w *world) propose(command []byte) (verdict, error) {
	return w.journal.Propose(w.t.Context(), command)
}

func (w *world) state() (s string) {
	w.t.Helper()
	if err := w.journal.View(func() { s = w.machine.String() }); err != nil {
		w.t.Fatalf("View = %v", err)
	}
	return s
}

func (w *world) snapshots() (keys []string) {
	w.t.Helper()
	infos, err := w.bucket.List(w.t.Context(), "journal/test/", "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, info := range infos {
		keys = append(keys, info.Key)
	}
	return keys
}

func (w *world) bounds() shardlog.Bounds {
	w.t.Helper()
	b, err := w.store.Bounds(w.t.Context(), shard)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// TestModel carries out random histories with a process that comes and goes, and compares every
// answer, and the state after every step and every recovery, with a machine that never stopped.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.close()
				m := &model{world: w, rng: rand.New(rand.NewPCG(seed, 3))}
				w.mustOpen()
				for range 40 {
					m.step()
					synctest.Wait() // for a snapshot
					m.compare()
				}
			})
		})
	}
}

// model is what the journal should hold.
type model struct {
	*world
	rng  *rand.Rand
	want registers
	id   uint64
}

func (m *model) command() []byte {
	m.id++
	register := m.rng.IntN(8)
	expect := m.want.values[register]
	if m.rng.IntN(3) == 0 {
		expect++
	}
	return set(m.id, register, expect)
}

func (m *model) compare() {
	m.t.Helper()
	if got, want := m.state(), m.want.String(); got != want {
		m.t.Fatalf("the state is %s, want %s", got, want)
	}
}

func (m *model) step() {
	switch m.rng.IntN(10) {
	case 0, 1, 2:
		for range m.rng.IntN(10) {
			m.one()
		}
	case 3, 4:
		m.many(1 + m.rng.IntN(12))
	case 5: // killed
		m.mustOpen()
	case 6: // stopped and started
		m.close()
		m.mustOpen()
	case 7:
		m.bucket.failPut.Store(!m.bucket.failPut.Load())
	case 8:
		m.bucket.failDelete.Store(!m.bucket.failDelete.Load())
		<-time.After(DefaultRetry)
	case 9:
		m.fail()
	}
}

// one proposes one command and knows the answer.
func (m *model) one() {
	m.t.Helper()
	c := m.command()
	want, _ := m.want.Apply(c)
	if got, err := m.propose(c); err != nil || got != want {
		m.t.Fatalf("Propose = %+v, %v; want %+v", got, err, want)
	}
}

// many proposes commands at once; the order is the journal's, and the answers must fit it.
func (m *model) many(n int) {
	m.t.Helper()
	commands, answers := map[uint64][]byte{}, map[uint64]verdict{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range n {
		c := m.command()
		id := m.id
		commands[id] = c
		wg.Go(func() {
			got, err := m.propose(c)
			if err != nil {
				m.t.Errorf("Propose = %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[id] = got
		})
	}
	wg.Wait()
	for _, id := range m.machine.ids[len(m.want.ids):] {
		if commands[id] == nil {
			m.t.Fatalf("command %d was applied twice, or never proposed", id)
		}
		if want, _ := m.want.Apply(commands[id]); answers[id] != want {
			m.t.Fatalf("command %d was answered %+v, want %+v", id, answers[id], want)
		}
		delete(commands, id)
	}
	if len(commands) > 0 {
		m.t.Fatalf("%d acknowledged commands were not applied", len(commands))
	}
}

// fail breaks the lane under a command: it may have happened or not, nothing else may.
func (m *model) fail() {
	m.t.Helper()
	mode := int32(1 + m.rng.IntN(3))
	m.lane.fail.Store(mode)
	c := m.command()
	_, err := m.propose(c)
	m.lane.fail.Store(failNot)
	if mode == failFull {
		if !errors.Is(err, shardlog.ErrFull) {
			m.t.Fatalf("Propose on a full lane = %v, want %v", err, shardlog.ErrFull)
		}
		return
	}
	if !errors.Is(err, errBroken) {
		m.t.Fatalf("Propose on a broken lane = %v, want %v", err, errBroken)
	}
	synctest.Wait()
	if err := m.journal.View(func() {}); !errors.Is(err, errBroken) {
		m.t.Fatalf("View after a failure = %v, want %v", err, errBroken)
	}
	if _, err := m.propose(c); !errors.Is(err, errBroken) {
		m.t.Fatalf("Propose after a failure = %v, want %v", err, errBroken)
	}
	m.mustOpen()
	if mode == failAfter {
		m.want.Apply(c)
	}
}

func TestProposersShareAnAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		gate := &gatedLog{gate: make(chan struct{})}
		w.mustOpen()
		gate.Log = w.store
		w.journal.cfg.Log = gate
		for i := range 100 {
			go w.propose(set(uint64(i+1), i, 0))
		}
		synctest.Wait()
		close(gate.gate)
		synctest.Wait()
		if n := gate.appends.Load(); n != 2 {
			t.Errorf("100 proposals took %d appends, want the first and the rest", n)
		}
		if n := len(w.machine.ids); n != 100 {
			t.Errorf("%d commands applied, want 100", n)
		}
	})
}

// gatedLog lets Append through when the gate is closed.
type gatedLog struct {
	shardlog.Log
	gate    chan struct{}
	appends atomic.Int32
}

func (l *gatedLog) Append(ctx context.Context, batches []shardlog.Batch) ([]shardlog.Result, error) {
	l.appends.Add(1)
	<-l.gate
	return l.Log.Append(ctx, batches)
}

func TestProposersThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		gate := &gatedLog{Log: w.store, gate: make(chan struct{})}
		w.journal.cfg.Log = gate
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 2)
		for i := range 2 {
			go func() {
				_, err := w.journal.Propose(ctx, set(uint64(i+1), 0, 0))
				left <- err
			}()
			synctest.Wait() // the first is on its way, the second waits
		}
		cancel()
		for range 2 {
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("Propose = %v, want %v", err, context.Canceled)
			}
		}
		close(gate.gate)
		if _, err := w.propose(set(3, 0, 1)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.machine.ids, []uint64{1, 3}) {
			t.Errorf("applied %v, want what was under way and what came later", w.machine.ids)
		}
		if _, err := w.journal.Propose(ctx, set(4, 0, 0)); !errors.Is(err, context.Canceled) {
			t.Errorf("Propose with a done context = %v, want %v", err, context.Canceled)
		}
	})
}

func TestCloseRefusesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		gate := &gatedLog{Log: w.store, gate: make(chan struct{})}
		w.journal.cfg.Log = gate
		answers := [2]chan error{make(chan error, 1), make(chan error, 1)}
		for i := range answers {
			go func() {
				_, err := w.propose(set(uint64(i+1), 0, 0))
				answers[i] <- err
			}()
			synctest.Wait()
		}
		closed := make(chan error)
		go func() { closed <- w.journal.Close() }()
		synctest.Wait()
		close(gate.gate)
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
		if err := <-answers[0]; err != nil {
			t.Errorf("the proposal under way got %v", err)
		}
		if err := <-answers[1]; !errors.Is(err, ErrClosed) {
			t.Errorf("the proposal that waited got %v, want %v", err, ErrClosed)
		}
		if err := w.journal.View(func() {}); !errors.Is(err, ErrClosed) {
			t.Errorf("View = %v, want %v", err, ErrClosed)
		}
		if w.failures.Load() != 0 {
			t.Error("Close was reported as a failure")
		}
	})
}

// fill proposes n commands that all succeed.
func (w *world) fill(n int) {
	w.t.Helper()
	for range n {
		id := uint64(len(w.machine.ids) + 1)
		if v, err := w.propose(set(id, 0, w.machine.values[0])); err != nil || !v.set {
			w.t.Fatalf("Propose = %+v, %v", v, err)
		}
	}
}

func TestSnapshotTrimsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		w.fill(19)
		synctest.Wait()
		if keys := w.snapshots(); len(keys) != 0 {
			t.Errorf("snapshots %q before the log has enough", keys)
		}
		for range 10 {
			w.fill(15)
			synctest.Wait()
		}
		if keys := w.snapshots(); len(keys) != 1 {
			t.Errorf("%d snapshots are kept, want the newest: %q", len(keys), keys)
		}
		b := w.bounds()
		if kept := b.Next - b.First; kept > 60 {
			t.Errorf("the log keeps %d commands, want those since the last snapshot", kept)
		}
		state := w.state()
		w.close()
		w.mustOpen()
		if got := w.state(); got != state {
			t.Errorf("recovered %s, want %s", got, state)
		}
	})
}

// TestCommandsGoOnBesideASnapshot has commands applied while a snapshot is being stored, and the
// process killed after it.
func TestCommandsGoOnBesideASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.bucket.gate = make(chan struct{})
		w.mustOpen()
		w.fill(20)
		synctest.Wait() // the snapshot has begun
		w.fill(15)
		close(w.bucket.gate)
		synctest.Wait()
		if keys := w.snapshots(); len(keys) != 1 || w.bounds().First != 21 {
			t.Errorf("snapshots %q and a log from %d, want one before 21", keys, w.bounds().First)
		}
		state := w.state()
		w.mustOpen()
		if got := w.state(); got != state {
			t.Errorf("recovered %s, want %s", got, state)
		}
	})
}

// TestCloseGivesUpTheNextTry closes a journal between two tries of a snapshot.
func TestCloseGivesUpTheNextTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.bucket.failPut.Store(true)
		w.mustOpen()
		w.fill(20)
		synctest.Wait()
		began := time.Now()
		w.close()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Close took %v, want no wait for the next try", waited)
		}
	})
}

// TestSnapshotsGrowWithTheState has a state that is larger than SnapshotBytes: the log may gather
// as much before the next snapshot.
func TestSnapshotsGrowWithTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.cfg.SnapshotBytes = 1
		w.mustOpen()
		taken, last := 0, ""
		for range 1000 {
			w.fill(1)
			synctest.Wait()
			if keys := w.snapshots(); len(keys) == 1 && keys[0] != last {
				taken, last = taken+1, keys[0]
			}
		}
		// The state has 8 bytes a command, the log 81: without growth there would be 1000.
		if taken < 10 || taken > 200 {
			t.Errorf("%d snapshots for 1000 commands, want a share of them", taken)
		}
	})
}

func TestFailedSnapshotIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		w.bucket.failPut.Store(true)
		w.fill(50)
		synctest.Wait()
		if n := w.failedSnapshots.Load(); n != 1 {
			t.Errorf("%d failures reported, want 1", n)
		}
		<-time.After(3*DefaultRetry + 1)
		if n := w.failedSnapshots.Load(); n != 4 {
			t.Errorf("%d failures reported after three more tries, want 4", n)
		}
		if b := w.bounds(); b.First != 1 {
			t.Errorf("the log begins at %d although there is no snapshot", b.First)
		}
		w.fill(5)
		w.bucket.failPut.Store(false)
		<-time.After(DefaultRetry + 1)
		synctest.Wait()
		if keys := w.snapshots(); len(keys) != 1 || w.bounds().First != 56 {
			t.Errorf("snapshots %q and a log from %d, want one before 56", keys, w.bounds().First)
		}
		w.bucket.failPut.Store(true)
		w.fill(50)
		state := w.state()
		w.mustOpen()
		if got := w.state(); got != state {
			t.Errorf("recovered %s, want %s", got, state)
		}
		if w.failures.Load() != 0 {
			t.Error("a full bucket was reported as the journal's failure")
		}
	})
}

// wantCorrupt opens and expects an error that names every one of the given words.
func (w *world) wantCorrupt(words ...string) {
	w.t.Helper()
	err := w.open()
	if !errors.Is(err, ErrCorrupt) {
		w.t.Fatalf("Open = %v, want %v", err, ErrCorrupt)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.t.Errorf("Open = %v, which does not say %q", err, word)
		}
	}
}

// TestDamagedSnapshots changes, cuts and extends a snapshot everywhere.
func TestDamagedSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		w.fill(20)
		synctest.Wait()
		key := w.snapshots()[0]
		body, err := w.bucket.Get(t.Context(), key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		whole, _ := io.ReadAll(body)
		state := w.state()
		w.close()
		replace := func(data []byte) {
			if _, err := w.bucket.Put(t.Context(), key, bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range whole {
			data := bytes.Clone(whole)
			data[i] ^= 0x40
			replace(data)
			if i == 8 || i == 9 {
				if err := w.open(); err == nil || !strings.Contains(err.Error(), "version") {
					t.Errorf("Open of a newer version = %v", err)
				}
				continue
			}
			w.wantCorrupt(key)
		}
		for n := range whole {
			replace(whole[:n])
			w.wantCorrupt(key)
		}
		replace(append(bytes.Clone(whole), 0))
		w.wantCorrupt(key)
		replace(whole)
		w.mustOpen()
		if got := w.state(); got != state {
			t.Errorf("recovered %s, want %s", got, state)
		}
	})
}

// TestSnapshotAndLogMustFit breaks the order of snapshot and trim from outside.
func TestSnapshotAndLogMustFit(t *testing.T) {
	f := func(name string, breakIt func(t *testing.T, w *world), words ...string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.close()
				w.mustOpen()
				w.fill(5)
				breakIt(t, w)
				synctest.Wait()
				w.wantCorrupt(words...)
			})
		})
	}
	f("snapshot acknowledged but not kept", func(_ *testing.T, w *world) {
		w.bucket.losePut.Store(true)
		w.fill(30)
	}, "begins at command")
	f("log trimmed without a snapshot", func(t *testing.T, w *world) {
		if err := w.store.TrimTo(t.Context(), shard, 3); err != nil {
			t.Error(err)
		}
	}, "begins at command 3")
	f("log lost", func(t *testing.T, w *world) {
		w.fill(30)
		synctest.Wait()
		if err := w.store.Drop(t.Context(), []shardlog.ShardID{shard}); err != nil {
			t.Error(err)
		}
	}, "the log ends before command 1")
	f("snapshot under another's number", func(t *testing.T, w *world) {
		w.fill(30)
		synctest.Wait()
		body, err := w.bucket.Get(t.Context(), w.snapshots()[0], 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.bucket.Put(t.Context(), w.journal.key(30), body); err != nil {
			t.Error(err)
		}
	}, "00000030", "something else")
	f("not a snapshot's key", func(t *testing.T, w *world) {
		if _, err := w.bucket.Put(t.Context(), "journal/test/x", strings.NewReader("")); err != nil {
			t.Error(err)
		}
	}, "journal/test/x")
	f("log sealed", func(t *testing.T, w *world) {
		if _, err := w.store.Seal(t.Context(), shard); err != nil {
			t.Error(err)
		}
	}, "sealed")
}

func TestSomebodyElseAppends(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	second, err := Open(t.Context(), w.cfg, &registers{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	w.fill(1)
	if _, err := second.Propose(t.Context(), set(9, 0, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Propose = %v, want %v", err, ErrCorrupt)
	}
}

func TestACommandThatMakesNoSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		w.fill(1)
		if _, err := w.propose([]byte("?")); !errors.Is(err, errNoCommand) {
			t.Errorf("Propose = %v, want %v", err, errNoCommand)
		}
		synctest.Wait()
		if n := w.failures.Load(); n != 1 {
			t.Errorf("%d failures reported, want 1", n)
		}
		if err := w.open(); !errors.Is(err, errNoCommand) || !strings.Contains(err.Error(), "command 2") {
			t.Errorf("Open = %v, want %v and its number", err, errNoCommand)
		}
	})
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	if _, err := w.propose(make([]byte, MaxCommand+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Propose = %v, want %v", err, ErrTooLarge)
	}
	// Larger than a group, and than what one append carries.
	if _, err := w.propose(append(set(1, 0, 0), make([]byte, 2*batchBytes)...)); err != nil {
		t.Errorf("Propose of a large command = %v", err)
	}
	w.mustOpen()
	if w.machine.values[0] != 1 {
		t.Error("the large command was not recovered")
	}
	for _, name := range []string{"", "a/b"} {
		cfg := w.cfg
		cfg.Name = name
		if _, err := Open(t.Context(), cfg, &registers{}); err == nil {
			t.Errorf("Open with the name %q succeeded", name)
		}
	}
}

// TestJournalsShareALog keeps two journals and a stream's shard apart.
func TestJournalsShareALog(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	cfg := w.cfg
	cfg.Name, cfg.Shard = "test2", other
	m := &registers{}
	second, err := Open(t.Context(), cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	w.fill(100)
	for i := range uint64(100) {
		if _, err := second.Propose(t.Context(), set(1000+i, 1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	state, state2 := w.state(), m.String()
	w.mustOpen()
	cfg.Log, cfg.Registry, m = w.store, w.store, &registers{}
	if second, err = Open(t.Context(), cfg, m); err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if w.state() != state || m.String() != state2 {
		t.Errorf("recovered %s and %s, want %s and %s", w.state(), m, state, state2)
	}
}

func FuzzReadSnapshot(f *testing.F) {
	h := snapshotHeader{name: "n", shard: shard, next: 9}
	for _, rows := range [][][]byte{nil, {nil}, {[]byte("one"), make([]byte, 300)}} {
		whole, err := io.ReadAll(newSnapshotReader(h, slices.Values(rows)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
		f.Add(whole[:len(whole)-1])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var rows [][]byte
		err := readSnapshot(bytes.NewReader(data), h, func(row []byte) error {
			rows = append(rows, bytes.Clone(row))
			return nil
		})
		if err != nil {
			return
		}
		again, err := io.ReadAll(newSnapshotReader(h, slices.Values(rows)))
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("a snapshot of %d rows is written again as other bytes, %v", len(rows), err)
		}
	})
}
