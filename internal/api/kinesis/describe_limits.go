package kinesis

// Compatible: shard and on-demand stream counts and limits of the account in the region.
// Differs: limits are the configured caps; ChannelCount and ChannelCountLimit are absent while there are no channels.
// Test: internal/api/kinesis/testdata/describe_limits.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) describeLimits(_ context.Context, call *shape.Call, _ *kinesis.DescribeLimitsInput, out *kinesis.DescribeLimitsOutput) error {
	limits := s.streams.DescribeLimits(scope(call))
	out.ShardLimit = int32(limits.ShardLimit)
	out.OpenShardCount = int32(limits.OpenShardCount)
	out.OnDemandStreamCount = int32(limits.OnDemandStreamCount)
	out.OnDemandStreamCountLimit = int32(limits.OnDemandStreamCountLimit)
	return nil
}
