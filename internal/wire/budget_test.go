package wire

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestBudgetOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		var admitted []int64
		want := func(what, ids string) {
			t.Helper()
			synctest.Wait()
			if got := fmt.Sprint(admitted); got != ids {
				t.Errorf("%s: admitted %s, want %s", what, got, ids)
			}
		}
		wait := func(n int64) {
			go func() {
				if err := b.acquire(t.Context(), n, time.Hour); err == nil {
					admitted = append(admitted, n)
				}
			}()
			synctest.Wait()
		}
		wait(90)
		wait(50)
		wait(5) // fits, but is not first
		want("full", "[90]")
		b.release(30)
		want("30 back", "[90]")
		b.release(10)
		want("40 back", "[90 50]")
		b.release(5)
		want("45 back", "[90 50 5]")
		b.charge(200)
		wait(1)
		b.release(200)
		want("overdrawn", "[90 50 5]")
		b.release(100)
		want("all back again", "[90 50 5 1]")
		if got := b.held(); got != 1 {
			t.Errorf("%d bytes are held, want 1", got)
		}
	})
}

func TestBudgetGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		if err := b.acquire(t.Context(), 60, 0); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := b.acquire(t.Context(), 60, time.Second); !errors.Is(err, errNoMemory) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want %v after 1s", err, time.Since(start), errNoMemory)
		}

		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { failed <- b.acquire(ctx, 60, time.Hour) }()
		synctest.Wait()
		behind := make(chan error, 1)
		go func() { behind <- b.acquire(t.Context(), 40, time.Hour) }()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if err := <-behind; err != nil {
			t.Errorf("the waiter behind one that gave up: %v", err)
		}
		if got := b.held(); got != 100 {
			t.Errorf("%d bytes are held, want 100", got)
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
