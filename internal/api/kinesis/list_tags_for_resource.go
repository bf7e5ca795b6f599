package kinesis

// Compatible: every parameter and error for streams and consumers; tags in the order of their keys.
// Differs: a channel's ARN is ResourceNotFoundException while there are no channels.
// Test: internal/api/kinesis/testdata/tag_resource.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) listTagsForResource(_ context.Context, call *shape.Call, in *kinesis.ListTagsForResourceInput, out *kinesis.ListTagsForResourceOutput) error {
	tags, err := s.streams.ResourceTags(scope(call), in.ResourceARN)
	if err != nil {
		return answer(err)
	}
	out.Tags = make([]kinesis.Tag, len(tags))
	for i, t := range tags {
		out.Tags[i] = kinesis.Tag{Key: t.Key, Value: shape.Some(t.Value)}
	}
	return nil
}
