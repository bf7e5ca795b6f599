package stream

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
)

// TestModelOfLimits puts and reads at random where AWS's limits hold, while shards split and merge, and has a
// slow and simple model say of each record, read and iterator whether it must be throttled.
func TestModelOfLimits(t *testing.T) {
	asked := map[string]*[2]int{"records": {}, "reads": {}, "iterators": {}}
	eachSeed(t, 3, func(t *testing.T, rng *rand.Rand) {
		m := &limitModel{world: limited(t, 0), rng: rng, ref: Ref{Name: "mill"}, shards: map[int32]*limitedShard{}}
		m.create("mill", 1+rng.IntN(3))
		m.must(m.UpdateMaxRecordSize(t.Context(), home, m.ref, 10<<10))
		for range 600 {
			m.step()
		}
		t.Logf("taken and throttled: records %v, reads %v, iterators %v", m.puts, m.reads, m.iterators)
		for what, n := range map[string][2]int{"records": m.puts, "reads": m.reads, "iterators": m.iterators} {
			asked[what][0] += n[0]
			asked[what][1] += n[1]
		}
	})
	for what, n := range asked {
		if *modelSeed == 0 && (n[0] < 100 || n[1] < 100) { // no seed alone must have much of everything
			t.Errorf("%d %s were taken, %d throttled: the model was not asked enough", n[0], what, n[1])
		}
	}
}

// limitModel is a stream with limits and what happened to its shards.
type limitModel struct {
	*world
	rng                    *rand.Rand
	ref                    Ref
	shards                 map[int32]*limitedShard
	puts, reads, iterators [2]int // taken, throttled
	taken                  int64  // bytes, of which a test wants no more than memory has
}

// limitedShard is all that a shard ever took and gave.
type limitedShard struct {
	records, small, all taken
	reads, iterators    []record.Millis
	results             []result
	next                string // iterator, and when it was made
	made                record.Millis
}

// taken is how much was taken at which moments.
type taken []struct {
	at record.Millis
	n  int64
}

// add notes that n more were taken.
func (t *taken) add(at record.Millis, n int64) {
	if last := len(*t) - 1; last >= 0 && (*t)[last].at == at {
		(*t)[last].n += n
		return
	}
	*t = append(*t, struct {
		at record.Millis
		n  int64
	}{at, n})
}

// fits says whether n more may be taken: of a rate a second with a burst no span of time, however it is cut,
// has more than the burst and what comes in over the span.
func (t taken) fits(now record.Millis, n, rate, burst int64) bool {
	sum := n
	if sum > burst {
		return false
	}
	for i := len(t) - 1; i >= 0; i-- {
		sum += t[i].n
		if 1000*sum > 1000*burst+rate*int64(now-t[i].at) {
			return false
		}
	}
	return true
}

// fiveIn says whether five calls were made in the second before now.
func fiveIn(calls []record.Millis, now record.Millis) bool {
	n := 0
	for _, at := range calls {
		if now-at < 1000 {
			n++
		}
	}
	return n >= 5
}

// result is a read with the bytes it had, none if it was refused.
type result struct {
	at    record.Millis
	bytes int64
}

// owes goes through all reads there were, second by second: what was read beyond 2 MiB in one second is owed
// by those that follow. Where nothing is owed the next read begins a second, be
// it refused or not. It returns what this second has
// used at now.
func (s *limitedShard) owes(now record.Millis) (used int64) {
	var began record.Millis
	upTo := func(at record.Millis) {
		for at-began >= 1000 {
			if used = max(0, used-2*mib); used == 0 {
				began = at
				return
			}
			began += 1000
		}
	}
	for _, r := range s.results {
		upTo(r.at)
		used += r.bytes
	}
	upTo(now)
	return used
}

func (m *limitModel) of(shard int32) *limitedShard {
	if m.shards[shard] == nil {
		m.shards[shard] = &limitedShard{}
	}
	return m.shards[shard]
}

func (m *limitModel) step() {
	m.t.Helper()
	for m.status(m.ref) != Active {
		m.tick(time.Second)
	}
	switch n := m.rng.IntN(20); {
	case n < 7:
		m.put()
	case n < 13:
		m.get()
	case n < 15:
		m.iterate()
	case n < 16 && m.rng.IntN(3) == 0:
		m.reshard()
	case n < 16:
		m.clock.Advance(time.Duration(m.rng.IntN(12_000)) * time.Millisecond)
	case n < 18:
		m.clock.Advance(time.Duration(m.rng.IntN(400)) * time.Millisecond)
	default:
		m.brink()
	}
}

// brink moves the clock to where a second after an earlier read or iterator ends, or just before.
func (m *limitModel) brink() {
	all := m.view(m.ref).shards
	s := m.of(all[len(all)-1].Number)
	for _, calls := range [][]record.Millis{s.reads, s.iterators} {
		if n := len(calls); n >= 5 && m.rng.IntN(2) == 0 {
			m.clock.Advance(time.Duration(max(0, calls[n-5]+record.Millis(999+m.rng.IntN(2))-m.now())) * time.Millisecond)
			if m.rng.IntN(2) == 0 {
				m.get()
			} else {
				m.iterate()
			}
		}
	}
}

// reshard splits or merges shards: children have limits of their own, and parents go on being read by theirs.
func (m *limitModel) reshard() {
	m.t.Helper()
	open := m.view(m.ref).open
	i := m.rng.IntN(len(open))
	switch {
	case len(open) < 4:
		m.must(m.SplitShard(m.t.Context(), home, m.ref, open[i].ID, open[i].Hash.Middle().String()))
	case i+1 < len(open):
		m.must(m.MergeShards(m.t.Context(), home, m.ref, open[i].ID, open[i+1].ID))
	}
}

const throttled = "ProvisionedThroughputExceededException: Rate exceeded for shard %s in stream mill under account 123456789012."

// judge compares an answer with what the model says, and counts it.
func (m *limitModel) judge(what, shard string, err error, refuse bool, count *[2]int) {
	m.t.Helper()
	got, want, i := "", "", 0
	if err != nil {
		got = err.Error()
	}
	if refuse {
		want, i = fmt.Sprintf(throttled, shard), 1
	}
	if got != want {
		m.t.Fatalf("%s at %s: error %q\nwant %q", what, since(m.now()), got, want)
	}
	count[i]++
}

// put offers a few large records or many small ones.
func (m *limitModel) put() {
	m.t.Helper()
	var recs []record.Entry
	add := func(count, size int) {
		for range count {
			recs = append(recs, sized(record.HashKey{Hi: m.rng.Uint64(), Lo: m.rng.Uint64()}, size))
		}
	}
	switch n := m.rng.IntN(10); {
	case n < 5:
		add(400+m.rng.IntN(100), 2)
	case n < 8 || m.taken > 60*mib:
		add(1+m.rng.IntN(20), 1+m.rng.IntN(40<<10))
	case n < 9:
		add(1+m.rng.IntN(3), 500<<10+m.rng.IntN(mib))
	default:
		add(1, mib+1+m.rng.IntN(8*mib))
	}
	if m.rng.IntN(4) == 0 {
		add(1, 1+m.rng.IntN(100<<10))
	}
	total := 0
	for i := range recs {
		if total += recs[i].Size(); total > 10*mib { // more than one call may have
			recs = recs[:i]
			break
		}
	}
	out, err := m.PutAll(m.t.Context(), home, m.ref, recs, nil)
	m.must(err)
	now := m.now()
	for i, r := range out {
		sh, size := m.of(r.Shard), int64(recs[i].Size())
		refuse := !sh.records.fits(now, 1, 1000, 1000) || !sh.all.fits(now, size, mib, 10*mib) || size <= mib && !sh.small.fits(now, size, mib, mib)
		var failed error
		if r.Err != nil {
			failed = r.Err
		}
		m.judge(fmt.Sprintf("record %d of %d bytes to %s", i, size, r.ShardID), r.ShardID, failed, refuse, &m.puts)
		if refuse {
			continue
		}
		m.taken += size
		sh.records.add(now, 1)
		sh.all.add(now, size)
		if size <= mib {
			sh.small.add(now, size)
		}
	}
}

// iterate asks for iterators of a shard, open or closed.
func (m *limitModel) iterate() {
	m.t.Helper()
	all := m.view(m.ref).shards
	sh := all[m.rng.IntN(len(all))]
	for range 1 + m.rng.IntN(7) {
		m.iterator1(sh)
	}
}

// iterator1 asks for one.
func (m *limitModel) iterator1(sh *shard) {
	m.t.Helper()
	s := m.of(sh.Number)
	text, err := m.GetShardIterator(m.t.Context(), home, m.ref, IteratorInput{ShardID: sh.ID, Type: TrimHorizon})
	refuse := fiveIn(s.iterators, m.now())
	m.judge("an iterator of "+sh.ID, sh.ID, err, refuse, &m.iterators)
	if !refuse {
		s.iterators, s.next, s.made = append(s.iterators, m.now()), text, m.now()
	}
}

// get reads a shard of which there is an iterator that has not expired.
func (m *limitModel) get() {
	m.t.Helper()
	all := m.view(m.ref).shards
	sh := all[m.rng.IntN(len(all))]
	if m.rng.IntN(2) == 0 {
		sh = all[len(all)-1]
	}
	s := m.of(sh.Number)
	if s.next == "" || m.now()-s.made > 200_000 {
		m.iterator1(sh)
	}
	for range 1 + m.rng.IntN(7) {
		if s.next == "" {
			return
		}
		r, err := m.GetRecords(m.t.Context(), home, "", s.next, m.rng.IntN(400))
		refuse := s.owes(m.now()) >= 2*mib || fiveIn(s.reads, m.now())
		m.judge("a read of "+sh.ID, sh.ID, err, refuse, &m.reads)
		if refuse {
			s.results = append(s.results, result{m.now(), 0})
			continue
		}
		bytes := int64(0)
		for i := range r.Page.Records {
			bytes += int64(r.Page.Records[i].Size())
		}
		if bytes > 9*mib { // cut at the largest size there is
			bytes = max(bytes, 10*mib)
		}
		s.reads, s.results = append(s.reads, m.now()), append(s.results, result{m.now(), bytes})
		if m.rng.IntN(3) > 0 {
			s.next, s.made = r.Next, m.now()
		}
		r.Release()
	}
}
