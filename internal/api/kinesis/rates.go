package kinesis

import (
	"context"

	"github.com/headrace/headrace/internal/wire/shape"
)

// rate is how many calls of an operation AWS takes in a second: of an account in a region, or of each stream.
type rate struct {
	calls     int
	perStream bool
}

// rateOf returns the rate of an operation, 0 for those that have none: what shards take and give, and how many
// iterators and subscriptions, is bounded by shard.
func rateOf(operation string) rate {
	switch operation {
	case "PutRecord", "PutRecords", "GetRecords", "GetShardIterator", "SubscribeToShard":
		return rate{}
	case "DescribeLimits":
		return rate{calls: 1}
	case "DescribeStream":
		return rate{calls: 10}
	case "UpdateShardCount":
		return rate{calls: 10}
	case "DescribeStreamSummary":
		return rate{calls: 20}
	case "DescribeStreamConsumer":
		return rate{calls: 20, perStream: true}
	case "ListShards":
		return rate{calls: 1000, perStream: true}
	case "RegisterStreamConsumer", "DeregisterStreamConsumer", "ListStreamConsumers",
		"IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod":
		return rate{calls: 5, perStream: true}
	}
	return rate{calls: 5}
}

// bounded makes calls of an operation keep to its rate, where AWS's limits hold. What a call lacks is told first: a call that AWS would
// not have understood is not counted.
func (s *Service) bounded(o shape.Operation) shape.Operation {
	r, handle := rateOf(o.Name), o.Handle
	if r.calls == 0 {
		return o
	}
	o.Handle = func(ctx context.Context, call *shape.Call, in, out shape.Shape) error {
		if !s.streams.Limited() {
			return handle(ctx, call, in, out)
		}
		resource := ""
		if r.perStream {
			resource = s.resource(call, in)
		}
		if err := s.streams.Admit(scope(call), o.Name, resource, r.calls); err != nil {
			return answer(err)
		}
		return handle(ctx, call, in, out)
	}
	return o
}
