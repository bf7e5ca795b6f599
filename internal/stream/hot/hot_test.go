package hot

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/record"
)

var home = Shard{Stream: 1, Number: 7}

// near checks that a rate is what it should be, within a part.
func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within*want {
		t.Errorf("%s = %.1f; want %.1f", what, got, want)
	}
}

// TestRates has one key with a quarter of the bytes among a hundred thousand others. From the first second to
// the tenth minute the shard's rate is right, and the key's is never shown higher than it is.
func TestRates(t *testing.T) {
	s := New(1)
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 96)
	now := record.Millis(1_700_000_000_000)
	for second := 1; second <= 600; second++ {
		var recs []record.Entry
		for range 75 {
			recs = append(recs, record.Entry{PartitionKey: fmt.Sprintf("%04d", r.IntN(10_000))[:4], Data: data})
		}
		for range 25 {
			recs = append(recs, record.Entry{PartitionKey: "hot!", Data: data})
		}
		r.Shuffle(len(recs), func(i, k int) { recs[i], recs[k] = recs[k], recs[i] })
		for i := 0; i < len(recs); i += 4 {
			s.Count(home, now, recs[i:][:4])
		}
		now += 1000
		load, ok := s.Load(home, now)
		if !ok || len(load.Keys) == 0 || load.Keys[0].PartitionKey != "hot!" {
			t.Fatalf("second %d: %+v, %v", second, load, ok)
		}
		near(t, "bytes/s", load.BytesPerSecond, 10_000, 0.01)
		near(t, "records/s", load.RecordsPerSecond, 100, 0.01)
		near(t, "the key's bytes/s", load.Keys[0].BytesPerSecond, 2500, 0.1)
		near(t, "the key's share", load.Keys[0].Share, 0.25, 0.1)
		if load.Keys[0].BytesPerSecond > 2526 {
			t.Errorf("second %d: the key is shown with %.0f bytes/s and has 2500", second, load.Keys[0].BytesPerSecond)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	// Then nothing comes, and what was fades, the key before the shard if at all.
	for _, want := range []float64{10_000 * 0.45, 10_000 * 0.1, 1} {
		for load, _ := s.Load(home, now); load.BytesPerSecond > want; load, _ = s.Load(home, now) {
			if now += 1000; now > 1_700_002_000_000 {
				t.Fatalf("half an hour later there are still %.0f bytes/s", load.BytesPerSecond)
			}
		}
	}
	now += step * faded
	if load, ok := s.Load(home, now); !ok || load.BytesPerSecond != 0 || len(load.Keys) != 0 {
		t.Errorf("after a long time: %+v, %v", load, ok)
	}
}

// TestSampling counts records that come by the hundreds, in an order with a period: a fifth of the bytes of
// one key and a tenth of another.
func TestSampling(t *testing.T) {
	s := New(1)
	const calls = 600
	for call := range calls {
		recs := make([]record.Entry, 1+(call*37)%500)
		for i := range recs {
			key := fmt.Sprint(call, i)
			switch i % 10 {
			case 0, 5:
				key = "fifth"
			case 1:
				key = "tenth"
			}
			recs[i] = record.Entry{PartitionKey: key, Data: make([]byte, 1000)}
		}
		s.Count(home, 0, recs)
	}
	load, _ := s.Load(home, 0)
	if len(load.Keys) < 2 || load.Keys[0].PartitionKey != "fifth" || load.Keys[1].PartitionKey != "tenth" {
		t.Fatalf("%+v", load)
	}
	near(t, "fifth", load.Keys[0].Share, 0.2, 0.1)
	near(t, "tenth", load.Keys[1].Share, 0.1, 0.1)
}

// TestNoKeyIsHot spreads records over many keys: none of them is said to have more than it had.
func TestNoKeyIsHot(t *testing.T) {
	s := New(1)
	had := map[string]float64{}
	var all float64
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		e := record.Entry{PartitionKey: fmt.Sprint(r.IntN(3_000)), Data: make([]byte, r.IntN(100))}
		s.Count(home, 0, []record.Entry{e})
		had[e.PartitionKey] += float64(e.Size())
		all += float64(e.Size())
	}
	load, _ := s.Load(home, 0)
	near(t, "bytes/s", load.BytesPerSecond, all, 1e-9)
	for _, k := range load.Keys {
		if k.BytesPerSecond > had[k.PartitionKey] {
			t.Errorf("key %s is shown with %.0f and has %.0f", k.PartitionKey, k.BytesPerSecond, had[k.PartitionKey])
		}
	}
}

// TestHeavyKeysAreFound has eight keys of a tenth each among many: all eight are shown.
func TestHeavyKeysAreFound(t *testing.T) {
	s := New(1)
	r := rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		key := fmt.Sprint("cold", r.IntN(100_000))
		if n := r.IntN(10); n < 8 {
			key = fmt.Sprint("hot", n)
		}
		s.Count(home, 0, []record.Entry{{PartitionKey: key, Data: make([]byte, 50)}})
	}
	load, _ := s.Load(home, 0)
	if len(load.Keys) < 8 {
		t.Fatalf("keys: %+v", load.Keys)
	}
	for _, k := range load.Keys[:8] {
		if !strings.HasPrefix(k.PartitionKey, "hot") || k.Share < 0.08 {
			t.Errorf("among the first eight: %+v", k)
		}
	}
}

// TestKeysAreCut tells long keys apart that begin alike, and shows no half characters.
func TestKeysAreCut(t *testing.T) {
	s := New(1)
	long := strings.Repeat("é", 100)
	s.Count(home, 0, []record.Entry{{PartitionKey: "a" + long + "1"}, {PartitionKey: "a" + long + "2"}, {PartitionKey: "short"}, {}})
	load, _ := s.Load(home, 0)
	if len(load.Keys) != 3 {
		t.Fatalf("keys: %+v", load.Keys)
	}
	for _, k := range load.Keys[:2] {
		if want := "a" + strings.Repeat("é", 18); k.PartitionKey != want || !k.Cut {
			t.Errorf("key %+v; want %s, cut", k, want)
		}
	}
	if k := load.Keys[2]; k.PartitionKey != "short" || k.Cut {
		t.Errorf("key %+v", k)
	}
	if load.RecordsPerSecond != 4 {
		t.Errorf("%v records/s, want 4", load.RecordsPerSecond)
	}
}

// TestShardsAreBounded counts for more shards than there is room for.
func TestShardsAreBounded(t *testing.T) {
	s := New(3)
	one := []record.Entry{{PartitionKey: "k"}}
	at := func(n int32) Shard { return Shard{Stream: uint64(n % 2), Number: n} }
	known := func(now record.Millis, want ...int32) {
		t.Helper()
		var got []int32
		for n := range int32(10) {
			if _, ok := s.Load(at(n), now); ok {
				got = append(got, n)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("shards %v are known; want %v", got, want)
		}
	}
	for n := range int32(5) {
		s.Count(at(n), 1000, one)
	}
	known(1000, 0, 1, 2)
	s.Count(at(1), idle, one)
	s.Count(at(5), idle+500, one) // 0 and 2 have not been idle for long enough
	known(idle+500, 0, 1, 2)
	s.Count(at(5), idle+1001, one) // less than a second after the last try there is not another
	s.Count(at(6), idle+1600, one)
	known(idle+1600, 1, 6)
	s.Forget(0)
	known(idle+1600, 1)
	if size := reflect.TypeFor[table]().Size(); size > 2200 {
		t.Errorf("a table has %d bytes", size)
	}
}

// TestConcurrent has writers and a reader at once, for the race detector.
func TestConcurrent(t *testing.T) {
	s := New(4)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 1000 {
				s.Count(Shard{1, int32(i % 6)}, record.Millis(i*100), []record.Entry{{PartitionKey: fmt.Sprint(w, i)}})
				s.Load(Shard{1, int32(i % 6)}, record.Millis(i*100))
				if i%100 == 0 {
					s.Forget(uint64(i % 2))
				}
			}
		})
	}
	all.Wait()
}

func TestCountDoesNotAllocate(t *testing.T) {
	s := New(1)
	recs := many()
	s.Count(home, 0, recs)
	if n := alloctest.Count(t, 100, func() { s.Count(home, 0, recs) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// many returns 500 records with as many keys.
func many() []record.Entry {
	recs := make([]record.Entry, 500)
	for i := range recs {
		recs[i] = record.Entry{PartitionKey: fmt.Sprintf("customer-%06d", i), Data: make([]byte, 100)}
	}
	return recs
}

// BenchmarkCount is what a record costs: of a few keys, and of so many that each takes another's place.
func BenchmarkCount(b *testing.B) {
	f := func(name string, keys int) {
		b.Run(name, func(b *testing.B) {
			s, recs := New(1), many()
			for i := range recs {
				recs[i].PartitionKey = recs[i%keys].PartitionKey
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Count(home, 0, recs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(recs)), "ns/record")
		})
	}
	f("few", 8)
	f("many", 500)
}
