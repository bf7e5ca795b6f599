package kinesis

// Compatible: every parameter and error; tags in the order of their keys.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/list_tags_for_stream.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) listTagsForStream(_ context.Context, call *shape.Call, in *kinesis.ListTagsForStreamInput, out *kinesis.ListTagsForStreamOutput) error {
	page, err := s.streams.ListTags(scope(call), ref(in.StreamName, in.StreamARN), in.ExclusiveStartTagKey.Value, int(in.Limit.Value))
	if err != nil {
		return answer(err)
	}
	out.Tags = make([]kinesis.Tag, len(page.Tags))
	for i, t := range page.Tags {
		out.Tags[i] = kinesis.Tag{Key: t.Key, Value: shape.Some(t.Value)}
	}
	out.HasMoreTags = page.HasMoreTags
	return nil
}
