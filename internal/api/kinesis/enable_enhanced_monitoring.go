package kinesis

// Compatible: every parameter and error; the metrics are on /metrics, under names that Prometheus users expect.
// Differs: with the default transition delay of 0 the stream is ACTIVE when the call returns.
// Test: internal/api/kinesis/testdata/enhanced_monitoring.txt, TestShardMetrics

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) enableEnhancedMonitoring(ctx context.Context, call *shape.Call, in *kinesis.EnableEnhancedMonitoringInput, out *kinesis.EnhancedMonitoringOutput) error {
	m, err := s.streams.EnableMonitoring(ctx, scope(call), ref(in.StreamName, in.StreamARN), named[stream.ShardMetric](in.ShardLevelMetrics))
	if err != nil {
		return answer(err)
	}
	describeMonitoring(m, out)
	return nil
}

func describeMonitoring(m stream.Monitoring, out *kinesis.EnhancedMonitoringOutput) {
	out.StreamName, out.StreamARN = shape.Some(m.Name), shape.Some(m.ARN)
	out.CurrentShardLevelMetrics = named[kinesis.MetricsName](m.Current)
	out.DesiredShardLevelMetrics = named[kinesis.MetricsName](m.Desired)
}

// enhancedMonitoring is how AWS says which shard-level metrics are on: one set, perhaps empty.
func enhancedMonitoring(on []stream.ShardMetric) []kinesis.EnhancedMetrics {
	return []kinesis.EnhancedMetrics{{ShardLevelMetrics: named[kinesis.MetricsName](on)}}
}

// named turns names of one type into the same of another; the result is not nil.
func named[To, From ~string](names []From) []To {
	out := make([]To, len(names))
	for i, n := range names {
		out[i] = To(n)
	}
	return out
}
