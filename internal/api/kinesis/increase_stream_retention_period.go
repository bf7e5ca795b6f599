package kinesis

// Compatible: every parameter and error; 24 to 8760 hours; the present value is no error, which Terraform relies on.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/increase_stream_retention_period.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) increaseStreamRetentionPeriod(ctx context.Context, call *shape.Call, in *kinesis.IncreaseStreamRetentionPeriodInput) error {
	return answer(s.streams.IncreaseRetention(ctx, scope(call), ref(in.StreamName, in.StreamARN), int(in.RetentionPeriodHours)))
}
