package kinesis

// Compatible: every parameter and error; any state; shards, records, tags and consumers go with the stream.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/delete_stream.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) deleteStream(ctx context.Context, call *shape.Call, in *kinesis.DeleteStreamInput) error {
	return answer(s.streams.DeleteStream(ctx, scope(call), ref(in.StreamName, in.StreamARN), in.EnforceConsumerDeletion.Value))
}
