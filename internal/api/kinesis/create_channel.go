package kinesis

// Compatible: every constraint of the input.
// Differs: no channel can be made: the answer is InvalidArgumentException, which says so. Nothing here delivers
// records to S3 yet.
// Test: internal/api/kinesis/testdata/channels.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) createChannel(_ context.Context, _ *shape.Call, in *kinesis.CreateChannelInput, _ *kinesis.CreateChannelOutput) error {
	return answer(s.streams.CreateChannel(in.ChannelName))
}
