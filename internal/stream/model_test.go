package stream

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
)

var modelSeed = flag.Uint64("seed", 0, "run the model tests with this seed alone")

// TestModel does random things to a stream and to a list of the records it took, and compares them.
func TestModel(t *testing.T) {
	eachSeed(t, 8, func(t *testing.T, rng *rand.Rand) {
		m := newModel(t, rng, 0)
		for range 400 {
			m.step()
		}
		m.check()
	})
}

// eachSeed runs a test with random numbers of seeds 1 to usual, and of one that is new each time.
func eachSeed(t *testing.T, usual uint64, test func(t *testing.T, rng *rand.Rand)) {
	t.Helper()
	var seeds []uint64
	for seed := range usual {
		seeds = append(seeds, 1+seed)
	}
	seeds = append(seeds, uint64(time.Now().UnixNano()))
	if *modelSeed != 0 {
		seeds = []uint64{*modelSeed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { test(t, rand.New(rand.NewPCG(seed, seed))) })
	}
}

// newModel returns a model of a new stream, whose changes take a while.
func newModel(t *testing.T, rng *rand.Rand, delay time.Duration) *model {
	m := &model{world: newWorld(t, delay, Caps{}), rng: rng, records: map[int32][]stored{}, ref: Ref{Name: "mill"}, hours: 24}
	m.create("mill", 1+rng.IntN(4))
	for range 64 {
		m.keys = append(m.keys, record.HashKey{Hi: rng.Uint64(), Lo: rng.Uint64()})
	}
	return m
}

// stored is a record as the model remembers it.
type stored struct {
	data string
	key  record.HashKey
	at   record.Millis
	seq  record.SequenceNumber
}

// model is a stream and what it should hold.
type model struct {
	*world
	rng     *rand.Rand
	ref     Ref
	hours   int
	keys    []record.HashKey   // of all records: few enough that each is used again and again
	records map[int32][]stored // by shard, the first with index 1
	put     int
	large   int // some records have so many bytes
}

func (m *model) step() {
	m.t.Helper()
	for m.status(m.ref) != Active { // it has resharded so fast that the clock has to catch up
		m.tick(time.Second)
	}
	switch n := m.rng.IntN(20); {
	case n < 7:
		m.putSome()
	case n < 9:
		m.split()
	case n < 11:
		m.merge()
	case n < 12:
		m.scale()
	case n < 13:
		m.setHours()
	case n < 16:
		m.tick(time.Duration(m.rng.IntN(int(3 * time.Hour))))
	case n < 17:
		m.stepBack()
	case n < 18:
		m.restart()
	default:
		m.iterate()
	}
}

// stepBack moves the clock back. The log has seen the time before, so what had expired stays so.
func (m *model) stepBack() {
	m.t.Helper()
	m.trim(m.hours)
	for _, sh := range m.view(m.ref).open {
		_, err := m.cfg.Log.Bounds(m.t.Context(), sh.log())
		m.must(err)
	}
	m.clock.Advance(-time.Duration(m.rng.IntN(int(2 * time.Second))))
}

func (m *model) putSome() {
	m.t.Helper()
	var recs []record.Entry
	for range 1 + m.rng.IntN(20) {
		m.put++
		h := m.keys[m.rng.IntN(len(m.keys))]
		data := fmt.Sprintf("%06d", m.put)
		if m.large > 0 && m.rng.IntN(20) == 0 {
			data += strings.Repeat("x", m.large)
		}
		recs = append(recs, explicit(h, data))
	}
	out, err := m.PutAll(m.t.Context(), home, m.ref, recs, nil)
	m.must(err)
	for i, r := range out {
		if r.Err != nil {
			m.t.Fatal(r.Err)
		}
		list := m.records[r.Shard]
		if r.Sequence.Index != record.Index(len(list)+1) {
			m.t.Fatalf("record %d of %s has index %d", len(list)+1, r.ShardID, r.Sequence.Index)
		}
		at := m.now()
		if n := len(list); n > 0 {
			at = max(at, list[n-1].at)
			if r.Sequence.Compare(list[n-1].seq) <= 0 {
				m.t.Fatalf("%+v comes after %+v", r.Sequence, list[n-1].seq)
			}
		}
		m.records[r.Shard] = append(list, stored{string(recs[i].Data), recs[i].ExplicitHashKey, at, r.Sequence})
	}
}

func (m *model) split() {
	m.t.Helper()
	open := m.view(m.ref).open
	sh := open[m.rng.IntN(len(open))]
	at := record.HashKey{Hi: m.rng.Uint64(), Lo: m.rng.Uint64()}
	if len(open) < 30 && sh.Hash.Contains(at) && at.Compare(sh.Hash.Start.Next()) > 0 && at.Compare(sh.Hash.End) < 0 {
		m.must(m.SplitShard(m.t.Context(), home, m.ref, sh.ID, at.String()))
	}
}

func (m *model) merge() {
	m.t.Helper()
	open := m.view(m.ref).open
	if i := m.rng.IntN(len(open)); i+1 < len(open) {
		m.must(m.MergeShards(m.t.Context(), home, m.ref, open[i].ID, open[i+1].ID))
	}
}

func (m *model) scale() {
	m.t.Helper()
	n := len(m.view(m.ref).open)
	target := (n+1)/2 + m.rng.IntN(2*n-(n+1)/2+1)
	_, err := m.UpdateShardCount(m.t.Context(), home, m.ref, min(target, max(30, (n+1)/2)))
	m.must(err)
}

func (m *model) setHours() {
	m.t.Helper()
	m.trim(m.hours)
	hours := 24 + m.rng.IntN(48)
	if hours > m.hours {
		m.must(m.IncreaseRetention(m.t.Context(), home, m.ref, hours))
	} else {
		m.must(m.DecreaseRetention(m.t.Context(), home, m.ref, hours))
		m.trim(hours)
	}
	m.hours = hours
}

// trim lets go of what a shorter retention made expire: a longer one does not bring it back.
func (m *model) trim(hours int) {
	for _, list := range m.records {
		for i := range list {
			if list[i].at+record.Millis(hours)*3600_000 <= m.now() {
				list[i].data = ""
			}
		}
	}
}

// iterate makes an iterator of each type in a random shard, lets something happen, and reads.
func (m *model) iterate() {
	m.t.Helper()
	m.trim(m.hours)
	page, err := m.ListShards(home, ListShardsInput{Ref: m.ref})
	m.must(err)
	sh := page.Shards[m.rng.IntN(len(page.Shards))]
	list := m.records[sh.Number]
	type reading struct {
		what string
		it   string
		from int
	}
	var readings []reading
	add := func(in IteratorInput, from int) {
		in.ShardID = sh.ID
		readings = append(readings, reading{fmt.Sprint(in), m.iterator(m.ref, in), from})
	}
	add(IteratorInput{Type: TrimHorizon}, 0)
	add(IteratorInput{Type: Latest}, len(list))
	if len(list) > 0 {
		i := m.rng.IntN(len(list))
		add(IteratorInput{Type: AtSequenceNumber, Sequence: list[i].seq.String()}, i)
		add(IteratorInput{Type: AfterSequenceNumber, Sequence: list[i].seq.String()}, i+1)
		if at := list[i].at; at <= m.now() {
			first := slices.IndexFunc(list, func(s stored) bool { return s.at >= at })
			add(IteratorInput{Type: FromTime, Timestamp: at, HasTimestamp: true}, first)
		}
	}
	m.putSome()
	if m.rng.IntN(2) == 0 {
		m.split()
	}
	for _, r := range readings {
		var want []string
		for _, s := range m.records[sh.Number][r.from:] {
			if s.data != "" {
				want = append(want, s.data)
			}
		}
		if got := m.readFrom(r.it); !slices.Equal(got, want) {
			m.t.Fatalf("%s of %s yields %v; want %v", r.what, sh.ID, got, want)
		}
	}
}

func (m *model) readFrom(it string) []string {
	m.t.Helper()
	var got []string
	for it != "" {
		r, err := m.GetRecords(m.t.Context(), home, "", it, 1+m.rng.IntN(5))
		m.must(err)
		for _, rec := range r.Page.Records {
			got = append(got, string(rec.Data))
		}
		if it = r.Next; r.MillisBehind == 0 {
			it = ""
		} else if len(r.Page.Records) == 0 {
			m.t.Fatal("an empty page that is behind")
		}
		r.Release()
	}
	return got
}

// check walks the stream and compares all it holds. A record comes after every older one of the
// same hash key, here of those that went to one shard or to its descendants.
func (m *model) check() {
	m.t.Helper()
	m.trim(m.hours)
	want := map[string]bool{}
	for _, list := range m.records {
		for _, s := range list {
			if s.data != "" {
				want[s.data] = true
			}
		}
	}
	// Every record reached so far, by hash key: a later one at the same place must be newer.
	newest := map[record.HashKey]string{}
	walk(m.t, m.Streams, m.ref, func(rec *record.Record) {
		data := string(rec.Data)
		if !want[data] {
			m.t.Errorf("%s comes twice, or was never put, or has expired", data)
		}
		delete(want, data)
		if !rec.HasExplicitHashKey {
			m.t.Errorf("%s lost its hash key", data)
		}
		if data <= newest[rec.ExplicitHashKey] {
			m.t.Errorf("%s comes after %s", data, newest[rec.ExplicitHashKey])
		}
		newest[rec.ExplicitHashKey] = data
	})
	if len(want) > 0 {
		m.t.Errorf("%d of %d records did not come", len(want), m.put)
	}
}
