package shardlog_test

import (
	"context"
	"testing"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/shardlog/shardlogtest"
)

var (
	ctx         = context.Background()
	systemClock = clock.System{}
)

// system opens stores on a lane that outlives them.
func system(t *testing.T, l lane.Lane, o shardlogtest.Options, eager bool) shardlogtest.System {
	t.Helper()
	cfg := shardlog.Config{Lane: l, Clock: o.Clock, Memory: o.Memory}
	if eager {
		cfg.CarryEagerly()
	}
	cfg.Events.Fatal = func(err error) { t.Errorf("Fatal: %v", err) }
	open := func() *shardlog.Store {
		s, err := shardlog.Open(ctx, cfg)
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		return s
	}
	store := open()
	return shardlogtest.System{
		Log: store, Registry: store,
		Reopen: func(t *testing.T) (shardlog.Log, shardlog.Registry) {
			if err := store.Close(); err != nil {
				t.Fatalf("Close = %v", err)
			}
			store = open()
			return store, store
		},
		Close: func() error { return store.Close() },
	}
}

func TestStore(t *testing.T) {
	f := func(name string, maxGroup int, eager bool) {
		t.Run(name, func(t *testing.T) {
			shardlogtest.Test(t, func(t *testing.T, o shardlogtest.Options) shardlogtest.System {
				return system(t, mem.New(mem.Config{MaxGroup: maxGroup}), o, eager)
			})
		})
	}
	f("LargeGroups", 0, false)
	f("SmallGroups", 64<<10, true)
	f("TinyGroups", 2<<10, false)
	f("TinyGroupsCarried", 2<<10, true)
}
