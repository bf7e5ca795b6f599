package space

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/headrace/headrace/internal/record"
)

const (
	// pause is how long a Guard waits, in milliseconds, before it asks the disk again, and stale when
	// it asks although files are just being written.
	pause, stale = 1000, 30_000
	// eased is the part of its quota that a stream must be below before it counts as below.
	eased = 0.95
)

// Config says what a Guard works with.
type Config struct {
	Limits Limits
	// Disk asks how much is free; nil if there is no disk, and then only quotas in bytes hold. When
	// it fails, the last answer stands.
	Disk func() (Disk, error)
	// Changed, if set, is told of a new situation and what it rests on, Quota of a stream that has
	// reached its quota, and of one that is well below again. They must return soon.
	Changed func(View)
	Quota   func(stream uint64, reached bool, used Usage, quota int64)
}

// View is what a Guard knows and has decided.
type View struct {
	Situation
	Disk Disk
	// Left is what is free less what is still to be written; Mark the low-water mark, 0 if there is
	// none; Quota a stream's quota, 0 if there is none.
	Left, Mark, Quota int64
	// Exhausted says that the disk has refused to store a file and has not taken one since.
	Exhausted bool
	// AtQuota is how many streams have reached their quota.
	AtQuota int
	// OverQuota and NoRoom count the records that were refused.
	OverQuota, NoRoom uint64
}

// Account is what is known of one stream. One goroutine, the store's committer, calls its methods and
// those of its Guard; View and Used are everyone's.
type Account struct {
	stream            uint64
	stored, unflushed atomic.Int64
	// shards counts those that point at the account.
	shards  int
	meter   Meter
	stopped bool // by name
	reached bool // its quota
}

// Wrote counts n bytes that are acknowledged towards the stream's rate.
func (a *Account) Wrote(n int64) { a.meter.Add(n) }

// Unflushed counts n more bytes, or less, that are in no file.
func (a *Account) Unflushed(n int64) { a.unflushed.Add(n) }

// Stored counts n more bytes, or less, of block files.
func (a *Account) Stored(n int64) { a.stored.Add(n) }

func (a *Account) used() Usage {
	return Usage{Stored: a.stored.Load(), Unflushed: a.unflushed.Load()}
}

// Guard says whose writes are let through.
type Guard struct {
	cfg Config

	accounts struct {
		sync.RWMutex
		m map[uint64]*Account
	}
	overQuota, noRoom atomic.Uint64
	shown             atomic.Pointer[View]

	// The committer's own.

	now   View
	asked record.Millis // when the disk was
	// due says that the disk has changed, below at which room that is left to decide anew.
	due   bool
	below int64
}

// NewGuard returns a guard that stops nobody before Tend was called.
func NewGuard(cfg Config) *Guard {
	g := &Guard{cfg: cfg, due: true, below: math.MaxInt64}
	g.accounts.m = make(map[uint64]*Account)
	g.now.Quota = cfg.Limits.Stream.Of(0)
	g.shown.Store(&View{})
	return g
}

// Join returns the stream's account, for one shard more.
func (g *Guard) Join(stream uint64) *Account {
	a := g.accounts.m[stream] // nobody else writes the map
	if a == nil {
		a = &Account{stream: stream}
		g.accounts.Lock()
		g.accounts.m[stream] = a
		g.accounts.Unlock()
	}
	a.shards++
	return a
}

// Leave ends the account of a stream that has lost its last shard.
func (g *Guard) Leave(a *Account) {
	if a.shards--; a.shards > 0 {
		return
	}
	g.accounts.Lock()
	delete(g.accounts.m, a.stream)
	g.accounts.Unlock()
	if a.reached {
		g.now.AtQuota--
	}
	if i, found := slices.BinarySearch(g.now.Stopped, a.stream); found {
		g.now.Stopped = slices.Delete(slices.Clone(g.now.Stopped), i, i+1)
	}
}

// Admits says whether the stream may write n bytes, which are so many records; it counts those it
// refuses. What was let through and is not counted yet may bring a stream a little above its quota.
func (g *Guard) Admits(a *Account, n int64, records uint32) bool {
	switch used := a.used(); {
	case g.now.State == Full || a.stopped:
		g.noRoom.Add(uint64(records))
	case g.now.Quota > 0 && used.Total()+n > g.now.Quota:
		g.overQuota.Add(uint64(records))
		if !a.reached {
			g.reach(a, true)
		}
	default:
		return true
	}
	return false
}

// Greedy says whether the stream has more of all unflushed bytes than would be its share if another one
// came: a quiet stream never has.
func (g *Guard) Greedy(a *Account, unflushed int64) bool {
	return a.unflushed.Load() > unflushed/int64(len(g.accounts.m)+1)
}

// reach notes that a stream has reached its quota, or is below.
func (g *Guard) reach(a *Account, reached bool) {
	a.reached = reached
	g.now.AtQuota--
	if reached {
		g.now.AtQuota += 2
	}
	if f := g.cfg.Quota; f != nil {
		f(a.stream, reached, a.used(), g.now.Quota)
	}
}

// Moved says that files have come or gone, so that the disk is to be asked again.
func (g *Guard) Moved() { g.due = true }

// Exhausted says whether the disk has refused to store a file. Until it takes one again everybody is
// stopped: what the log and the memory have left is for what makes room.
func (g *Guard) Exhausted(refused bool) {
	if g.now.Exhausted != refused {
		g.now.Exhausted, g.below, g.due = refused, math.MaxInt64, true
	}
}

// Tend asks the disk how much is free, if it is time to, and decides anew. It is called after every
// change, and at least every few seconds. unflushed is how many bytes are still to be written.
// resting says that no file is being written: what such a file takes so far is not to be counted
// twice, so the disk is then asked only if it has not been for long.
func (g *Guard) Tend(now record.Millis, unflushed int64, resting bool) {
	since := now - g.asked
	asked := resting && (g.due || since >= pause) || since >= stale
	if asked {
		g.ask(now)
	}
	g.now.Left = g.now.Disk.Free - unflushed
	if !asked && g.now.Left >= g.below {
		return
	}
	writers := g.measure(now)
	room := Room{Left: g.now.Left, Mark: g.now.Mark, Exhausted: g.now.Exhausted}
	next := g.now.Situation.Next(room, writers)
	changed := next.State != g.now.State || !slices.Equal(next.Stopped, g.now.Stopped) || g.now.Exhausted != g.shown.Load().Exhausted
	g.now.Situation = next
	switch next.State {
	case Ample:
		g.below = room.Mark
	case Low:
		g.below = room.Left - (room.Left-room.floor())/8
	case Full:
		g.below = math.MinInt64
	}
	g.show()
	if changed {
		for _, a := range g.accounts.m {
			a.stopped = next.Stops(a.stream)
		}
		if f := g.cfg.Changed; f != nil {
			f(g.View())
		}
	}
}

func (g *Guard) ask(now record.Millis) {
	g.asked, g.due = now, false
	if g.cfg.Disk == nil {
		return
	}
	d, err := g.cfg.Disk()
	if err != nil {
		return // as it was
	}
	g.now.Disk = d
	g.now.Quota, g.now.Mark = g.cfg.Limits.Stream.Of(d.Total), g.cfg.Limits.LowWater.Of(d.Total)
}

// measure looks at every account.
func (g *Guard) measure(now record.Millis) []Writer {
	var writers []Writer
	for _, a := range g.accounts.m {
		rate := a.meter.Rate(now)
		if rate >= 1 && g.now.Left < g.now.Mark {
			writers = append(writers, Writer{a.stream, rate})
		}
		if a.reached && float64(a.used().Total()) < eased*float64(g.now.Quota) {
			g.reach(a, false)
		}
	}
	return writers
}

func (g *Guard) show() {
	v := g.now
	g.shown.Store(&v)
}

// View returns what was decided last.
func (g *Guard) View() View {
	v := *g.shown.Load()
	v.OverQuota, v.NoRoom = g.overQuota.Load(), g.noRoom.Load()
	return v
}

// Used returns what a stream takes: nothing if there is no such stream.
func (g *Guard) Used(stream uint64) Usage {
	g.accounts.RLock()
	a := g.accounts.m[stream]
	g.accounts.RUnlock()
	if a == nil {
		return Usage{}
	}
	return a.used()
}

// Spare is how many bytes of the room may be used to write files anew: as much as leaves the mark, or
// where that makes room in the end, a quarter of it; and then always a quarter of what is free, or a
// disk that others have filled would stay so.
func (g *Guard) Spare(makesRoom bool) int64 {
	v := &g.now
	switch {
	case v.Mark <= 0:
		return math.MaxInt64
	case makesRoom:
		return max(v.Left-v.Mark/4, v.Disk.Free/4)
	}
	return v.Left - v.Mark
}
