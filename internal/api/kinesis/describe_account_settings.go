package kinesis

// Compatible: every member; a commitment that was disabled early ends by itself.
// Differs: nobody pays, so a commitment has no effect but that warm throughput may be asked for.
// Test: internal/api/kinesis/testdata/account_settings.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) describeAccountSettings(ctx context.Context, call *shape.Call, _ *kinesis.DescribeAccountSettingsInput, out *kinesis.DescribeAccountSettingsOutput) error {
	c, err := s.streams.AccountSettings(ctx, scope(call))
	if err != nil {
		return answer(err)
	}
	out.MinimumThroughputBillingCommitment = commitment(c)
	return nil
}

func commitment(c stream.Commitment) *kinesis.MinimumThroughputBillingCommitmentOutput {
	at := func(m record.Millis) shape.Opt[shape.Timestamp] {
		return shape.Opt[shape.Timestamp]{Value: shape.Timestamp(m), Set: m != 0}
	}
	return &kinesis.MinimumThroughputBillingCommitmentOutput{
		Status:    kinesis.MinimumThroughputBillingCommitmentOutputStatus(c.Status),
		StartedAt: at(c.Started), EndedAt: at(c.Ended), EarliestAllowedEndAt: at(c.EarliestEnd),
	}
}
