package kinesis

// Compatible: every parameter and error for streams and consumers; documents up to 20 KiB in AWS's policy language.
// Differs: actions that AWS allows in no resource policy are taken, and grant what they say.
// Test: internal/api/kinesis/testdata/resource_policy.txt, TestCrossAccount

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) putResourcePolicy(ctx context.Context, call *shape.Call, in *kinesis.PutResourcePolicyInput) error {
	if err := s.check(in.Policy); err != nil {
		return kinesis.InvalidArgumentException("%v", err)
	}
	return answer(s.streams.PutPolicy(ctx, scope(call), in.ResourceARN, in.Policy))
}
