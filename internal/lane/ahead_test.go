package lane_test

import (
	"context"
	"errors"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
)

func filled(t *testing.T, groups int) lane.Lane {
	t.Helper()
	l := mem.New(mem.Config{})
	for p := range groups {
		if err := l.Append(t.Context(), lane.Position(p+1), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestReadAhead(t *testing.T) {
	a := lane.ReadAhead(t.Context(), filled(t, 100), 11, 90, 1000)
	defer a.Stop()
	next := lane.Position(11)
	for {
		groups, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(groups) == 0 {
			break
		}
		for _, g := range groups {
			if g.Position != next {
				t.Fatalf("group %d, want %d", g.Position, next)
			}
			next++
		}
	}
	if next < 90 || next > 101 {
		t.Errorf("read up to group %d, want 89 and no more than the last read brings", next-1)
	}
}

// TestReadAheadEnds stops in the middle, reads behind the lane's end, and what was trimmed.
func TestReadAheadEnds(t *testing.T) {
	l := filled(t, 100)
	a := lane.ReadAhead(t.Context(), l, 1, 101, 1)
	if groups, err := a.Next(); len(groups) != 1 || err != nil {
		t.Errorf("Next() = %d groups, %v, want one", len(groups), err)
	}
	a.Stop()
	a = lane.ReadAhead(t.Context(), l, 101, 200, 1)
	if groups, err := a.Next(); len(groups) != 0 || err != nil {
		t.Errorf("Next() behind the end = %d groups, %v, want none", len(groups), err)
	}
	a.Stop()
	if err := l.TrimTo(t.Context(), 50); err != nil {
		t.Fatal(err)
	}
	a = lane.ReadAhead(t.Context(), l, 1, 101, 1)
	if _, err := a.Next(); !errors.Is(err, lane.ErrTrimmed) {
		t.Errorf("Next() of what was trimmed = %v, want %v", err, lane.ErrTrimmed)
	}
	a.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a = lane.ReadAhead(ctx, l, 60, 101, 1)
	a.Stop() // whatever was read
}
