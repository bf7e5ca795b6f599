package shardlogtest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// model is the reference: every shard as the list of all records it ever had.
type model struct {
	now    record.Millis // the latest time there was
	clock  record.Millis // what the clock says now
	shards map[int]*modelShard
}

type modelShard struct {
	keep      shardlog.Retention
	numbers   []int // numbers[i] is the entry at index i+1
	arrivals  []record.Millis
	first     record.Index
	trim      record.Index
	holds     map[string]record.Index
	sealed    bool
	producers map[uint64]shardlog.Producer
}

func (s *modelShard) next() record.Index { return record.Index(len(s.numbers) + 1) }

// settle moves every shard's first record on to where retention has it now.
func (m *model) settle() {
	for _, s := range m.shards {
		first := s.trim
		if s.keep.Age > 0 {
			aged := record.Index(1)
			for aged < s.next() && s.arrivals[aged-1]+record.Millis(s.keep.Age.Milliseconds()) <= m.now {
				aged++
			}
			first = max(first, aged)
		}
		for _, from := range s.holds {
			first = min(first, from)
		}
		s.first = max(s.first, first)
	}
}

func (s *modelShard) append(p shardlog.Producer, numbers []int, now record.Millis) (record.Index, error) {
	if last, ok := s.producers[p.ID]; ok && p.ID != 0 {
		if p.Epoch < last.Epoch {
			return 0, shardlog.ErrFencedProducer
		}
		if p.Epoch == last.Epoch && p.Sequence <= last.Sequence {
			return 0, shardlog.ErrDuplicate
		}
	}
	if s.sealed {
		return 0, shardlog.ErrSealed
	}
	if p.ID != 0 {
		s.producers[p.ID] = p
	}
	first := s.next()
	for _, n := range numbers {
		s.numbers = append(s.numbers, n)
		s.arrivals = append(s.arrivals, max(now, s.last()))
	}
	return first, nil
}

func (s *modelShard) last() record.Millis {
	if len(s.arrivals) == 0 {
		return 0
	}
	return s.arrivals[len(s.arrivals)-1]
}

func (s *modelShard) bounds() shardlog.Bounds {
	return shardlog.Bounds{First: s.first, Next: s.next(), LastArrival: s.last(), Sealed: s.sealed}
}

// walk is one run of random operations on a system and its model.
type walk struct {
	t      *testing.T
	k      *kit
	m      model
	rng    *rand.Rand
	number int
}

// modelShards is how many shard numbers a walk uses; some of them have no log at times.
const modelShards = 6

func testModel(t *testing.T, k *kit, seed uint64) {
	t.Logf("seed %d", seed)
	w := &walk{t: t, k: k, rng: rand.New(rand.NewPCG(seed, 17)), m: model{shards: map[int]*modelShard{}}}
	steps := []struct {
		weight int
		do     func()
	}{
		{40, w.append}, {25, w.read}, {5, w.seekTime}, {5, w.open}, {1, w.drop}, {1, w.seal}, {6, w.trim},
		{5, w.hold}, {4, w.release}, {4, w.setRetention}, {10, w.advance}, {2, w.reopen}, {3, w.checkAll},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	w.advance()
	for i := 0; i < 2000 && !t.Failed(); i++ {
		at := w.rng.IntN(total)
		for _, s := range steps {
			if at -= s.weight; at < 0 {
				s.do()
				break
			}
		}
	}
	w.reopen()
	w.checkAll()
}

// pick returns a random shard number and its model, nil if it has no log.
func (w *walk) pick() (int, *modelShard) {
	n := w.rng.IntN(modelShards)
	w.m.settle()
	return n, w.m.shards[n]
}

// outcome compares an error with what the model expects.
func (w *walk) outcome(what string, shard int, got, want error) {
	w.t.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		w.t.Errorf("%s of shard %d: error %v; want %v", what, shard, got, want)
	}
}

// found is what an operation without other errors returns.
func found(s *modelShard) error {
	if s == nil {
		return shardlog.ErrNotFound
	}
	return nil
}

func (w *walk) append() {
	type want struct {
		first record.Index
		err   error
	}
	var batches []shardlog.Batch
	var wants []want
	for range 1 + w.rng.IntN(4) {
		n, s := w.pick()
		b := shardlog.Batch{Shard: id(n)}
		var numbers []int
		for range w.rng.IntN(12) {
			w.number++
			e := entry(w.number)
			if w.rng.IntN(20) == 0 { // some are larger than small groups
				e.Data = append(e.Data, make([]byte, w.rng.IntN(3000))...)
			}
			numbers = append(numbers, w.number)
			b.Entries = append(b.Entries, e)
		}
		if w.rng.IntN(3) == 0 {
			b.Producer = shardlog.Producer{ID: 1 + w.rng.Uint64N(3), Epoch: w.rng.Uint64N(3), Sequence: uint64(w.number / 8)}
		}
		var v want
		if s == nil {
			v.err = shardlog.ErrNotFound
		} else {
			v.first, v.err = s.append(b.Producer, numbers, w.m.clock)
		}
		batches, wants = append(batches, b), append(wants, v)
	}
	res, err := w.k.Log.Append(ctx, batches)
	if err != nil {
		w.t.Fatalf("Append = %v", err)
	}
	for i, v := range wants {
		w.outcome("Append", int(batches[i].Shard.Shard), res[i].Err, v.err)
		if v.err == nil && res[i].First != v.first {
			w.t.Errorf("Append to shard %d: First %d; want %d", batches[i].Shard.Shard, res[i].First, v.first)
		}
	}
}

func (w *walk) read() {
	n, s := w.pick()
	from := record.Index(1)
	if s != nil {
		from = s.first + record.Index(w.rng.IntN(len(s.numbers)+3))
		if w.rng.IntN(2) == 0 {
			from = record.Index(w.rng.IntN(len(s.numbers) + 3))
		}
	}
	limit := shardlog.Limit{Records: 1 + w.rng.IntN(30), Bytes: w.rng.IntN(2000)}
	p, err := w.k.Log.Read(ctx, id(n), from, limit)
	w.outcome("Read", n, err, found(s))
	if err != nil || s == nil {
		return
	}
	defer p.Release()
	at, bytes := max(from, s.first), 0
	for i := range p.Records {
		w.record(n, s, &p.Records[i], at)
		bytes += p.Records[i].Size()
		at++
	}
	if p.Next != at || p.Bounds != s.bounds() {
		w.t.Errorf("Read(%d, %d): Next %d, %+v; want %d, %+v", n, from, p.Next, p.Bounds, at, s.bounds())
	}
	if len(p.Records) > limit.Records || len(p.Records) > 1 && bytes > limit.Bytes {
		w.t.Errorf("Read(%d, %+v) gave %d records of %d bytes", n, limit, len(p.Records), bytes)
	}
	if len(p.Records) == 0 && at < s.next() {
		w.t.Errorf("Read(%d, %d) gave nothing before the end %d", n, from, s.next())
	}
	arrival := record.Millis(0)
	if at < s.next() {
		arrival = s.arrivals[at-1]
	}
	if p.NextArrival != arrival {
		w.t.Errorf("Read(%d, %d): NextArrival %d; want %d", n, from, p.NextArrival, arrival)
	}
}

// record compares one record read with the model's at index at.
func (w *walk) record(n int, s *modelShard, r *record.Record, at record.Index) {
	if at >= s.next() {
		w.t.Fatalf("shard %d: read record %d; there are none from %d on", n, r.Index, s.next())
	}
	e := entry(s.numbers[at-1])
	if len(r.Data) > len(e.Data) { // padded
		e.Data = append(e.Data, make([]byte, len(r.Data)-len(e.Data))...)
	}
	if r.Index != at || r.ArrivalTime != s.arrivals[at-1] || !same(&r.Entry, &e) {
		w.t.Fatalf("shard %d: read record %d arrived %d; want %d arrived %d with entry %d", n, r.Index, r.ArrivalTime, at, s.arrivals[at-1], s.numbers[at-1])
	}
}

func (w *walk) seekTime() {
	n, s := w.pick()
	at := w.m.now - record.Millis(w.rng.IntN(60_000))
	got, err := w.k.Log.SeekTime(ctx, id(n), at)
	w.outcome("SeekTime", n, err, found(s))
	if s == nil {
		return
	}
	want := s.first
	for want < s.next() && s.arrivals[want-1] < at {
		want++
	}
	if got != want {
		w.t.Errorf("SeekTime(%d, %d) = %d; want %d", n, at, got, want)
	}
}

func (w *walk) age() shardlog.Retention {
	return shardlog.Retention{Age: []time.Duration{0, time.Second, 20 * time.Second, time.Minute}[w.rng.IntN(4)]}
}

func (w *walk) open() {
	keep := w.age()
	var ids []shardlog.ShardID
	w.m.settle()
	for range 1 + w.rng.IntN(3) {
		n := w.rng.IntN(modelShards)
		ids = append(ids, id(n))
		if w.m.shards[n] == nil {
			w.m.shards[n] = &modelShard{keep: keep, first: 1, holds: map[string]record.Index{}, producers: map[uint64]shardlog.Producer{}}
		}
	}
	w.outcome("Open", 0, w.k.Registry.Open(ctx, ids, keep), nil)
}

func (w *walk) drop() {
	n, _ := w.pick()
	delete(w.m.shards, n)
	w.outcome("Drop", n, w.k.Registry.Drop(ctx, []shardlog.ShardID{id(n)}), nil)
}

func (w *walk) seal() {
	n, s := w.pick()
	got, err := w.k.Log.Seal(ctx, id(n))
	w.outcome("Seal", n, err, found(s))
	if s == nil {
		return
	}
	s.sealed = true
	if got != s.bounds() {
		w.t.Errorf("Seal(%d) = %+v; want %+v", n, got, s.bounds())
	}
}

func (w *walk) trim() {
	n, s := w.pick()
	to := record.Index(w.rng.IntN(200))
	if s != nil {
		to = s.first + record.Index(w.rng.IntN(20))
		s.trim = max(s.trim, min(to, s.next()))
	}
	w.outcome("TrimTo", n, w.k.Log.TrimTo(ctx, id(n), to), found(s))
}

func (w *walk) hold() {
	n, s := w.pick()
	name, from := []string{"a", "b", "c"}[w.rng.IntN(3)], record.Index(w.rng.IntN(100))
	if s != nil {
		from = s.first + record.Index(w.rng.IntN(30))
		s.holds[name] = from
	}
	w.outcome("Hold", n, w.k.Registry.Hold(ctx, id(n), name, from), found(s))
}

func (w *walk) release() {
	n, s := w.pick()
	name := []string{"a", "b", "c"}[w.rng.IntN(3)]
	if s != nil {
		delete(s.holds, name)
	}
	w.outcome("Release", n, w.k.Registry.Release(ctx, id(n), name), found(s))
}

func (w *walk) setRetention() {
	n, s := w.pick()
	keep := w.age()
	if s != nil {
		s.keep = keep
	}
	w.outcome("SetRetention", n, w.k.Registry.SetRetention(ctx, []shardlog.ShardID{id(n)}, keep), found(s))
}

func (w *walk) advance() {
	w.k.clock.Advance(time.Duration(w.rng.IntN(5000)-500) * time.Millisecond) // at times it steps back
	w.m.clock = record.MillisOf(w.k.clock.Now())
	w.m.now = max(w.m.now, w.m.clock)
	w.checkBounds() // what is seen to be trimmed at this time stays so
}

// reopen recovers the system. Recovery knows no later time than the last arrival, so the clock
// first catches up with the model's.
func (w *walk) reopen() {
	if back := w.m.now.Time().Sub(w.k.clock.Now()); back > 0 {
		w.k.clock.Advance(back)
		w.m.clock = w.m.now
	}
	w.k.reopen(w.t)
}

func (w *walk) checkBounds() {
	w.m.settle()
	for n := range modelShards {
		s := w.m.shards[n]
		b, err := w.k.Log.Bounds(ctx, id(n))
		w.outcome("Bounds", n, err, found(s))
		if s != nil && b != s.bounds() {
			w.t.Errorf("Bounds(%d) = %+v; want %+v", n, b, s.bounds())
		}
	}
}

func (w *walk) checkAll() {
	w.checkBounds()
	for n := range modelShards {
		s := w.m.shards[n]
		if s == nil {
			continue
		}
		p, err := w.k.Log.Read(ctx, id(n), 0, all)
		if err != nil {
			w.t.Fatalf("Read(%d) = %v", n, err)
		}
		got := slices.Clone(p.Records)
		for i := range got {
			w.record(n, s, &got[i], s.first+record.Index(i))
		}
		if len(got) != int(s.next()-s.first) {
			w.t.Errorf("shard %d holds %d records; want %d", n, len(got), s.next()-s.first)
		}
		p.Release()
	}
}
