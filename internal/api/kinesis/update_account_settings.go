package kinesis

// Compatible: every parameter and error; a commitment lasts a day at least.
// Differs: nobody pays, so a commitment has no effect but that warm throughput may be asked for.
// Test: internal/api/kinesis/testdata/account_settings.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) updateAccountSettings(ctx context.Context, call *shape.Call, in *kinesis.UpdateAccountSettingsInput, out *kinesis.UpdateAccountSettingsOutput) error {
	enable := in.MinimumThroughputBillingCommitment.Status == kinesis.MinimumThroughputBillingCommitmentInputStatusEnabled
	c, err := s.streams.UpdateAccountSettings(ctx, scope(call), enable)
	if err != nil {
		return answer(err)
	}
	out.MinimumThroughputBillingCommitment = commitment(c)
	return nil
}
