package crash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/binarytest"
	"github.com/headrace/headrace/internal/testpoll"
)

// patience bounds what a test waits for.
const patience = 30 * time.Second

// small makes a log that is full after a second of writing, so that records move to block files, and
// groups are trimmed, many times in each life.
var small = []string{"--wal-size", "32MiB", "--memory", "96MiB"}

// world is one data directory, the server on it, and what that promised.
type world struct {
	tb   testing.TB
	rng  *rand.Rand
	dir  string
	args []string
	// crash ends the server in a bad way and leaves the directory ready for the next one.
	crash func(*binarytest.Server)

	// stumbles is set to kill the server while it starts, too.
	stumbles bool

	lives   int
	streams []*ledger
	others  map[string]*setting[bool] // streams without records, by name: whether they exist
	server  *binarytest.Server
	client  *client
	ending  atomic.Bool // the crash has begun: calls may fail
	slowest time.Duration
	// visits counts the puts and pages of streams whose history was judged.
	visits int
	// strained counts changes of streams that found no room in the log.
	strained atomic.Int64
}

func newWorld(tb testing.TB, seed uint64, dir string, crash func(*binarytest.Server)) *world {
	tb.Helper()
	tb.Logf("CRASH_SEED=%d", seed)
	return &world{tb: tb, rng: rand.New(rand.NewPCG(seed, 0)), dir: dir, crash: crash, others: map[string]*setting[bool]{},
		stumbles: true, args: append([]string{"--data", dir}, small...)}
}

// start starts the server and holds everything it has against what it promised.
func (w *world) start() {
	w.tb.Helper()
	began := time.Now()
	s, err := binarytest.Launch(program, w.args...)
	if err != nil {
		w.tb.Fatalf("life %d: %v", w.lives, err)
	}
	w.slowest = max(w.slowest, time.Since(began))
	w.server, w.client = s, newClient(s.Endpoint)
	w.lives++
	w.ending.Store(false)
	for _, l := range w.streams {
		w.settle(l)
	}
	for name, s := range w.others {
		status, _, err := w.client.status(w.tb.Context(), name)
		if err != nil && !refusedAs(err, "ResourceNotFoundException") {
			w.tb.Fatal(err)
		}
		if found := err == nil && status != "DELETING"; !s.settle(found) {
			w.tb.Errorf("life %d: stream %s exists: %v; want %v", w.lives, name, found, !found)
		}
	}
	w.judge()
}

// judge ends the test if a promise was broken.
func (w *world) judge() {
	w.tb.Helper()
	for _, l := range w.streams {
		for _, wrong := range l.broken() {
			w.tb.Errorf("life %d: %s", w.lives, wrong)
		}
	}
	if w.tb.Failed() {
		if w.server != nil && !w.server.Exited() {
			_ = w.server.Signal(kill)
			_ = w.server.Wait(patience)
		}
		w.tb.Fatalf("the server said:\n%s", w.server.Output())
	}
}

// settle reads a stream after a restart: its settings, its shards, and all its records.
func (w *world) settle(l *ledger) {
	w.tb.Helper()
	ctx := w.tb.Context()
	w.active(l.stream)
	_, retention, err := w.client.status(ctx, l.stream)
	if err != nil {
		w.tb.Fatal(err)
	}
	tags, err := w.client.tags(ctx, l.stream)
	if err != nil {
		w.tb.Fatal(err)
	}
	if want := l.retention; !l.retention.settle(retention) {
		l.wrong("the retention is %d hours; want %+v", retention, want)
	}
	tag := ""
	for _, v := range tags {
		tag = strings.TrimSpace(v) // of any
	}
	if want := l.tag; !l.tag.settle(tag) || tag != "" && !maps.Equal(tags, tagged(tag)) {
		l.wrong("the tags are %v; want %+v", tags, want)
	}
	shards, err := w.client.shards(ctx, l.stream)
	if err != nil {
		w.tb.Fatal(err)
	}
	l.listed(shards)
	l.closed()
	a := l.audit()
	w.readAll(a, shards)
	a.finish()
	l.resolve()
}

// closed checks that shards whose split or merge was acknowledged are closed.
func (l *ledger) closed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range l.closing {
		if l.shards[id].SequenceNumberRange.EndingSequenceNumber == "" {
			l.wrongLocked("shard %s is open after its split or merge was acknowledged", id)
		}
	}
}

// active waits until the stream is ACTIVE.
func (w *world) active(stream string) {
	w.tb.Helper()
	testpoll.Until(w.tb, patience, func() bool {
		status, _, err := w.client.status(w.tb.Context(), stream)
		if err != nil {
			w.tb.Fatalf("%v\n%s", err, w.server.Output())
		}
		return status == "ACTIVE"
	}, "stream "+stream+" to be ACTIVE")
}

// readAll reads every shard from its beginning to its end, two at a time.
func (w *world) readAll(a *audit, shards []shardInfo) {
	next := make(chan shardInfo)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for s := range next {
				if err := w.readShard(a, s.ShardID); err != nil {
					a.wrong("read %s: %v", s.ShardID, err)
				}
			}
		})
	}
	for _, s := range shards {
		next <- s
	}
	close(next)
	readers.Wait()
}

func (w *world) readShard(a *audit, shard string) error {
	ctx := w.tb.Context()
	at, err := w.client.iterator(ctx, a.stream, shard)
	if err != nil {
		return err
	}
	for at != "" {
		p, err := w.client.read(ctx, at)
		if refusedAs(err, "ProvisionedThroughputExceededException") {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range p.Records {
			a.record(shard, r)
		}
		if len(p.Records) == 0 && p.MillisBehindLatest == 0 {
			return nil
		}
		at = p.NextShardIterator
	}
	return nil
}

// create makes a stream that gets records.
func (w *world) create() {
	w.tb.Helper()
	name := fmt.Sprintf("s%d-%d", len(w.others)+len(w.streams), w.lives)
	shards := 1 + w.rng.IntN(4)
	if err := w.client.call(w.tb.Context(), "CreateStream", fields{"StreamName": name, "ShardCount": shards, "MaxRecordSizeInKiB": 10240}, nil); err != nil {
		w.tb.Fatal(err)
	}
	w.active(name)
	w.streams = append(w.streams, newLedger(name))
}

// rotate deletes the oldest stream of several and makes another.
func (w *world) rotate() {
	w.tb.Helper()
	if len(w.streams) > 1 {
		old := w.streams[0]
		w.visits += old.linear()
		w.judge()
		w.streams = w.streams[1:]
		if err := w.client.call(w.tb.Context(), "DeleteStream", fields{"StreamName": old.stream, "EnforceConsumerDeletion": true}, nil); err != nil {
			w.tb.Fatal(err)
		}
		w.others[old.stream] = &setting[bool]{}
	}
	w.create()
}

// stumble starts the server and kills it before, or just when, it has recovered.
func (w *world) stumble() {
	w.tb.Helper()
	cmd := binarytest.Command(w.tb.Context(), program, append([]string{"dev", "--listen", "127.0.0.1:0"}, w.args...)...)
	if err := cmd.Start(); err != nil {
		w.tb.Fatal(err)
	}
	pause(w.tb.Context(), time.Duration(w.rng.IntN(200))*time.Millisecond)
	_ = cmd.Process.Kill() // it may have failed, which the next start shows
	_ = cmd.Wait()
}

// life runs the clients for a time and ends the server while they run.
func (w *world) life(limit time.Duration) {
	w.tb.Helper()
	w.start()
	if len(w.streams) == 0 || w.lives%4 == 0 {
		w.rotate()
	}
	ctx, cancel := context.WithCancel(w.tb.Context())
	defer cancel()
	var clients sync.WaitGroup
	for i := range 4 {
		wr := &writer{w: w, rng: w.dice(), name: fmt.Sprintf("%d.%d", w.lives, i), top: map[string]string{}}
		clients.Go(func() { wr.run(ctx) })
	}
	re, set := &resharder{w: w, rng: w.dice()}, &settler{w: w, rng: w.dice()}
	clients.Go(func() { re.run(ctx) })
	clients.Go(func() { set.run(ctx) })
	clients.Go(func() { w.follow(ctx) })
	clients.Go(func() { (&subscriber{w: w}).run(ctx) })
	pause(ctx, limit/8+time.Duration(w.rng.Int64N(int64(limit))))
	if w.server.Exited() {
		w.tb.Errorf("life %d: the server ended by itself", w.lives)
	}
	w.ending.Store(true)
	w.crash(w.server)
	cancel()
	clients.Wait()
	w.judge()
}

// run lives until the time is up, starts once more and stops in order.
func (w *world) run(total, life time.Duration) {
	w.tb.Helper()
	for began := time.Now(); time.Since(began) < total; {
		w.life(life)
		for w.stumbles && w.rng.IntN(3) == 0 {
			w.stumble()
		}
	}
	w.start()
	if err := w.server.Stop(); err != nil {
		w.tb.Errorf("stop: %v\n%s", err, w.server.Output())
	}
	w.start()
	if err := w.server.Stop(); err != nil {
		w.tb.Errorf("stop: %v\n%s", err, w.server.Output())
	}
	for _, l := range w.streams {
		w.visits += l.linear()
	}
	w.judge()
	w.tb.Logf("an order explains all %d puts and pages", w.visits)
	for _, l := range w.streams {
		records, bytes := l.counts()
		w.tb.Logf("stream %s: %d records, %d of them pushed, %d MiB, %d shards", l.stream, records, l.pushes(), bytes>>20, len(l.shards))
	}
	for _, kind := range []string{"wal", "blocks", "state"} {
		w.tb.Logf("%d files in %s", len(w.files(kind)), kind)
	}
	w.tb.Logf("%d lives; the slowest start took %v; %d changes of streams found no room",
		w.lives, w.slowest.Round(time.Millisecond), w.strained.Load())
}

// files lists the files in a part of the data directory.
func (w *world) files(kind string) []string {
	var all []string
	err := filepath.WalkDir(filepath.Join(w.dir, kind), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.tb.Errorf("list %s: %v", kind, err)
	}
	return all
}

// dice returns choices of their own for one client.
func (w *world) dice() *rand.Rand { return rand.New(rand.NewPCG(w.rng.Uint64(), 0)) }

// strain says whether a change of a stream was throttled, which it is while the log has no room, and
// counts that. It has not happened then.
func (w *world) strain(err error) bool {
	var r *refusal
	if !errors.As(err, &r) || r.Type != "LimitExceededException" || w.ending.Load() {
		return false
	}
	w.strained.Add(1)
	return true
}

// failed says whether a client must give up after the error, and notes it if it is the server's.
func (w *world) failed(l *ledger, err error) bool {
	switch {
	case err == nil || refusedAs(err, "ProvisionedThroughputExceededException", "LimitExceededException", "ResourceInUseException"):
		return false
	case !refusedAs(err) && w.ending.Load():
		return true // no answer, or the server noticed
	default:
		l.wrong("%v", err)
		return true
	}
}

// pause waits for a time, or the context's end.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
