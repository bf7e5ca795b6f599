package shardlog_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

const (
	historyClients = 5
	historyLives   = 5
	historySlots   = 2 // shards in use at a time
)

// history is what clients of several processes on one disk, one after the other, asked and heard.
type history struct {
	rng     *rand.Rand
	disk    *memfs.FS
	clock   *clock.Manual
	mistake mistake

	ticks atomic.Int64 // the order of calls and answers
	ids   atomic.Uint32

	mu    sync.Mutex
	calls []porcupine.Operation
	// doubts are the calls that nobody knows of, by their place in calls.
	doubts []int
	wrong  error
	lives  int
	files  int64 // the most block files there were

	// shards that were opened for certain, and the one in each slot.
	known map[int]bool
	slots [historySlots]int
	last  int // the highest number
}

func newHistory(seed uint64, m mistake) *history {
	return &history{rng: rand.New(rand.NewPCG(seed, 31)), disk: memfs.New(), mistake: m,
		clock: clock.NewManual(time.Unix(1_800_000_000, 0)), known: map[int]bool{}}
}

// fail notes the first thing that is wrong.
func (h *history) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wrong == nil && err != nil {
		h.wrong = fmt.Errorf("life %d: %w", h.lives, err)
	}
}

// life runs one process on the disk until it ends, and then has the next one's disk.
func (h *history) life() {
	o := newOutage(h.disk, h.rng, end(h.rng.IntN(int(ends))), 600)
	e := smallEngines(h.rng, h.clock)
	e.bucket = h.mistake.bucket
	e.store.Events.Fatal = func(err error) {
		if !o.faulted() {
			h.fail(fmt.Errorf("the store failed by itself: %w", err))
		}
	}
	fs := o.fs()
	if h.mistake.fs != nil {
		fs = h.mistake.fs(fs)
	}
	s, err := openOnDisk(fs, e)
	if err != nil {
		if !o.faulted() {
			h.fail(fmt.Errorf("the start is refused: %w", err))
		}
		h.disk = o.leaves()
		return
	}
	h.lives++
	h.settle()
	if h.audit(s, o) && h.open(s, o) {
		var clients sync.WaitGroup
		for n := range historyClients {
			c := &historyClient{history: h, number: n, rng: rand.New(rand.NewPCG(h.rng.Uint64(), 2)), store: s, outage: o}
			clients.Go(c.run)
		}
		clients.Wait()
	}
	h.files = max(h.files, s.Stats().Files)
	if h.rng.IntN(2) == 0 {
		o.strike() // else it ends in order, if it has come that far
	}
	if err := s.Close(); err != nil && !o.faulted() {
		h.fail(fmt.Errorf("close: %w", err))
	}
	h.disk = o.leaves()
}

// settle ends the calls of which nobody will ever hear: the process that could still have carried them
// out is gone, and the next has recovered.
func (h *history) settle() {
	now := h.ticks.Add(1)
	for _, i := range h.doubts {
		h.calls[i].Return = now
	}
	h.doubts = nil
}

// audit reads every shard whole. It says whether the process is still there afterwards.
func (h *history) audit(s *onDisk, o *outage) bool {
	for n := 1; n <= h.last; n++ {
		c := &historyClient{history: h, store: s, outage: o}
		err := c.read(&call{kind: callRead, shard: n, limit: 1 << 20, exact: true})
		switch {
		case o.gone():
			return false
		case errors.Is(err, shardlog.ErrNotFound) && !h.known[n]:
		case err != nil && !o.faulted():
			h.fail(fmt.Errorf("read shard %d: %w", n, err))
			return false
		case err != nil:
			return false
		default:
			h.known[n] = true
		}
	}
	return h.wrong == nil
}

// open gives a new shard to every slot whose shard is sealed or was never opened.
func (h *history) open(s *onDisk, o *outage) bool {
	for i, n := range h.slots {
		b, err := s.Bounds(ctx, id(n))
		if n > 0 && err == nil && !b.Sealed {
			continue
		}
		h.last++
		h.slots[i] = h.last
		if err := s.Open(ctx, []shardlog.ShardID{id(h.last)}, shardlog.Retention{}); err != nil {
			if !o.faulted() && !errors.Is(err, shardlog.ErrFull) {
				h.fail(fmt.Errorf("open shard %d: %w", h.last, err))
			}
			return false
		}
		if o.gone() {
			return false
		}
		h.known[h.last] = true
	}
	return true
}

// historyClient makes one call after the other.
type historyClient struct {
	*history
	number int
	rng    *rand.Rand
	store  *onDisk
	outage *outage
}

func (c *historyClient) run() {
	for range c.rng.IntN(50) {
		c.clock.Advance(20 * time.Millisecond)
		var err error
		switch n := c.rng.IntN(100); {
		case n < 55:
			err = c.append()
		case n < 90:
			err = c.read(&call{kind: callRead, shard: c.pick(), from: record.Index(c.rng.IntN(1 << c.rng.IntN(10))), limit: 1 + c.rng.IntN(100)})
		case n < 99:
			err = c.trim(record.Index(c.rng.IntN(200)))
		default:
			err = c.seal()
		}
		if err != nil {
			if !c.outage.faulted() {
				c.fail(fmt.Errorf("client %d: %w", c.number, err))
			}
			return
		}
	}
}

func (c *historyClient) pick() int { return c.slots[c.rng.IntN(historySlots)] }

// note takes down a call that began at the given tick. A call that failed, or was answered by a process
// that was gone by then, is one that nobody knows of; if it changes nothing it is left out. It returns
// the errors that end the client.
func (c *historyClient) note(began int64, in *call, out *answer, err error) error {
	if errors.Is(err, shardlog.ErrSealed) || errors.Is(err, shardlog.ErrFull) {
		out.err, err = err, nil
	}
	ended := c.ticks.Add(1)
	gone := c.outage.gone()
	if err != nil || gone {
		if in.kind == callRead {
			return err
		}
		out = &answer{unknown: true}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if out.unknown {
		c.doubts = append(c.doubts, len(c.calls))
	}
	c.calls = append(c.calls, porcupine.Operation{ClientId: c.number, Input: in, Call: began, Output: out, Return: ended})
	if gone {
		return errGone
	}
	return err
}

// append appends to one or both shards.
func (c *historyClient) append() error {
	var batches []shardlog.Batch
	var ins []*call
	for range 1 + c.rng.IntN(2) {
		in := &call{kind: callAppend, shard: c.pick()}
		b := shardlog.Batch{Shard: id(in.shard)}
		for range 1 + c.rng.IntN(4) {
			n := c.ids.Add(1)
			size := c.rng.IntN(400)
			if c.rng.IntN(20) == 0 {
				size = c.rng.IntN(8000)
			}
			in.ids = append(in.ids, n)
			b.Entries = append(b.Entries, record.Entry{PartitionKey: "k", Data: historyData(n, size)})
		}
		batches, ins = append(batches, b), append(ins, in)
	}
	began := c.ticks.Add(1)
	results, err := c.store.Append(ctx, batches)
	var last error
	for i, in := range ins {
		out, failed := &answer{}, err
		if err == nil {
			out.first, failed = results[i].First, results[i].Err
		}
		last = errors.Join(last, c.note(began, in, out, failed))
	}
	return last
}

func (c *historyClient) read(in *call) error {
	began := c.ticks.Add(1)
	p, err := c.store.Read(ctx, id(in.shard), in.from, shardlog.Limit{Records: in.limit, Bytes: 1 << 30})
	if err != nil {
		return c.note(began, in, &answer{}, err)
	}
	defer p.Release()
	out := &answer{first: p.Next, next: p.Next, bounds: p.Bounds}
	arrived := record.Millis(0)
	for i := range p.Records {
		r := &p.Records[i]
		n, ok := historyID(r.Data)
		if i == 0 {
			out.first = r.Index
		}
		if !ok || r.Index != out.first+record.Index(i) || r.ArrivalTime < arrived {
			c.fail(fmt.Errorf("shard %d: record %d of %d bytes, arrived %d after %d, is not one that was sent", in.shard, r.Index, len(r.Data), r.ArrivalTime, arrived))
		}
		arrived = r.ArrivalTime
		out.ids = append(out.ids, n)
	}
	return c.note(began, in, out, nil)
}

func (c *historyClient) trim(to record.Index) error {
	in := &call{kind: callTrim, shard: c.pick(), from: to}
	began := c.ticks.Add(1)
	return c.note(began, in, &answer{}, c.store.TrimTo(ctx, id(in.shard), to))
}

func (c *historyClient) seal() error {
	in := &call{kind: callSeal, shard: c.pick()}
	began := c.ticks.Add(1)
	b, err := c.store.Seal(ctx, id(in.shard))
	return c.note(began, in, &answer{bounds: b}, err)
}

// historyData is a record that tells its number.
func historyData(n uint32, size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, n)
	for i := range size {
		b = append(b, byte(n)+byte(i))
	}
	return b
}

// historyID returns the number that a record tells, if all of it is as it was sent.
func historyID(b []byte) (uint32, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n := binary.BigEndian.Uint32(b)
	for i, v := range b[4:] {
		if v != byte(n)+byte(i) {
			return n, false
		}
	}
	return n, true
}

// runHistory runs some processes one after the other and judges all that was heard of them.
func runHistory(seed uint64, m mistake) (*history, error) {
	h := newHistory(seed, m)
	for range historyLives {
		if h.life(); h.wrong != nil {
			return h, h.wrong
		}
	}
	h.settle()
	return h, linear(h.calls)
}

// number reads a whole number from the environment.
func number(t testing.TB, name string, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fewer is n, or a part of that under the race detector, which makes everything many times as slow.
func fewer(n uint64) uint64 {
	if alloctest.Raced {
		return (n + 4) / 5
	}
	return n
}

// TestHistoriesAreLinear lets clients append, read, trim and seal at the same time, through power cuts,
// kills and failing calls at any call to the disk, and looks for an order that explains what they heard.
// HISTORIES says how many such histories there are, HISTORY_SEED where they begin: a seed repeats what
// the clients ask for and when the process ends, though not how the clients interleave.
func TestHistoriesAreLinear(t *testing.T) {
	t.Parallel()
	base := number(t, "HISTORY_SEED", rand.Uint64()>>1)
	n := number(t, "HISTORIES", fewer(120))
	t.Logf("HISTORY_SEED=%d", base)
	lives, calls, doubts, undecided, files := 0, 0, 0, 0, int64(0)
	for i := range n {
		h, err := runHistory(base+i, mistake{})
		if errors.Is(err, errUndecided) {
			undecided++
			err = nil
		}
		if err != nil {
			t.Fatalf("HISTORY_SEED=%d HISTORIES=1: %v", base+i, err)
		}
		lives, calls, files = lives+h.lives, calls+len(h.calls), files+h.files
		for _, c := range h.calls {
			if c.Output.(*answer).unknown {
				doubts++
			}
		}
	}
	t.Logf("%d histories, %d processes, %d calls, %d of unknown outcome, %d block files", n, lives, calls, doubts, files)
	if undecided > 1+int(n)/50 {
		t.Errorf("%d of %d histories could not be judged", undecided, n)
	}
	if doubts < int(n)/2 || files < int64(n) {
		t.Error("want a call of unknown outcome in every other history at least, and a block file in each")
	}
}
