package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane"
	lanemem "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	bucketmem "github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/shardlog"
)

// registers is the machine of these tests: eight registers that are set by compare-and-set, and a
// list of every command's id in the order applied, so that a command lost or applied twice shows.
type registers struct {
	values [8]uint64
	ids    []uint64
}

// verdict is its answer: whether the register was set, and what it held before.
type verdict struct {
	set bool
	old uint64
}

var errNoCommand = errors.New("not a command")

// set encodes a command that sets a register to id if it holds expect.
func set(id uint64, register int, expect uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, id)
	return append(binary.LittleEndian.AppendUint64(b, expect), byte(register))
}

func (r *registers) Apply(command []byte) (verdict, error) {
	if len(command) < 17 {
		return verdict{}, errNoCommand
	}
	id, expect := binary.LittleEndian.Uint64(command), binary.LittleEndian.Uint64(command[8:])
	value := &r.values[command[16]%8]
	r.ids = append(r.ids, id)
	v := verdict{set: *value == expect, old: *value}
	if v.set {
		*value = id
	}
	return v, nil
}

// Freeze gives one row for the registers and then one for each ten commands.
func (r *registers) Freeze() iter.Seq[[]byte] {
	values, ids := r.values, r.ids[:len(r.ids):len(r.ids)]
	return func(yield func([]byte) bool) {
		var row []byte
		for _, v := range values {
			row = binary.LittleEndian.AppendUint64(row, v)
		}
		if !yield(row) {
			return
		}
		for chunk := range slices.Chunk(ids, 10) {
			row = row[:0]
			for _, id := range chunk {
				row = binary.LittleEndian.AppendUint64(row, id)
			}
			if !yield(row) {
				return
			}
		}
	}
}

func (r *registers) Restore(row []byte) error {
	first := len(r.ids) == 0 && r.values == [8]uint64{}
	for i := 0; i+8 <= len(row); i += 8 {
		v := binary.LittleEndian.Uint64(row[i:])
		if first && i < 64 && len(row) == 64 {
			r.values[i/8] = v
		} else {
			r.ids = append(r.ids, v)
		}
	}
	return nil
}

func (r *registers) String() string { return fmt.Sprint(r.values, r.ids) }

// faultyLane is a lane whose next Append may fail, before or after it took the group.
type faultyLane struct {
	lane.Lane
	fail atomic.Int32
}

const (
	failNot int32 = iota
	failBefore
	failAfter
	failFull
)

var errBroken = errors.New("broken")

func (l *faultyLane) Append(ctx context.Context, next lane.Position, payload []byte) error {
	switch l.fail.Load() {
	case failBefore:
		return errBroken
	case failAfter:
		return errors.Join(errBroken, l.Lane.Append(ctx, next, payload))
	case failFull:
		return lane.ErrFull
	}
	return l.Lane.Append(ctx, next, payload)
}

// faultyBucket is a bucket in which calls fail or lie.
type faultyBucket struct {
	objectstore.Bucket
	failPut, failDelete, losePut atomic.Bool
	// gate, when not nil, holds every Put up.
	gate chan struct{}
}

func (b *faultyBucket) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	if b.failPut.Load() {
		return objectstore.Info{}, objectstore.ErrFull
	}
	if b.gate != nil {
		<-b.gate
	}
	if b.losePut.Load() {
		n, err := io.Copy(io.Discard, body)
		return objectstore.Info{Key: key, Size: n}, err
	}
	return b.Bucket.Put(ctx, key, body)
}

func (b *faultyBucket) Delete(ctx context.Context, key string) error {
	if b.failDelete.Load() {
		return errBroken
	}
	return b.Bucket.Delete(ctx, key)
}

var (
	shard = shardlog.ShardID{Stream: 1 << 63, Shard: 1}
	other = shardlog.ShardID{Stream: 7}
)

// world is a lane and a bucket that outlive the processes which use them, and the present one.
type world struct {
	t      *testing.T
	lane   *faultyLane
	bucket *faultyBucket
	cfg    Config

	store   *shardlog.Store
	machine *registers
	journal *Journal[verdict]

	failedSnapshots atomic.Int32
	failures        atomic.Int32
}

func newWorld(t *testing.T) *world {
	w := &world{
		t:      t,
		lane:   &faultyLane{Lane: lanemem.New(lanemem.Config{MaxGroup: 64 << 10})},
		bucket: &faultyBucket{Bucket: bucketmem.New(clock.System{}, 0)},
	}
	w.cfg = Config{Bucket: w.bucket, Shard: shard, Name: "test", SnapshotBytes: 20 * (17 + commandCost)}
	w.cfg.Events = Events{
		SnapshotFailed: func(error) { w.failedSnapshots.Add(1) },
		Failed:         func(error) { w.failures.Add(1) },
	}
	t.Cleanup(w.close)
	return w
}

// open starts a process. One that ran before is gone without a word: it learns at its next append
// that the lane has been taken over.
func (w *world) open() error {
	w.t.Helper()
	before, journal := w.store, w.journal
	store, err := shardlog.Open(w.t.Context(), shardlog.Config{Lane: w.lane, Clock: clock.System{}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store, w.machine, w.journal = store, &registers{}, nil
	w.cfg.Log, w.cfg.Registry = store, store
	j, err := Open(w.t.Context(), w.cfg, w.machine)
	if err == nil {
		w.journal = j
	}
	if journal != nil {
		journal.Close()
	}
	if before != nil {
		before.Close()
	}
	return err
}

func (w *world) mustOpen() {
	w.t.Helper()
	if err := w.open(); err != nil {
		w.t.Fatalf("Open = %v", err)
	}
}

// close ends the present process in good order.
func (w *world) close() {
	if w.journal != nil {
		w.journal.Close()
	}
	if w.store != nil {
		w.store.Close()
	}
	w.journal, w.store = nil, nil
}

func (w *world) propose(command []byte) (verdict, error) {
	return w.journal.Propose(w.t.Context(), command)
}

func (w *world) state() (s string) {
	w.t.Helper()
	if err := w.journal.View(func() { s = w.machine.String() }); err != nil {
		w.t.Fatalf("View = %v", err)
	}
	return s
}

func (w *world) snapshots() (keys []string) {
	w.t.Helper()
	infos, err := w.bucket.List(w.t.Context(), "journal/test/", "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, info := range infos {
		keys = append(keys, info.Key)
	}
	return keys
}

func (w *world) bounds() shardlog.Bounds {
	w.t.Helper()
	b, err := w.store.Bounds(w.t.Context(), shard)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// fill proposes n commands that all succeed.
func (w *world) fill(n int) {
	w.t.Helper()
	for range n {
		id := uint64(len(w.machine.ids) + 1)
		if v, err := w.propose(set(id, 0, w.machine.values[0])); err != nil || !v.set {
			w.t.Fatalf("Propose = %+v, %v", v, err)
		}
	}
}
