package kinesis

// Compatible: every parameter, tags included; at most 20 consumers a stream, five of them CREATING.
// Differs: with the default transition delay of 0 the consumer is ACTIVE when the call returns, though the
// answer says CREATING as AWS's does.
// Test: internal/api/kinesis/testdata/register_stream_consumer.txt, TestConsumersSurvive

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) registerStreamConsumer(ctx context.Context, call *shape.Call, in *kinesis.RegisterStreamConsumerInput, out *kinesis.RegisterStreamConsumerOutput) error {
	c, err := s.streams.RegisterConsumer(ctx, scope(call), in.StreamARN, in.ConsumerName, in.Tags)
	if err != nil {
		return answer(err)
	}
	out.Consumer = consumer(c)
	return nil
}

// consumer turns the domain's consumer into the API's.
func consumer(c stream.Consumer) kinesis.Consumer {
	return kinesis.Consumer{
		ConsumerName: c.Name, ConsumerARN: c.ARN, ConsumerStatus: kinesis.ConsumerStatus(c.Status),
		ConsumerCreationTimestamp: shape.Timestamp(c.Created),
	}
}

// consumerRef is how a request names a consumer.
func consumerRef(arn, streamARN, name shape.Opt[string]) stream.ConsumerRef {
	return stream.ConsumerRef{ARN: arn.Value, StreamARN: streamARN.Value, Name: name.Value}
}
