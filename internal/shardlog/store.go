package shardlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
	"github.com/headrace/headrace/internal/shardlog/jump"
	"github.com/headrace/headrace/internal/shardlog/slab"
	"github.com/headrace/headrace/internal/shardlog/space"
)

// Defaults of Config.
const (
	// DefaultMemory is the memory budget in bytes.
	DefaultMemory = 256 << 20
	// DefaultSweep is how often retention frees memory when nothing else does.
	DefaultSweep = 5 * time.Second
)

// What a group and a chunk cost in memory besides their bytes, counted against the budget.
const (
	groupCost = 160
	refCost   = 48
)

// minGroup is the least MaxGroup a Store works on: a part of a batch with some bytes in it.
const minGroup = 512

// ErrCorrupt says that a group does not decode or contradicts what came before it. The error that
// wraps it names the group and the offset.
var ErrCorrupt = chunk.ErrCorrupt

// Config says what a Store stands on. Lane and Clock are required.
type Config struct {
	// Lane holds the groups. The store is its one writer while open and does not close it. A lane
	// with a capacity of its own needs some room above Memory: an eighth of it and two groups.
	Lane lane.Lane
	// Clock gives arrival times and drives retention.
	Clock clock.Clock
	// Memory is how many bytes the store may hold before Append answers ErrFull; 0 means
	// DefaultMemory. With a Bucket it bounds the newest records, flushed ones as a cache among
	// them; footers and open pages come on top. Control changes and the store's own housekeeping may go a little above it.
	Memory int64
	// Sweep is how often the store looks for records that retention lets go; 0 means
	// DefaultSweep. Readers never wait for it.
	Sweep time.Duration
	// Bucket is the second tier: records move there from the lane, and memory holds only the newest
	// of them. Nil keeps everything in the lane and in memory. The store is the bucket's one user;
	// once it has flushed, its lane makes no sense without the bucket.
	Bucket objectstore.Bucket
	// FlushBytes is how many bytes in no file yet begin a flush; 0 means a quarter of Memory, at
	// most 512 MiB. It should be no more than half of Memory: while a flush runs, as much may come.
	FlushBytes int64
	// FlushAge is how long the first of them waits for one; 0 means DefaultFlushAge.
	FlushAge time.Duration
	// LaneBytes is how much the lane takes before it is full, 0 if it has no end. A flush begins
	// when half of that is in no file.
	LaneBytes int64
	// LaneRoom, if set, says how many bytes a group of n would leave in the lane, as lane/disk's Room
	// does. What streams write then leaves a part of it to other shards and to control changes.
	LaneRoom func(n int) int64
	// Limits bound what the shards of a stream take of the disk, which Disk asks for its room; nil if
	// there is none. They hold for shards whose retention has an age.
	Limits space.Limits
	Disk   func() (space.Disk, error)
	// Events tells the owner what no caller is told.
	Events Events

	// inline, noCache and mergeFan are for tests: the committer waits for flushes and merges,
	// flushed groups are evicted at once, and so many files make a merge.
	inline, noCache bool
	mergeFan        int
	// piece is how many bytes of a flush are paced at a time, for tests.
	piece int64
	// eager makes the store carry forward at the first dead byte, for tests.
	eager bool
}

// Events are functions the store calls; each may be nil. They must return soon and not call Close.
type Events struct {
	// Fatal is called once, from a goroutine of the store, when the lane has failed or a manifest
	// could not be stored: nothing more is acknowledged, and the process must exit and recover.
	Fatal func(error)
	// Stalled is called whenever a flush or a merge has failed and will be tried again: the bucket
	// is full or out of reach. Nothing is lost, but space does not come back, and appends are
	// refused: of streams at once if it is full, of all once lane or memory is.
	Stalled func(error)
	// Space is called when who may write has changed because of the room on the disk, Quota when a
	// stream has reached its quota and when it is well below again.
	Space func(space.View)
	Quota func(stream uint64, reached bool, used space.Usage, quota int64)
}

// Stats says what a store holds.
type Stats struct {
	// Shards is the number of logs.
	Shards int
	// Held is what counts against the budget in bytes, Live what of it is still wanted.
	Held, Live int64
	// Budget is Config.Memory.
	Budget int64
	// Groups is how many groups the lane holds for the store, Chunks how many data chunks shards
	// point at.
	Groups, Chunks int64
	// Files is how many block files there are, Stored what they take in bytes. Unflushed is how
	// many bytes are in the lane only.
	Files, Stored, Unflushed int64
}

// Store is every shard's log on one lane: the Log and the Registry of a process. It is safe for
// concurrent use.
//
// One goroutine, the committer, changes everything. Callers encode their batches into chunks in a
// pooled buffer, queue them and wait. The committer takes all that waits, decides for each batch
// whether it may be appended, stamps index and arrival time into its chunk, and copies the chunks
// into one group; when the lane has the group, it publishes the chunks to their shards and wakes
// whoever waited. While a group is being made durable the next one queues up, so that groups grow
// with load by themselves and no timer delays anyone.
//
// What the group being built would change stands in each shard's stage, apart from what readers
// see; a group the lane has no room for is undone by forgetting the stages.
//
// Locks: shards (the map) before shard.mu; queue stands alone. No lock is held while the lane
// works.
type Store struct {
	cfg      Config
	maxGroup int

	shards struct {
		sync.RWMutex
		m map[ShardID]*shard
	}

	queue struct {
		sync.Mutex
		requests []*request
		// down is why nothing more is taken.
		down error
	}
	wakeup  chan struct{}
	stopped chan struct{}

	// down holds the error that everything answers with once the store is closed or has failed.
	down atomic.Pointer[error]
	// now is the latest time read, in milliseconds: for retention time never falls, so that what
	// it has let go stays gone.
	now atomic.Int64

	// blocks reads block files; nil without a second tier.
	blocks *blocks
	// flow is what comes, for the flush that runs.
	flow flow
	// guard says which streams may write.
	guard *space.Guard
	// restoredAt is when it was restored the last time, 0 if never.
	restoredAt record.Millis

	stats struct{ held, live, groups, chunks, slabs, files, stored, unflushed atomic.Int64 }

	requests sync.Pool // *request
	pages    sync.Pool // *page
	waiters  sync.Pool // *waiter
}

var (
	_ Log      = (*Store)(nil)
	_ Registry = (*Store)(nil)
)

// Open takes the lane over and rebuilds every shard from it. From then on a former owner of the
// lane is fenced. The error wraps ErrCorrupt if the lane's groups make no sense.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.Sweep == 0 {
		cfg.Sweep = DefaultSweep
	}
	if cfg.FlushBytes == 0 {
		cfg.FlushBytes = min(cfg.Memory/4, maxFlushBytes)
	}
	if cfg.FlushAge == 0 {
		cfg.FlushAge = DefaultFlushAge
	}
	if n := cfg.Lane.MaxGroup(); n < minGroup {
		return nil, fmt.Errorf("open shard logs: the lane's groups are limited to %d bytes, which is less than %d", n, minGroup)
	}
	s, c, err := recovered(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open shard logs: %w", err)
	}
	if c.tier != nil {
		if c.tier.floor > 1 {
			s.restoredAt = jump.At(c.tier.floor)
		}
		c.tier.start()
	}
	go func() {
		defer close(s.stopped)
		c.run()
	}()
	return s, nil
}

// recovered returns a store as the lane has it and its committer, which is not running yet. A former
// owner that has not heard yet that it is fenced may still trim: what it trims nobody wants, but a
// replay that it overtakes starts over behind it.
func recovered(ctx context.Context, cfg Config) (s *Store, c *committer, err error) {
	for range fenceAttempts {
		s = &Store{cfg: cfg, maxGroup: min(cfg.Lane.MaxGroup(), chunk.MaxSize), wakeup: make(chan struct{}, 1), stopped: make(chan struct{})}
		s.shards.m = make(map[ShardID]*shard)
		s.guard = space.NewGuard(space.Config{Limits: cfg.Limits, Disk: cfg.Disk, Changed: cfg.Events.Space, Quota: cfg.Events.Quota})
		c = &committer{store: s, opening: make(map[ShardID]*shard), slabs: slab.New(cfg.Memory, !cfg.Lane.Keeps())}
		if cfg.Bucket != nil {
			s.blocks, c.tier = newBlocks(cfg.Bucket), newTier(s)
		}
		if err = c.recover(ctx); err == nil {
			return s, c, nil
		}
		c.slabs.Close()
		if !errors.Is(err, lane.ErrTrimmed) {
			break
		}
	}
	return nil, nil, err
}

// Close commits what waits and stops. Everything afterwards answers ErrClosed. Pages that are out
// stay valid. It returns the error that the lane failed with, if it did.
func (s *Store) Close() error {
	s.shutdown(ErrClosed)
	<-s.stopped
	if err := *s.down.Load(); err != ErrClosed {
		return err
	}
	return nil
}

// shutdown makes the queue refuse everything with the given error, unless it does already.
func (s *Store) shutdown(why error) {
	s.queue.Lock()
	if s.queue.down == nil {
		s.queue.down = why
	}
	s.queue.Unlock()
	s.signal()
}

func (s *Store) signal() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// RestoredAt returns the time at which what the store holds was restored from a backup, 0 if it never
// was.
func (s *Store) RestoredAt() record.Millis { return s.restoredAt }

// Stats returns what the store holds now.
func (s *Store) Stats() Stats {
	s.shards.RLock()
	n := len(s.shards.m)
	s.shards.RUnlock()
	return Stats{
		Shards: n, Budget: s.cfg.Memory,
		Held: s.stats.held.Load(), Live: s.stats.live.Load(),
		Groups: s.stats.groups.Load(), Chunks: s.stats.chunks.Load(),
		Files: s.stats.files.Load(), Stored: s.stats.stored.Load(), Unflushed: s.stats.unflushed.Load(),
	}
}

// time reads the clock for retention: it never falls.
func (s *Store) time() record.Millis { return s.since(record.MillisOf(s.cfg.Clock.Now())) }

// since notes a reading of the clock and returns the latest there was.
func (s *Store) since(now record.Millis) record.Millis {
	for {
		seen := s.now.Load()
		if int64(now) <= seen {
			return record.Millis(seen)
		}
		if s.now.CompareAndSwap(seen, int64(now)) {
			return now
		}
	}
}

// lookup returns the shard, or the error to answer with.
func (s *Store) lookup(ctx context.Context, id ShardID) (*shard, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.down.Load(); err != nil {
		return nil, *err
	}
	s.shards.RLock()
	sh := s.shards.m[id]
	s.shards.RUnlock()
	if sh == nil {
		return nil, ErrNotFound
	}
	return sh, nil
}
