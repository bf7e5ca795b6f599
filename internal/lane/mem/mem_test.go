package mem_test

import (
	"context"
	"errors"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/lanetest"
	"github.com/headrace/headrace/internal/lane/mem"
)

func TestLane(t *testing.T) {
	lanetest.Test(t, func(*testing.T) lane.Lane { return mem.New(mem.Config{MaxGroup: 4 << 10}) })
}

func TestDefaultMaxGroup(t *testing.T) {
	if got := mem.New(mem.Config{}).MaxGroup(); got != mem.DefaultMaxGroup {
		t.Errorf("MaxGroup() = %d; want %d", got, mem.DefaultMaxGroup)
	}
}

func TestCapacity(t *testing.T) {
	ctx := context.Background()
	l := mem.New(mem.Config{Capacity: 100, MaxGroup: 60})
	f := func(next lane.Position, size int, want error) {
		t.Helper()
		if err := l.Append(ctx, next, make([]byte, size)); !errors.Is(err, want) {
			t.Errorf("Append(%d, %d bytes) = %v; want %v", next, size, err, want)
		}
	}
	f(1, 60, nil)
	f(2, 41, lane.ErrFull)
	f(2, 40, nil)
	f(3, 1, lane.ErrFull)
	f(2, 1, lane.ErrFenced) // a lost lane is reported before a full one
	if err := l.TrimTo(ctx, 2); err != nil {
		t.Fatal(err)
	}
	f(3, 60, nil)
	f(4, 1, lane.ErrFull)
}

func TestTrimFreesSlots(t *testing.T) {
	ctx := context.Background()
	l := mem.New(mem.Config{})
	for i := range 10_000 {
		if err := l.Append(ctx, lane.Position(i+1), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		if i >= 10 {
			if err := l.TrimTo(ctx, lane.Position(i-8)); err != nil {
				t.Fatal(err)
			}
		}
	}
	groups, err := l.Read(ctx, 9991, 1<<20)
	if err != nil || len(groups) != 10 || groups[9].Position != 10_000 || groups[9].Payload[0] != byte(9999%256) {
		t.Errorf("Read(9991) = %d groups, %v; want the last 10", len(groups), err)
	}
}
