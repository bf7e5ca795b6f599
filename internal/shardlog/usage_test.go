package shardlog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/held"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/shardlog/space"
)

// reluctant is a lane that does not always trim. Its dice are the committer's, who alone trims.
type reluctant struct {
	lane.Lane
	rng *rand.Rand
}

func (r reluctant) TrimTo(ctx context.Context, first lane.Position) error {
	if r.rng.IntN(3) > 0 {
		return errors.New("not now")
	}
	return r.Lane.TrimTo(ctx, first)
}

// TestAccounts runs random histories and holds the accounts, which are kept change by change, against
// a count of everything there is.
func TestAccounts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 5))
		bucket, now := newPicky(), clock.NewManual(time.Unix(1_800_000_000, 0))
		cfg := shardlog.Config{Lane: mem.New(mem.Config{MaxGroup: 8 << 10}), Clock: now, FlushBytes: 20_000, Memory: 1 << 20}
		if seed%5 > 0 {
			cfg.Bucket = bucket
			cfg.Inline()
			cfg.MergeFan(2 + rng.IntN(3))
			if seed%2 == 0 {
				cfg.NoCache()
			}
		} else {
			if seed%2 == 0 {
				cfg.CarryEagerly()
			} else {
				cfg.Memory = 64 << 10
			}
			cfg.Lane = reluctant{cfg.Lane, rand.New(rand.NewPCG(seed, 55))}
		}
		s := open(t, cfg)
		shard := func() shardlog.ShardID {
			return shardlog.ShardID{Stream: 1 + rng.Uint64N(4), Shard: int32(rng.IntN(2))}
		}
		seen := map[uint64]space.Usage{}
		for i := range 300 {
			id := shard()
			var err error
			switch rng.IntN(12) {
			case 0:
				err = s.Drop(ctx, []shardlog.ShardID{id})
			case 1:
				err = s.TrimTo(ctx, id, record.Index(rng.IntN(300)))
			case 2:
				now.Advance(time.Duration(rng.IntN(40)) * time.Minute)
			case 3:
				full := rng.IntN(2) == 0
				bucket.set(func(string) error {
					if full {
						return objectstore.ErrFull
					}
					return nil
				})
				now.Advance(2 * time.Second)
			case 4:
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, cfg)
			default:
				err = s.Open(ctx, []shardlog.ShardID{id}, shardlog.Retention{Age: time.Duration(rng.IntN(3)) * time.Hour})
				b := shardlog.Batch{Shard: id}
				for range 1 + rng.IntN(4) {
					n := rng.IntN(1000)
					if rng.IntN(20) == 0 {
						n += 10_000
					}
					b.Entries = append(b.Entries, record.Entry{PartitionKey: "k", Data: random(rng.Uint64(), n)})
				}
				if err == nil {
					_, err = s.Append(ctx, []shardlog.Batch{b})
				}
			}
			if err != nil && !errors.Is(err, shardlog.ErrNotFound) && !errors.Is(err, shardlog.ErrFull) {
				t.Fatal(err)
			}
			want, got := s.Recount()
			if !maps.Equal(want, got) {
				t.Fatalf("seed %d, after %d changes: the accounts say %+v; counted are %+v", seed, i+1, got, want)
			}
			for id := uint64(1); id <= 4; id++ {
				if _, there := want[id]; !there && s.Used(id) != (space.Usage{}) {
					t.Fatalf("seed %d, after %d changes: stream %d is gone and takes %+v", seed, i+1, id, s.Used(id))
				}
			}
			for id, u := range got {
				seen[id] = space.Usage{Stored: max(seen[id].Stored, u.Stored), Unflushed: max(seen[id].Unflushed, u.Unflushed)}
			}
		}
		for id, u := range seen {
			if u.Unflushed == 0 || u.Stored == 0 && cfg.Bucket != nil {
				t.Errorf("seed %d: stream %d never took more than %+v", seed, id, u)
			}
		}
		_ = s.Close()
	}
}

// try appends a record of n bytes that do not compress, and says whether it was taken.
func try(t testing.TB, s *shardlog.Store, stream uint64, n int) bool {
	t.Helper()
	b := shardlog.Batch{Shard: shardlog.ShardID{Stream: stream}, Entries: []record.Entry{{PartitionKey: "k", Data: random(rand.Uint64(), n)}}}
	res, err := s.Append(ctx, []shardlog.Batch{b})
	switch {
	case err != nil:
		t.Fatal(err)
	case res[0].Err != nil && !errors.Is(res[0].Err, shardlog.ErrFull):
		t.Fatal(res[0].Err)
	}
	return res[0].Err == nil
}

func openStreams(t testing.TB, s *shardlog.Store, keep shardlog.Retention, streams ...uint64) {
	t.Helper()
	for _, id := range streams {
		if err := s.Open(ctx, []shardlog.ShardID{{Stream: id}}, keep); err != nil {
			t.Fatal(err)
		}
	}
}

// TestQuota has one stream reach its quota: it alone is refused, it is read, and it goes on when
// retention has let go of records. Without a second tier, too.
func TestQuota(t *testing.T) {
	f := func(name string, bucket objectstore.Bucket, reopen bool) {
		t.Helper()
		now := clock.NewManual(time.Unix(1_800_000_000, 0))
		told := make(chan string, 10)
		cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: now, FlushBytes: 50_000, Limits: space.Limits{Stream: space.Share{Bytes: 300_000}}}
		cfg.Events.Quota = func(stream uint64, reached bool, _ space.Usage, quota int64) {
			told <- fmt.Sprint(stream, reached, quota)
		}
		cfg.Inline()
		s := open(t, cfg)
		openStreams(t, s, day, 1, 2)
		openStreams(t, s, shardlog.Retention{}, 3)
		taken := 0
		for try(t, s, 1, 10_000) {
			taken++
			now.Advance(time.Minute)
		}
		if used := s.Used(1).Total(); taken < 25 || used > 300_000 || used < 270_000 {
			t.Errorf("%s: %d records of 10,000 bytes were taken, which are %d bytes, of a quota of 300,000", name, taken, used)
		}
		for range 60 {
			if !try(t, s, 3, 10_000) {
				t.Fatalf("%s: a log of the process's own was refused", name)
			}
		}
		if reopen {
			_ = s.Close()
			s = open(t, cfg)
			s.Recount() // waits for the committer
		}
		if try(t, s, 1, 50_000) || !try(t, s, 2, 50_000) {
			t.Errorf("%s: want stream 1 refused and stream 2 taken", name)
		}
		p, err := s.Read(ctx, shardlog.ShardID{Stream: 1}, 1, shardlog.Limit{Records: 1000, Bytes: 1 << 20})
		if err != nil || len(p.Records) != taken {
			t.Fatalf("%s: Read = %+v, %v; want %d records", name, p, err, taken)
		}
		p.Release()
		now.Advance(25 * time.Hour)
		openStreams(t, s, day, 4)
		_ = s.SetRetention(ctx, []shardlog.ShardID{{Stream: 1}}, shardlog.Retention{Age: 23 * time.Hour}) // has the committer look
		if !try(t, s, 1, 200_000) {
			t.Errorf("%s: refused with %+v after all records have come of age", name, s.Used(1))
		}
		if v := s.Space(); v.OverQuota == 0 || v.NoRoom != 0 {
			t.Errorf("%s: %+v; want refusals for the quota alone", name, v)
		}
		if want := "1 true 300000"; len(told) == 0 || <-told != want {
			t.Errorf("%s: want to be told %q first", name, want)
		}
	}
	f("memory", nil, false)
	f("memory, recovered", nil, true)
	f("files", newPicky(), false)
	f("files, recovered", newPicky(), true)
}

// TestLowWater fills a disk with a big writer and a small one. The big one is stopped and the small
// one goes on; when the big stream is deleted, puts go on.
func TestLowWater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 64 << 20
		bucket := newPicky()
		var taken atomic.Int64 // by others
		disk := func() (space.Disk, error) {
			free := size - taken.Load()
			for _, prefix := range []string{"blocks/", "manifest/"} {
				for _, o := range objects(t, bucket, prefix) {
					free -= o.Size
				}
			}
			return space.Disk{Free: free, Total: size}, nil
		}
		cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: clock.System{}, Memory: 16 << 20, FlushBytes: 2 << 20,
			Limits: space.Limits{LowWater: space.Share{Percent: 25}}, Disk: disk}
		var states []space.State
		cfg.Events.Space = func(v space.View) { states = append(states, v.State) }
		s := open(t, cfg)
		openStreams(t, s, day, 1, 2)
		tick := func() {
			<-time.After(time.Second)
			synctest.Wait()
		}
		small, big := 0, true
		for i := 0; big && i < 100; i++ {
			for range 10 {
				big = try(t, s, 1, 100_000) && big
			}
			if !try(t, s, 2, 500) {
				t.Fatalf("the small writer was refused first: %+v", s.Space())
			}
			small++
			tick()
		}
		if v := s.Space(); v.State != space.Low || len(v.Stopped) != 1 || v.Stopped[0] != 1 {
			t.Fatalf("%+v; want stream 1 stopped", v)
		}
		if v, err := disk(); err != nil || v.Free < size/8 || v.Free > size/4+3<<20 {
			t.Errorf("%d bytes of %d are free when the big writer is stopped", v.Free, size)
		}
		for range 120 {
			if try(t, s, 1, 100_000) || !try(t, s, 2, 500) {
				t.Fatalf("want the big writer refused and the small one taken: %+v", s.Space())
			}
			small++
			tick()
		}
		taken.Store(10 << 20) // somebody else fills the disk
		tick()
		if try(t, s, 1, 500) || try(t, s, 2, 500) {
			t.Errorf("want both refused: %+v", s.Space())
		}
		if err := s.Drop(ctx, []shardlog.ShardID{{Stream: 1}}); err != nil {
			t.Fatal(err)
		}
		openStreams(t, s, day, 1)
		for range 20 {
			tick()
		}
		if v := s.Space(); v.State != space.Ample {
			t.Errorf("%+v after the big stream was deleted; want room", v)
		}
		for range 10 {
			if !try(t, s, 1, 100_000) || !try(t, s, 2, 500) {
				t.Fatalf("want both taken: %+v", s.Space())
			}
			small++
			tick()
		}
		if b, err := s.Bounds(ctx, shardlog.ShardID{Stream: 2}); err != nil || int(b.Next) != small+1 {
			t.Errorf("Bounds = %+v, %v; want %d records", b, err, small)
		}
		if want := []space.State{space.Low, space.Full, space.Ample}; !equalStates(states, want) {
			t.Errorf("told of %v; want %v: once a change", states, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// equalStates compares, apart from a moment in Low on the way down from Full.
func equalStates(got, want []space.State) bool {
	var short []space.State
	for i, s := range got {
		if s == space.Low && i > 0 && got[i-1] == space.Full {
			continue
		}
		short = append(short, s)
	}
	return fmt.Sprint(short) == fmt.Sprint(want)
}

// TestReserveForItself leaves a part of lane and memory to what is not a stream's.
func TestReserveForItself(t *testing.T) {
	bucket := newPicky()
	var room atomic.Int64
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: clock.System{}, Memory: 4 << 20, FlushBytes: 2 << 20,
		LaneBytes: 16 << 20, LaneRoom: func(n int) int64 { return room.Load() - int64(n) }}
	room.Store(16 << 20)
	s := open(t, cfg)
	openStreams(t, s, day, 1)
	openStreams(t, s, shardlog.Retention{}, 2)
	f := func(what string, left int64, n int, one, two bool) {
		t.Helper()
		room.Store(left)
		if got := try(t, s, 1, n); got != one {
			t.Errorf("%s: a stream's put was taken: %v; want %v", what, got, one)
		}
		if got := try(t, s, 2, n); got != two {
			t.Errorf("%s: a put of the process's own was taken: %v; want %v", what, got, two)
		}
	}
	f("room", 16<<20, 1000, true, true)
	f("just room", 2<<20+1200, 1000, true, true) // twice the reserve: nobody else writes as much
	f("only the reserve", 2<<20+1000, 1000, false, true)

	release := make(chan struct{})
	bucket.set(func(string) error { <-release; return nil })
	room.Store(16 << 20)
	for try(t, s, 1, 10_000) {
	}
	for range 5 {
		f("memory is full of what is being flushed", 16<<20, 10_000, false, true)
	}
	if st := s.Stats(); st.Held > st.Budget {
		t.Errorf("%+v; want no more than the budget", st)
	}
	close(release)
}

// TestGreedyWaits has one stream write faster than files can be written, until lane or memory is full for
// it: the others go on.
func TestGreedyWaits(t *testing.T) {
	f := func(name string, laneBytes int64, laneRoom func(s *shardlog.Store) int64) {
		t.Helper()
		bucket, s := newPicky(), (*shardlog.Store)(nil)
		cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: clock.System{}, Memory: 16 << 20, FlushBytes: 2 << 20,
			LaneBytes: laneBytes, LaneRoom: func(n int) int64 { return laneRoom(s) - int64(n) }}
		s = open(t, cfg)
		openStreams(t, s, day, 1, 2, 3)
		release := make(chan struct{})
		defer close(release)
		bucket.set(func(string) error { <-release; return nil })
		for try(t, s, 1, 50_000) {
		}
		for i := range 10 {
			if try(t, s, 1, 50_000) {
				t.Errorf("%s: the stream that wrote too fast goes on", name)
			}
			if !try(t, s, 2, 5000) || !try(t, s, 3, 5000) {
				t.Errorf("%s: others' puts were refused after %d", name, i)
			}
		}
		for try(t, s, 2, 50_000) {
		}
		if try(t, s, 3, 50_000) {
			t.Errorf("%s: what is kept for the process's own was taken", name)
		}
	}
	const lane = 8 << 20
	f("lane", lane, func(s *shardlog.Store) int64 { return lane - s.Stats().Unflushed })
	f("memory", 1<<30, func(*shardlog.Store) int64 { return 1 << 30 })
}

// TestAccountAfterGap recovers a lane that still holds a record which was carried forward, but not the
// one behind it: both had been let go of, and neither is to be counted.
func TestAccountAfterGap(t *testing.T) {
	l := mem.New(mem.Config{})
	s := open(t, shardlog.Config{Lane: l, Memory: 16 << 20})
	openStreams(t, s, day, 1, 2, 3)
	f := func(stream uint64, n int) {
		t.Helper()
		if !try(t, s, stream, n) {
			t.Fatalf("a put to stream %d was refused", stream)
		}
	}
	f(1, 1200<<10)
	f(2, 3<<20)
	f(1, 1000)
	f(3, 1000)
	trim := func(stream uint64, to record.Index) {
		t.Helper()
		if err := s.TrimTo(ctx, shardlog.ShardID{Stream: stream}, to); err != nil {
			t.Fatal(err)
		}
		s.Recount() // waits for the committer
	}
	trim(2, 2) // which has the first record carried, and no more than that
	trim(1, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, shardlog.Config{Lane: l, Memory: 16 << 20})
	if st := s.Stats(); st.Held < 1<<20 {
		t.Fatalf("%+v; want the record that was carried still in the lane", st)
	}
	if want, got := s.Recount(); !maps.Equal(want, got) || got[1] != (space.Usage{}) {
		t.Errorf("the accounts say %+v; counted are %+v", got, want)
	}
}

// TestFullUntilFlushed deletes a stream while nothing can be flushed: the manifest that lets it go is
// stored, but that is no room for what waits in the lane. A flush is tried again at once.
func TestFullUntilFlushed(t *testing.T) {
	bucket, now := newPicky(), clock.NewManual(time.Unix(1_800_000_000, 0))
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: now}
	cfg.Inline()
	s := open(t, cfg)
	openStreams(t, s, day, 1, 2)
	try(t, s, 1, 10_000)
	s.FlushNow()
	bucket.set(func(key string) error {
		if strings.HasPrefix(key, "blocks/") {
			return objectstore.ErrFull
		}
		return nil
	})
	try(t, s, 2, 10_000)
	s.FlushNow()
	if err := s.Drop(ctx, []shardlog.ShardID{{Stream: 1}}); err != nil {
		t.Fatal(err)
	}
	s.Recount()
	if n := len(objects(t, bucket, "blocks/")); n != 0 || try(t, s, 2, 100) {
		t.Errorf("%d files of a deleted stream are left, and %+v; want none, and puts refused", n, s.Space())
	}
	bucket.set(nil)
	now.Advance(2 * time.Second)
	s.Recount()
	s.Recount()
	if v := s.Space(); v.State != space.Ample || s.Stats().Unflushed != 0 {
		t.Errorf("%+v, and %+v; want everything flushed a moment after there was room", v, s.Stats())
	}
}

// TestMergesNeedRoom holds merges back while what they write would take the disk below its mark, but
// for those that make room.
func TestMergesNeedRoom(t *testing.T) {
	now := clock.NewManual(time.Unix(1_800_000_000, 0))
	var room atomic.Int64
	room.Store(10 << 20)
	disk := func() (space.Disk, error) { return space.Disk{Free: room.Load(), Total: 100 << 20}, nil }
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: newPicky(), Clock: now, FlushBytes: 1,
		Limits: space.Limits{LowWater: space.Share{Bytes: 10 << 20}}, Disk: disk}
	cfg.Inline()
	s := open(t, cfg)
	openStreams(t, s, day, 1, 2)
	for range 20 {
		try(t, s, 1, 3000)
		try(t, s, 2, 1000)
		s.Recount()
	}
	look := func(free int64) int64 {
		room.Store(free)
		for range 3 {
			now.Advance(2 * time.Second)
			s.Recount()
		}
		return s.Stats().Files
	}
	if n := look(10 << 20); n != 40 {
		t.Errorf("%d files on a disk at its mark; want those of 40 flushes", n)
	}
	if n := look(50 << 20); n > 15 {
		t.Errorf("%d files on a disk with room; want few", n)
	}
	before := s.Stats().Stored
	look(4 << 20)
	if err := s.Drop(ctx, []shardlog.ShardID{{Stream: 1}}); err != nil {
		t.Fatal(err)
	}
	look(4 << 20)
	if after, st := s.Stats().Stored, s.Space().State; after > before/2 || st != space.Full {
		t.Errorf("%v: %d bytes stored of %d; want those of a deleted stream gone although no put is taken", st, after, before)
	}
}

// TestDiskAskedBesideAHold goes on asking the disk while files wait for their deletion because they are
// held: nothing is being written.
func TestDiskAskedBesideAHold(t *testing.T) {
	now, asked := clock.NewManual(time.Unix(1_800_000_000, 0)), 0
	b := held.New(newPicky())
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: b, Clock: now, FlushBytes: 20_000,
		Disk: func() (space.Disk, error) { asked++; return space.Disk{Free: 1 << 30, Total: 1 << 30}, nil }}
	cfg.Inline()
	s := open(t, cfg)
	openShards(t, s, 2, day)
	put(t, s, telling(0, 30, 1))
	settle(t, s)
	hold := b.Hold()
	defer hold.Release()
	if err := s.Drop(ctx, []shardlog.ShardID{id(0)}); err != nil {
		t.Fatal(err)
	}
	put(t, s, telling(1, 30, 1))
	before := asked
	for range 10 {
		now.Advance(1100 * time.Millisecond)
		settle(t, s)
	}
	if asked < before+8 {
		t.Errorf("the disk was asked %d times in 11 seconds; want 10", asked-before)
	}
}
