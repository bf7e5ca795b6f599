package kinesis

// Compatible: every parameter and error.
// Differs: with the default transition delay of 0 the stream is ACTIVE when the call returns.
// Test: internal/api/kinesis/testdata/enhanced_monitoring.txt, TestShardMetrics

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) disableEnhancedMonitoring(ctx context.Context, call *shape.Call, in *kinesis.DisableEnhancedMonitoringInput, out *kinesis.EnhancedMonitoringOutput) error {
	m, err := s.streams.DisableMonitoring(ctx, scope(call), ref(in.StreamName, in.StreamARN), named[stream.ShardMetric](in.ShardLevelMetrics))
	if err != nil {
		return answer(err)
	}
	describeMonitoring(m, out)
	return nil
}
