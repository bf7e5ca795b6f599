package kinesis

// Compatible: every parameter and error for streams and consumers; {} where there is no policy.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/resource_policy.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) getResourcePolicy(_ context.Context, call *shape.Call, in *kinesis.GetResourcePolicyInput, out *kinesis.GetResourcePolicyOutput) error {
	document, err := s.streams.Policy(scope(call), in.ResourceARN)
	if err != nil {
		return answer(err)
	}
	if out.Policy = document; document == "" {
		out.Policy = "{}"
	}
	return nil
}
