package kinesis

// Compatible: by ConsumerARN, or by StreamARN and ConsumerName; ends the consumer's subscriptions.
// Differs: with the default transition delay of 0 the consumer is gone when the call returns.
// Test: internal/api/kinesis/testdata/deregister_stream_consumer.txt, TestSubscriptionsEnd

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) deregisterStreamConsumer(ctx context.Context, call *shape.Call, in *kinesis.DeregisterStreamConsumerInput) error {
	return answer(s.streams.DeregisterConsumer(ctx, scope(call), consumerRef(in.ConsumerARN, in.StreamARN, in.ConsumerName)))
}
