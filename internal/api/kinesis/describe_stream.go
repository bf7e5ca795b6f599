package kinesis

// Compatible: every parameter and error; shards in pages of at most 100 after ExclusiveStartShardId.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/describe_stream.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) describeStream(_ context.Context, call *shape.Call, in *kinesis.DescribeStreamInput, out *kinesis.DescribeStreamOutput) error {
	d, err := s.streams.DescribeStream(scope(call), ref(in.StreamName, in.StreamARN), in.ExclusiveStartShardId.Value, int(in.Limit.Value))
	if err != nil {
		return answer(err)
	}
	o := &out.StreamDescription
	o.StreamName, o.StreamARN = d.Name, d.ARN
	o.StreamStatus = kinesis.StreamStatus(d.Status)
	o.StreamModeDetails = &kinesis.StreamModeDetails{StreamMode: kinesis.StreamMode(d.Mode)}
	o.Shards = shards(d.Shards)
	o.HasMoreShards = d.HasMoreShards
	o.RetentionPeriodHours = int32(d.RetentionHours)
	o.StreamCreationTimestamp = shape.Timestamp(d.Created)
	o.EnhancedMonitoring = enhancedMonitoring(d.Metrics)
	o.EncryptionType, o.KeyId = encryptionOf(d.KeyID), some(d.KeyID)
	return nil
}
