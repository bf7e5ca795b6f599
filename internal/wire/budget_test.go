package wire

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// raising is a budget of four MiB whose shares are raised by goroutines of the test's.
type raising struct {
	t *testing.T
	*budget
	admitted []string
}

// wait raises a share in a goroutine.
func (r *raising) wait(name string, from, to int64) {
	go func() {
		if err := r.raise(r.t.Context(), r.shareOf(from), r.shareOf(to), time.Hour); err == nil {
			r.admitted = append(r.admitted, name)
		}
	}()
	synctest.Wait()
}

// want says who has been admitted, in order.
func (r *raising) want(what, names string) {
	r.t.Helper()
	synctest.Wait()
	if got := strings.Join(r.admitted, " "); got != names {
		r.t.Errorf("%s: admitted %q, want %q", what, got, names)
	}
}

func TestBudgetOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mib = 1 << 20
		r := &raising{t: t, budget: newBudget(4 * mib)}
		r.wait("a", 0, 3*mib)
		r.wait("b", 0, 3*mib)
		r.wait("c", 0, mib) // fits, but is not first of its class
		r.wait("d", 0, 100)
		r.wait("e", 0, 10_000)
		r.want("a is there", "a d e")
		r.charge(2 * mib)
		r.wait("f", 0, 100)
		r.drop(r.shareOf(3 * mib))
		r.want("a went, with b's room in an answer", "a d e f")
		r.release(2 * mib)
		r.want("the answer went", "a d e f b")
		r.drop(r.shareOf(3 * mib))
		r.want("b went", "a d e f b c")
		for _, n := range []int64{mib, 100, 10_000, 100} {
			r.drop(r.shareOf(n))
		}
		if got := r.taken(); got != 0 || r.held != [large]int64{} {
			t.Errorf("%d bytes are taken and %v held in lower classes, want none", got, r.held)
		}
	})
}

// Those who wait leave room for what they wait for, and what has all it can have does not wait for more.
func TestBudgetNeverStands(t *testing.T) {
	for range 50 { // the order in which they come is another each time
		synctest.Test(t, manyRaise)
	}
	synctest.Test(t, func(t *testing.T) {
		r := &raising{t: t, budget: newBudget(leastMemory)}
		if err := r.raise(t.Context(), share{}, r.shareOf(leastMemory/2), 0); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := r.raise(t.Context(), r.shareOf(leastMemory/2), r.shareOf(leastMemory), time.Hour); err != nil {
			t.Errorf("more, which is free: %v", err)
		}
		r.charge(leastMemory / 2)
		r.drop(r.shareOf(leastMemory))
		if err := r.raise(t.Context(), share{}, r.shareOf(leastMemory/4), 0); err != nil {
			t.Fatal(err)
		}
		if err := r.raise(t.Context(), r.shareOf(leastMemory/4), r.shareOf(leastMemory), time.Hour); !errors.Is(err, errNoMemory) || time.Since(start) != 0 {
			t.Errorf("more, which is not free: got %v after %v, want %v at once", err, time.Since(start), errNoMemory)
		}
	})
}

// manyRaise has 200 begin with a small share and raise it to the largest.
func manyRaise(t *testing.T) {
	b := newBudget(leastMemory)
	most := b.shareOf(1 << 40).n
	var admitted atomic.Int32
	for range 200 {
		go func() {
			var has share
			for _, n := range []int64{1, firstStep, most} {
				to := b.shareOf(n)
				if b.raise(t.Context(), has, to, time.Hour) != nil {
					return // the test has ended
				}
				has = to
			}
			admitted.Add(1)
			b.drop(has)
		}()
	}
	synctest.Wait()
	if n := admitted.Load(); n != 200 || b.taken() != 0 {
		t.Errorf("%d of 200 were admitted, %d bytes are taken, %v by the lower classes; want all and none", n, b.taken(), b.held)
	}
}

// TestBudgetLowers lowers large shares: only so many of them become small ones, which others wait behind.
func TestBudgetLowers(t *testing.T) {
	b := newBudget(leastMemory)
	most, low := b.shareOf(1<<40), b.shareOf(1)
	var kept []share
	for range 2 * b.low(small) / minBuffer {
		if err := b.raise(t.Context(), share{}, most, 0); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, b.lower(most, low))
	}
	if b.held[small] != b.low(small) || kept[0] != low || kept[len(kept)-1] != (share{large, minBuffer}) {
		t.Errorf("small shares hold %d of %d; the first became %v, the last %v", b.held[small], b.low(small), kept[0], kept[len(kept)-1])
	}
	for _, s := range kept {
		b.drop(s)
	}
	if b.taken() != 0 || b.held != [large]int64{} {
		t.Errorf("%d bytes are taken, %v by the lower classes; want none", b.taken(), b.held)
	}
}

func TestBudgetGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mib = 1 << 20
		b := newBudget(4 * mib)
		of := func(n int64) share { return b.shareOf(n) }
		if err := b.raise(t.Context(), share{}, of(3*mib), 0); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := b.raise(t.Context(), share{}, of(3*mib), time.Second); !errors.Is(err, errNoMemory) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want %v after 1s", err, time.Since(start), errNoMemory)
		}

		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { failed <- b.raise(ctx, share{}, of(3*mib), time.Hour) }()
		synctest.Wait()
		behind := make(chan error, 1)
		go func() { behind <- b.raise(t.Context(), share{}, of(mib), time.Hour) }()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if err := <-behind; err != nil {
			t.Errorf("the waiter behind one that gave up: %v", err)
		}
		if got := b.taken(); got != 4*mib {
			t.Errorf("%d bytes are taken, want %d", got, 4*mib)
		}
	})
}

func TestBuffers(t *testing.T) {
	size := func(n, want int64) {
		t.Helper()
		if got := bufferSize(n); got != want {
			t.Errorf("bufferSize(%d) = %d, want %d", n, got, want)
		}
	}
	size(0, 4096)
	size(4096, 4096)
	size(4097, 8192)
	size(1<<20, 1<<20)
	size(1<<20+1, 2<<20)

	p := buffers{limit: 64 << 10}
	if p.borrow(1) != nil {
		t.Error("borrowed from an empty pool")
	}
	b := p.get(5000)
	if len(b) != 0 || cap(b) != 8192 {
		t.Errorf("get(5000) has length %d and capacity %d", len(b), cap(b))
	}
	p.put(b[:100])
	if p.borrow(4096) != nil || p.borrow(9000) != nil {
		t.Error("borrowed a buffer of another size")
	}
	if got := p.borrow(5000); got == nil || &got[:1][0] != &b[:1][0] || len(got) != 0 {
		t.Error("the buffer did not come back empty")
	}
	p.put(make([]byte, 0, 128<<10)) // over the limit
	p.put(make([]byte, 0, 100))     // too small to be worth it
	for range 20 {
		p.put(make([]byte, 0, 5000)) // serves 4096
	}
	if p.idle > p.limit || p.idle < p.limit-5000 {
		t.Errorf("%d bytes are idle, limit %d", p.idle, p.limit)
	}
	if got := p.borrow(4096); cap(got) != 5000 {
		t.Errorf("borrowed capacity %d, want 5000", cap(got))
	}
	p = buffers{limit: 1 << 20}
	p.put(make([]byte, 0, 512<<10))
	p.put(make([]byte, 0, 512<<10))
	if p.idle != 512<<10 {
		t.Errorf("large buffers fill %d bytes of %d, want three quarters at most", p.idle, p.limit)
	}
}
