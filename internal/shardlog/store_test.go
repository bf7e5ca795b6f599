package shardlog_test

import (
	"context"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane/mem"
	objectmem "github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/shardlog/shardlogtest"
)

var (
	ctx         = context.Background()
	systemClock = clock.System{}
)

// system opens stores on a lane and a bucket that outlive them.
func system(t *testing.T, cfg shardlog.Config, o shardlogtest.Options) shardlogtest.System {
	t.Helper()
	cfg.Clock, cfg.Memory = o.Clock, o.Memory
	cfg.Events.Fatal = func(err error) { t.Errorf("Fatal: %v", err) }
	cfg.Events.Stalled = func(err error) { t.Errorf("Stalled: %v", err) }
	open := func() *shardlog.Store {
		s, err := shardlog.Open(ctx, cfg)
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		return s
	}
	store := open()
	return shardlogtest.System{
		Log: store, Registry: store, Spills: cfg.Bucket != nil,
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
	f := func(name string, maxGroup int, change func(*shardlog.Config)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shardlogtest.Test(t, func(t *testing.T, o shardlogtest.Options) shardlogtest.System {
				cfg := shardlog.Config{Lane: mem.New(mem.Config{MaxGroup: maxGroup})}
				change(&cfg)
				if strings.HasPrefix(name, "Copied") {
					cfg.Lane = copying{cfg.Lane}
				}
				return system(t, cfg, o)
			})
		})
	}
	f("LargeGroups", 0, func(*shardlog.Config) {})
	f("SmallGroups", 64<<10, (*shardlog.Config).CarryEagerly)
	f("TinyGroups", 2<<10, func(*shardlog.Config) {})
	f("TinyGroupsCarried", 2<<10, (*shardlog.Config).CarryEagerly)

	tiered := func(bytes int64, fan int, inline, cache bool) func(*shardlog.Config) {
		return func(cfg *shardlog.Config) {
			cfg.Bucket, cfg.FlushBytes = objectmem.New(clock.System{}, 0), bytes
			cfg.MergeFan(fan)
			if inline {
				cfg.Inline()
			}
			if !cache {
				cfg.NoCache()
			}
		}
	}
	f("EverythingFlushed", 0, tiered(1, 3, true, false))
	f("FlushedTinyGroups", 2<<10, tiered(700, 2, true, false))
	f("FlushedCached", 64<<10, tiered(2000, 3, true, true))
	f("FlushedBeside", 2<<10, tiered(3000, 3, false, false))
	f("CopiedTinyGroupsCarried", 2<<10, (*shardlog.Config).CarryEagerly)
	f("CopiedFlushedBeside", 2<<10, tiered(3000, 3, false, false))
}
