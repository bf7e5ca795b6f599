package kinesis

// Compatible: every parameter and error; keys the stream does not have are no error.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/remove_tags_from_stream.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) removeTagsFromStream(ctx context.Context, call *shape.Call, in *kinesis.RemoveTagsFromStreamInput) error {
	return answer(s.streams.RemoveTags(ctx, scope(call), ref(in.StreamName, in.StreamARN), in.TagKeys))
}
