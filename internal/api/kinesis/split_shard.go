package kinesis

// Compatible: every parameter and error; puts go on while the stream is UPDATING.
// Differs: with the default transition delay of 0 the stream is ACTIVE again when the call returns.
// Test: internal/api/kinesis/testdata/split_shard.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) splitShard(ctx context.Context, call *shape.Call, in *kinesis.SplitShardInput) error {
	return answer(s.streams.SplitShard(ctx, scope(call), ref(in.StreamName, in.StreamARN), in.ShardToSplit, in.NewStartingHashKey))
}
