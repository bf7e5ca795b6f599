package held

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/objectstore/objectstoretest"
)

func TestConformance(t *testing.T) {
	objectstoretest.Test(t, func(t *testing.T) objectstore.Bucket { return New(mem.New(clock.System{}, 0)) })
}

// TestConformanceBesideAHold holds what nobody deletes.
func TestConformanceBesideAHold(t *testing.T) {
	objectstoretest.Test(t, func(t *testing.T) objectstore.Bucket {
		b := New(mem.New(clock.System{}, 0))
		b.Hold().Only([]string{"somebody's"})
		return b
	})
}

// world is a bucket of 100 bytes.
type world struct {
	t *testing.T
	*Bucket
}

func newWorld(t *testing.T) world { return world{t, New(mem.New(clock.System{}, 100))} }

func (w world) put(key string, size int, want error) {
	w.t.Helper()
	if _, err := w.Put(w.t.Context(), key, strings.NewReader(strings.Repeat("x", size))); !errors.Is(err, want) {
		w.t.Fatalf("Put(%s) of %d bytes = %v, want %v", key, size, err, want)
	}
}

func (w world) delete(key string, want error) {
	w.t.Helper()
	if err := w.Delete(w.t.Context(), key); !errors.Is(err, want) {
		w.t.Errorf("Delete(%s) = %v, want %v", key, err, want)
	}
}

func (w world) get(h *Hold, key string, want error) {
	w.t.Helper()
	body, err := h.Get(w.t.Context(), key)
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		w.t.Errorf("Get(%s) = %v, want %v", key, err, want)
	}
	if err == nil {
		_ = body.Close() // one in memory
	}
}

func TestHold(t *testing.T) {
	w := newWorld(t)
	w.put("a", 10, nil)
	w.put("b", 10, nil)
	w.put("c", 10, nil)
	all := w.Hold()
	w.delete("a", ErrHeld)
	w.put("d", 10, nil)
	w.delete("d", ErrHeld)
	all.Only([]string{"a", "b"})
	some := w.Hold()
	some.Only([]string{"b"})
	w.delete("c", nil)
	w.delete("a", ErrHeld)
	w.delete("b", ErrHeld)
	w.get(all, "a", nil)
	w.get(all, "nothing", objectstore.ErrNotFound)
	body, err := all.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	all.Release()
	all.Release()
	w.delete("a", nil)
	w.delete("b", ErrHeld)
	w.get(all, "a", ErrReleased)
	w.get(all, "b", ErrReleased)
	if b, err := io.ReadAll(body); err != nil || len(b) != 10 {
		t.Errorf("a body opened before the release gives %d bytes, %v", len(b), err)
	}
	some.Release()
	w.delete("b", nil)
}

// TestGivenUp fills the bucket: holds that keep something from being deleted end, and no others.
func TestGivenUp(t *testing.T) {
	w := newWorld(t)
	w.put("a", 30, nil)
	w.put("b", 30, nil)
	blocks, idle, all := w.Hold(), w.Hold(), w.Hold()
	blocks.Only([]string{"a"})
	idle.Only([]string{"b"})
	w.put("c", 50, objectstore.ErrFull)
	w.get(blocks, "a", nil) // nothing was to go yet
	w.delete("a", ErrHeld)
	w.put("c", 50, objectstore.ErrFull)
	w.get(blocks, "a", ErrGivenUp)
	w.get(all, "b", ErrGivenUp)
	w.get(idle, "b", nil)
	w.delete("a", nil)
	w.put("c", 50, nil)
	blocks.Release()
	w.get(blocks, "a", ErrGivenUp)

	// What was held before Only does not count.
	wide := w.Hold()
	w.delete("c", ErrHeld)
	wide.Only([]string{"b"})
	w.put("d", 80, objectstore.ErrFull)
	w.get(wide, "b", nil)
}

// TestShort says that room is short: holds end that keep something from being deleted, at once or when
// they are first asked for it.
func TestShort(t *testing.T) {
	w := newWorld(t)
	w.put("a", 10, nil)
	w.put("b", 10, nil)
	blocks, idle, all := w.Hold(), w.Hold(), w.Hold()
	blocks.Only([]string{"a"})
	idle.Only([]string{"b"})
	w.delete("a", ErrHeld)
	w.Short(true)
	w.get(blocks, "a", ErrGivenUp)
	w.get(idle, "b", nil)
	w.delete("b", ErrHeld) // by the one that holds everything
	w.get(idle, "b", ErrGivenUp)
	w.get(all, "b", nil)
	all.Only([]string{"b"})
	w.get(all, "b", nil)
	w.delete("a", nil)
	w.Short(false)
	w.delete("b", ErrHeld)
	w.Short(true)
	w.delete("b", nil)
	w.get(all, "b", ErrGivenUp)
}
