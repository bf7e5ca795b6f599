package shardlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/held"
	objectmem "github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// kept is a cut's objects, as a backup keeps them.
type kept struct {
	objects map[string][]byte
	shardlog.Cut
}

// take takes a cut and keeps what it consists of. The bucket is one that holds.
func take(s *shardlog.Store, bucket objectstore.Bucket) (kept, error) {
	hold := bucket.(*held.Bucket).Hold()
	defer hold.Release()
	cut, err := s.Cut(ctx)
	if err != nil {
		return kept{}, err
	}
	hold.Only(keys(cut))
	return read(cut, hold)
}

func keys(cut shardlog.Cut) (keys []string) {
	for _, o := range cut.Objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func read(cut shardlog.Cut, hold *held.Hold) (kept, error) {
	k := kept{map[string][]byte{}, cut}
	for _, o := range cut.Objects {
		body, err := hold.Get(ctx, o.Key)
		if err != nil {
			return k, err
		}
		b, err := io.ReadAll(body)
		if err == nil && int64(len(b)) != o.Size {
			err = fmt.Errorf("object %s has %d bytes; the cut says %d", o.Key, len(b), o.Size)
		}
		if err != nil {
			return k, err
		}
		k.objects[o.Key] = b
	}
	return k, nil
}

// restore makes a bucket and a lane of what was kept.
func (k kept) restore(now time.Time) (objectstore.Bucket, lane.Lane, shardlog.Restored, error) {
	bucket := held.New(objectmem.New(clock.System{}, 0))
	manifest := ""
	for key, b := range k.objects {
		if shardlog.IsManifest(key) {
			manifest = key
			continue
		}
		if _, err := bucket.Put(ctx, key, bytes.NewReader(b)); err != nil {
			return nil, nil, shardlog.Restored{}, err
		}
	}
	out, err := shardlog.Restore(ctx, bucket, manifest, k.objects[manifest], now)
	if err != nil {
		return nil, nil, out, err
	}
	first, err := shardlog.Origin(ctx, bucket)
	return bucket, mem.New(mem.Config{MaxGroup: 2 << 10, First: first}), out, err
}

// lives is a store on its way through restarts, cuts and restores, beside a model of it.
type lives struct {
	*world
	t      testing.TB
	rng    *rand.Rand
	s      *shardlog.Store
	shards map[int]*modelled
	// issued is the highest index that any life gave in a shard, whatever was lost since.
	issued map[int]record.Index
	cuts   []remembered
}

type remembered struct {
	kept
	shards map[int]*modelled
}

// modelled is a shard as it should be.
type modelled struct {
	keep    time.Duration
	records []stored
	next    record.Index
	// first is the least index that is not trimmed, trim and held what was asked for.
	first, trim, held record.Index
	sealed            bool
}

type stored struct {
	index   record.Index
	arrived record.Millis
}

func (m *modelled) clone() *modelled {
	c := *m
	c.records = slices.Clone(m.records)
	return &c
}

// expire trims what is due at a time and returns what is left.
func (m *modelled) expire(now record.Millis) []stored {
	first := m.trim
	if m.keep > 0 {
		for _, r := range m.records {
			if now-r.arrived < record.Millis(m.keep.Milliseconds()) {
				break
			}
			first = max(first, r.index+1)
		}
	}
	if m.held > 0 {
		first = min(first, m.held)
	}
	m.first = max(m.first, first)
	i := 0
	for i < len(m.records) && m.records[i].index < m.first {
		i++
	}
	return m.records[i:]
}

// from returns the position of the first of the records at or after an index.
func from(records []stored, at record.Index) int {
	i := 0
	for i < len(records) && records[i].index < at {
		i++
	}
	return i
}

func newLives(t testing.TB, seed uint64) *lives {
	l := &lives{t: t, rng: rand.New(rand.NewPCG(seed, 77)), shards: map[int]*modelled{}, issued: map[int]record.Index{}}
	l.world = newWorld(2 + l.rng.IntN(4))
	l.s = open(t, l.config(nil))
	return l
}

func (l *lives) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// step does one thing to the store and to the model.
func (l *lives) step() {
	l.t.Helper()
	n := l.rng.IntN(5)
	m := l.shards[n]
	if m == nil {
		l.openShard(n)
		return
	}
	switch l.rng.IntN(16) {
	case 0:
		if m.held == 0 {
			// Where a hold begins need not be where a record is.
			m.held = m.first + record.Index(l.rng.IntN(int(min(m.next-m.first, 20))+1))
			l.must(l.s.Hold(ctx, id(n), "h", m.held))
		} else {
			m.held = 0
			l.must(l.s.Release(ctx, id(n), "h"))
		}
	case 1:
		to := m.trim + record.Index(l.rng.IntN(10))
		if l.rng.IntN(3) == 0 {
			to = m.next - record.Index(l.rng.IntN(int(min(m.next, 3))))
		}
		l.must(l.s.TrimTo(ctx, id(n), to))
		m.trim = max(m.trim, min(to, m.next))
	case 2:
		if l.rng.IntN(4) == 0 {
			_, err := l.s.Seal(ctx, id(n))
			l.must(err)
			m.sealed = true
		}
	case 3:
		if m.sealed && l.rng.IntN(2) == 0 {
			l.must(l.s.Drop(ctx, []shardlog.ShardID{id(n)}))
			delete(l.shards, n)
			delete(l.issued, n) // who opens a shard again knows it for another
		}
	case 4:
		l.must(l.s.Close())
		l.s = open(l.t, l.config(nil))
	case 5:
		l.cut()
	case 6:
		if len(l.cuts) > 0 && l.rng.IntN(2) == 0 {
			l.restore(l.cuts[l.rng.IntN(len(l.cuts))])
		}
	case 7, 8:
		l.clock.Advance(time.Duration(l.rng.IntN(8000)) * time.Millisecond)
	default:
		l.append(n, m)
	}
	settle(l.t, l.s)
}

func (l *lives) openShard(n int) {
	l.t.Helper()
	m := &modelled{keep: []time.Duration{0, 24 * time.Hour, 20 * time.Second, 24 * time.Hour, 8 * time.Second}[n], first: 1}
	l.must(l.s.Open(ctx, []shardlog.ShardID{id(n)}, shardlog.Retention{Age: m.keep}))
	b, err := l.s.Bounds(ctx, id(n))
	l.must(err)
	if b.First != b.Next || m.keep == 0 && b.Next != 1 {
		l.t.Fatalf("a new shard has the bounds %+v", b)
	}
	m.next = b.Next
	l.shards[n] = m
}

func (l *lives) append(n int, m *modelled) {
	l.t.Helper()
	if m.sealed {
		return
	}
	count := 1 + l.rng.IntN(3)
	res := put(l.t, l.s, telling(n, count, m.next))
	if res.First != m.next {
		l.t.Fatalf("shard %d: the next record got index %d, want %d", n, res.First, m.next)
	}
	if m.keep > 0 && res.First <= l.issued[n] {
		l.t.Fatalf("shard %d: index %d was given before, up to %d", n, res.First, l.issued[n])
	}
	for i := range count {
		m.records = append(m.records, stored{res.First + record.Index(i), res.ArrivalTime})
	}
	m.next += record.Index(count)
	l.issued[n] = max(l.issued[n], m.next-1)
}

func (l *lives) cut() {
	l.t.Helper()
	k, err := take(l.s, l.bucket)
	l.must(err)
	r := remembered{kept: k, shards: map[int]*modelled{}}
	for n, m := range l.shards {
		r.shards[n] = m.clone()
	}
	l.cuts = append(l.cuts, r)
}

// restore loses everything but a cut.
func (l *lives) restore(r remembered) {
	l.t.Helper()
	l.must(l.s.Close())
	l.clock.Advance(time.Millisecond)
	bucket, restored, out, err := r.kept.restore(l.clock.Now())
	l.must(err)
	l.bucket, l.lane = bucket, restored
	l.check()
	jumped := 0
	l.shards = map[int]*modelled{}
	for n, m := range r.shards {
		l.shards[n] = m.clone()
		if m = l.shards[n]; m.keep > 0 && !m.sealed {
			m.next = out.Next
			jumped++
		}
	}
	if out.Jumped != jumped || out.Shards != len(l.shards) || out.Position != r.Position || out.Time != r.Time {
		l.t.Fatalf("Restore() = %+v; want %d of %d shards to jump", out, jumped, len(l.shards))
	}
	l.s = open(l.t, l.config(nil))
	for n, m := range l.shards {
		b, err := l.s.Bounds(ctx, id(n))
		l.must(err)
		if b.Next != m.next || b.Sealed != m.sealed {
			l.t.Fatalf("shard %d is restored with %+v; want next %d, sealed %t", n, b, m.next, m.sealed)
		}
	}
}

// check expects an offline check to find nothing.
func (l *lives) check() {
	l.t.Helper()
	if found, _ := l.checked(l.t); len(found) > 0 {
		l.t.Fatalf("Check() finds %+v", found)
	}
}

// compare compares all shards with the model.
func (l *lives) compare() {
	l.t.Helper()
	now := record.MillisOf(l.clock.Now())
	for n, m := range l.shards {
		left := m.expire(now)
		first := m.next
		if len(left) > 0 {
			first = left[0].index
		}
		b, err := l.s.Bounds(ctx, id(n))
		l.must(err)
		if b.First != first || b.Next != m.next || b.Sealed != m.sealed {
			l.t.Fatalf("shard %d: Bounds() = %+v; want %d to %d, sealed %t", n, b, first, m.next, m.sealed)
		}
		for range 4 {
			l.page(n, m, left)
		}
		at := now - record.Millis(l.rng.IntN(20_000))
		want := m.next
		if i := slices.IndexFunc(left, func(r stored) bool { return r.arrived >= at }); i >= 0 {
			want = left[i].index
		}
		if got, err := l.s.SeekTime(ctx, id(n), at); err != nil || got != want {
			l.t.Fatalf("shard %d: SeekTime() = %d, %v; want %d", n, got, err, want)
		}
	}
}

// page reads one page from anywhere.
func (l *lives) page(n int, m *modelled, left []stored) {
	l.t.Helper()
	at := record.Index(l.rng.IntN(60))
	switch l.rng.IntN(4) {
	case 0:
		at = m.next - min(record.Index(l.rng.IntN(10)), m.next)
	case 1:
		at = l.issued[n] + record.Index(l.rng.IntN(2)) // a checkpoint, perhaps of a life that was lost
	case 2:
		if len(left) > 0 {
			at = left[l.rng.IntN(len(left))].index + record.Index(l.rng.IntN(2))
		}
	}
	limit := shardlog.Limit{Records: l.rng.IntN(8), Bytes: 1 << 20}
	if l.rng.IntN(3) == 0 {
		limit = shardlog.Limit{Records: 100, Bytes: 1 + l.rng.IntN(4000)}
	}
	p, err := l.s.Read(ctx, id(n), at, limit)
	l.must(err)
	defer p.Release()
	want := left[from(left, at):]
	if len(p.Records) > len(want) || len(p.Records) == 0 && len(want) > 0 && limit.Records > 0 {
		l.t.Fatalf("shard %d: Read(%d, %+v) gives %d records of %d", n, at, limit, len(p.Records), len(want))
	}
	for i, r := range p.Records {
		if r.Index != want[i].index || r.ArrivalTime != want[i].arrived {
			l.t.Fatalf("shard %d: Read(%d) gives record %d at place %d; want %d", n, at, r.Index, i, want[i].index)
		}
	}
	checkTelling(l.t, p.Records)
	got := len(p.Records)
	if got < limit.Records && got < len(want) && 1000*got < limit.Bytes-2000 {
		l.t.Fatalf("shard %d: Read(%d, %+v) ends after %d records of %d", n, at, limit, got, len(want))
	}
	arrival := record.Millis(0)
	if want = want[got:]; len(want) > 0 {
		arrival = want[0].arrived
	}
	if p.NextArrival != arrival || p.Next < at || len(want) > 0 && p.Next > want[0].index || got > 0 && p.Next <= p.Records[got-1].Index {
		l.t.Fatalf("shard %d: Read(%d, %+v) goes on at %d, arrived %d; want %v", n, at, limit, p.Next, p.NextArrival, want)
	}
}

// TestManyLives gives random histories to a store and to a model of it: records, trims, holds, seals,
// restarts, and restores of any cut there ever was. No index comes twice, nothing that a cut has is
// lost, readers get past what is, and a check finds nothing wrong.
func TestManyLives(t *testing.T) {
	t.Parallel()
	restores := 0
	for seed := range uint64(15) {
		l := newLives(t, seed)
		for range 250 {
			before := l.lane
			l.step()
			if l.lane != before {
				restores++
			}
			l.compare()
			if l.rng.IntN(10) == 0 {
				l.check()
			}
		}
		l.check()
		l.must(l.s.Close())
	}
	if restores < 75 {
		t.Errorf("only %d restores", restores)
	}
}

// beyond makes a restored store, shard 0 of which lost records 11 to 20 and has later ones that are in
// a file.
func beyond(t testing.TB) (*world, record.Index) {
	t.Helper()
	w := newWorld(100)
	s := open(t, w.config(nil))
	openShards(t, s, 1, day)
	put(t, s, telling(0, 10, 1))
	k, err := take(s, w.bucket)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, telling(0, 10, 11))
	var out shardlog.Restored
	if w.bucket, w.lane, out, err = k.restore(w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	s = open(t, w.config(nil))
	put(t, s, telling(0, 5, out.Next))
	settle(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return w, out.Next
}

// restoredTwice returns buckets as a first and a second restore leave them.
func restoredTwice(t testing.TB) (buckets []objectstore.Bucket) {
	t.Helper()
	w, _ := beyond(t)
	for range 2 {
		k, err := take(open(t, w.config(nil)), w.bucket)
		if err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Second)
		if w.bucket, w.lane, _, err = k.restore(w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		buckets = append(buckets, w.bucket)
	}
	return buckets
}

// TestCheckTellsJumpsFromGaps takes the jump out of a restored store's manifest, or a file: what was
// right is a loss then, for a check and for a start.
func TestCheckTellsJumpsFromGaps(t *testing.T) {
	w, next := beyond(t)
	if found, _ := w.checked(t); len(found) > 0 {
		t.Fatalf("a restored store: found %+v", found)
	}
	honest := w.bucket
	f := func(what string, change func([]byte) []byte) {
		t.Helper()
		manifest := objects(t, honest, "manifest/")
		w.bucket = altered{honest, manifest[len(manifest)-1].Key, change}
		found, _ := w.checked(t)
		if len(found) != 1 || !strings.Contains(found[0].What, what) {
			t.Errorf("found %+v, want %q", found, what)
		}
		cfg := w.config(nil)
		cfg.Clock = systemClock
		if _, err := shardlog.Open(ctx, cfg); !errors.Is(err, shardlog.ErrCorrupt) {
			t.Errorf("Open() = %v, want ErrCorrupt", err)
		}
	}
	f(fmt.Sprintf("neither the lane nor a file holds records 1 to %d", next-1), shardlog.WithoutJumps)
	f(fmt.Sprintf("neither the lane nor a file holds records 1 to %d", next-1), shardlog.WithoutFile)
}

// TestWaitAtAJump waits for what comes after records that were lost, however many they were.
func TestWaitAtAJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(100)
		s := open(t, w.config(nil))
		openShards(t, s, 1, day)
		put(t, s, telling(0, 10, 1))
		k, err := take(s, w.bucket)
		if err != nil {
			t.Fatal(err)
		}
		bucket, l, out, err := k.restore(w.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		w.bucket, w.lane = bucket, l
		s = open(t, w.config(nil))
		woken := make(chan error, 3)
		for _, at := range []record.Index{11, 15, out.Next} {
			go func() { woken <- s.Wait(ctx, id(0), at) }()
		}
		synctest.Wait()
		if n := len(woken); n > 0 {
			t.Errorf("%d of 3 return with nothing there", n)
		}
		put(t, s, telling(0, 1, out.Next))
		for range 3 {
			if err := <-woken; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestRestoreRefuses gives Restore what does not go together, and times that cannot be.
func TestRestoreRefuses(t *testing.T) {
	w := newWorld(100)
	s := open(t, w.config(nil))
	openShards(t, s, 2, day)
	put(t, s, telling(0, 10, 1))
	k, err := take(s, w.bucket)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, want error, now time.Time, change func(objects map[string][]byte)) {
		t.Helper()
		changed := kept{map[string][]byte{}, k.Cut}
		for key, b := range k.objects {
			changed.objects[key] = bytes.Clone(b)
		}
		change(changed.objects)
		bucket, _, _, err := changed.restore(now)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if err == nil {
			return
		}
		if bucket != nil && len(objects(t, bucket, "manifest/")) > 0 {
			t.Errorf("%s: there is a manifest", what)
		}
	}
	now := w.clock.Now()
	corrupt := shardlog.ErrCorrupt
	file, manifest := k.Objects[0].Key, k.Objects[len(k.Objects)-1].Key
	f("as it is", nil, now, func(map[string][]byte) {})
	f("file missing", corrupt, now, func(o map[string][]byte) { delete(o, file) })
	f("file cut", corrupt, now, func(o map[string][]byte) { o[file] = o[file][:len(o[file])-1] })
	f("footer damaged", corrupt, now, func(o map[string][]byte) { b := o[file]; b[len(b)-50]++ })
	f("another file", corrupt, now, func(o map[string][]byte) { o["blocks/1d/00000000000000ff"] = o[file] })
	f("manifest damaged", corrupt, now, func(o map[string][]byte) { o[manifest][30]++ })
	f("manifest under another key", corrupt, now, func(o map[string][]byte) {
		o["manifest/00000000000000ff"] = o[manifest]
		delete(o, manifest)
	})
	f("no manifest", corrupt, now, func(o map[string][]byte) { delete(o, manifest) })
	nothing := func(map[string][]byte) {}
	f("before there was anything", shardlog.ErrClock, time.Unix(0, 0), nothing)
	f("in the far future", shardlog.ErrClock, time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC), nothing)

	// What was restored once cannot be restored again with a clock that was put back before that.
	bucket, l, _, err := k.restore(now)
	if err != nil {
		t.Fatal(err)
	}
	w.bucket, w.lane = bucket, l
	if k, err = take(open(t, w.config(nil)), w.bucket); err != nil {
		t.Fatal(err)
	}
	f("again, later", nil, now.Add(time.Millisecond), nothing)
	f("again, at the same time", shardlog.ErrClock, now, nothing)
	f("again, before", shardlog.ErrClock, now.Add(-time.Hour), nothing)
}

// TestOrigin begins a lane where a backup ended, once.
func TestOrigin(t *testing.T) {
	origin := func(b objectstore.Bucket, want lane.Position) {
		t.Helper()
		if got, err := shardlog.Origin(ctx, b); err != nil || got != want {
			t.Errorf("Origin() = %d, %v; want %d", got, err, want)
		}
	}
	w := newWorld(100)
	origin(w.bucket, 1)
	s := open(t, w.config(nil))
	openShards(t, s, 1, day)
	k, err := take(s, w.bucket)
	if err != nil {
		t.Fatal(err)
	}
	origin(w.bucket, 1)
	bucket, l, out, err := k.restore(w.clock.Now())
	if err != nil || out.Position < 3 {
		t.Fatalf("Restore() = %+v, %v", out, err)
	}
	origin(bucket, out.Position)
	manifest := objects(t, bucket, "manifest/")[0].Key
	origin(altered{bucket, manifest, func(b []byte) []byte { b[9]++; return b }}, 1)
	w.bucket, w.lane = bucket, mem.New(mem.Config{})
	if _, err := shardlog.Open(ctx, w.config(nil)); !errors.Is(err, shardlog.ErrCorrupt) {
		t.Errorf("Open() on a lane that begins at 1 = %v, want ErrCorrupt", err)
	}
	// Once a store is open its lane is not made again, should it be lost.
	w.lane = l
	settle(t, open(t, w.config(nil)))
	origin(bucket, 1)
	w.lane = mem.New(mem.Config{})
	if _, err := shardlog.Open(ctx, w.config(nil)); !errors.Is(err, shardlog.ErrCorrupt) {
		t.Errorf("Open() with the lane lost = %v, want ErrCorrupt", err)
	}
}
