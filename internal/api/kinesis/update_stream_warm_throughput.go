package kinesis

// Compatible: every parameter and error; the stream is split until it has a shard for each MiB/s.
// Differs: warm throughput says how many shards there are, which is a rate with limits.mode aws alone; a stream
// is not merged at once when it asks for less.
// Test: internal/api/kinesis/testdata/update_stream_warm_throughput.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) updateStreamWarmThroughput(ctx context.Context, call *shape.Call, in *kinesis.UpdateStreamWarmThroughputInput, out *kinesis.UpdateStreamWarmThroughputOutput) error {
	w, err := s.streams.UpdateWarmThroughput(ctx, scope(call), ref(in.StreamName, in.StreamARN), int(in.WarmThroughputMiBps))
	if err != nil {
		return answer(err)
	}
	out.StreamName, out.StreamARN = shape.Some(w.Name), shape.Some(w.ARN)
	out.WarmThroughput = warmThroughput(w.WarmThroughput)
	return nil
}

func warmThroughput(w stream.WarmThroughput) *kinesis.WarmThroughputObject {
	return &kinesis.WarmThroughputObject{TargetMiBps: shape.Some(int32(w.Target)), CurrentMiBps: shape.Some(int32(w.Current))}
}
