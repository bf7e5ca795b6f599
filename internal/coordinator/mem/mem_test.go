package mem

import (
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/coordinator/coordinatortest"
)

func TestConformance(t *testing.T) {
	coordinatortest.Test(t, func(t *testing.T) coordinator.Coordinator { return New() })
}

func TestSlowWatcherHoldsNoMoreThanTheKeys(t *testing.T) {
	c := New()
	opened, err := c.Watch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	w := opened.(*watcher)
	f := func(want int) {
		t.Helper()
		if got := len(w.pending); got != want {
			t.Errorf("%d changes pending, want %d", got, want)
		}
	}
	var v coordinator.Version
	for i := range 1000 {
		v, _ = c.Put(t.Context(), "k", nil, v)
		gone, _ := c.Put(t.Context(), strconv.Itoa(i), nil, 0)
		c.Delete(t.Context(), strconv.Itoa(i), gone)
	}
	f(1)
	if _, err := w.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	f(0)
	c.Delete(t.Context(), "k", v)
	f(1)
	w.Close()
	f(0)
	if n := len(c.mu.watchers); n != 0 {
		t.Errorf("%d watchers kept after Close, want 0", n)
	}
}

func TestNextIsBounded(t *testing.T) {
	c := New()
	for i := range 10 {
		if _, err := c.Put(t.Context(), strconv.Itoa(i), make([]byte, coordinator.MaxValue), 0); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Watch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for seen := 0; seen < 10; {
		entries, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) > 2 {
			t.Errorf("Next returned %d values of MaxValue, want at most 2", len(entries))
		}
		seen += len(entries)
	}
}

func TestWriteWakesABlockedNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		w, err := c.Watch(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan []coordinator.Entry, 1)
		go func() {
			entries, _ := w.Next(t.Context())
			woken <- entries
		}()
		synctest.Wait()
		if len(woken) != 0 {
			t.Fatal("Next returned before anything was written")
		}
		c.Put(t.Context(), "k", nil, 0)
		synctest.Wait()
		if len(woken) != 1 {
			t.Fatal("Next did not return after a write")
		}
		c.Close()
	})
}
