package check

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/clock"
	coordinatordisk "github.com/headrace/headrace/internal/coordinator/disk"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// held is all that a directory gives to readers.
type held struct {
	records map[shardlog.ShardID][]record.Record
	rows    []string
}

// readAll opens the engines on a disk and reads everything. What was not read for an error is missing.
func readAll(t *testing.T, disk vfs.FS) (h held, err error) {
	t.Helper()
	ctx := t.Context()
	l, err := lanedisk.Open(ctx, disk, lanedisk.Config{Segments: segments, SegmentBytes: segmentBytes})
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	bucket, err := dir.Open(disk, blocks, clock.System{})
	if err != nil {
		return h, err
	}
	log, err := shardlog.Open(ctx, shardlog.Config{Lane: l, LaneBytes: l.Capacity(), Bucket: bucket, Clock: clock.System{}, Memory: 16 << 20})
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	h.records = map[shardlog.ShardID][]record.Record{}
	for n := range shards {
		records, rerr := readShard(t, log, shard(n))
		if err = errors.Join(err, rerr); rerr == nil {
			h.records[shard(n)] = records
		}
	}
	snapshots, rerr := dir.Open(disk, state, clock.System{})
	if rerr != nil {
		return h, errors.Join(err, rerr)
	}
	rows, rerr := coordinatordisk.Open(ctx, coordinatordisk.Config{Log: log, Registry: log, Bucket: snapshots, Shard: coordinatorShard})
	if rerr != nil {
		return h, errors.Join(err, rerr)
	}
	entries, rerr := rows.List(ctx, "", "", 1<<20)
	for _, e := range entries {
		h.rows = append(h.rows, fmt.Sprint(e))
	}
	return h, errors.Join(err, rerr, rows.Close())
}

func readShard(t *testing.T, log *shardlog.Store, id shardlog.ShardID) (all []record.Record, err error) {
	t.Helper()
	for next := record.Index(1); ; {
		p, err := log.Read(t.Context(), id, next, shardlog.Limit{Records: 1000, Bytes: 1 << 20})
		if err != nil {
			return nil, err
		}
		for _, r := range p.Records {
			r.PartitionKey, r.Data = strings.Clone(r.PartitionKey), bytes.Clone(r.Data)
			all = append(all, r)
		}
		next = p.Next
		done := len(p.Records) == 0
		p.Release()
		if done {
			return all, nil
		}
	}
}

// differs says what of h is not as in the whole directory; what is missing for an error is no difference.
func (h *held) differs(whole *held, failed bool) string {
	for id, want := range whole.records {
		got, ok := h.records[id]
		if !ok && failed {
			continue
		}
		if !reflect.DeepEqual(got, want) {
			return fmt.Sprintf("shard %d has %d records that are not the %d there were", id.Shard, len(got), len(want))
		}
	}
	if !slices.Equal(h.rows, whole.rows) && !(failed && h.rows == nil) {
		return fmt.Sprintf("there are %d rows that are not the %d there were", len(h.rows), len(whole.rows))
	}
	return ""
}

// TestFlippedBits turns single bits of every kind of file but LOCK, and opens the directory as a server
// does: either all that is read is what was written, or the error names the file and the check finds
// damage in it. FLIPS says how many bits of each kind, FLIP_SEED which.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	number := func(name string, usual uint64) uint64 {
		if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
			return n
		}
		return usual
	}
	seed := number("FLIP_SEED", rand.Uint64()>>1)
	t.Logf("FLIP_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 81))
	at := made(t)
	pristine := memfs.New()
	load(t, pristine, at, ".")
	whole, err := readAll(t, copied(t, pristine, at))
	if err != nil || len(whole.records) != shards || len(whole.rows) < 300 {
		t.Fatalf("readAll() = %d shards, %d rows, %v", len(whole.records), len(whole.rows), err)
	}
	kinds := map[string][]string{
		"wal":      files(t, at, walDir),
		"block":    files(t, at, "blocks/blocks+"),
		"manifest": files(t, at, "blocks/manifest+"),
		"snapshot": files(t, at, state),
	}
	for kind, names := range kinds {
		counts := map[string]int{}
		for i := range number("FLIPS", 10) {
			disk := copied(t, pristine, at)
			name := names[rng.IntN(len(names))]
			bit := int64(9 * 8) // the first is in a header
			if i > 0 {
				bit = pickBit(t, disk, name, rng)
			}
			flipBit(t, disk, name, bit)
			counts[judgeFlip(t, disk, &whole, name, bit)]++
		}
		t.Logf("%s: %v", kind, counts)
		if len(names) == 0 || counts["refused"]+counts["unread"] == 0 {
			t.Errorf("no bit of a %s mattered", kind)
		}
	}
}

// copied copies the files that are in the directory from one disk to a new one.
func copied(t *testing.T, from *memfs.FS, at string) *memfs.FS {
	t.Helper()
	to := memfs.New()
	for _, name := range files(t, at, ".") {
		f, err := from.Open(name, vfs.ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		b := make([]byte, size)
		if size > 0 {
			_, err = f.ReadAt(b, 0)
		}
		if err = errors.Join(err, store(to, name, b)); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// pickBit picks a bit of a file, more often near its ends than elsewhere.
func pickBit(t *testing.T, disk *memfs.FS, name string, rng *rand.Rand) int64 {
	t.Helper()
	f, err := disk.Open(name, vfs.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	at := rng.Int64N(size)
	switch rng.IntN(4) {
	case 0:
		at = rng.Int64N(min(size, 256))
	case 1:
		at = size - 1 - rng.Int64N(min(size, 256))
	}
	return at*8 + rng.Int64N(8)
}

func flipBit(t *testing.T, disk *memfs.FS, name string, bit int64) {
	t.Helper()
	f, err := disk.Open(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, bit/8); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << (bit % 8)
	if _, err := f.WriteAt(b, bit/8); err != nil {
		t.Fatal(err)
	}
}

// judgeFlip opens a disk on which a bit of a file was turned, and says what became of it.
func judgeFlip(t *testing.T, disk *memfs.FS, whole *held, name string, bit int64) string {
	t.Helper()
	found := checkOn(t, disk)
	got, err := readAll(t, disk)
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("bit %d of %s: %s\nread: %v\nfound: %v", bit, name, fmt.Sprintf(format, args...), err, found)
	}
	if what := got.differs(whole, err != nil); what != "" {
		wrong("%s", what)
	}
	for _, f := range found {
		if f.File != name {
			wrong("the check finds something in %s", f.File)
		}
	}
	switch {
	case err != nil && len(found) == 0:
		wrong("the check finds nothing")
	case err != nil && !strings.Contains(err.Error(), path.Base(filepath.ToSlash(name))):
		wrong("the error does not name the file")
	case err != nil && got.records == nil:
		return "refused"
	case err != nil:
		return "unread"
	case len(found) > 0:
		return "found by the check only"
	}
	return "unaffected"
}
