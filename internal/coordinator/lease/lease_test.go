package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/coordinator/mem"
)

const (
	key = "lease/test/1"
	ttl = 5 * time.Second
)

func mustAcquire(t *testing.T, c coordinator.Coordinator, owner string) *Lease {
	t.Helper()
	l, err := Acquire(t.Context(), c, key, owner, ttl)
	if err != nil {
		t.Fatalf("Acquire by %s = %v", owner, err)
	}
	return l
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s returned %v, want %v", what, got, want)
	}
}

func TestFreeLeaseIsAcquiredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mem.New()
		start := time.Now()
		for epoch := range uint64(3) {
			l := mustAcquire(t, c, "a")
			if l.Epoch() != epoch+1 {
				t.Errorf("epoch = %d, want %d", l.Epoch(), epoch+1)
			}
			wantError(t, "Renew", l.Renew(t.Context()), nil)
			wantError(t, "Release", l.Release(t.Context()), nil)
			wantError(t, "Renew after Release", l.Renew(t.Context()), ErrLost)
			wantError(t, "Release after Release", l.Release(t.Context()), ErrLost)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("acquiring a free lease took %v", waited)
		}
	})
}

func TestReleaseWakesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mem.New()
		a := mustAcquire(t, c, "a")
		acquired := make(chan *Lease)
		go func() { acquired <- mustAcquire(t, c, "b") }()
		<-time.After(ttl / 2)
		start := time.Now()
		wantError(t, "Release", a.Release(t.Context()), nil)
		if b := <-acquired; b.Epoch() != 2 {
			t.Errorf("epoch = %d, want 2", b.Epoch())
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("b got the released lease after %v, want at once", waited)
		}
	})
}

func TestTakeOverAfterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mem.New()
		a := mustAcquire(t, c, "a")
		start := time.Now()
		acquired := make(chan *Lease)
		go func() { acquired <- mustAcquire(t, c, "b") }()
		<-time.After(3 * time.Second)
		wantError(t, "Renew", a.Renew(t.Context()), nil)
		b := <-acquired
		if waited, want := time.Since(start), 3*time.Second+ttl; waited != want {
			t.Errorf("b took over after %v, want %v: a TTL after the last renewal", waited, want)
		}
		if b.Epoch() != a.Epoch()+1 {
			t.Errorf("epoch = %d, want %d", b.Epoch(), a.Epoch()+1)
		}
		// a was only paused.
		wantError(t, "Renew of the paused owner", a.Renew(t.Context()), ErrLost)
		wantError(t, "Save of the paused owner", a.Save(t.Context(), []byte("late")), ErrLost)
		wantError(t, "Release of the paused owner", a.Release(t.Context()), ErrLost)
		wantError(t, "Renew of the new owner", b.Renew(t.Context()), nil)
	})
}

func TestKeptLeaseIsNotTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mem.New()
		a := mustAcquire(t, c, "a")
		ctx, stop := context.WithCancel(t.Context())
		kept := make(chan error)
		go func() { kept <- a.Keep(ctx, time.Second) }()

		day, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		_, err := Acquire(day, c, key, "b", ttl)
		wantError(t, "Acquire of a kept lease", err, context.DeadlineExceeded)
		stop()
		wantError(t, "Keep", <-kept, context.Canceled)

		b := mustAcquire(t, c, "b")
		wantError(t, "Keep of a lost lease", a.Keep(t.Context(), time.Second), ErrLost)
		wantError(t, "Renew of the new owner", b.Renew(t.Context()), nil)
	})
}

func TestNeighbouringKeysDoNotKeepALeaseAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mem.New()
		mustAcquire(t, c, "a")
		neighbour, err := Acquire(t.Context(), c, key+"0", "n", ttl)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		kept := make(chan error)
		go func() { kept <- neighbour.Keep(ctx, time.Second) }()
		start := time.Now()
		mustAcquire(t, c, "b")
		if waited := time.Since(start); waited != ttl {
			t.Errorf("took over after %v, want %v", waited, ttl)
		}
		stop()
		<-kept
	})
}

func TestCheckpointPassesToTheNextOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mem.New()
		f := func(l *Lease, want []byte) {
			t.Helper()
			got, err := l.Checkpoint(t.Context())
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("Checkpoint() = %q, %v; want %q", got, err, want)
			}
		}
		a := mustAcquire(t, c, "a")
		f(a, nil)
		wantError(t, "Save", a.Save(t.Context(), []byte("42")), nil)
		wantError(t, "Renew", a.Renew(t.Context()), nil)
		f(a, []byte("42"))
		b := mustAcquire(t, c, "b") // after the TTL
		f(b, []byte("42"))
		wantError(t, "Save of the old owner", a.Save(t.Context(), []byte("43")), ErrLost)
		wantError(t, "Release", b.Release(t.Context()), nil)
		f(mustAcquire(t, c, "c"), []byte("42"))
	})
}

// lossy loses the answers to some writes that happened.
type lossy struct {
	coordinator.Coordinator
	lose func() bool
}

var errAnswerLost = errors.New("answer lost")

func (l lossy) Put(ctx context.Context, key string, value []byte, expect coordinator.Version) (coordinator.Version, error) {
	v, err := l.Coordinator.Put(ctx, key, value, expect)
	if err == nil && l.lose() {
		return 0, errAnswerLost
	}
	return v, err
}

func TestOwnerSurvivesALostAnswer(t *testing.T) {
	lose := false
	c := lossy{Coordinator: mem.New(), lose: func() bool { return lose }}
	l := mustAcquire(t, c, "a")
	lose = true
	wantError(t, "Save whose answer is lost", l.Save(t.Context(), []byte("x")), errAnswerLost)
	lose = false
	wantError(t, "Renew", l.Renew(t.Context()), nil)
	if got, err := l.Checkpoint(t.Context()); err != nil || string(got) != "x" {
		t.Errorf("Checkpoint() = %q, %v; want the one whose answer was lost", got, err)
	}
}

func TestDamagedRowIsAnError(t *testing.T) {
	c := mem.New()
	if _, err := c.Put(t.Context(), key, []byte("not a row"), 0); err != nil {
		t.Fatal(err)
	}
	if l, err := Acquire(t.Context(), c, key, "a", ttl); err == nil {
		t.Errorf("Acquire = %v, want an error", l)
	}
}

// TestOneOwnerAnEpoch lets workers that stop for longer than the TTL at random fight for a lease.
// What they write is fenced by the epoch, as everything that a lease protects must be: then no
// write of an old owner may follow one of its successor, and no epoch has two owners.
func TestOneOwnerAnEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 5
		var answers atomic.Int64
		c := lossy{Coordinator: mem.New(), lose: func() bool { return answers.Add(1)%20 == 0 }}
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour)
		defer stop()

		owners := map[uint64]string{}
		writes := 0
		var mu sync.Mutex
		write := func(owner string, l *Lease) {
			mu.Lock()
			defer mu.Unlock()
			writes++
			if other, ok := owners[l.Epoch()]; ok && other != owner {
				t.Errorf("epoch %d belongs to %s and %s", l.Epoch(), other, owner)
			}
			owners[l.Epoch()] = owner
		}
		finished := make(chan struct{})
		for i := range workers {
			owner := fmt.Sprint("worker ", i)
			pauses := rand.New(rand.NewPCG(uint64(i), 3))
			go func() {
				defer func() { finished <- struct{}{} }()
				for ctx.Err() == nil {
					l, err := Acquire(ctx, c, key, owner, ttl)
					for err == nil {
						write(owner, l)
						<-time.After(time.Duration(pauses.IntN(int(ttl) * 6 / 5)))
						err = l.Renew(ctx)
					}
				}
			}()
		}
		for range workers {
			<-finished
		}
		if len(owners) < 100 || writes < 2*len(owners) {
			t.Errorf("%d epochs and %d writes: the workers hardly fought", len(owners), writes)
		}
	})
}
