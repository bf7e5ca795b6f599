package kinesis

// Compatible: every parameter and error; SequenceNumberForOrdering is checked, and kept anyway.
// Differs: 1 MiB and 1,000 records a second a shard hold with limits.mode aws alone; throttled when memory
// or disk near their end, and at the stream's quota of bytes.
// Test: internal/api/kinesis/testdata/put_record.txt, internal/api/kinesis/testdata/limits.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) putRecord(ctx context.Context, call *shape.Call, in *kinesis.PutRecordInput, out *kinesis.PutRecordOutput) error {
	begin := s.clock.Now()
	rec, err := entry(in.PartitionKey.Value, in.ExplicitHashKey, in.Data)
	if err != nil {
		return answer(err)
	}
	r := ref(in.StreamName, in.StreamARN)
	if in.DryRun.Value {
		if err := s.streams.CheckPut(ctx, scope(call), r, rec, in.SequenceNumberForOrdering.Value); err != nil {
			return answer(err)
		}
		return dryRun()
	}
	result, err := s.streams.Put(ctx, scope(call), r, rec, in.SequenceNumberForOrdering.Value)
	meter := s.meter(call, r)
	if err != nil {
		put := metrics.Put{Records: 1, Latency: s.clock.Now().Sub(begin)}
		put.Throttled, put.Failed = blame(err)
		meter.PutRecord(put)
		meter.Shards().Of(result.Shard).Put(0, 0, put.Throttled)
		return answer(err)
	}
	meter.PutRecord(metrics.Put{Records: 1, Successful: 1, Bytes: rec.Size(), Latency: s.clock.Now().Sub(begin)})
	meter.Shards().Of(result.Shard).Put(1, rec.Size(), 0)
	out.ShardId = result.ShardID
	out.SequenceNumber = result.Sequence.String()
	out.EncryptionType = encrypted(result.Encrypted)
	return nil
}

// entry makes a record of a request's members, which it goes on aliasing. The key is empty where there is
// none: streams that distribute records by themselves need none.
func entry(key string, explicit shape.Opt[string], data []byte) (record.Entry, error) {
	e := record.Entry{PartitionKey: key, Data: data}
	if explicit.Set {
		h, err := stream.ParseExplicitHashKey(explicit.Value)
		if err != nil {
			return e, err
		}
		e.ExplicitHashKey, e.HasExplicitHashKey = h, true
	}
	return e, nil
}

// blame counts a record that was refused: for throughput, or by a fault of ours.
func blame(err error) (throttled, failed int) {
	switch kindOf(err) {
	case stream.Throughput:
		return 1, 0
	case stream.Internal:
		return 0, 1
	}
	return 0, 0
}
