package stream

import (
	"cmp"
	"slices"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/seal"
)

// view is what callers see of a stream at one moment. It is never changed, only superseded.
type view struct {
	row     *streamRow
	version coordinator.Version
	// gone says that the stream was deleted.
	gone bool
	// shards are those that callers may know of, by number; open are the open ones, by hash key, and
	// starts where those begin: the routing table.
	shards []*shard
	open   []*shard
	starts []record.HashKey
	// consumers are the stream's, by name, with those whose rows are about to go.
	consumers map[string]*consumer
	// keys are the stream's data keys.
	keys seal.Keys
	// superseded is closed when a later view has taken this one's place.
	superseded chan struct{}
}

// buildView makes a view of a stream from its rows, or reports that the rows do not fit together.
//
// A split or merge writes several rows one by one, and another node's rows arrive in any order, so
// the rows alone may show a parent closed and no child yet. Readers and writers must not see that:
// until every row of an op is there, its parents appear open and its children not at all. Writers
// who meet a sealed parent meanwhile wait for the next view.
func buildView(row *streamRow, version coordinator.Version, all map[int32]*shard) (*view, bool) {
	v := &view{row: row, version: version, superseded: make(chan struct{})}
	if row.Status == Creating {
		return v, true
	}
	shown := all
	if row.Plan != nil {
		shown = settle(row.Plan.Ops, all)
	}
	v.shards = make([]*shard, 0, len(shown))
	for _, s := range shown {
		v.shards = append(v.shards, s)
		if s.Closed == 0 {
			v.open = append(v.open, s)
		}
	}
	slices.SortFunc(v.shards, func(a, b *shard) int { return cmp.Compare(a.Number, b.Number) })
	slices.SortFunc(v.open, func(a, b *shard) int { return a.Hash.Start.Compare(b.Hash.Start) })
	v.starts = make([]record.HashKey, len(v.open))
	for i, s := range v.open {
		v.starts[i] = s.Hash.Start
	}
	return v, keyspace.IsPartition(places(v.open)) || row.Status == Deleting
}

// settle returns the shards as they appear while ops are under way.
func settle(ops []op, all map[int32]*shard) map[int32]*shard {
	shown := make(map[int32]*shard, len(all))
	for n, s := range all {
		shown[n] = s
	}
	for _, o := range ops {
		if complete(o, all) {
			continue
		}
		for _, c := range o.Children {
			delete(shown, c.Number)
		}
		for _, n := range o.Parents {
			if s := shown[n]; s != nil && s.Closed != 0 {
				open := *s
				open.Closed = 0
				shown[n] = &open
			}
		}
	}
	return shown
}

// complete reports whether every row of an op has been written.
func complete(o op, all map[int32]*shard) bool {
	for _, n := range o.Parents {
		if s := all[n]; s == nil || s.Closed == 0 {
			return false
		}
	}
	for _, c := range o.Children {
		if all[c.Number] == nil {
			return false
		}
	}
	return true
}

// shard returns the shard with a number unless it does not exist, or is closed and every record
// it took has expired by now.
func (v *view) shard(number int32, now record.Millis) *shard {
	i, ok := slices.BinarySearchFunc(v.shards, number, func(s *shard, n int32) int { return cmp.Compare(s.Number, n) })
	if !ok || v.expired(v.shards[i], now) {
		return nil
	}
	return v.shards[i]
}

// expired reports whether a closed shard has outlived its retention.
func (v *view) expired(s *shard, now record.Millis) bool {
	return s.Closed != 0 && (s.Closed+v.row.Retention() <= now || s.Closed <= v.row.Horizon)
}

// horizon returns the trim horizon: a time at which every shard then open is still known, and
// before which no record is left.
func (v *view) horizon(now record.Millis) record.Millis {
	return max(now-v.row.Retention(), v.row.Horizon, record.Millis(v.row.Created-backdate)*1000)
}

// after returns the shards with numbers above after that have not expired.
func (v *view) after(number int32, now record.Millis) []*shard {
	i, _ := slices.BinarySearchFunc(v.shards, int64(number)+1, func(s *shard, n int64) int { return cmp.Compare(int64(s.Number), n) })
	rest := v.shards[i:]
	for _, s := range rest {
		if v.expired(s, now) {
			return slices.DeleteFunc(slices.Clone(rest), func(s *shard) bool { return v.expired(s, now) })
		}
	}
	return rest
}

// children returns the shards that a closed shard became.
func (v *view) children(number int32) []*shard {
	var found []*shard
	for _, s := range v.shards {
		if s.Parent == number || s.Adjacent == number {
			found = append(found, s)
		}
	}
	return found
}

// deletesConsumers reports whether a consumer is on its way out.
func (v *view) deletesConsumers() bool {
	for _, c := range v.consumers {
		if c.Deleting {
			return true
		}
	}
	return false
}

// scope returns where the stream is.
func (v *view) scope() Scope { return Scope{v.row.Account, v.row.Region} }

// writable reports whether the stream takes records.
func (v *view) writable() bool {
	return !v.gone && (v.row.Status == Active || v.row.Status == Updating)
}
