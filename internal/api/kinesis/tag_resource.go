package kinesis

// Compatible: every parameter and error for streams and consumers; at most 50 tags a resource; aws: keys refused.
// Differs: a channel's ARN is ResourceNotFoundException while there are no channels.
// Test: internal/api/kinesis/testdata/tag_resource.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) tagResource(ctx context.Context, call *shape.Call, in *kinesis.TagResourceInput) error {
	return answer(s.streams.TagResource(ctx, scope(call), in.ResourceARN, in.Tags))
}
