package kinesis

// Compatible: every parameter and error; 500 records and 10 MiB a call; per-entry errors; records of
// one shard keep their order.
// Differs: 1 MiB and 1,000 records a second a shard hold with limits.mode aws alone; throttled when memory
// or disk near their end, and at the stream's quota of bytes.
// Test: internal/api/kinesis/testdata/put_records.txt, internal/api/kinesis/testdata/limits.txt,
// TestPutRecordsAllocations, TestWriteLimits, TestWritesOverAMinute

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

// putBuffers is what one PutRecords needs while it runs.
type putBuffers struct {
	service *Service
	entries []record.Entry
	results []stream.PutResult
	digits  []byte
	// done is release bound once, so that a call does not allocate it.
	done func()
}

// release returns the buffers to their pool without the request's memory.
func (b *putBuffers) release() {
	clear(b.entries)
	clear(b.results)
	b.entries, b.results = b.entries[:0], b.results[:0]
	b.service.puts.Put(b)
}

func (s *Service) putRecords(ctx context.Context, call *shape.Call, in *kinesis.PutRecordsInput, out *kinesis.PutRecordsOutput) error {
	begin := s.clock.Now()
	b := s.puts.Get().(*putBuffers)
	if b.done == nil {
		b.done = b.release
	}
	call.OnDone(b.done)
	for i := range in.Records {
		r := &in.Records[i]
		e, err := entry(r.PartitionKey.Value, r.ExplicitHashKey, r.Data)
		if err != nil {
			return answer(err)
		}
		b.entries = append(b.entries, e)
	}
	r := ref(in.StreamName, in.StreamARN)
	if in.DryRun.Value {
		if err := s.streams.CheckPutAll(scope(call), r, b.entries); err != nil {
			return answer(err)
		}
		return dryRun()
	}
	var err error
	b.results, err = s.streams.PutAll(ctx, scope(call), r, b.entries, b.results)
	if err != nil {
		return answer(err)
	}
	put := b.fill(out)
	put.Latency = s.clock.Now().Sub(begin)
	meter := s.meter(call, r)
	meter.PutRecords(put)
	b.count(meter.Shards())
	return nil
}

// count counts the records for their shards, if anybody asked for that.
func (b *putBuffers) count(shards *metrics.Shards) {
	if shards == nil {
		return
	}
	for i := range b.results {
		r := &b.results[i]
		if r.Err == nil {
			shards.Of(r.Shard).Put(1, b.entries[i].Size(), 0)
		} else {
			throttled, _ := blame(r.Err)
			shards.Of(r.Shard).Put(0, 0, throttled)
		}
	}
}

// fill writes the results to out without an allocation a record, and counts them.
func (b *putBuffers) fill(out *kinesis.PutRecordsOutput) metrics.Put {
	b.digits = b.digits[:0]
	for i := range b.results {
		if b.results[i].Err == nil {
			b.digits = b.results[i].Sequence.Append(b.digits)
		}
	}
	numbers := string(b.digits) // one string for all: each record's is a part of it
	put := metrics.Put{Records: len(b.results)}
	for i := range b.results {
		r := &b.results[i]
		if r.Encrypted {
			out.EncryptionType = encrypted(true)
		}
		if r.Err != nil {
			throttled, failed := blame(r.Err)
			put.Throttled, put.Failed = put.Throttled+throttled, put.Failed+failed
			out.Records = append(out.Records, kinesis.PutRecordsResultEntry{
				ErrorCode:    shape.Some(r.Err.Kind.String()),
				ErrorMessage: shape.Some(r.Err.Message),
			})
			continue
		}
		put.Successful++
		put.Bytes += b.entries[i].Size()
		out.Records = append(out.Records, kinesis.PutRecordsResultEntry{
			SequenceNumber: shape.Some(numbers[:record.SequenceDigits]),
			ShardId:        shape.Some(r.ShardID),
		})
		numbers = numbers[record.SequenceDigits:]
	}
	out.FailedRecordCount = shape.Some(int32(put.Records - put.Successful))
	return put
}
