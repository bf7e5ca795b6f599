// Package hot estimates which partition keys a shard gets most bytes of, in memory that is bounded whatever
// the keys are.
//
// It is no record of the past: what it knows fades within minutes, is of this process, and is gone with it.
//
//	shards := hot.New(4096)
//	shards.Count(hot.Shard{Stream: id, Number: 0}, now, entries)   // for all that was stored
//	load, ok := shards.Load(hot.Shard{Stream: id, Number: 0}, now)
//
// # How
//
// Each shard has a table of 32 keys, four sets of eight; a key's hash says which set it may be in. A key that
// is in the table adds its bytes. One that is not takes the place of the lightest of its set and inherits that
// one's weight, as the space-saving sketch does, so that a key heavier than an eighth of what its set gets is
// never missed. What it inherited is remembered and subtracted from what is shown: a key is never shown with
// more than it was counted with. A table of exact counts has no bound; one sketch for all shards would have to
// be locked by all writers.
//
// Records that come one by one are all looked at, as streams of few records have no others. Of those that come
// together four are, evenly from a place that chance picks, and stand for the rest: at that rate a minute
// has enough of them, and a record costs a few nanoseconds.
//
// Every ten seconds an eighth of all weights is taken away, and of the seconds that they stand for as well:
// rates are of the last minute or so, and right from the first second on.
package hot

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/headrace/headrace/internal/record"
)

const (
	sets, ways = 4, 8
	// keptBytes is how much of a key is kept to be shown. Keys are told apart by hashes, so that those
	// which begin alike are different keys all the same.
	keptBytes = 39
	// looked is how many records of one call are looked at, at most.
	looked = 4
	// step is how often weights fade, in milliseconds, and fade how: by 1/2^fade.
	step record.Millis = 10_000
	fade               = 3
	// faded is after how many steps nothing is left.
	faded = 300
	// idle is after how long without records a shard may lose its place to another, in milliseconds.
	idle record.Millis = 120_000
)

// Shard names a shard.
type Shard struct {
	Stream uint64
	Number int32
}

// Load is what a shard got in the last minute or so.
type Load struct {
	BytesPerSecond, RecordsPerSecond float64
	// Keys are the heaviest partition keys, heaviest first.
	Keys []Key
}

// Key is a partition key and what it had of a shard's load, at least.
type Key struct {
	// PartitionKey is the key, or its beginning if Cut.
	PartitionKey   string
	Cut            bool
	BytesPerSecond float64
	// Share is its part of the shard's bytes, 0 to 1.
	Share float64
}

// Shards are the tables of many shards. It is safe for concurrent use.
type Shards struct {
	seed maphash.Seed
	most int

	mu     sync.RWMutex
	tables map[Shard]*table
	// swept is when there was no room for another table.
	swept record.Millis
}

// New returns tables for at most so many shards, of a little over 2 KiB each. While all are in use, further
// shards have none; a shard without records for two minutes makes room.
func New(most int) *Shards {
	return &Shards{seed: maphash.MakeSeed(), most: most, tables: map[Shard]*table{}}
}

// Count counts records that a shard has stored. It does not allocate once the shard is known, and keeps
// nothing of the records.
func (s *Shards) Count(sh Shard, now record.Millis, entries []record.Entry) {
	s.mu.RLock()
	t := s.tables[sh]
	s.mu.RUnlock()
	if t == nil {
		if t = s.add(sh, now); t == nil {
			return
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fade(now)
	t.last = max(t.last, now)
	t.records += uint64(len(entries)) << scale
	sum := 0
	for i := range entries {
		sum += entries[i].Size()
	}
	t.bytes += uint64(sum) << scale
	// Positions are in parts of 1/looked: each record looked at stands for stride of them.
	stride, at := looked, 0
	if len(entries) > looked {
		stride = len(entries)
		t.chance = t.chance*6364136223846793005 + 1442695040888963407
		at = int((t.chance >> 32) * uint64(stride) >> 32)
	}
	for ; at < len(entries)*looked; at += stride {
		if e := &entries[at/looked]; e.PartitionKey != "" {
			t.add(maphash.String(s.seed, e.PartitionKey), e.PartitionKey, uint64(e.Size())<<scale*uint64(stride)/looked)
		}
	}
}

// add makes a table, or returns nil if there is no room for one.
func (s *Shards) add(sh Shard, now record.Millis) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[sh]; t != nil {
		return t
	}
	if len(s.tables) >= s.most {
		if now < s.swept+1000 {
			return nil
		}
		s.swept = now
		for other, t := range s.tables {
			t.mu.Lock()
			last := t.last
			t.mu.Unlock()
			if last+idle < now {
				delete(s.tables, other)
			}
		}
		if len(s.tables) >= s.most {
			return nil
		}
	}
	t := &table{at: now, last: now}
	s.tables[sh] = t
	return t
}

// Forget drops the tables of a stream that is gone.
func (s *Shards) Forget(stream uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sh := range s.tables {
		if sh.Stream == stream {
			delete(s.tables, sh)
		}
	}
}

// Load returns what a shard gets; ok is false for one that has no table, which may be because it has had
// no records.
func (s *Shards) Load(sh Shard, now record.Millis) (load Load, ok bool) {
	s.mu.RLock()
	t := s.tables[sh]
	s.mu.RUnlock()
	if t == nil {
		return load, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.load(now), true
}

// scale is by how many bits weights are larger than what they count, so that small ones fade as evenly as
// large ones.
const scale = 8

// table is what is known of one shard.
type table struct {
	mu sync.Mutex
	// at is when weights last faded, last when the last record came.
	at, last record.Millis
	// seconds is what weights stand for besides the time since at.
	seconds        float64
	bytes, records uint64
	sets           [sets]set
	// chance picks where looking begins.
	chance uint64
}

// set is eight keys. Their hashes are in one cache line.
type set struct {
	hash [ways]uint64
	// weight is what a key has, with what it inherited; over is that.
	weight, over [ways]uint64
	keys         [ways]kept
}

// kept is the beginning of a key.
type kept struct {
	n    uint8 // bytes kept
	cut  bool
	text [keptBytes - 1]byte
}

// add adds to the weight of a key. REQUIRES: mu held.
func (t *table) add(hash uint64, key string, size uint64) {
	hash |= 1 // 0 is a place that was never taken
	s := &t.sets[hash>>62]
	for i := range s.hash {
		if s.hash[i] == hash {
			s.weight[i] += size
			return
		}
	}
	least := 0
	for i := 1; i < ways; i++ {
		if s.weight[i] < s.weight[least] {
			least = i
		}
	}
	s.hash[least], s.over[least] = hash, s.weight[least]
	s.weight[least] += size
	k := &s.keys[least]
	k.n = uint8(copy(k.text[:], key))
	k.cut = len(key) > len(k.text)
}

// fade takes from all weights what time has taken. REQUIRES: mu held.
func (t *table) fade(now record.Millis) {
	for n := 0; now-t.at >= step; n++ {
		if n == faded {
			t.at = now
			break
		}
		t.at += step
		t.seconds += float64(step) / 1000
		t.seconds -= t.seconds / (1 << fade)
		t.bytes -= part(t.bytes)
		t.records -= part(t.records)
		for i := range t.sets {
			s := &t.sets[i]
			for k := range s.hash {
				s.weight[k] -= part(s.weight[k])
				s.over[k] -= part(s.over[k])
			}
		}
	}
}

// part is what fades of a weight. It is never 0 for what is more than 0: all weights come to an end.
func part(weight uint64) uint64 { return (weight + 1<<fade - 1) >> fade }

// load returns what is known. REQUIRES: mu held.
func (t *table) load(now record.Millis) Load {
	t.fade(now)
	seconds := max(t.seconds+float64(now-t.at)/1000, 1) * (1 << scale)
	l := Load{BytesPerSecond: float64(t.bytes) / seconds, RecordsPerSecond: float64(t.records) / seconds}
	for i := range t.sets {
		s := &t.sets[i]
		for k := range s.hash {
			own := s.weight[k] - min(s.weight[k], s.over[k])
			if s.hash[k] == 0 || own < 1<<scale || t.bytes == 0 {
				continue
			}
			l.Keys = append(l.Keys, Key{
				PartitionKey: s.keys[k].String(), Cut: s.keys[k].cut,
				BytesPerSecond: float64(own) / seconds, Share: min(float64(own)/float64(t.bytes), 1),
			})
		}
	}
	slices.SortFunc(l.Keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(b.BytesPerSecond, a.BytesPerSecond), cmp.Compare(a.PartitionKey, b.PartitionKey))
	})
	return l
}

// String returns what is kept of the key, without half a character at its end.
func (k *kept) String() string {
	text := k.text[:k.n]
	if k.cut {
		for i := 0; i < utf8.UTFMax && len(text) > 0; i++ {
			if r, n := utf8.DecodeLastRune(text); r != utf8.RuneError || n > 1 {
				break
			}
			text = text[:len(text)-1]
		}
	}
	return string(text)
}
