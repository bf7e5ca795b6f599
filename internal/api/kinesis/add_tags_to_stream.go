package kinesis

// Compatible: every parameter and error; at most 50 tags a stream; aws: keys refused.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/add_tags_to_stream.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) addTagsToStream(ctx context.Context, call *shape.Call, in *kinesis.AddTagsToStreamInput) error {
	return answer(s.streams.AddTags(ctx, scope(call), ref(in.StreamName, in.StreamARN), in.Tags))
}
