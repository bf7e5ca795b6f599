package coordinatortest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
)

// patience bounds a wait that ends at once in an engine that works.
const patience = 10 * time.Second

// testConcurrentIncrements is the reason for compare-and-set: no increment may be lost.
func testConcurrentIncrements(t *testing.T, c coordinator.Coordinator) {
	const workers, each = 8, 50
	mustPut(t, c, "n", "0", 0)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				ok, err := increment(t.Context(), c, "n")
				if err != nil {
					t.Errorf("increment: %v", err)
					return
				}
				if ok {
					done++
				}
			}
		})
	}
	wg.Wait()
	if g := get(t, c, "n"); string(g.entry.Value) != strconv.Itoa(workers*each) {
		t.Errorf("%d increments made %q", workers*each, g.entry.Value)
	}
}

// increment adds one to the number at key, unless somebody else came between.
func increment(ctx context.Context, c coordinator.Coordinator, key string) (bool, error) {
	e, err := c.Get(ctx, key)
	if err != nil {
		return false, err
	}
	n, err := strconv.Atoi(string(e.Value))
	if err != nil {
		return false, err
	}
	_, err = c.Put(ctx, key, strconv.AppendInt(nil, int64(n+1), 10), e.Version)
	if errors.Is(err, coordinator.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

func testWatchInitialState(t *testing.T, c coordinator.Coordinator) {
	a := mustPut(t, c, "p/a", "1", 0)
	b := mustPut(t, c, "p/b", "2", 0)
	mustPut(t, c, "q", "3", 0)
	a = mustPut(t, c, "p/a", "4", a)
	w := watch(t, c, "p/")
	wantEntries(t, take(t, w, 2), entry("p/b", "2", b), entry("p/a", "4", a))
	wantQuiet(t, w)

	all := watch(t, c, "")
	if n := len(take(t, all, 3)); n != 3 {
		t.Errorf("a watch of everything reported %d entries, want 3", n)
	}
}

func testWatchChanges(t *testing.T, c coordinator.Coordinator) {
	w := watch(t, c, "p/")
	wantQuiet(t, w)

	v := mustPut(t, c, "p/a", "1", 0)
	wantEntries(t, next(t, w), entry("p/a", "1", v))
	v = mustPut(t, c, "p/a", "2", v)
	wantEntries(t, next(t, w), entry("p/a", "2", v))

	mustPut(t, c, "p", "not under the prefix", 0)
	mustPut(t, c, "q/a", "nor this", 0)
	wantQuiet(t, w)

	empty := mustPut(t, c, "p/empty", "", 0)
	got := next(t, w)
	wantEntries(t, got, entry("p/empty", "", empty))
	if got[0].Value == nil {
		t.Error("an empty value was reported as a deletion")
	}

	mustDelete(t, c, "p/a", v)
	got = next(t, w)
	if len(got) != 1 || got[0].Key != "p/a" || got[0].Value != nil || got[0].Version <= empty {
		t.Errorf("deletion reported as %v, want p/a with a nil value and a version above %d", got, empty)
	}
	again := mustPut(t, c, "p/a", "3", 0)
	if again <= got[0].Version {
		t.Errorf("created again at version %d, deleted at %d", again, got[0].Version)
	}
	wantEntries(t, next(t, w), entry("p/a", "3", again))
}

// testWatchCoalesces lets a watcher fall far behind: the writers must not notice and what is
// reported in the end must be little.
func testWatchCoalesces(t *testing.T, c coordinator.Coordinator) {
	w := watch(t, c, "")
	const writes = 5000
	var a, b coordinator.Version
	for i := range writes {
		a = mustPut(t, c, "a", strconv.Itoa(i), a)
	}
	b = mustPut(t, c, "b", "x", b)
	gone := mustPut(t, c, "gone", "x", 0)
	reported := 0
	for last := coordinator.Version(0); last < gone; {
		for _, e := range next(t, w) {
			if e.Version <= last {
				t.Fatalf("version %d reported after %d", e.Version, last)
			}
			last = e.Version
			reported++
			if e.Version == a && string(e.Value) != strconv.Itoa(writes-1) {
				t.Errorf("last value of a reported as %q, want %d", e.Value, writes-1)
			}
		}
	}
	// An engine across a network may have a few changes on their way.
	if reported > writes/2 {
		t.Errorf("%d entries reported for %d writes to 3 keys, want few", reported, writes)
	}

	mustDelete(t, c, "gone", gone)
	again := mustPut(t, c, "gone", "back", 0)
	for {
		e := next(t, w)
		if got := e[len(e)-1]; got.Version == again {
			wantEntries(t, e[len(e)-1:], entry("gone", "back", again))
			return
		}
	}
}

func testWatchForgets(t *testing.T, c coordinator.Coordinator) {
	w := watch(t, c, "")
	// A key that was reported is not forgotten, whatever happens to it meanwhile.
	known := mustPut(t, c, "known", "x", 0)
	wantEntries(t, next(t, w), entry("known", "x", known))
	mustDelete(t, c, "known", known)
	known = mustPut(t, c, "known", "y", 0)
	mustDelete(t, c, "known", known)
	for last := coordinator.Version(0); last <= known; {
		for _, e := range next(t, w) {
			if last = e.Version; last > known && (e.Key != "known" || e.Value != nil) {
				t.Errorf("a key deleted, created and deleted again ended as %v", e)
			}
		}
	}

	const keys = 5000
	for i := range keys {
		key := fmt.Sprintf("key-%d", i)
		mustDelete(t, c, key, mustPut(t, c, key, "x", 0))
	}
	end := mustPut(t, c, "end", "x", 0)
	reported := 0
	for {
		entries := next(t, w)
		reported += len(entries)
		if entries[len(entries)-1].Version == end {
			break
		}
	}
	if reported > keys/2 {
		t.Errorf("%d entries reported for %d keys that came and went, want few", reported, keys)
	}
}

func testWatchContext(t *testing.T, c coordinator.Coordinator) {
	open, closeOpen := context.WithCancel(t.Context())
	w, err := c.Watch(open, "")
	wantError(t, "Watch", err, nil)
	defer w.Close()
	closeOpen()

	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan error)
	go func() {
		_, err := w.Next(ctx)
		blocked <- err
	}()
	cancel()
	wantError(t, "Next whose context ended", <-blocked, context.Canceled)

	v := mustPut(t, c, "k", "x", 0)
	_, err = w.Next(ctx)
	wantError(t, "Next with a done context", err, context.Canceled)
	wantEntries(t, next(t, w), entry("k", "x", v))
}

func testWatchClose(t *testing.T, c coordinator.Coordinator) {
	w, other := watch(t, c, ""), watch(t, c, "")
	blocked := make(chan error)
	go func() {
		_, err := w.Next(t.Context())
		blocked <- err
	}()
	wantError(t, "Close", w.Close(), nil)
	wantError(t, "Next of a closed watcher", <-blocked, coordinator.ErrClosed)
	wantError(t, "Close again", w.Close(), nil)
	v := mustPut(t, c, "k", "x", 0)
	_, err := w.Next(t.Context())
	wantError(t, "Next of a closed watcher", err, coordinator.ErrClosed)
	wantEntries(t, next(t, other), entry("k", "x", v))
}

// testWatchConverges follows concurrent writers with a watcher: applying what it reports must end
// in the coordinator's own state.
func testWatchConverges(t *testing.T, c coordinator.Coordinator) {
	const writers, writes = 4, 300
	w := watch(t, c, "k/")
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() { churn(t, c, n, writes) })
	}
	var end coordinator.Version
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		wg.Wait()
		end, _ = c.Put(t.Context(), "k/end", nil, 0)
	}()

	state := map[string]string{}
	last := coordinator.Version(0)
	for state["k/end"] == "" {
		for _, e := range next(t, w) {
			if e.Version <= last {
				t.Fatalf("version %d reported after %d", e.Version, last)
			}
			last = e.Version
			state[e.Key] = "value " + string(e.Value)
			if e.Value == nil {
				delete(state, e.Key)
			}
		}
	}
	<-finished
	if last != end {
		t.Errorf("the last change reported has version %d, want %d", last, end)
	}
	want := map[string]string{}
	for _, e := range list(t, c, "k/", "", 1000) {
		want[e.Key] = "value " + string(e.Value)
	}
	if !maps.Equal(state, want) {
		t.Errorf("the watch led to %v, the coordinator holds %v", state, want)
	}
}

// churn creates, changes and deletes keys of its own and one that all writers share.
func churn(t *testing.T, c coordinator.Coordinator, writer, writes int) {
	for i := range writes {
		key := fmt.Sprintf("k/%d/%d", writer, i%7)
		if i%3 == 0 {
			key = "k/shared"
		}
		e, err := c.Get(t.Context(), key)
		if err != nil && !errors.Is(err, coordinator.ErrNotFound) {
			t.Errorf("Get(%q) = %v", key, err)
			return
		}
		if i%5 == 4 && e.Version != 0 {
			err = c.Delete(t.Context(), key, e.Version)
		} else {
			_, err = c.Put(t.Context(), key, strconv.AppendInt(nil, int64(i), 10), e.Version)
		}
		if err != nil && !errors.Is(err, coordinator.ErrConflict) {
			t.Errorf("write %q: %v", key, err)
			return
		}
	}
}

func watch(t *testing.T, c coordinator.Coordinator, prefix string) coordinator.Watcher {
	t.Helper()
	w, err := c.Watch(t.Context(), prefix)
	if err != nil {
		t.Fatalf("Watch(%q) = %v", prefix, err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// next returns what Next does, which must come soon and not be empty.
func next(t *testing.T, w coordinator.Watcher) []coordinator.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	entries, err := w.Next(ctx)
	if err != nil {
		t.Fatalf("Next() = %v", err)
	}
	if len(entries) == 0 {
		t.Fatal("Next() returned nothing")
	}
	return entries
}

// take calls Next until it has n entries.
func take(t *testing.T, w coordinator.Watcher, n int) []coordinator.Entry {
	t.Helper()
	var entries []coordinator.Entry
	for len(entries) < n {
		entries = append(entries, next(t, w)...)
	}
	return entries
}

// wantQuiet fails if a change is waiting. A short wait suffices for the engines that report
// writes of their own process at once; it cannot fail an engine that works.
func wantQuiet(t *testing.T, w coordinator.Watcher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if entries, err := w.Next(ctx); err == nil {
		t.Errorf("Next() = %v, want nothing", entries)
	}
}

func entry(key, value string, version coordinator.Version) coordinator.Entry {
	return coordinator.Entry{Key: key, Value: []byte(value), Version: version}
}

func wantEntries(t *testing.T, got []coordinator.Entry, want ...coordinator.Entry) {
	t.Helper()
	same := len(got) == len(want)
	for i := 0; same && i < len(want); i++ {
		same = got[i].Key == want[i].Key && got[i].Version == want[i].Version &&
			got[i].Value != nil && string(got[i].Value) == string(want[i].Value)
	}
	if !same {
		t.Errorf("watch reported %v, want %v", got, want)
	}
}
