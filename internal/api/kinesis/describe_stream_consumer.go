package kinesis

// Compatible: by ConsumerARN, or by StreamARN and ConsumerName; every state.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/describe_stream_consumer.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) describeStreamConsumer(_ context.Context, call *shape.Call, in *kinesis.DescribeStreamConsumerInput, out *kinesis.DescribeStreamConsumerOutput) error {
	c, err := s.streams.DescribeConsumer(scope(call), consumerRef(in.ConsumerARN, in.StreamARN, in.ConsumerName))
	if err != nil {
		return answer(err)
	}
	out.ConsumerDescription = kinesis.ConsumerDescription{
		ConsumerName: c.Name, ConsumerARN: c.ARN, StreamARN: c.StreamARN, ConsumerStatus: kinesis.ConsumerStatus(c.Status),
		ConsumerCreationTimestamp: shape.Timestamp(c.Created),
	}
	return nil
}
