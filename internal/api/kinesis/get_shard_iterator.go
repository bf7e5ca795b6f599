package kinesis

// Compatible: all five types, every parameter and error; LATEST is fixed at the call; iterators
// expire after 300 s.
// Differs: a StartingSequenceNumber of the first layout is InvalidArgumentException, where AWS answers
// InternalFailureException; five calls a second a shard hold with limits.mode aws alone.
// Test: internal/api/kinesis/testdata/get_shard_iterator.txt, internal/api/kinesis/testdata/limits.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) getShardIterator(ctx context.Context, call *shape.Call, in *kinesis.GetShardIteratorInput, out *kinesis.GetShardIteratorOutput) error {
	iterator, err := s.streams.GetShardIterator(ctx, scope(call), ref(in.StreamName, in.StreamARN), stream.IteratorInput{
		ShardID:      in.ShardId,
		Type:         stream.IteratorType(in.ShardIteratorType),
		Sequence:     in.StartingSequenceNumber.Value,
		Timestamp:    record.Millis(in.Timestamp.Value),
		HasTimestamp: in.Timestamp.Set,
	})
	if err != nil {
		return answer(err)
	}
	if in.DryRun.Value {
		return dryRun()
	}
	out.ShardIterator = shape.Some(iterator)
	return nil
}

// dryRun is the answer to a call that would have succeeded but for DryRun.
func dryRun() error {
	return kinesis.DryRunOperationException("Request would have succeeded, but DryRun flag is set.")
}
