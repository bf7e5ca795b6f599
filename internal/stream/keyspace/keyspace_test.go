package keyspace

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/headrace/headrace/internal/record"
)

func bigOf(h record.HashKey) *big.Int {
	n := new(big.Int).SetUint64(h.Hi)
	return n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(h.Lo))
}

// maxShards is the most shards of a stream.
const maxShards = 10_000

// TestUniformStart compares with the division done in whole numbers.
func TestUniformStart(t *testing.T) {
	all := new(big.Int).Lsh(big.NewInt(1), 128)
	rng := rand.New(rand.NewPCG(1, 1))
	for n := 1; n <= maxShards; n += 1 + rng.IntN(1+n/3) {
		width := new(big.Int).Div(all, big.NewInt(int64(n)))
		for range 20 {
			i := rng.IntN(n)
			if want := new(big.Int).Mul(width, big.NewInt(int64(i))); bigOf(UniformStart(i, n)).Cmp(want) != 0 {
				t.Fatalf("UniformStart(%d, %d) = %s; want %s", i, n, UniformStart(i, n), want)
			}
		}
		if end := Uniform(n-1, n).End; end != record.MaxHashKey {
			t.Fatalf("the last of %d ranges ends at %s", n, end)
		}
	}
}

// TestUniformTexts holds the boundaries that AWS shows for three shards.
func TestUniformTexts(t *testing.T) {
	f := func(i int, start, end string) {
		t.Helper()
		if r := Uniform(i, 3); r.Start.String() != start || r.End.String() != end {
			t.Errorf("range %d of 3 = [%s, %s]; want [%s, %s]", i, r.Start, r.End, start, end)
		}
	}
	f(0, "0", "113427455640312821154458202477256070484")
	f(1, "113427455640312821154458202477256070485", "226854911280625642308916404954512140969")
	f(2, "226854911280625642308916404954512140970", "340282366920938463463374607431768211455")
}

func uniformShards(n int) []Shard {
	open := make([]Shard, n)
	for i := range open {
		open[i] = Shard{Number: int32(i), Hash: Uniform(i, n)}
	}
	return open
}

// apply replaces the parents of ops by their children, and returns the highest number given.
func apply(t *testing.T, open []Shard, ops []Op, next int32) ([]Shard, int32) {
	t.Helper()
	for _, o := range ops {
		for _, p := range o.Parents {
			i := slices.IndexFunc(open, func(s Shard) bool { return s.Number == p })
			if i < 0 {
				t.Fatalf("op %+v: parent %d is not open", o, p)
			}
			open = slices.Delete(open, i, i+1)
		}
		for _, c := range o.Children {
			if c.Number != next {
				t.Fatalf("op %+v: child is number %d; want %d", o, c.Number, next)
			}
			next++
			open = append(open, Shard{Number: c.Number, Hash: c.Hash})
		}
	}
	slices.SortFunc(open, func(a, b Shard) int { return a.Hash.Start.Compare(b.Hash.Start) })
	if !IsPartition(open) {
		t.Fatalf("after %+v the open shards are no partition", ops)
	}
	return open, next
}

// TestNextOps scales streams of random shape and checks that every stage divides the hash keys, that
// it ends with uniform ranges, and that it takes about as many ops as it must.
func TestNextOps(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	for round := range 300 {
		open, next := uniformShards(1+rng.IntN(20)), int32(100)
		for range rng.IntN(10) { // splits and merges by hand
			i := rng.IntN(len(open))
			if s := open[i]; rng.IntN(3) > 0 {
				at := record.HashKey{Hi: rng.Uint64(), Lo: rng.Uint64()}
				if s.Hash.Contains(at) && s.Hash.Start != at {
					open, next = apply(t, open, []Op{Split(s, at, next)}, next)
				}
			} else if i+1 < len(open) {
				open, next = apply(t, open, []Op{Merge(s, open[i+1], next)}, next)
			}
		}
		target, limit := 1+rng.IntN(40), 1+rng.IntN(10)
		before, ops := len(open), 0
		for {
			todo := NextOps(open, target, limit, next)
			if len(todo) == 0 {
				break
			}
			if ops += len(todo); ops > 2*(before+target) {
				t.Fatalf("round %d: %d to %d shards takes more than %d ops", round, before, target, ops)
			}
			open, next = apply(t, open, todo, next)
		}
		if len(open) != target {
			t.Fatalf("round %d: %d shards; want %d", round, len(open), target)
		}
		for i, s := range open {
			if !near(s.Hash.Start, UniformStart(i, target)) {
				t.Fatalf("round %d: shard %d of %d starts at %s", round, i, target, s.Hash.Start)
			}
		}
	}
}

// TestDoubling checks that doubling splits every shard once, whatever divisions leave over.
func TestDoubling(t *testing.T) {
	for n := 1; n < 300; n++ {
		ops := NextOps(uniformShards(n), 2*n, maxShards, int32(n))
		if len(ops) != n {
			t.Errorf("doubling %d shards takes %d ops", n, len(ops))
		}
	}
}

func TestRoute(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{1, 2, 3, 100, 1000} {
		var starts []record.HashKey
		for i := range n {
			starts = append(starts, UniformStart(i, n))
		}
		for range 1000 {
			h := record.HashKey{Hi: rng.Uint64(), Lo: rng.Uint64()}
			if i := Route(starts, h); !Uniform(i, n).Contains(h) {
				t.Fatalf("Route(%s) among %d = %d, which is %v", h, n, i, Uniform(i, n))
			}
		}
		for i := range n {
			r := Uniform(i, n)
			if Route(starts, r.Start) != i || Route(starts, r.End) != i {
				t.Fatalf("the ends of range %d of %d go elsewhere", i, n)
			}
		}
	}
}

func TestIsPartition(t *testing.T) {
	f := func(want bool, open ...Shard) {
		t.Helper()
		if got := IsPartition(open); got != want {
			t.Errorf("IsPartition = %v; want %v", got, want)
		}
	}
	s := uniformShards(3)
	f(true, s...)
	f(true, uniformShards(1)...)
	f(false)
	f(false, s[0], s[1])
	f(false, s[1], s[2])
	f(false, s[0], s[2])
	f(false, s[0], s[1], s[1], s[2])
	f(false, append(s, uniformShards(1)...)...)
}

// TestMiddle halves ranges.
func TestMiddle(t *testing.T) {
	f := func(r Range, want string, part float64) {
		t.Helper()
		if got := r.Middle(); got.String() != want {
			t.Errorf("middle of %v: %s; want %s", r, got, want)
		}
		if got := r.Width(); math.Abs(got-part) > part/1e9 {
			t.Errorf("width of %v: %v; want %v", r, got, part)
		}
	}
	f(Range{record.HashKey{}, record.MaxHashKey}, "170141183460469231731687303715884105728", 1)
	f(Uniform(1, 4), "127605887595351923798765477786913079296", 0.25)
	f(Uniform(3, 4), "297747071055821155530452781502797185024", 0.25)
	f(Range{record.HashKey{Lo: 4}, record.HashKey{Lo: 5}}, "5", math.Ldexp(1, -128))
	var cuts []string
	r := Range{record.HashKey{}, record.MaxHashKey}
	for range 100 {
		at := r.Middle()
		cuts = append(cuts, at.String())
		r = Range{r.Start, at.Prev()}
	}
	if slices.Contains(cuts, "0") {
		t.Error(fmt.Sprint("a cut at 0 among ", cuts))
	}
}
