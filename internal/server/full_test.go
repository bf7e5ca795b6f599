package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/config"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/objectstore/held"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/shardlog/space"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// smallDisk is the size of the disk that these tests fill, of which the ring takes 4 MiB.
const smallDisk = 24 << 20

// house is Data Streams on a small disk, and what it has acknowledged.
type house struct {
	t      *testing.T
	rng    *rand.Rand
	limits DiskLimits
	// ring and memory are how much the log takes and the store holds, script what becomes of calls of the
	// file system.
	ring    int64
	memory  int64
	script  errfs.Script
	fs      *memfs.FS
	node    secret.Key
	sys     *system
	streams *stream.Streams
	engines engines
	log     bytes.Buffer
	// kept are the acknowledged records of each stream, in order: streams have one shard.
	kept    map[string][]told
	refused map[string]int
	foreign bool // somebody else has a file on the disk
}

// told is a record that was acknowledged.
type told struct {
	seed     uint64
	size     int
	sequence string
}

func (r told) data() []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(r.seed >> (8 * i))
	}
	b := make([]byte, r.size)
	rand.NewChaCha8(key).Read(b)
	return b
}

var where = stream.Scope{Account: "000000000000", Region: "us-east-1"}

func newHouse(t *testing.T, seed uint64, limits DiskLimits) *house {
	h := &house{
		t: t, rng: rand.New(rand.NewPCG(seed, 6)), limits: limits, ring: 4 << 20, memory: 8 << 20, fs: memfs.NewSized(smallDisk),
		node: secret.NewKey(), kept: map[string][]told{}, refused: map[string]int{},
	}
	h.boot()
	t.Cleanup(h.down)
	return h
}

// boot starts on the disk.
func (h *house) boot() {
	h.t.Helper()
	h.sys = new(system)
	cfg := Config{Ring: Ring{Segments: 4, SegmentBytes: h.ring / 4}, Disk: h.limits, Logger: slog.New(slog.NewTextHandler(&h.log, nil))}
	ctx, fail := context.WithCancelCause(context.Background())
	h.sys.onClose(func() error {
		if err := context.Cause(ctx); err != nil {
			h.t.Errorf("failed: %v", err)
		}
		fail(nil)
		return nil
	})
	meters, err := metrics.New(prometheus.NewRegistry(), metrics.Build{})
	if err != nil {
		h.t.Fatal(err)
	}
	now := clock.System{}
	engines, err := openDisk(ctx, cfg, h.sys, errfs.New(h.fs, h.script), encryption.Seal{}, logConfig(cfg, h.sys, now, h.memory, fail), fail)
	if err != nil {
		h.t.Fatalf("open: %v", err)
	}
	h.engines = engines
	if h.streams, err = openStreams(ctx, cfg, h.sys, engines, h.node, meters, now, fail); err != nil {
		h.t.Fatalf("open streams: %v", err)
	}
}

func (h *house) down() {
	if err := h.sys.close(); err != nil {
		h.t.Errorf("close: %v", err)
	}
}

// crash cuts the power between two calls and starts again.
func (h *house) crash() {
	h.t.Helper()
	after := h.fs.CrashClone(h.rng)
	h.down()
	h.fs = after
	h.boot()
	h.audit()
}

func (h *house) state() space.View { return h.sys.disk.store.Load().Space() }

// wait lets time pass and everything settle.
func (h *house) wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// must fails the test for a call that may not fail, however full the disk is.
func (h *house) must(what string, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("%s: %v (%+v)\n%s", what, err, h.state(), h.log.String())
	}
}

func (h *house) create(name string) {
	h.t.Helper()
	h.must("create "+name, h.streams.CreateStream(h.t.Context(), where, stream.CreateInput{Name: name, ShardCount: 1}))
	h.kept[name] = nil
}

func (h *house) delete(name string) {
	h.t.Helper()
	h.must("delete "+name, h.streams.DeleteStream(h.t.Context(), where, stream.Ref{Name: name}, false))
	delete(h.kept, name)
}

// put puts records and reports whether they were taken. Nothing but throttling may happen to them.
func (h *house) put(name string, records, most int) bool {
	h.t.Helper()
	var entries []record.Entry
	var sent []told
	for range records {
		r := told{seed: h.rng.Uint64(), size: 1 + h.rng.IntN(most)}
		sent = append(sent, r)
		entries = append(entries, record.Entry{PartitionKey: "k", Data: r.data()})
	}
	results, err := h.streams.PutAll(h.t.Context(), where, stream.Ref{Name: name}, entries, nil)
	h.must("put to "+name, err)
	if results[0].Err != nil {
		if results[0].Err.Kind != stream.Throughput {
			h.t.Fatalf("put to %s: %v", name, results[0].Err)
		}
		h.refused[name]++
		return false
	}
	for i := range sent {
		sent[i].sequence = results[i].Sequence.String()
	}
	h.kept[name] = append(h.kept[name], sent...)
	return true
}

// audit reads every stream: what was acknowledged is there, in order, and nothing else.
func (h *house) audit() {
	h.t.Helper()
	for name, want := range h.kept {
		at, err := h.streams.GetShardIterator(h.t.Context(), where, stream.Ref{Name: name}, stream.IteratorInput{ShardID: stream.ShardID(0), Type: stream.TrimHorizon})
		h.must("iterator of "+name, err)
		for n := 0; ; {
			page, err := h.streams.GetRecords(h.t.Context(), where, "", at, 0)
			h.must("read "+name, err)
			for i := range page.Page.Records {
				if n+i >= len(want) || page.Sequence(i).String() != want[n+i].sequence || !bytes.Equal(page.Page.Records[i].Data, want[n+i].data()) {
					h.t.Fatalf("stream %s: record %d of %d is not what was acknowledged", name, n+i, len(want))
				}
			}
			n, at = n+len(page.Page.Records), page.Next
			last := page.MillisBehind == 0
			page.Release()
			if last {
				if n != len(want) {
					h.t.Fatalf("stream %s: %d records of %d are there", name, n, len(want))
				}
				break
			}
		}
	}
}

// occupy has somebody else's file take all of the disk but left bytes, or removes it.
func (h *house) occupy(left int64) {
	h.t.Helper()
	if h.foreign {
		h.must("remove", h.fs.Remove("foreign"))
		h.must("sync", h.fs.SyncDir("."))
		h.foreign = false
		return
	}
	s, err := h.fs.Space()
	h.must("space", err)
	if s.Free <= left {
		return
	}
	f, err := h.fs.Open("foreign", vfs.Create)
	h.must("open", err)
	h.must("allocate", errors.Join(f.Allocate(s.Free-left), f.Sync(), f.Close(), h.fs.SyncDir(".")))
	h.foreign = true
}

// resumes waits, no longer than a flush may take to begin, until all streams take records again.
func (h *house) resumes() {
	h.t.Helper()
	for range 90 {
		all := true
		for name := range h.kept {
			all = h.put(name, 1, 1000) && all
		}
		if all {
			return
		}
		h.wait(time.Second)
	}
	h.t.Fatalf("puts are still refused: %+v\n%s", h.state(), h.log.String())
}

// random runs a random history.
func (h *house) random(steps int, foreign bool) {
	names := []string{"big", "middle", "small"}
	for _, n := range names {
		h.create(n)
	}
	for range steps {
		switch n := h.rng.IntN(100); {
		case n < 55:
			h.put("big", 1+h.rng.IntN(20), 60_000)
		case n < 70:
			h.put("middle", 1+h.rng.IntN(5), 20_000)
		case n < 85:
			h.put("small", 1, 500)
		case n < 92:
			h.wait(time.Duration(h.rng.IntN(20)) * time.Second)
		case n < 94:
			h.crash()
		case n < 96:
			h.audit()
		case n < 98 && foreign:
			h.occupy(h.rng.Int64N(3 << 20))
		case n < 99:
			name := names[h.rng.IntN(3)]
			h.delete(name)
			h.create(name)
		}
		h.wait(time.Duration(h.rng.IntN(300)) * time.Millisecond)
	}
}

// TestFullDisk runs random histories on a disk that is soon full: puts are throttled and nothing worse
// happens, not even when the power fails; deletions are always taken and make room; then all streams
// go on, and again when all records have come of age. Unless somebody else fills the disk, no flush
// and no snapshot ever finds it full.
func TestFullDisk(t *testing.T) {
	throttled, seeds := 0, uint64(4)
	if testing.Short() || alloctest.Raced {
		seeds = 2
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			foreign := seed%2 == 1
			limits := DiskLimits{LowWater: config.Share{Bytes: 4 << 20}}
			if seed%3 == 0 {
				limits.StreamBytes = config.Share{Percent: 40}
			}
			h := newHouse(t, seed, limits)
			h.random(250, foreign)
			for range 400 { // to the end
				h.put("big", 10, 60_000)
				h.wait(100 * time.Millisecond)
			}
			throttled += h.refused["big"]
			h.audit()
			if h.foreign {
				h.occupy(0)
			}
			h.delete("big")
			h.create("big")
			h.wait(5 * time.Second)
			h.resumes()
			h.audit()
			for range 200 {
				h.put("big", 10, 60_000)
				h.wait(100 * time.Millisecond)
			}
			h.wait(25 * time.Hour)
			for name := range h.kept {
				h.kept[name] = nil
			}
			h.resumes()
			h.audit()
			if text := h.log.String(); !foreign && strings.Contains(text, "trying again") {
				t.Errorf("seed %d: the disk was full for the server itself:\n%s", seed, text)
			}
			s, err := h.fs.Space()
			h.must("space", err)
			t.Logf("seed %d: refused %v, free at the end %d MiB", seed, h.refused, s.Free>>20)
		})
	}
	if throttled < int(seeds)*300 {
		t.Errorf("puts were refused %d times in %d histories; want often", throttled, seeds)
	}
}

// TestBackupGivesWay has a backup hold the records of a deleted stream on a small disk: it is given up
// as soon as somebody is throttled, and then there is room again.
func TestBackupGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1, DiskLimits{LowWater: config.Share{Bytes: 4 << 20}})
		h.create("old")
		for range 12 {
			h.put("old", 10, 60_000)
			h.wait(time.Second)
		}
		b, err := backup.Begin(t.Context(), *h.engines.backup)
		h.must("begin", err)
		h.delete("old")
		h.create("new")
		for i := 0; !strings.Contains(h.log.String(), "the disk has room again"); i++ {
			h.put("new", 10, 60_000)
			h.wait(time.Second)
			if i > 200 {
				t.Fatalf("no room comes back: %+v", h.state())
			}
		}
		if err := b.Write(t.Context(), io.Discard); !errors.Is(err, held.ErrGivenUp) {
			t.Errorf("the backup ends with %v", err)
		}
		h.must("close", b.Close())
		h.audit()
	})
}

// TestSmallGoesOn fills the disk with one writer while another trickles: the small one is never
// refused, and the readiness page says why the big one is.
func TestSmallGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1, DiskLimits{LowWater: config.Share{Bytes: 6 << 20}})
		h.create("big")
		h.create("small")
		for h.put("big", 10, 50_000) {
			if !h.put("small", 1, 300) {
				t.Fatalf("the small writer was refused: %+v", h.state())
			}
			h.wait(time.Second)
		}
		for range 300 {
			if h.put("big", 1, 1000) || !h.put("small", 1, 300) {
				t.Fatalf("want the big writer refused and the small one taken: %+v", h.state())
			}
			h.wait(time.Second)
		}
		if note := h.sys.disk.note(); !strings.HasPrefix(note, "disk low: ") || !strings.HasSuffix(note, "of 24 MiB left, low-water mark 6 MiB: the biggest writers are throttled, streams: 1\n") {
			t.Errorf("the page says %q", note)
		}
		h.crash()
		for range 20 { // nobody knows any more who was the biggest writer, until it writes
			h.put("big", 10, 50_000)
			h.put("small", 1, 300)
			h.wait(time.Second)
		}
		before := h.refused["small"]
		for range 20 {
			if h.put("big", 10, 50_000) {
				t.Fatalf("want the big writer refused: %+v", h.state())
			}
			h.put("small", 1, 300)
			h.wait(time.Second)
		}
		if h.refused["small"] != before {
			t.Errorf("the small writer was refused: %+v", h.state())
		}
		h.delete("big")
		h.create("big")
		h.wait(10 * time.Second)
		h.resumes()
		if note := h.sys.disk.note(); note != "" {
			t.Errorf("the page says %q", note)
		}
		h.audit()
		for _, line := range []string{"the biggest writers are throttled", "one of the biggest writers\" account=000000000000 region=us-east-1 stream=big", "the disk has room again"} {
			if n := strings.Count(h.log.String(), line); n == 0 || n > 2 { // once in each life
				t.Errorf("the log says %d times %q:\n%s", n, line, h.log.String())
			}
		}
	})
}

// TestDeleteWhileNothingFits has somebody else take the whole disk while the log is full: a stream can
// still be deleted, and its space is there as soon as a few KiB are.
func TestDeleteWhileNothingFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 2, DiskLimits{LowWater: config.Share{Bytes: 4 << 20}})
		h.create("big")
		h.create("small")
		for range 20 {
			h.put("big", 10, 50_000)
			h.put("small", 1, 300)
			h.wait(time.Second)
		}
		h.occupy(0)
		for range 300 {
			h.put("big", 10, 50_000)
			h.wait(200 * time.Millisecond)
		}
		if v := h.state(); v.State != space.Full || !v.Exhausted || h.refused["big"] < 100 {
			t.Errorf("%+v, %d puts refused; want a full disk", v, h.refused["big"])
		}
		h.delete("big")
		for i := range 15 {
			h.create(fmt.Sprint("more", i))
			h.delete(fmt.Sprint("more", i))
		}
		h.crash()
		h.must("truncate", h.shrinkForeign(64<<10))
		h.wait(5 * time.Second)
		h.resumes()
		h.audit()
	})
}

// TestChangesWhileFlushHangs has a disk that takes no block file for a time, so that log or memory fill:
// what is left of them is not for puts, and streams can still be made and deleted.
func TestChangesWhileFlushHangs(t *testing.T) {
	f := func(ring, memory int64) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, 3, DiskLimits{})
			h.down()
			hang := make(chan struct{})
			release := sync.OnceFunc(func() { close(hang) })
			defer release()
			h.ring, h.memory, h.fs = ring, memory, memfs.NewSized(smallDisk)
			h.script = func(c errfs.Call) error {
				if c.Op == errfs.OpWrite && strings.HasPrefix(c.Name, "blocks/") {
					<-hang
				}
				return nil
			}
			h.boot()
			h.create("big")
			for h.refused["big"] < 200 { // with large ones and then smaller ones, until nothing fits
				h.put("big", 1, 100+100_000/(1+h.refused["big"]))
				h.wait(10 * time.Millisecond)
			}
			for i := range 5 { // a change is a few groups of 4 KiB
				h.create(fmt.Sprint("more", i))
				h.delete(fmt.Sprint("more", i))
			}
			h.delete("big")
			h.create("big")
			release()
			h.resumes()
			h.audit()
		})
	}
	f(4<<20, 64<<20)
	f(16<<20, 6<<20)
}

// shrinkForeign gives some bytes of somebody else's file back.
func (h *house) shrinkForeign(n int64) error {
	f, err := h.fs.Open("foreign", 0)
	if err != nil {
		return err
	}
	size, err := f.Size()
	return errors.Join(err, f.Truncate(size-n), f.Sync(), f.Close())
}
