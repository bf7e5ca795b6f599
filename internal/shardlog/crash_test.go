package shardlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
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

var errCut = errors.New("the process is gone")

// cutter counts the calls that change something and ends the process at one of them: before or
// after the call has had its effect. Afterwards nothing works.
type cutter struct {
	mu    sync.Mutex
	calls int
	at    int // 0 means never
	after bool
	dead  bool
}

// do runs f unless the process ends first.
func (c *cutter) do(f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errCut
	}
	c.calls++
	c.dead = c.calls == c.at
	if c.dead && !c.after {
		return errCut
	}
	if err := f(); err != nil {
		return err
	}
	if c.dead {
		return errCut
	}
	return nil
}

// cutLane and cutBucket end with the cutter.
type cutLane struct {
	lane.Lane
	*cutter
}

func (l cutLane) Append(ctx context.Context, next lane.Position, payload []byte) error {
	return l.do(func() error { return l.Lane.Append(ctx, next, bytes.Clone(payload)) })
}

func (cutLane) Keeps() bool { return false }

func (l cutLane) TrimTo(ctx context.Context, first lane.Position) error {
	return l.do(func() error { return l.Lane.TrimTo(ctx, first) })
}

type cutBucket struct {
	objectstore.Bucket
	*cutter
}

func (b cutBucket) Put(ctx context.Context, key string, body io.Reader) (info objectstore.Info, err error) {
	err = b.do(func() error { info, err = b.Bucket.Put(ctx, key, body); return err })
	return info, err
}

func (b cutBucket) Delete(ctx context.Context, key string) error {
	return b.do(func() error { return b.Bucket.Delete(ctx, key) })
}

// world is what survives a process, and what was acknowledged to those who wrote.
type world struct {
	lane   lane.Lane
	bucket objectstore.Bucket
	clock  *clock.Manual
	shards map[int]*told
	// fan is how many files make a merge; with many, files live and die alone.
	fan int
}

// told is what is known of a shard. Of the operation that was cut short, nobody knows whether it
// happened: it may have left one more batch, or a later first record, or no shard.
type told struct {
	data        []string // data[i] is the record at index i+1
	maybe       []string
	arrived     []time.Time // of data and maybe
	first       record.Index
	maybeFirst  record.Index
	maybeGone   bool
	sealed      bool
	maybeSealed bool
	sequence    uint64
}

func newWorld(fan int) *world {
	return &world{
		fan:  fan,
		lane: mem.New(mem.Config{MaxGroup: 2 << 10}), bucket: held.New(objectmem.New(clock.System{}, 0)),
		clock: clock.NewManual(time.Unix(1_800_000_000, 0)), shards: map[int]*told{},
	}
}

func (w *world) config(c *cutter) shardlog.Config {
	cfg := shardlog.Config{Lane: w.lane, Bucket: w.bucket, Clock: w.clock, FlushBytes: 900}
	if c != nil {
		cfg.Lane, cfg.Bucket = cutLane{w.lane, c}, cutBucket{w.bucket, c}
	}
	cfg.Inline()
	cfg.NoCache()
	cfg.MergeFan(w.fan)
	return cfg
}

// live runs a fixed history until it ends or the process does.
func (w *world) live(s *shardlog.Store) error {
	for n, keep := range []time.Duration{0, 24 * time.Hour, 20 * time.Second, 24 * time.Hour} {
		w.shards[n] = &told{first: 1, maybeGone: true}
		if err := s.Open(ctx, []shardlog.ShardID{id(n)}, shardlog.Retention{Age: keep}); err != nil {
			return err
		}
		w.shards[n].maybeGone = false
	}
	for i := range 24 {
		for n := range 4 {
			if err := w.append(s, n, 1+i%3, i); err != nil {
				return err
			}
		}
		w.clock.Advance(3 * time.Second)
		if err := w.control(s, i); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) append(s *shardlog.Store, n, records, i int) error {
	sh := w.shards[n]
	if sh == nil || sh.sealed {
		return nil
	}
	b := shardlog.Batch{Shard: id(n), Producer: shardlog.Producer{ID: 5, Epoch: 1, Sequence: sh.sequence + 1}}
	sh.maybe, sh.arrived = nil, sh.arrived[:len(sh.data)]
	for k := range records {
		data := strings.Repeat(fmt.Sprintf("%d/%d/%d ", n, i, k), 12)
		if i == 7 && k == 0 {
			data = strings.Repeat("large ", 700) // spans groups
		}
		sh.maybe, sh.arrived = append(sh.maybe, data), append(sh.arrived, w.clock.Now())
		b.Entries = append(b.Entries, record.Entry{PartitionKey: "k", Data: []byte(data)})
	}
	res, err := s.Append(ctx, []shardlog.Batch{b})
	if err == nil {
		err = res[0].Err
	}
	if err != nil {
		return err
	}
	sh.data, sh.maybe = append(sh.data, sh.maybe...), nil
	sh.sequence++
	return nil
}

// control makes the changes of one round.
func (w *world) control(s *shardlog.Store, i int) error {
	switch {
	case i%4 == 3: // the journal's shard
		sh := w.shards[0]
		sh.maybeFirst = record.Index(len(sh.data) - 2)
		if err := s.TrimTo(ctx, id(0), sh.maybeFirst); err != nil {
			return err
		}
		sh.first, sh.maybeFirst = sh.maybeFirst, 0
	case i == 10:
		w.shards[1].maybeSealed = true
		if _, err := s.Seal(ctx, id(1)); err != nil {
			return err
		}
		w.shards[1].sealed = true
	case i == 13, i == 18:
		w.shards[3].maybeGone = true
		if err := s.Drop(ctx, []shardlog.ShardID{id(3)}); err != nil {
			return err
		}
		w.shards[3] = &told{first: 1, maybeGone: true}
		if err := s.Open(ctx, []shardlog.ShardID{id(3)}, day); err != nil {
			return err
		}
		w.shards[3].maybeGone = false
	}
	return nil
}

// check compares what a store recovered with what was acknowledged.
func (w *world) check(s *shardlog.Store) error {
	for n, sh := range w.shards {
		p, err := s.Read(ctx, id(n), 0, shardlog.Limit{Records: 1000, Bytes: 1 << 20})
		if errors.Is(err, shardlog.ErrNotFound) && sh.maybeGone {
			continue
		}
		if err != nil {
			return fmt.Errorf("read shard %d: %w", n, err)
		}
		if n == 2 { // the one whose records come of age
			sh.first = 1
			for int(sh.first) < int(p.Bounds.Next) && w.clock.Now().Sub(sh.arrived[sh.first-1]) >= 20*time.Second {
				sh.first++
			}
		}
		if err := sh.check(n, p); err != nil {
			return err
		}
		p.Release()
		if sh.sequence > 0 && !sh.maybeGone {
			again := batch(n, 1, 1)
			again.Producer = shardlog.Producer{ID: 5, Epoch: 1, Sequence: sh.sequence}
			res, err := s.Append(ctx, []shardlog.Batch{again})
			if err != nil || !errors.Is(res[0].Err, shardlog.ErrDuplicate) {
				return fmt.Errorf("shard %d takes a batch twice: %+v, %v", n, res, err)
			}
		}
	}
	return nil
}

func (sh *told) check(n int, p *shardlog.Page) error {
	all := sh.data
	if int(p.Bounds.Next) == len(sh.data)+len(sh.maybe)+1 {
		all = append(all[:len(all):len(all)], sh.maybe...)
	}
	if int(p.Bounds.Next) != len(all)+1 || len(p.Records) != int(p.Bounds.Next-p.Bounds.First) {
		return fmt.Errorf("shard %d has %d records, %+v; want %d, perhaps %d more", n, len(p.Records), p.Bounds, len(sh.data), len(sh.maybe))
	}
	if first := p.Bounds.First; first != sh.first && first != sh.maybeFirst && !(sh.maybeGone && first == 1) {
		return fmt.Errorf("shard %d begins at %d; want %d or %d", n, first, sh.first, sh.maybeFirst)
	}
	if p.Bounds.Sealed != sh.sealed && !sh.maybeSealed {
		return fmt.Errorf("shard %d: sealed is %v", n, p.Bounds.Sealed)
	}
	for _, r := range p.Records {
		if string(r.Data) != all[r.Index-1] {
			return fmt.Errorf("shard %d: record %d is %.20q; want %.20q", n, r.Index, r.Data, all[r.Index-1])
		}
	}
	return nil
}

// recovered opens what a process has left and checks it, and that it goes on and opens again.
func (w *world) recovered() error {
	for range 2 {
		s, err := shardlog.Open(ctx, w.config(nil))
		if err != nil {
			return err
		}
		if err := s.Release(ctx, id(0), "nobody"); err != nil && !errors.Is(err, shardlog.ErrNotFound) {
			return err // it waits for what the committer does first
		}
		files, err := w.bucket.List(ctx, "blocks/", "", 1000)
		if err == nil && len(files) != int(s.Stats().Files) {
			err = fmt.Errorf("%d block files are stored; the manifest names %d", len(files), s.Stats().Files)
		}
		if err == nil {
			err = w.check(s)
		}
		if cerr := s.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestCuts ends the process before and after every call that changes the lane or the bucket.
func TestCuts(t *testing.T) {
	t.Parallel()
	for _, fan := range []int{2, 100} {
		after := fan == 100
		for at := 1; ; at++ {
			w := newWorld(fan)
			c := &cutter{at: at, after: after}
			s, err := shardlog.Open(ctx, w.config(c))
			if err == nil {
				err = w.live(s)
				_ = s.Close()
			}
			if err := w.recovered(); err != nil {
				t.Fatalf("cut at call %d (after its effect: %v): %v", at, after, err)
			}
			if !c.dead {
				if err != nil {
					t.Fatalf("the history ends with %v", err)
				}
				if at < 200 {
					t.Errorf("the history makes %d calls; want many", at)
				}
				break
			}
		}
	}
}

// settle finds out what became of the operations that were cut short, if the store still answers.
func (w *world) settle(s *shardlog.Store) error {
	for n, sh := range w.shards {
		b, err := s.Bounds(ctx, id(n))
		switch {
		case errors.Is(err, shardlog.ErrNotFound):
			delete(w.shards, n)
		case err != nil:
			return err // the process is gone already
		case int(b.Next) > len(sh.data)+1:
			sh.data, sh.maybe = append(sh.data, sh.maybe...), nil
			sh.sequence++
		}
	}
	return nil
}

// TestCutsTwice ends the process that recovers as well.
func TestCutsTwice(t *testing.T) {
	t.Parallel()
	for at := 3; at < 400; at += 9 {
		for again := 1; again < 8; again++ {
			w := newWorld(2 + at%3)
			s, err := shardlog.Open(ctx, w.config(&cutter{at: at, after: at%2 == 0}))
			if err == nil {
				_ = w.live(s)
				_ = s.Close()
			}
			if s, err = shardlog.Open(ctx, w.config(&cutter{at: again, after: again%2 == 0})); err == nil {
				if w.settle(s) == nil {
					_ = w.append(s, 0, 2, 100)
				}
				_ = s.Close()
			}
			if err := w.recovered(); err != nil {
				t.Fatalf("cut at call %d, then at %d: %v", at, again, err)
			}
		}
	}
}

// liar is a bucket that breaks its word for some keys: it acknowledges and stores nothing, or
// something else.
type liar struct {
	objectstore.Bucket
	lie func(key string, body []byte) []byte
}

func (l liar) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return objectstore.Info{}, err
	}
	if stored := l.lie(key, b); stored != nil {
		if _, err := l.Bucket.Put(ctx, key, bytes.NewReader(stored)); err != nil {
			return objectstore.Info{}, err
		}
	}
	return objectstore.Info{Key: key, Size: int64(len(b))}, nil
}

// TestLiesAreCaught does to a store what its own mistakes would, and expects the checks of this file
// to see it: a lane trimmed without a manifest, files that are not there, and bytes that changed.
func TestLiesAreCaught(t *testing.T) {
	f := func(what string, want error, lie func(key string, body []byte) []byte) {
		t.Helper()
		w := newWorld(2)
		honest := w.bucket
		w.bucket = liar{honest, lie}
		s, err := shardlog.Open(ctx, w.config(nil))
		if err != nil {
			t.Fatal(err)
		}
		err = w.live(s)
		_ = s.Close()
		if err == nil {
			w.bucket = honest
			err = w.recovered()
		}
		if err == nil || !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", what, err, want)
		}
	}
	var lies int
	once := func(prefix string, at int, change func([]byte) []byte) func(string, []byte) []byte {
		lies = 0
		return func(key string, b []byte) []byte {
			if !strings.HasPrefix(key, prefix) {
				return b
			}
			if lies++; lies != at && at != 0 {
				return b
			}
			return change(b)
		}
	}
	nothing := func([]byte) []byte { return nil }
	flip := func(at func(n int) int) func([]byte) []byte {
		return func(b []byte) []byte { b = bytes.Clone(b); b[at(len(b))] ^= 4; return b }
	}
	corrupt := shardlog.ErrCorrupt
	f("no manifest", corrupt, once("manifest/", 0, nothing))
	f("no file", corrupt, once("blocks/1d", 0, nothing))
	f("a file that no manifest names", corrupt, once("manifest/", 0, shardlog.WithoutFile))
	f("empty files", corrupt, once("blocks/", 0, func([]byte) []byte { return []byte{} }))
	f("short files", corrupt, once("blocks/", 0, func(b []byte) []byte { return b[:len(b)-1] }))
	f("a flipped bit in every block", corrupt, once("blocks/", 0, flip(func(int) int { return 40 })))
	f("a flipped bit in every footer", corrupt, once("blocks/", 0, flip(func(n int) int { return n - 60 })))
	f("a flipped bit in every trailer", corrupt, once("blocks/", 0, flip(func(n int) int { return n - 30 })))
	f("a flipped bit in every manifest", corrupt, once("manifest/", 0, flip(func(n int) int { return n / 2 })))
}
