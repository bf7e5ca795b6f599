package stream

import (
	"github.com/headrace/headrace/internal/stream/hot"
)

// hotShards is for how many shards this node keeps in mind which keys they get most of: 9 MiB of memory.
const hotShards = 4096

// ShardHeat is what one open shard got lately.
type ShardHeat struct {
	ID           string
	HashKeyRange HashRange
	hot.Load
}

// Heat is what the open shards of a stream got in the last minute or so, by hash key range.
type Heat struct {
	Name, ARN string
	Shards    []ShardHeat
}

// Heat returns how the writes of a stream divide among its shards, and which partition keys have most of
// each: an estimate of what this node has stored since it started. A shard without recent writes has no keys,
// and so has each beyond a few thousand that are written to at a time.
func (s *Streams) Heat(sc Scope, ref Ref) (Heat, error) {
	e, v, err := s.find(sc, ref)
	if err != nil {
		return Heat{}, err
	}
	h := Heat{Name: e.name, ARN: sc.arn(e.name), Shards: make([]ShardHeat, len(v.open))}
	now := s.now()
	for i, sh := range v.open {
		load, _ := s.hot.Load(hot.Shard{Stream: e.id, Number: sh.Number}, now)
		h.Shards[i] = ShardHeat{ID: sh.ID, HashKeyRange: sh.Hash, Load: load}
	}
	return h, nil
}
