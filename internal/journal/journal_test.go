package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/shardlog"
)

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
