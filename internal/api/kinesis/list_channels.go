package kinesis

// Compatible: every constraint of the input; an empty list.
// Differs: there are no channels, as none can be made; streams of StreamFilter are not looked up.
// Test: internal/api/kinesis/testdata/channels.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) listChannels(_ context.Context, _ *shape.Call, in *kinesis.ListChannelsInput, out *kinesis.ListChannelsOutput) error {
	out.ChannelSummaries = []kinesis.ChannelSummary{}
	return answer(s.streams.ListChannels(in.NextToken.Value))
}
