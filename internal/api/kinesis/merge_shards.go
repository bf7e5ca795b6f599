package kinesis

// Compatible: every parameter and error, the order of the two shards included; puts go on while the stream is UPDATING.
// Differs: with the default transition delay of 0 the stream is ACTIVE again when the call returns.
// Test: internal/api/kinesis/testdata/merge_shards.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) mergeShards(ctx context.Context, call *shape.Call, in *kinesis.MergeShardsInput) error {
	return answer(s.streams.MergeShards(ctx, scope(call), ref(in.StreamName, in.StreamARN), in.ShardToMerge, in.AdjacentShardToMerge))
}
