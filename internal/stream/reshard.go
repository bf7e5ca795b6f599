package stream

import (
	"context"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/quota"
)

// maxShards is the most open shards a stream may have.
const maxShards = 10_000

// SplitShard splits a shard in two, the second of which starts at newStart, in decimal. The stream
// is UPDATING until the children are open.
func (s *Streams) SplitShard(ctx context.Context, sc Scope, ref Ref, shardID, newStart string) error {
	e, numbers, err := s.findShards(sc, ref, shardID)
	if err != nil {
		return err
	}
	release, err := s.reserve(sc, quota.Usage{Open: 1, Held: 2})
	limited := err
	if err == nil {
		defer release()
	}
	return s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		sh, err := s.reshardable(sc, v, numbers[0])
		if err != nil {
			return err
		}
		at, err := record.ParseHashKey(newStart)
		if err != nil || at.Compare(sh.Hash.Start) <= 0 || at == sh.Hash.Start.Next() || at.Compare(sh.Hash.End) >= 0 {
			return refuse(InvalidArgument, "NewStartingHashKey %s used in SplitShard() on shard %s in stream %s "+
				"under account %s is not both greater than one plus the shard's StartingHashKey %s and "+
				"less than the shard's EndingHashKey %s.", newStart, sh.ID, e.name, sc.Account, sh.Hash.Start, sh.Hash.End)
		}
		if limited != nil {
			return limited
		}
		row.Do(keyspace.Split(sh.Place(), at, row.NextShard))
		return nil
	})
}

// MergeShards merges two adjacent shards; the second must lie right above the first. The stream is
// UPDATING until the child is open.
func (s *Streams) MergeShards(ctx context.Context, sc Scope, ref Ref, shardID, adjacentID string) error {
	e, numbers, err := s.findShards(sc, ref, shardID, adjacentID)
	if err != nil {
		return err
	}
	release, err := s.reserve(sc, quota.Usage{Held: 1})
	limited := err
	if err == nil {
		defer release()
	}
	return s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		a, err := s.reshardable(sc, v, numbers[0])
		if err != nil {
			return err
		}
		b, err := s.reshardable(sc, v, numbers[1])
		if err != nil {
			return err
		}
		if a.Hash.End == record.MaxHashKey || a.Hash.End.Next() != b.Hash.Start {
			return refuse(InvalidArgument, "Shards %s and %s in stream %s under account %s "+
				"are not an adjacent pair of shards eligible for merging", a.ID, b.ID, e.name, sc.Account)
		}
		if limited != nil {
			return limited
		}
		row.Do(keyspace.Merge(a.Place(), b.Place(), row.NextShard))
		return nil
	})
}

// findShards is find that reads shard ids too. A text that is no shard id is told before a stream
// that is not there.
func (s *Streams) findShards(sc Scope, ref Ref, ids ...string) (*entry, []int32, error) {
	e, _, err := s.find(sc, ref)
	numbers := make([]int32, len(ids))
	for i, id := range ids {
		var ok bool
		if numbers[i], ok = ParseShardID(id); ok {
			continue
		}
		if err != nil {
			return nil, nil, iteratorNotFound(sc, ref, id, 0, false, err)
		}
		return nil, nil, noSuchShard(sc, e.name, id)
	}
	return e, numbers, err
}

// reshardable returns a shard of a stream if it can be split or merged now.
func (s *Streams) reshardable(sc Scope, v *view, number int32) (*shard, error) {
	if err := v.idle(sc); err != nil {
		return nil, err
	}
	if v.row.Mode == OnDemand {
		return nil, onDemandRefused(sc, v.row.Name)
	}
	sh := v.shard(number, s.now())
	if sh == nil {
		return nil, noSuchShard(sc, v.row.Name, ShardID(number))
	}
	if sh.Closed != 0 {
		return nil, refuse(InvalidArgument, "Shard %s in stream %s under account %s has already been merged or split, "+
			"and thus is not eligible for merging or splitting.", sh.ID, v.row.Name, sc.Account)
	}
	return sh, nil
}

// idle returns InUse unless the stream is ACTIVE.
func (v *view) idle(sc Scope) error {
	if v.row.Status != Active {
		return notActive(sc, v.row.Name, v.row.Status)
	}
	return nil
}

// ShardCount is the outcome of UpdateShardCount.
type ShardCount struct {
	Name, ARN string
	// Current is the number of open shards when the update was accepted.
	Current, Target int
}

// UpdateShardCount brings a provisioned stream to target uniform shards, at most twice and at least
// half as many as are open, by splitting and merging. The stream is UPDATING until it is done.
func (s *Streams) UpdateShardCount(ctx context.Context, sc Scope, ref Ref, target int) (ShardCount, error) {
	e, v, err := s.find(sc, ref)
	if err != nil {
		return ShardCount{}, err
	}
	more := max(0, min(target, maxShards)-len(v.open))
	release, err := s.reserve(sc, quota.Usage{Open: more, Held: more})
	limited := err
	if err == nil {
		defer release()
	}
	out := ShardCount{Name: e.name, ARN: sc.arn(e.name), Target: target}
	err = s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		if err := v.idle(sc); err != nil {
			return err
		}
		if v.row.Mode == OnDemand {
			return onDemandRefused(sc, e.name)
		}
		out.Current = len(v.open)
		if err := scalable(out.Current, target); err != nil {
			return err
		}
		if limited != nil {
			return limited
		}
		if err := s.daily(e.name, sc, "UpdateShardCount", &row.Scalings, maxScalings); err != nil {
			return err
		}
		row.Plan = &plan{Target: target}
		return nil
	})
	return out, err
}

// scalable returns AWS's objection to scaling from one shard count to another in one call.
func scalable(current, target int) error {
	switch {
	case target > maxShards:
		return refuse(LimitExceeded, "Target shard count or number of open shards cannot be greater than %d. "+
			"Current open shard count: %d, Target shard count: %d", maxShards, current, target)
	case target > 2*current:
		return refuse(LimitExceeded, "UpdateShardCount cannot scale up over double your current open shard count. "+
			"Current open shard count: %d Target shard count: %d", current, target)
	case 2*target < current:
		return refuse(LimitExceeded, "UpdateShardCount cannot scale down below half your current open shard count. "+
			"Current open shard count: %d Target shard count: %d", current, target)
	}
	return nil
}
