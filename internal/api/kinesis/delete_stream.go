package kinesis

// Compatible: every parameter and error; any state; shards, records and tags go with the stream.
// Differs: EnforceConsumerDeletion has no effect while there are no consumers to register.
// Test: internal/api/kinesis/testdata/delete_stream.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) deleteStream(ctx context.Context, call *shape.Call, in *kinesis.DeleteStreamInput) error {
	return answer(s.streams.DeleteStream(ctx, scope(call), ref(in.StreamName, in.StreamARN)))
}
