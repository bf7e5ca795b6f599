package mem

import (
	"errors"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/objectstoretest"
)

func TestConformance(t *testing.T) {
	objectstoretest.Test(t, func(t *testing.T) objectstore.Bucket { return New(clock.System{}, 0) })
}

func TestConformanceWithRoom(t *testing.T) {
	objectstoretest.Test(t, func(t *testing.T) objectstore.Bucket { return New(clock.System{}, 64<<20) })
}

func TestRoom(t *testing.T) {
	b := New(clock.System{}, 10)
	f := func(key string, size int, want error) {
		t.Helper()
		if _, err := b.Put(t.Context(), key, strings.NewReader(strings.Repeat("x", size))); !errors.Is(err, want) {
			t.Errorf("Put(%q) of %d bytes = %v, want %v", key, size, err, want)
		}
	}
	f("a", 11, objectstore.ErrFull)
	f("a", 6, nil)
	f("b", 5, objectstore.ErrFull)
	f("b", 4, nil)
	f("a", 7, objectstore.ErrFull)
	f("a", 5, nil)
	f("c", 1, nil)
	f("c", 2, objectstore.ErrFull)
	if err := b.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	f("c", 6, nil)
	if info, err := b.Stat(t.Context(), "c"); err != nil || info.Size != 6 {
		t.Errorf("Stat = %+v, %v; want size 6", info, err)
	}
}
