package crash

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// ledger is what the server promised about one stream: the journal of acknowledgements, kept outside
// the server. Every record has a partition key of its own, by which it is known again, and is sent
// once; its data follow from the key and the size. It is safe for concurrent use.
type ledger struct {
	stream string

	mu        sync.Mutex
	records   map[string]*fate     // by partition key
	shards    map[string]shardInfo // every one that was ever listed
	closing   []string             // shards whose split or merge was acknowledged
	top       map[string]string    // by shard, the highest sequence number known
	floor     map[string]string    // by shard, what top was when the server was started last
	cursors   map[string]*cursor   // by shard, of the reader that lives through everything
	pushed    map[string]*cursor   // by shard, of the subscriber that does
	consumer  string               // its consumer's ARN, once it is registered
	tag       setting[string]
	retention setting[int]
	wrongs    []string

	began  time.Time
	visits []porcupine.Operation // every put and every page
	doubts []doubt               // puts without an answer since the last start
}

// fate is what is known of a record.
type fate struct {
	size   int
	state  state
	shard  string // of an acknowledged one
	number string
}

type state uint8

const (
	inDoubt      state = iota // sent, and no answer came
	acknowledged              // or found after a restart: there it stays
	refused                   // or not found after a restart: it must never be seen
)

// setting is one value that changes by acknowledged calls. doubt is what a call without an answer
// would have made of it.
type setting[T comparable] struct {
	value   T
	doubt   T
	inDoubt bool
}

// settle takes what is found after a restart and says whether it may be.
func (s *setting[T]) settle(found T) bool {
	ok := found == s.value || s.inDoubt && found == s.doubt
	s.value, s.inDoubt = found, false
	return ok
}

// cursor is a reader's place in a shard, and what it read.
type cursor struct {
	iterator string
	done     bool // at the end of a closed shard
	seen     []seen
}

type seen struct{ key, number string }

func newLedger(stream string) *ledger {
	return &ledger{stream: stream, began: time.Now(), records: map[string]*fate{}, shards: map[string]shardInfo{}, top: map[string]string{},
		floor: map[string]string{}, cursors: map[string]*cursor{}, pushed: map[string]*cursor{}, retention: setting[int]{value: 24}}
}

// wrongLocked notes a broken promise. REQUIRES: l.mu held.
func (l *ledger) wrongLocked(format string, args ...any) {
	l.wrongs = append(l.wrongs, "stream "+l.stream+": "+fmt.Sprintf(format, args...))
}

func (l *ledger) wrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrongLocked(format, args...)
}

// broken returns the promises that were broken, the first few of many.
func (l *ledger) broken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.wrongs); n > 10 {
		return append(slices.Clone(l.wrongs[:10]), fmt.Sprintf("and %d more", n-10))
	}
	return slices.Clone(l.wrongs)
}

// sending notes a record before it is sent.
func (l *ledger) sending(key string, size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records[key] = &fate{size: size}
}

// answered notes the answer for a record that was sent.
func (l *ledger) answered(key string, p put) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.records[key]
	switch {
	case p.ErrorCode == "InternalFailure":
		return // it may have happened
	case p.ErrorCode != "":
		f.state = refused
		return
	case p.SequenceNumber <= l.floor[p.ShardID]:
		l.wrongLocked("record %s got the number %s in %s, where %s was issued before the restart", key, p.SequenceNumber, p.ShardID, l.floor[p.ShardID])
	}
	*f = fate{size: f.size, state: acknowledged, shard: p.ShardID, number: p.SequenceNumber}
	l.top[p.ShardID] = max(l.top[p.ShardID], p.SequenceNumber)
}

// listed notes what ListShards showed: shards stay, and stay closed.
func (l *ledger) listed(shards []shardInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := map[string]bool{}
	for _, s := range shards {
		have[s.ShardID] = true
		if old, ok := l.shards[s.ShardID]; ok {
			if old.SequenceNumberRange.EndingSequenceNumber == "" {
				old.SequenceNumberRange.EndingSequenceNumber = s.SequenceNumberRange.EndingSequenceNumber
			}
			if old != s {
				l.wrongLocked("shard %s was %+v and is %+v", s.ShardID, l.shards[s.ShardID], s)
			}
		}
		l.shards[s.ShardID] = s
	}
	for id := range l.shards {
		if !have[id] {
			l.wrongLocked("shard %s is gone", id)
		}
	}
}

// audit is one reading of all shards, held against the ledger.
type audit struct {
	*ledger
	found map[string]bool
	order map[string][]seen // by shard
	want  []byte            // of one record, reused
	// lost is set for damaged disks: what is missing is counted, not wrong.
	lost *[]string
}

func (l *ledger) audit() *audit {
	return &audit{ledger: l, found: map[string]bool{}, order: map[string][]seen{}}
}

// record takes the shard's next record.
func (a *audit) record(shard string, r stored) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.order[shard]); n > 0 && r.SequenceNumber <= a.order[shard][n-1].number {
		a.wrongLocked("in %s number %s follows %s", shard, r.SequenceNumber, a.order[shard][n-1].number)
	}
	a.order[shard] = append(a.order[shard], seen{r.PartitionKey, r.SequenceNumber})
	f := a.records[r.PartitionKey]
	switch {
	case f == nil:
		a.wrongLocked("record %q in %s was never sent", r.PartitionKey, shard)
		return
	case a.found[r.PartitionKey]:
		a.wrongLocked("record %s is there twice, the second time in %s at %s", r.PartitionKey, shard, r.SequenceNumber)
	case f.state == refused:
		a.wrongLocked("record %s was refused, or gone after a restart, and is in %s at %s", r.PartitionKey, shard, r.SequenceNumber)
	case f.state == acknowledged && (f.shard != shard || f.number != r.SequenceNumber):
		a.wrongLocked("record %s was acknowledged in %s at %s and is in %s at %s", r.PartitionKey, f.shard, f.number, shard, r.SequenceNumber)
	}
	a.found[r.PartitionKey] = true
	a.want = content(a.want, r.PartitionKey, f.size)
	if !bytes.Equal(a.want, r.Data) {
		a.wrongLocked("record %s in %s at %s has %d other bytes than the %d sent", r.PartitionKey, shard, r.SequenceNumber, len(r.Data), f.size)
	}
	f.shard, f.number = shard, r.SequenceNumber
	a.top[shard] = max(a.top[shard], r.SequenceNumber)
}

// finish says what is missing, and takes what was found, or not, as settled.
func (a *audit) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, f := range a.records {
		switch {
		case a.found[key]:
			f.state = acknowledged
		case f.state != acknowledged:
			f.state = refused
		case a.lost != nil:
			*a.lost = append(*a.lost, key)
		default:
			a.wrongLocked("record %s of %d bytes was acknowledged in %s at %s and is lost", key, f.size, f.shard, f.number)
		}
	}
	for shard, c := range a.cursors {
		if len(c.seen) > len(a.order[shard]) || !slices.Equal(c.seen, a.order[shard][:len(c.seen)]) {
			a.wrongLocked("in %s a reader saw %d records that are not the first of the %d there are", shard, len(c.seen), len(a.order[shard]))
		}
	}
	for shard, c := range a.pushed {
		if len(c.seen) > len(a.order[shard]) || !slices.Equal(c.seen, a.order[shard][:len(c.seen)]) {
			a.wrongLocked("in %s %d records were pushed that are not the first of the %d there are", shard, len(c.seen), len(a.order[shard]))
		}
	}
	for shard, number := range a.top {
		a.floor[shard] = number
	}
}

// pushes returns how many records were pushed.
func (l *ledger) pushes() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.pushed {
		n += len(c.seen)
	}
	return n
}

// counts returns how many records are acknowledged, and their bytes.
func (l *ledger) counts() (records, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.records {
		if f.state == acknowledged {
			records++
			bytes += f.size
		}
	}
	return records, bytes
}

// content returns the data of a record in dst's space. Half of the records compress well.
func content(dst []byte, key string, size int) []byte {
	dst = slices.Grow(dst[:0], size)[:size]
	seed := sha256.Sum256([]byte(key))
	if seed[0]&1 == 0 {
		for i := 0; i < size; i += copy(dst[i:], key) {
			dst[i] = byte(i) // so that no place looks like another
			i++
		}
		return dst
	}
	_, _ = rand.NewChaCha8(seed).Read(dst) // never fails
	return dst
}
