package kinesis

// Compatible: every parameter and error for streams and consumers; keys that are not there are no error.
// Differs: a channel's ARN is ResourceNotFoundException while there are no channels.
// Test: internal/api/kinesis/testdata/tag_resource.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) untagResource(ctx context.Context, call *shape.Call, in *kinesis.UntagResourceInput) error {
	return answer(s.streams.UntagResource(ctx, scope(call), in.ResourceARN, in.TagKeys))
}
