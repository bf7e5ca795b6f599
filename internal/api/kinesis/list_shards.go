package kinesis

// Compatible: every parameter, all six shard filters, tokens that expire after 300 s.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/list_shards.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) listShards(_ context.Context, call *shape.Call, in *kinesis.ListShardsInput, out *kinesis.ListShardsOutput) error {
	list := stream.ListShardsInput{
		Ref:                   ref(in.StreamName, in.StreamARN),
		Token:                 in.NextToken.Value,
		MaxResults:            int(in.MaxResults.Value),
		ExclusiveStartShardID: in.ExclusiveStartShardId.Value,
		Created:               record.Millis(in.StreamCreationTimestamp.Value),
		HasCreated:            in.StreamCreationTimestamp.Set,
	}
	if f := in.ShardFilter; f != nil {
		list.Filter = &stream.ShardFilter{
			Type:         stream.FilterType(f.Type),
			ShardID:      f.ShardId.Value,
			Timestamp:    record.Millis(f.Timestamp.Value),
			HasTimestamp: f.Timestamp.Set,
		}
	}
	page, err := s.streams.ListShards(scope(call), list)
	if err != nil {
		return answer(err)
	}
	out.Shards = shards(page.Shards)
	out.NextToken = some(page.Token)
	return nil
}

// shards turns the domain's shards into the API's; an empty list stays a list.
func shards(from []stream.Shard) []kinesis.Shard {
	to := make([]kinesis.Shard, len(from))
	for i := range from {
		f := &from[i]
		to[i] = kinesis.Shard{
			ShardId:               f.ID,
			ParentShardId:         some(f.ParentID),
			AdjacentParentShardId: some(f.AdjacentParentID),
			HashKeyRange:          hashKeyRange(f.HashKeyRange),
			SequenceNumberRange:   kinesis.SequenceNumberRange{StartingSequenceNumber: f.Starting.String()},
		}
		if f.Closed {
			to[i].SequenceNumberRange.EndingSequenceNumber = shape.Some(f.Ending.String())
		}
	}
	return to
}

func hashKeyRange(r stream.HashRange) kinesis.HashKeyRange {
	return kinesis.HashKeyRange{StartingHashKey: r.Start.String(), EndingHashKey: r.End.String()}
}
