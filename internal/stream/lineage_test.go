package stream

import (
	"cmp"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
)

// TestLineage reshards a stream ten times in a day, and follows its shards until the last closed one has
// expired. After each change ListShards with every filter, and what readers and subscriptions are told at the
// end of each shard, must be what a family tree says that was drawn from the calls alone.
func TestLineage(t *testing.T) {
	eachSeed(t, 3, func(t *testing.T, rng *rand.Rand) {
		l := &lineage{world: newWorld(t, 0, Caps{}), rng: rng, ref: Ref{Name: "mill"}}
		n := 1 + rng.IntN(4)
		l.create("mill", n)
		c, err := l.RegisterConsumer(t.Context(), home, home.arn("mill"), "wheel", nil)
		l.must(err)
		l.consumer, l.created = c.ARN, l.now().Seconds()
		for i := range n {
			l.kin = append(l.kin, &relative{number: int32(i), hash: part(i, n), created: l.created - 2})
		}
		l.check()
		for range 10 {
			l.fill()
			l.tick(time.Duration(rng.Int64N(int64(3 * time.Hour))))
			l.reshard()
			l.check()
		}
		for range 12 {
			l.tick(3 * time.Hour)
			l.check()
		}
		for _, r := range l.kin {
			if there := l.known(r); there != (r.closed == 0) {
				t.Errorf("shard %d is there: %v", r.number, there)
			}
		}
	})
}

// keys is how many hash keys there are.
func keys() *big.Int { return new(big.Int).Lsh(big.NewInt(1), 128) }

// span is a run of hash keys, its end excluded.
type span struct{ from, to *big.Int }

func (s span) String() string { return fmt.Sprintf("[%s, %s)", s.from, s.to) }

// part is one of n equal parts of all hash keys; the last has what the division leaves.
func part(i, n int) span {
	width := new(big.Int).Div(keys(), big.NewInt(int64(n)))
	s := span{new(big.Int).Mul(width, big.NewInt(int64(i))), new(big.Int).Mul(width, big.NewInt(int64(i+1)))}
	if i == n-1 {
		s.to = keys()
	}
	return s
}

// spanOf is the range of a shard as it is told.
func spanOf(r HashRange) span {
	from, _ := new(big.Int).SetString(r.Start.String(), 10)
	to, _ := new(big.Int).SetString(r.End.String(), 10)
	return span{from, to.Add(to, big.NewInt(1))}
}

// relative is a shard in the family tree.
type relative struct {
	number         int32
	parents        []int32
	hash           span
	created        int64 // in seconds
	opened, closed record.Millis
	last           record.Millis // when its last record arrived
}

// lineage is a stream and the family tree of its shards.
type lineage struct {
	*world
	rng      *rand.Rand
	ref      Ref
	consumer string
	created  int64
	kin      []*relative
}

// open returns the shards that are, by hash key.
func (l *lineage) open() []*relative {
	open := slices.DeleteFunc(slices.Clone(l.kin), func(r *relative) bool { return r.closed != 0 })
	slices.SortFunc(open, func(a, b *relative) int { return a.hash.from.Cmp(b.hash.from) })
	return open
}

// fill puts records into some of the shards.
func (l *lineage) fill() {
	l.t.Helper()
	for range l.rng.IntN(6) {
		r, err := l.Put(l.t.Context(), home, l.ref, explicit(record.HashKey{Hi: l.rng.Uint64(), Lo: l.rng.Uint64()}, "x"), "")
		l.must(err)
		l.kin[r.Shard].last = l.now()
	}
}

// born adds the children of parents, which close: not before now, nor before what they took or were created.
func (l *lineage) born(parents []*relative, children ...span) {
	closing, numbers := l.now(), []int32(nil)
	for _, p := range parents {
		closing = max(closing, p.last, record.Millis(p.created)*1000, p.opened)
		numbers = append(numbers, p.number)
	}
	for _, p := range parents {
		p.closed = closing
	}
	for _, hash := range children {
		l.kin = append(l.kin, &relative{
			number: int32(len(l.kin)), parents: numbers, hash: hash, opened: closing, created: closing.Seconds() + 1,
		})
	}
}

// reshard splits, merges or scales.
func (l *lineage) reshard() {
	l.t.Helper()
	open := l.open()
	i := l.rng.IntN(len(open))
	switch n := l.rng.IntN(3); {
	case n == 0 && i+1 < len(open):
		a, b := open[i], open[i+1]
		l.must(l.MergeShards(l.t.Context(), home, l.ref, ShardID(a.number), ShardID(b.number)))
		l.born([]*relative{a, b}, span{a.hash.from, b.hash.to})
	case n == 1 || len(open) > 12:
		target := (len(open)+1)/2 + l.rng.IntN(len(open)+1)
		_, err := l.UpdateShardCount(l.t.Context(), home, l.ref, target)
		l.must(err)
		l.scaled(target)
	default:
		p := open[i]
		width := new(big.Int).Sub(p.hash.to, p.hash.from)
		at := new(big.Int).Rsh(new(big.Int).Mul(width, big.NewInt(1+l.rng.Int64N(62))), 6)
		at.Add(at, p.hash.from)
		l.must(l.SplitShard(l.t.Context(), home, l.ref, ShardID(p.number), at.String()))
		l.born([]*relative{p}, span{p.hash.from, at}, span{at, p.hash.to})
	}
}

// scaled takes the new shards of UpdateShardCount into the tree. How it comes to the target is its own affair,
// but only by splits in two and merges of neighbours, and what is open then is uniform.
func (l *lineage) scaled(target int) {
	l.t.Helper()
	page, err := l.ListShards(home, ListShardsInput{Ref: l.ref, ExclusiveStartShardID: ShardID(int32(len(l.kin) - 1))})
	l.must(err)
	for fresh := page.Shards; len(fresh) > 0; {
		var parents []*relative
		for _, id := range []string{fresh[0].ParentID, fresh[0].AdjacentParentID} {
			if n, ok := ParseShardID(id); ok && int(n) < len(l.kin) {
				parents = append(parents, l.kin[n])
			}
		}
		for _, p := range parents {
			if p.closed != 0 {
				l.t.Fatalf("shard %d was closed before %s", p.number, fresh[0].ID)
			}
		}
		first := spanOf(fresh[0].HashKeyRange)
		switch {
		case len(parents) == 2 && parents[0].hash.to.Cmp(parents[1].hash.from) == 0:
			l.born(parents, span{parents[0].hash.from, parents[1].hash.to})
			fresh = fresh[1:]
		case len(parents) == 1 && len(fresh) > 1 && first.from.Cmp(parents[0].hash.from) == 0 && first.to.Cmp(parents[0].hash.to) < 0:
			l.born(parents, first, span{first.to, parents[0].hash.to})
			fresh = fresh[2:]
		default:
			l.t.Fatalf("%+v is neither of a split nor of a merge", fresh[0])
		}
	}
	open := l.open()
	if len(open) != target {
		l.t.Fatalf("%d open shards; want %d", len(open), target)
	}
	for i, r := range open {
		// A boundary that is there already stays if the division's remainder alone has moved it.
		want := part(i, target)
		for _, diff := range []*big.Int{new(big.Int).Sub(r.hash.from, want.from), new(big.Int).Sub(r.hash.to, want.to)} {
			if diff.CmpAbs(big.NewInt(10_000)) > 0 {
				l.t.Fatalf("shard %d has %v; want %v", r.number, r.hash, want)
			}
		}
	}
}

const day = record.Millis(24 * 3600_000)

// known says whether a shard is there: for a day after it closed.
func (l *lineage) known(r *relative) bool { return r.closed == 0 || l.now() < r.closed+day }

// name prints a shard of the tree, and nameOf one as it is listed.
func (l *lineage) name(r *relative) string {
	closed := "open"
	if r.closed != 0 {
		closed = fmt.Sprint("closed ", max(r.closed.Seconds(), r.created))
	}
	return fmt.Sprintf("%d %v of %v created %d %s", r.number, r.hash, r.parents, r.created, closed)
}

func nameOf(sh Shard) string {
	var parents []int32
	for _, id := range []string{sh.ParentID, sh.AdjacentParentID} {
		if n, ok := ParseShardID(id); ok {
			parents = append(parents, n)
		}
	}
	closed := "open"
	if sh.Closed {
		closed = fmt.Sprint("closed ", sh.Ending.Time)
	}
	return fmt.Sprintf("%d %v of %v created %d %s", sh.Number, spanOf(sh.HashKeyRange), parents, sh.Starting.Created, closed)
}

// check compares everything that is told of the shards with the tree.
func (l *lineage) check() {
	l.t.Helper()
	horizon := max(l.now()-day, record.Millis(l.created-2)*1000)
	all := func(*relative) bool { return true }
	at := func(t record.Millis) func(*relative) bool {
		return func(r *relative) bool { return r.opened <= t && (r.closed == 0 || t < r.closed) }
	}
	from := func(t record.Millis) func(*relative) bool {
		return func(r *relative) bool { return r.closed == 0 || t < r.closed }
	}
	l.list(nil, all)
	l.list(&ShardFilter{Type: FromTrimHorizon}, all)
	l.list(&ShardFilter{Type: AtLatest}, func(r *relative) bool { return r.closed == 0 })
	l.partition(l.list(&ShardFilter{Type: AtTrimHorizon}, at(horizon)))
	after := int32(l.rng.IntN(len(l.kin) + 1))
	l.list(&ShardFilter{Type: AfterShardID, ShardID: ShardID(after)}, func(r *relative) bool { return r.number > after })

	// Some of the moments at which something changes, and of those around them.
	times := []record.Millis{l.now(), horizon, horizon - 1, record.Millis(l.rng.Int64N(int64(l.now()-horizon))) + horizon}
	for _, r := range l.kin {
		for _, t := range []record.Millis{r.closed - 1, r.closed, r.closed + 1} {
			if r.closed != 0 && t <= l.now() {
				times = append(times, t)
			}
		}
	}
	l.rng.Shuffle(len(times), func(i, j int) { times[i], times[j] = times[j], times[i] })
	for _, t := range times[:min(len(times), 12)] {
		l.partition(l.list(&ShardFilter{Type: AtTimestamp, Timestamp: t, HasTimestamp: true}, at(max(t, horizon))))
		l.list(&ShardFilter{Type: FromTimestamp, Timestamp: t, HasTimestamp: true}, from(max(t, horizon)))
	}
	for _, r := range l.kin {
		if l.known(r) {
			l.end(r)
		}
	}
}

// list lists shards with a filter, some at a time, and compares them with those that are to be among them.
func (l *lineage) list(filter *ShardFilter, among func(*relative) bool) []Shard {
	l.t.Helper()
	var got, want []string
	var shards []Shard
	in := ListShardsInput{Ref: l.ref, Filter: filter, MaxResults: 1 + l.rng.IntN(8)}
	for {
		page, err := l.ListShards(home, in)
		l.must(err)
		shards = append(shards, page.Shards...)
		if in = (ListShardsInput{Token: page.Token, MaxResults: in.MaxResults}); page.Token == "" {
			break
		}
	}
	for _, sh := range shards {
		got = append(got, nameOf(sh))
	}
	for _, r := range l.kin {
		if l.known(r) && among(r) {
			want = append(want, l.name(r))
		}
	}
	if !slices.Equal(got, want) {
		l.t.Fatalf("at %s, filter %+v:\ngot  %q\nwant %q", since(l.now()), filter, got, want)
	}
	return shards
}

// partition checks that shards divide all hash keys among themselves.
func (l *lineage) partition(shards []Shard) {
	l.t.Helper()
	at := new(big.Int)
	for _, sh := range slices.SortedFunc(slices.Values(shards), func(a, b Shard) int { return a.HashKeyRange.Start.Compare(b.HashKeyRange.Start) }) {
		s := spanOf(sh.HashKeyRange)
		if s.from.Cmp(at) != 0 {
			l.t.Fatalf("%s begins at %s; want %s", sh.ID, s.from, at)
		}
		at = s.to
	}
	if at.Cmp(keys()) != 0 {
		l.t.Fatalf("the shards end at %s", at)
	}
}

// end reads a shard to its end, by GetRecords and by a subscription, and compares the child shards.
func (l *lineage) end(r *relative) {
	l.t.Helper()
	var want []string
	for _, c := range l.kin {
		if slices.Contains(c.parents, r.number) {
			want = append(want, fmt.Sprintf("%s %v of %v", ShardID(c.number), c.hash, c.parents))
		}
	}
	compare := func(by string, children []ChildShard) {
		l.t.Helper()
		var got []string
		for _, c := range slices.SortedFunc(slices.Values(children), func(a, b ChildShard) int { return cmp.Compare(a.ID, b.ID) }) {
			var parents []int32
			for _, id := range c.Parents {
				n, _ := ParseShardID(id)
				parents = append(parents, n)
			}
			got = append(got, fmt.Sprintf("%s %v of %v", c.ID, spanOf(c.HashKeyRange), parents))
		}
		if !slices.Equal(got, want) {
			l.t.Fatalf("%s at the end of shard %d: %q\nwant %q", by, r.number, got, want)
		}
	}
	in := IteratorInput{ShardID: ShardID(r.number), Type: TrimHorizon}
	page, err := l.GetRecords(l.t.Context(), home, "", l.iterator(l.ref, in), 0)
	l.must(err)
	compare("GetRecords", page.Children)
	if page.Next == "" != (r.closed != 0) {
		l.t.Fatalf("shard %d: the next iterator is %q", r.number, page.Next)
	}
	page.Release()
	sub, ctx, err := l.Subscribe(l.t.Context(), home, SubscribeInput{ConsumerARN: l.consumer, Position: in})
	l.must(err)
	defer sub.Close()
	b, err := sub.Read(ctx)
	l.must(err)
	defer b.Release()
	compare("a subscription", b.Children)
}
