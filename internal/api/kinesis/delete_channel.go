package kinesis

// Compatible: every constraint of the input; a channel that is not there is ResourceNotFoundException.
// Differs: there are no channels, as none can be made.
// Test: internal/api/kinesis/testdata/channels.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) deleteChannel(_ context.Context, _ *shape.Call, in *kinesis.DeleteChannelInput) error {
	return answer(s.streams.Channel(in.ChannelARN))
}
