package kinesis

// Compatible: every parameter and error; older records are out of reach at once.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/decrease_stream_retention_period.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) decreaseStreamRetentionPeriod(ctx context.Context, call *shape.Call, in *kinesis.DecreaseStreamRetentionPeriodInput) error {
	return answer(s.streams.DecreaseRetention(ctx, scope(call), ref(in.StreamName, in.StreamARN), int(in.RetentionPeriodHours)))
}
