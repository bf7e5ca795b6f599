package check

import (
	"context"

	coordinatordisk "github.com/headrace/headrace/internal/coordinator/disk"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// coordinator recovers the coordinator's rows from the newest snapshot and the commands behind it,
// as a server would. It is for directories in which nothing else is wrong.
func (c *checker) coordinator(ctx context.Context, snapshots *dir.Checked, logs shardlog.Checked) error {
	held := &heldLog{bounds: logs.Journal, data: logs.Commands}
	if held.bounds.Next == 0 {
		if logs.Shards > 0 { // a server opens it before any other
			c.add(walDir, 0, "there are shards, but not the coordinator's log")
			return nil
		}
		held.bounds = shardlog.Bounds{First: 1, Next: 1}
	}
	rows, err := coordinatordisk.Open(ctx, coordinatordisk.Config{
		Log: held, Registry: held, Bucket: c.seal.Bucket(snapshots, state), Shard: coordinatorShard,
	})
	if err == nil {
		return rows.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	file, offset := state, int64(0)
	const all = 1 << 20
	if found, lerr := snapshots.List(ctx, "", "", all); lerr == nil && len(found) > 0 {
		file, offset = snapshots.Place(found[len(found)-1].Key, 0)
	}
	c.add(file, offset, err.Error())
	return nil
}

// heldLog is the log of one shard as it was read: what has to be open for a journal to be recovered.
type heldLog struct {
	bounds shardlog.Bounds
	data   map[record.Index][]byte
}

// Read implements shardlog.Log.
func (l *heldLog) Read(_ context.Context, _ shardlog.ShardID, from record.Index, limit shardlog.Limit) (*shardlog.Page, error) {
	p := &shardlog.Page{Next: max(from, l.bounds.First), Bounds: l.bounds}
	for bytes := 0; p.Next < l.bounds.Next && len(p.Records) < limit.Records && bytes < limit.Bytes; p.Next++ {
		data, ok := l.data[p.Next]
		if !ok {
			break
		}
		bytes += len(data)
		p.Records = append(p.Records, record.Record{Index: p.Next, Entry: record.Entry{Data: data}})
	}
	return p, nil
}

// Bounds implements shardlog.Log.
func (l *heldLog) Bounds(context.Context, shardlog.ShardID) (shardlog.Bounds, error) {
	return l.bounds, nil
}

// Open implements shardlog.Registry: the log is open.
func (l *heldLog) Open(context.Context, []shardlog.ShardID, shardlog.Retention) error { return nil }

// Nothing else of a log is asked for while a journal recovers.

// Append implements shardlog.Log.
func (l *heldLog) Append(context.Context, []shardlog.Batch) ([]shardlog.Result, error) {
	return nil, errReadOnly
}

// Wait implements shardlog.Log.
func (l *heldLog) Wait(context.Context, shardlog.ShardID, record.Index) error { return errReadOnly }

// Seal implements shardlog.Log.
func (l *heldLog) Seal(context.Context, shardlog.ShardID) (shardlog.Bounds, error) {
	return shardlog.Bounds{}, errReadOnly
}

// SeekTime implements shardlog.Log.
func (l *heldLog) SeekTime(context.Context, shardlog.ShardID, record.Millis) (record.Index, error) {
	return 0, errReadOnly
}

// TrimTo implements shardlog.Log.
func (l *heldLog) TrimTo(context.Context, shardlog.ShardID, record.Index) error { return errReadOnly }

// SetRetention implements shardlog.Registry.
func (l *heldLog) SetRetention(context.Context, []shardlog.ShardID, shardlog.Retention) error {
	return errReadOnly
}

// Hold implements shardlog.Registry.
func (l *heldLog) Hold(context.Context, shardlog.ShardID, string, record.Index) error {
	return errReadOnly
}

// Release implements shardlog.Registry.
func (l *heldLog) Release(context.Context, shardlog.ShardID, string) error { return errReadOnly }

// Drop implements shardlog.Registry.
func (l *heldLog) Drop(context.Context, []shardlog.ShardID) error { return errReadOnly }
