package kinesis

// Compatible: every parameter; 100 consumers a page unless MaxResults says otherwise; tokens that expire
// after 300 s.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/list_stream_consumers.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) listStreamConsumers(_ context.Context, call *shape.Call, in *kinesis.ListStreamConsumersInput, out *kinesis.ListStreamConsumersOutput) error {
	page, err := s.streams.ListConsumers(scope(call), stream.ListConsumersInput{
		StreamARN: in.StreamARN, Token: in.NextToken.Value, MaxResults: int(in.MaxResults.Value),
		Created: record.Millis(in.StreamCreationTimestamp.Value), HasCreated: in.StreamCreationTimestamp.Set,
	})
	if err != nil {
		return answer(err)
	}
	out.Consumers = make([]kinesis.Consumer, len(page.Consumers)) // an empty list stays a list
	for i, c := range page.Consumers {
		out.Consumers[i] = consumer(c)
	}
	out.NextToken = some(page.Token)
	return nil
}
