package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/row"
	"github.com/headrace/headrace/internal/stream/token"
)

// HashRange is a run of hash keys, both ends included. The open shards of a stream always divide
// [0, 2^128-1] among themselves without gap or overlap.
type HashRange = keyspace.Range

// ShardID returns the id of the shard with a number: "shardId-" and at least twelve digits.
func ShardID(number int32) string { return keyspace.ShardID(number) }

// ParseShardID reads a shard id as leniently as AWS does; ok is false for what is none.
func ParseShardID(id string) (number int32, ok bool) { return keyspace.ParseShardID(id) }

// op is one split or merge. It carries everything that repeating it needs.
type op = keyspace.Op

// streamRow is the row of a stream, and plan what it is about to become.
type (
	streamRow = row.Stream
	plan      = row.Plan
)

// shard is one shard: what its row says, with the version that it was read at. It is never changed.
type shard struct {
	row.Shard
	version coordinator.Version
	// budget is what this node counts of the shard, whatever its row says; nil if nobody asks.
	budget *budget
}

// places returns where open shards lie.
func places(open []*shard) []keyspace.Shard {
	all := make([]keyspace.Shard, len(open))
	for i, s := range open {
		all[i] = s.Place()
	}
	return all
}

// log returns the name of the shard's log.
func (s *shard) log() shardlog.ShardID { return shardlog.ShardID{Stream: s.Stream, Shard: s.Number} }

// sealingKey returns the key of this installation, and makes it if this is the first node ever.
func sealingKey(ctx context.Context, c coordinator.Coordinator) (key [token.KeySize]byte, err error) {
	for {
		e, err := c.Get(ctx, row.SealingKey)
		switch {
		case err == nil && len(e.Value) == len(key):
			copy(key[:], e.Value)
			return key, nil
		case err == nil:
			return key, fmt.Errorf("read row %s: it has %d bytes, not %d", row.SealingKey, len(e.Value), len(key))
		case !errors.Is(err, coordinator.ErrNotFound):
			return key, fmt.Errorf("read row %s: %w", row.SealingKey, err)
		}
		rand.Read(key[:]) // never fails
		if _, err := c.Put(ctx, row.SealingKey, key[:], 0); err != nil && !errors.Is(err, coordinator.ErrConflict) {
			return key, fmt.Errorf("write row %s: %w", row.SealingKey, err)
		}
	}
}
