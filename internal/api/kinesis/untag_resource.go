package kinesis

// Compatible: every parameter and error for streams; keys that are not there are no error.
// Differs: a channel's ARN is ResourceNotFoundException while there are no channels, and a consumer's while there
// are no consumers to register.
// Test: internal/api/kinesis/testdata/tag_resource.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) untagResource(ctx context.Context, call *shape.Call, in *kinesis.UntagResourceInput) error {
	return answer(s.streams.UntagResource(ctx, scope(call), in.ResourceARN, in.TagKeys))
}
