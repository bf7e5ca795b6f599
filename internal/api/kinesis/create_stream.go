package kinesis

// Compatible: every parameter and error.
// Differs: with the default transition delay of 0 the stream is ACTIVE when the call returns;
// an on-demand stream scales with on-demand.scaling or limits.mode aws alone, and is UPDATING for a moment then;
// five streams CREATING are the most with limits.mode aws alone.
// Test: internal/api/kinesis/testdata/create_stream.txt, internal/api/kinesis/testdata/limits.txt,
// TestScaleRamp, TestScaleSpike, TestScaleIdle

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) createStream(ctx context.Context, call *shape.Call, in *kinesis.CreateStreamInput) error {
	create := stream.CreateInput{
		Name:                in.StreamName,
		ShardCount:          int(in.ShardCount.Value),
		Tags:                in.Tags,
		MaxRecordKiB:        int(in.MaxRecordSizeInKiB.Value),
		WarmThroughputMiBps: int(in.WarmThroughputMiBps.Value),
		Strategy:            stream.Strategy(in.RecordDistributionStrategy.Value),
	}
	if in.StreamModeDetails != nil {
		create.Mode = stream.Mode(in.StreamModeDetails.StreamMode)
	}
	return answer(s.streams.CreateStream(ctx, scope(call), create))
}
