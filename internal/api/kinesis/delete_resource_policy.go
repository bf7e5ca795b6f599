package kinesis

// Compatible: every parameter and error for streams and consumers; a policy that is not there is not found.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/resource_policy.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) deleteResourcePolicy(ctx context.Context, call *shape.Call, in *kinesis.DeleteResourcePolicyInput) error {
	return answer(s.streams.DeletePolicy(ctx, scope(call), in.ResourceARN))
}
