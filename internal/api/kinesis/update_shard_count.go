package kinesis

// Compatible: every parameter and error; at most double, at least half; uniform ranges by splits and
// merges, with the lineage AWS leaves behind.
// Differs: ten calls in 24 hours hold with limits.mode aws alone; with the default transition delay of 0 the
// stream is ACTIVE again when the call returns.
// Test: internal/api/kinesis/testdata/update_shard_count.txt, TestDailyLimits

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) updateShardCount(ctx context.Context, call *shape.Call, in *kinesis.UpdateShardCountInput, out *kinesis.UpdateShardCountOutput) error {
	count, err := s.streams.UpdateShardCount(ctx, scope(call), ref(in.StreamName, in.StreamARN), int(in.TargetShardCount))
	if err != nil {
		return answer(err)
	}
	out.StreamName, out.StreamARN = some(count.Name), some(count.ARN)
	out.CurrentShardCount = shape.Some(int32(count.Current))
	out.TargetShardCount = shape.Some(int32(count.Target))
	return nil
}
