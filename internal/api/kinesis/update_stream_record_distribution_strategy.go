package kinesis

// Compatible: every parameter and error; AUTO places records evenly and takes records without partition keys.
// Differs: USER_PARTITION_KEY is taken for provisioned streams too, and changes nothing.
// Test: internal/api/kinesis/testdata/record_distribution_strategy.txt, TestAutoSpreadsEvenly

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) updateStreamRecordDistributionStrategy(ctx context.Context, call *shape.Call, in *kinesis.UpdateStreamRecordDistributionStrategyInput) error {
	return answer(s.streams.UpdateStrategy(ctx, scope(call), stream.Ref{ARN: in.StreamARN}, stream.Strategy(in.RecordDistributionStrategy)))
}
