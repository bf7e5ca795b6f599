package kinesis

// Compatible: every parameter and error; 100 streams a page unless Limit says otherwise.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/list_streams.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) listStreams(_ context.Context, call *shape.Call, in *kinesis.ListStreamsInput, out *kinesis.ListStreamsOutput) error {
	page, err := s.streams.ListStreams(scope(call), stream.ListInput{
		After: in.ExclusiveStartStreamName.Value,
		Token: in.NextToken.Value,
		Limit: int(in.Limit.Value),
	})
	if err != nil {
		return answer(err)
	}
	out.StreamSummaries = make([]kinesis.StreamSummary, 0, len(page.Streams))
	for _, d := range page.Streams {
		out.StreamNames = append(out.StreamNames, d.Name)
		out.StreamSummaries = append(out.StreamSummaries, kinesis.StreamSummary{
			StreamName:              d.Name,
			StreamARN:               d.ARN,
			StreamStatus:            kinesis.StreamStatus(d.Status),
			StreamModeDetails:       &kinesis.StreamModeDetails{StreamMode: kinesis.StreamMode(d.Mode)},
			StreamCreationTimestamp: shape.Some(shape.Timestamp(d.Created)),
		})
	}
	out.HasMoreStreams = page.Token != ""
	out.NextToken = some(page.Token)
	return nil
}
