package kinesis

// Compatible: every parameter and error.
// Differs: StreamId and ChannelCount are absent; WarmThroughput is there for streams that asked for some.
// Test: internal/api/kinesis/testdata/describe_stream_summary.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) describeStreamSummary(_ context.Context, call *shape.Call, in *kinesis.DescribeStreamSummaryInput, out *kinesis.DescribeStreamSummaryOutput) error {
	d, err := s.streams.DescribeStreamSummary(scope(call), ref(in.StreamName, in.StreamARN))
	if err != nil {
		return answer(err)
	}
	o := &out.StreamDescriptionSummary
	o.StreamName, o.StreamARN = d.Name, d.ARN
	o.StreamStatus = kinesis.StreamStatus(d.Status)
	o.StreamModeDetails = &kinesis.StreamModeDetails{StreamMode: kinesis.StreamMode(d.Mode)}
	o.RetentionPeriodHours = int32(d.RetentionHours)
	o.StreamCreationTimestamp = shape.Timestamp(d.Created)
	o.EnhancedMonitoring = enhancedMonitoring(d.Metrics)
	o.EncryptionType, o.KeyId = encryptionOf(d.KeyID), some(d.KeyID)
	o.OpenShardCount = int32(d.OpenShards)
	o.ConsumerCount = shape.Some(int32(d.Consumers))
	o.MaxRecordSizeInKiB = shape.Some(int32(d.MaxRecordKiB))
	if d.Mode == stream.OnDemand {
		o.RecordDistributionStrategy = shape.Some(kinesis.RecordDistributionStrategy(d.Strategy))
		if d.Warm.Target != 0 {
			o.WarmThroughput = warmThroughput(d.Warm)
		}
	}
	return nil
}
