package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	coordinatordisk "github.com/headrace/headrace/internal/coordinator/disk"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/objectstore/held"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

var coordinatorShard = shardlog.ShardID{}

func shard(n int) shardlog.ShardID { return shardlog.ShardID{Stream: 9, Shard: int32(n)} }

const shards = 3

// engines are a server's, on a disk, put together as package server does.
type engines struct {
	lane *lanedisk.Lane
	log  *shardlog.Store
	rows *coordinatordisk.Coordinator
	Source
	lock io.Closer
}

// start starts engines.
func start(ctx context.Context, disk vfs.FS) (e *engines, err error) {
	e = &engines{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.stop())
		}
	}()
	if e.lock, err = disk.Lock(lockFile); err != nil {
		return e, err
	}
	if err = Finished(disk); err != nil {
		return e, err
	}
	blocks, err := dir.Open(disk, blocksPart, clock.System{})
	if err != nil {
		return e, err
	}
	e.Blocks, e.Clock = held.New(blocks), clock.System{}
	first, err := shardlog.Origin(ctx, e.Blocks)
	if err != nil {
		return e, err
	}
	e.lane, err = lanedisk.Open(ctx, disk, lanedisk.Config{Segments: 4, SegmentBytes: 256 << 10, First: first})
	if err != nil {
		return e, err
	}
	e.log, err = shardlog.Open(ctx, shardlog.Config{
		Lane: e.lane, LaneBytes: 1 << 20, Bucket: e.Blocks, Clock: e.Clock, Memory: 8 << 20, FlushBytes: 60 << 10, FlushAge: time.Hour,
		Sweep: 50 * time.Millisecond,
	})
	if err != nil {
		return e, err
	}
	if e.State, err = dir.Open(disk, statePart, clock.System{}); err != nil {
		return e, err
	}
	e.rows, err = coordinatordisk.Open(ctx, coordinatordisk.Config{
		Log: e.log, Registry: e.log, Bucket: e.State, Shard: coordinatorShard, SnapshotBytes: 4 << 10,
	})
	e.Source.Log, e.Source.Rows = e.log, e.rows
	return e, err
}

func (e *engines) stop() (err error) {
	if e.rows != nil {
		err = errors.Join(err, e.rows.Close())
	}
	if e.log != nil {
		err = errors.Join(err, e.log.Close())
	}
	if e.lane != nil {
		err = errors.Join(err, e.lane.Close())
	}
	if e.lock != nil {
		err = errors.Join(err, e.lock.Close())
	}
	return err
}

// content is what engines were given and have acknowledged: records by shard and index, and rows.
type content struct {
	records [shards]map[record.Index]string
	rows    map[string]string
	// issued is the highest index acknowledged in each shard.
	issued [shards]record.Index
}

func newContent() *content {
	c := &content{rows: map[string]string{}}
	for n := range shards {
		c.records[n] = map[record.Index]string{}
	}
	return c
}

// fill puts n records, and a row for each, and notes what was acknowledged. It goes on until one fails.
func (e *engines) fill(ctx context.Context, c *content, rng *rand.Rand, n int) error {
	for i := range shards {
		if err := e.log.Open(ctx, []shardlog.ShardID{shard(i)}, shardlog.Retention{Age: 24 * time.Hour}); err != nil {
			return err
		}
	}
	for range n {
		i := rng.IntN(shards)
		data := fmt.Sprintf("%d/%x/%s", i, rng.Uint64(), bytes.Repeat([]byte{'x'}, rng.IntN(2000)))
		var at record.Index
		err := e.roomy(ctx, func() error {
			res, err := e.log.Append(ctx, []shardlog.Batch{{Shard: shard(i), Entries: []record.Entry{{PartitionKey: "key", Data: []byte(data)}}}})
			if err == nil {
				at, err = res[0].First, res[0].Err
			}
			return err
		})
		if err != nil {
			return err
		}
		if at <= c.issued[i] {
			return fmt.Errorf("shard %d: index %d after %d", i, at, c.issued[i])
		}
		c.records[i][at], c.issued[i] = data, at
		key := fmt.Sprintf("row/%x", rng.Uint64())
		err = e.roomy(ctx, func() error { _, err := e.rows.Put(ctx, key, []byte(data[:10]), 0); return err })
		if err != nil {
			return err
		}
		c.rows[key] = data[:10]
	}
	return nil
}

// roomy makes a change, if need be when there is room in the log again.
func (e *engines) roomy(ctx context.Context, change func() error) error {
	for {
		err := change()
		if !errors.Is(err, shardlog.ErrFull) {
			return err
		}
		if _, err := e.log.Cut(ctx); err != nil { // which empties it
			return err
		}
	}
}

// compare expects the engines to hold exactly the content.
func (e *engines) compare(ctx context.Context, c *content) error {
	for i := range shards {
		next, left := record.Index(1), len(c.records[i])
		for {
			p, err := e.log.Read(ctx, shard(i), next, shardlog.Limit{Records: 1000, Bytes: 1 << 20})
			if errors.Is(err, shardlog.ErrNotFound) && left == 0 {
				break
			}
			if err != nil {
				return err
			}
			for _, r := range p.Records {
				if c.records[i][r.Index] != string(r.Data) {
					return fmt.Errorf("shard %d: record %d is %.20q, want %.20q", i, r.Index, r.Data, c.records[i][r.Index])
				}
				left--
			}
			n := len(p.Records)
			next = p.Next
			p.Release()
			if n == 0 {
				break
			}
		}
		if left != 0 {
			return fmt.Errorf("shard %d: %d of %d records are missing", i, left, len(c.records[i]))
		}
	}
	rows, err := e.rows.List(ctx, "", "", 1<<20)
	if err != nil {
		return err
	}
	if len(rows) != len(c.rows) {
		return fmt.Errorf("%d rows, want %d", len(rows), len(c.rows))
	}
	for _, r := range rows {
		if c.rows[r.Key] != string(r.Value) {
			return fmt.Errorf("row %s is %q, want %q", r.Key, r.Value, c.rows[r.Key])
		}
	}
	return nil
}

// backedUp starts engines on a disk in memory, fills them, and returns a backup and what is in it; and
// what was acknowledged in all, some of it after the backup.
func backedUp(t testing.TB) (archive []byte, in, all *content) {
	t.Helper()
	ctx := t.Context()
	e, err := start(ctx, memfs.New())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	all = newContent()
	if err := e.fill(ctx, all, rng, 300); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := send(ctx, e.Source, &out); err != nil {
		t.Fatal(err)
	}
	in = all.clone()
	if err := errors.Join(e.fill(ctx, all, rng, 100), e.stop()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), in, all
}

func (c *content) clone() *content {
	out := newContent()
	out.add(c)
	return out
}

// add adds what was given later.
func (c *content) add(later *content) {
	for i := range shards {
		maps.Copy(c.records[i], later.records[i])
	}
	maps.Copy(c.rows, later.rows)
	c.issued = later.issued
}

// send takes a backup.
func send(ctx context.Context, src Source, to io.Writer) error {
	b, err := Begin(ctx, src)
	if err != nil {
		return err
	}
	return errors.Join(b.Write(ctx, to), b.Close())
}
