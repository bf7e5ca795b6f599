package shardlog

import (
	"context"
	"fmt"
	"slices"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
)

// Open implements Registry. The logs of one call must fit one group: some 80,000 of them in 8 MiB.
func (s *Store) Open(ctx context.Context, ids []ShardID, keep Retention) error {
	keep.Age = max(keep.Age, 0)
	ids = slices.Clone(ids)
	return s.control(ctx, true, func(c *committer) error {
		need := chunk.GroupHeaderSize
		for _, id := range ids {
			if c.lookup(id) != nil || c.opening[id] != nil {
				continue
			}
			c.opening[id] = c.newShard(id, keep)
			need += stateSize(&control{}, 0)
		}
		if need > s.maxGroup {
			clear(c.opening)
			return fmt.Errorf("open %d shard logs: %w", len(ids), lane.ErrTooLarge)
		}
		for _, sh := range c.opening {
			c.stageState(sh)
		}
		c.draft.controls = append(c.draft.controls, c.current)
		return nil
	})
}

// newShard returns a shard to be opened. Positions that journals count are nobody's but theirs: a
// restore takes them back, and a journal begins at 1.
func (c *committer) newShard(id ShardID, keep Retention) *shard {
	sh := newShard(id, keep)
	if c.tier != nil && keep.Age > 0 {
		sh.mu.next, sh.mu.ctl.first = c.tier.floor, c.tier.floor
	}
	return sh
}

// SetRetention implements Registry. If one of the logs does not exist nothing changes and the
// error is ErrNotFound.
func (s *Store) SetRetention(ctx context.Context, ids []ShardID, keep Retention) error {
	keep.Age = max(keep.Age, 0)
	ids = slices.Clone(ids)
	for _, id := range ids {
		s.warm(ctx, id)
	}
	return s.control(ctx, false, func(c *committer) error {
		for _, id := range ids {
			if c.lookup(id) == nil {
				return ErrNotFound
			}
		}
		for _, id := range ids {
			err := c.change(id, func(_ *shard, ctl *control) bool {
				was := ctl.keep
				ctl.keep = keep
				return was != keep
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Hold implements Registry.
func (s *Store) Hold(ctx context.Context, id ShardID, name string, from record.Index) error {
	s.warm(ctx, id)
	return s.control(ctx, false, func(c *committer) error {
		return c.change(id, func(_ *shard, ctl *control) bool {
			i := slices.IndexFunc(ctl.holds, func(h hold) bool { return h.name == name })
			if i >= 0 && ctl.holds[i].from == from {
				return false
			}
			ctl.holds = slices.Clone(ctl.holds)
			if i < 0 {
				ctl.holds = append(ctl.holds, hold{name, from})
			} else {
				ctl.holds[i].from = from
			}
			return true
		})
	})
}

// Release implements Registry.
func (s *Store) Release(ctx context.Context, id ShardID, name string) error {
	s.warm(ctx, id)
	return s.control(ctx, false, func(c *committer) error {
		return c.change(id, func(_ *shard, ctl *control) bool {
			i := slices.IndexFunc(ctl.holds, func(h hold) bool { return h.name == name })
			if i >= 0 {
				ctl.holds = slices.Delete(slices.Clone(ctl.holds), i, i+1)
			}
			return i >= 0
		})
	})
}

// Drop implements Registry.
func (s *Store) Drop(ctx context.Context, ids []ShardID) error {
	ids = slices.Clone(ids)
	return s.control(ctx, true, func(c *committer) error {
		for _, id := range ids {
			if sh := c.lookup(id); sh != nil {
				c.stageDrop(sh)
			}
		}
		return nil
	})
}
