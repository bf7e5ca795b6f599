package stream

import (
	"context"
	"slices"

	"github.com/headrace/headrace/internal/stream/row"
)

// ShardMetric is a metric that each shard of a stream has of its own when it is turned on, as AWS spells it.
type ShardMetric = row.ShardMetric

// AllShardMetrics stands for all of them where some are named.
const AllShardMetrics ShardMetric = "ALL"

// shardMetrics returns all there are, in the order in which AWS lists them.
func shardMetrics() []ShardMetric {
	return []ShardMetric{
		"IncomingBytes", "OutgoingRecords", "IteratorAgeMilliseconds", "IncomingRecords",
		"ReadProvisionedThroughputExceeded", "WriteProvisionedThroughputExceeded", "OutgoingBytes",
	}
}

// Monitoring is what EnableMonitoring and DisableMonitoring tell of a stream: the metrics that were on
// before the call, and those that are on after it.
type Monitoring struct {
	Name, ARN        string
	Current, Desired []ShardMetric
}

// EnableMonitoring turns shard-level metrics of a stream on, besides those that are. The stream is UPDATING
// for a while, unless they all are on already.
func (s *Streams) EnableMonitoring(ctx context.Context, sc Scope, ref Ref, names []ShardMetric) (Monitoring, error) {
	return s.setMonitoring(ctx, sc, ref, func(m ShardMetric, on bool) bool { return on || among(names, m) })
}

// DisableMonitoring turns shard-level metrics of a stream off.
func (s *Streams) DisableMonitoring(ctx context.Context, sc Scope, ref Ref, names []ShardMetric) (Monitoring, error) {
	return s.setMonitoring(ctx, sc, ref, func(m ShardMetric, on bool) bool { return on && !among(names, m) })
}

// among reports whether names have a metric.
func among(names []ShardMetric, m ShardMetric) bool {
	return slices.Contains(names, m) || slices.Contains(names, AllShardMetrics)
}

// setMonitoring turns on the metrics that wanted picks, which is told what is on now, and the others off.
func (s *Streams) setMonitoring(ctx context.Context, sc Scope, ref Ref, wanted func(m ShardMetric, on bool) bool) (Monitoring, error) {
	e, _, err := s.find(sc, ref)
	if err != nil {
		return Monitoring{}, err
	}
	out := Monitoring{Name: e.name, ARN: sc.arn(e.name)}
	err = s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		out.Current, out.Desired = row.Metrics, nil
		for _, m := range shardMetrics() {
			if wanted(m, slices.Contains(row.Metrics, m)) {
				out.Desired = append(out.Desired, m)
			}
		}
		if err := v.idle(sc); err != nil {
			return err
		}
		if slices.Equal(out.Current, out.Desired) {
			return errUnchanged
		}
		row.Metrics, row.Plan = out.Desired, nil
		return nil
	})
	return out, err
}

// monitored tells what counts which metrics each of which shards has now, if any has or had some.
// REQUIRES: rows held.
func (s *Streams) monitored(e *entry, old, v *view) {
	f := s.cfg.Events.Monitored
	if f == nil || len(v.row.Metrics) == 0 && (old == nil || len(old.row.Metrics) == 0) {
		return
	}
	shards := make([]int32, len(v.shards))
	for i, sh := range v.shards {
		shards[i] = sh.Number
	}
	f(e.scope, e.name, v.row.Metrics, shards)
}
