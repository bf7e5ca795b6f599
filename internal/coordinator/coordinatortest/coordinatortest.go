// Package coordinatortest is the conformance kit of package coordinator: each sentence of the
// contract as a test that every engine runs. It does not test durability, which an engine's own
// crash tests do.
//
//	func TestConformance(t *testing.T) {
//		coordinatortest.Test(t, func(t *testing.T) coordinator.Coordinator { return mem.New() })
//	}
package coordinatortest

import (
	"context"
	"errors"
	"testing"

	"github.com/headrace/headrace/internal/coordinator"
)

// Test runs the kit. open returns an empty coordinator, which the kit closes.
func Test(t *testing.T, open func(t *testing.T) coordinator.Coordinator) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, c coordinator.Coordinator)
	}{
		{"PutGet", testPutGet},
		{"CompareAndSet", testCompareAndSet},
		{"Delete", testDelete},
		{"VersionsRise", testVersionsRise},
		{"List", testList},
		{"ValuesAreCopied", testValuesAreCopied},
		{"Limits", testLimits},
		{"DoneContext", testDoneContext},
		{"ConcurrentIncrements", testConcurrentIncrements},
		{"Closed", testClosed},
		{"WatchInitialState", testWatchInitialState},
		{"WatchChanges", testWatchChanges},
		{"WatchCoalesces", testWatchCoalesces},
		{"WatchForgetsWhatCameAndWent", testWatchForgets},
		{"WatchContext", testWatchContext},
		{"WatchClose", testWatchClose},
		{"WatchConverges", testWatchConverges},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := open(t)
			t.Cleanup(func() {
				if err := c.Close(); err != nil {
					t.Errorf("Close() = %v", err)
				}
			})
			test.run(t, c)
		})
	}
}

func testPutGet(t *testing.T, c coordinator.Coordinator) {
	wantError(t, "Get of a missing key", get(t, c, "k").err, coordinator.ErrNotFound)
	v := mustPut(t, c, "k", "one", 0)
	if v == 0 {
		t.Error("Put returned version 0, which means that the key does not exist")
	}
	get(t, c, "k").want("one", v)
	v = mustPut(t, c, "k", "two", v)
	get(t, c, "k").want("two", v)
	mustPut(t, c, "other", "x", 0)
	get(t, c, "k").want("two", v)

	v = mustPut(t, c, "empty", "", 0)
	got := get(t, c, "empty")
	got.want("", v)
	if got.entry.Value == nil {
		t.Error("an empty value came back nil, which means a deletion")
	}
}

func testCompareAndSet(t *testing.T, c coordinator.Coordinator) {
	f := func(expect coordinator.Version) {
		t.Helper()
		_, err := c.Put(t.Context(), "k", []byte("wrong"), expect)
		wantError(t, "Put at the wrong version", err, coordinator.ErrConflict)
	}
	f(1)
	v1 := mustPut(t, c, "k", "one", 0)
	f(0)
	f(v1 + 1)
	v2 := mustPut(t, c, "k", "two", v1)
	f(v1)
	f(0)
	get(t, c, "k").want("two", v2)

	// The same bytes again are a write like any other.
	if v3 := mustPut(t, c, "k", "two", v2); v3 == v2 {
		t.Errorf("Put of the same value left the version at %d", v3)
	}
}

func testDelete(t *testing.T, c coordinator.Coordinator) {
	f := func(expect coordinator.Version, want error) {
		t.Helper()
		wantError(t, "Delete", c.Delete(t.Context(), "k", expect), want)
	}
	f(0, coordinator.ErrConflict)
	f(1, coordinator.ErrConflict)
	v := mustPut(t, c, "k", "one", 0)
	f(0, coordinator.ErrConflict)
	f(v+1, coordinator.ErrConflict)
	get(t, c, "k").want("one", v)
	f(v, nil)
	f(v, coordinator.ErrConflict)
	wantError(t, "Get of a deleted key", get(t, c, "k").err, coordinator.ErrNotFound)
	if entries := list(t, c, "", "", 10); len(entries) != 0 {
		t.Errorf("List shows %v after the only key was deleted", entries)
	}
	_, err := c.Put(t.Context(), "k", nil, v)
	wantError(t, "Put at a deleted key's version", err, coordinator.ErrConflict)
}

func testVersionsRise(t *testing.T, c coordinator.Coordinator) {
	last := coordinator.Version(0)
	rises := func(what string, v coordinator.Version) {
		t.Helper()
		if v <= last {
			t.Errorf("%s has version %d after %d, want more", what, v, last)
		}
		last = v
	}
	a := mustPut(t, c, "a", "", 0)
	rises("a new key", a)
	b := mustPut(t, c, "b", "", 0)
	rises("another key", b)
	rises("an update", mustPut(t, c, "a", "", a))
	mustDelete(t, c, "b", b)
	rises("a key created again", mustPut(t, c, "b", "", 0))
}

func testList(t *testing.T, c coordinator.Coordinator) {
	keys := []string{"a", "a/", "a/1", "a/10", "a/2", "a/é", "a0", "b", "b/1"}
	for i := range keys {
		// Written in an order that is not the keys'.
		key := keys[(i*5)%len(keys)]
		mustPut(t, c, key, "value of "+key, 0)
	}
	f := func(prefix, after string, limit int, want ...string) {
		t.Helper()
		var got []string
		for _, e := range list(t, c, prefix, after, limit) {
			got = append(got, e.Key)
			if string(e.Value) != "value of "+e.Key || e.Version == 0 {
				t.Errorf("List returned %q = %q at version %d", e.Key, e.Value, e.Version)
			}
		}
		wantKeys(t, got, want)
	}
	f("", "", 100, keys...)
	f("", "", 3, "a", "a/", "a/1")
	f("", "a/1", 3, "a/10", "a/2", "a/é")
	f("", "a/é", 3, "a0", "b", "b/1")
	f("", "b/1", 3)
	f("", "a/15", 1, "a/2")
	f("a/", "", 100, "a/", "a/1", "a/10", "a/2", "a/é")
	f("a/", "a/", 2, "a/1", "a/10")
	f("a/1", "", 100, "a/1", "a/10")
	f("a/", "b", 100)
	f("b", "a", 100, "b", "b/1")
	f("c", "", 100)
	f("", "", 0)
}

func testValuesAreCopied(t *testing.T, c coordinator.Coordinator) {
	value := []byte("value")
	v, err := c.Put(t.Context(), "k", value, 0)
	wantError(t, "Put", err, nil)
	w := watch(t, c, "")
	clear(value)
	get(t, c, "k").want("value", v)

	clear(get(t, c, "k").entry.Value)
	get(t, c, "k").want("value", v)
	clear(list(t, c, "", "", 1)[0].Value)
	get(t, c, "k").want("value", v)
	clear(next(t, w)[0].Value)
	get(t, c, "k").want("value", v)
}

func testLimits(t *testing.T, c coordinator.Coordinator) {
	long := string(make([]byte, coordinator.MaxKey))
	f := func(key string, size int, want error) {
		t.Helper()
		v, err := c.Put(t.Context(), key, make([]byte, size), 0)
		wantError(t, "Put", err, want)
		if err != nil {
			wantError(t, "Get of a refused key", get(t, c, key).err, coordinator.ErrNotFound)
			return
		}
		get(t, c, key).want(string(make([]byte, size)), v)
	}
	f("", 1, coordinator.ErrKey)
	f("not UTF-8: \xff", 1, coordinator.ErrKey)
	f(long+"x", 1, coordinator.ErrKey)
	f(long, 1, nil)
	f("\x00 / .. \\ ?*> ÿ", 1, nil)
	f("large", coordinator.MaxValue, nil)
	f("larger", coordinator.MaxValue+1, coordinator.ErrTooLarge)
}

func testDoneContext(t *testing.T, c coordinator.Coordinator) {
	v := mustPut(t, c, "k", "one", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Get(ctx, "k")
	wantError(t, "Get", err, context.Canceled)
	_, err = c.List(ctx, "", "", 1)
	wantError(t, "List", err, context.Canceled)
	_, err = c.Put(ctx, "k", []byte("two"), v)
	wantError(t, "Put", err, context.Canceled)
	wantError(t, "Delete", c.Delete(ctx, "k", v), context.Canceled)
	_, err = c.Watch(ctx, "")
	wantError(t, "Watch", err, context.Canceled)
	get(t, c, "k").want("one", v)
}

func testClosed(t *testing.T, c coordinator.Coordinator) {
	v := mustPut(t, c, "k", "one", 0)
	w := watch(t, c, "")
	next(t, w)
	blocked := make(chan error)
	go func() {
		_, err := w.Next(t.Context())
		blocked <- err
	}()
	wantError(t, "Close", c.Close(), nil)
	wantError(t, "Next blocked while the coordinator closes", <-blocked, coordinator.ErrClosed)
	wantError(t, "Close again", c.Close(), nil)

	_, err := c.Get(t.Context(), "k")
	wantError(t, "Get", err, coordinator.ErrClosed)
	_, err = c.List(t.Context(), "", "", 1)
	wantError(t, "List", err, coordinator.ErrClosed)
	_, err = c.Put(t.Context(), "k", nil, v)
	wantError(t, "Put", err, coordinator.ErrClosed)
	wantError(t, "Delete", c.Delete(t.Context(), "k", v), coordinator.ErrClosed)
	_, err = c.Watch(t.Context(), "")
	wantError(t, "Watch", err, coordinator.ErrClosed)
	_, err = w.Next(t.Context())
	wantError(t, "Next", err, coordinator.ErrClosed)
	wantError(t, "Watcher.Close", w.Close(), nil)
}

// got is what Get returned, with the test to complain to.
type got struct {
	t     *testing.T
	key   string
	entry coordinator.Entry
	err   error
}

func get(t *testing.T, c coordinator.Coordinator, key string) got {
	e, err := c.Get(t.Context(), key)
	return got{t: t, key: key, entry: e, err: err}
}

func (g got) want(value string, version coordinator.Version) {
	g.t.Helper()
	if g.err != nil {
		g.t.Fatalf("Get(%.20q) = %v", g.key, g.err)
	}
	if g.entry.Key != g.key || string(g.entry.Value) != value || g.entry.Version != version {
		g.t.Errorf("Get(%.20q) = %.20q: %.20q at version %d, want %.20q at %d",
			g.key, g.entry.Key, g.entry.Value, g.entry.Version, value, version)
	}
}

func mustPut(t *testing.T, c coordinator.Coordinator, key, value string, expect coordinator.Version) coordinator.Version {
	t.Helper()
	v, err := c.Put(t.Context(), key, []byte(value), expect)
	if err != nil {
		t.Fatalf("Put(%q) at version %d = %v", key, expect, err)
	}
	return v
}

func mustDelete(t *testing.T, c coordinator.Coordinator, key string, expect coordinator.Version) {
	t.Helper()
	if err := c.Delete(t.Context(), key, expect); err != nil {
		t.Fatalf("Delete(%q) at version %d = %v", key, expect, err)
	}
}

func list(t *testing.T, c coordinator.Coordinator, prefix, after string, limit int) []coordinator.Entry {
	t.Helper()
	entries, err := c.List(t.Context(), prefix, after, limit)
	if err != nil {
		t.Fatalf("List(%q, %q, %d) = %v", prefix, after, limit, err)
	}
	return entries
}

func wantKeys(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got keys %q, want %q", got, want)
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got keys %q, want %q", got, want)
			return
		}
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s returned %v, want %v", what, got, want)
	}
}
