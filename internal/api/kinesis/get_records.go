package kinesis

// Compatible: every parameter and error; at most 10,000 records and 10 MiB; MillisBehindLatest from
// now; ChildShards with ParentShards, and no NextShardIterator, exactly at a closed shard's end.
// Differs: five calls and 2 MiB a second a shard, and none for five seconds after 10 MiB, hold with
// limits.mode aws alone.
// Test: internal/api/kinesis/testdata/get_records.txt, internal/api/kinesis/testdata/limits.txt,
// TestGetRecordsAllocations, TestReadLimits

import (
	"context"
	"time"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

// getBuffers is what an answer of GetRecords lives in until it is sent.
type getBuffers struct {
	service *Service
	records *stream.Records
	digits  []byte // of the page's sequence numbers, one after the other
	// numbering writes them.
	numbering record.Numbering
	// done is release bound once, so that a call does not allocate it.
	done func()
}

// release returns the page to storage and the buffers to their pool, after the answer was encoded.
func (b *getBuffers) release() {
	b.records.Release()
	b.records = nil
	b.service.gets.Put(b)
}

// largestPage is what a call holds while it reads and encodes a page: nobody knows how large that is before it
// has been read, out of files perhaps, and calls that read first and wait then would hold a page each. Once
// encoded, an answer counts as what it is.
const largestPage = 16 << 20

func (s *Service) getRecords(ctx context.Context, call *shape.Call, in *kinesis.GetRecordsInput, out *kinesis.GetRecordsOutput) error {
	begin := s.clock.Now()
	if err := call.Reserve(largestPage); err != nil {
		return err
	}
	records, err := s.streams.GetRecords(ctx, scope(call), in.StreamARN.Value, in.ShardIterator, int(in.Limit.Value))
	if err != nil {
		if records != nil {
			s.countRefused(call, begin, records)
		}
		return answer(err)
	}
	b := s.gets.Get().(*getBuffers)
	if b.done == nil {
		b.done = b.release
	}
	b.records = records
	call.OnDone(b.done)
	if in.DryRun.Value {
		return dryRun()
	}
	size := b.fill(out)
	call.Expect(encodedSize(size, len(records.Page.Records)))
	out.MillisBehindLatest = shape.Some(records.MillisBehind)
	out.NextShardIterator = some(records.Next)
	out.ChildShards = childShards(records.Children)
	s.countGet(call, begin, records, size)
	return nil
}

// encodedSize bounds the size of an answer with so many bytes in so many records, in JSON, where data
// is in base64, of what every record has at most besides, and of the rest.
func encodedSize(bytes, records int) int64 {
	const aRecord, rest = 256, 4 << 10
	return int64(bytes) + int64(bytes)/3 + int64(records)*aRecord + rest
}

// countRefused counts a call that its shard refused for throughput.
func (s *Service) countRefused(call *shape.Call, begin time.Time, of *stream.Records) {
	get := metrics.Get{Throttled: true, Latency: s.clock.Now().Sub(begin)}
	meter := s.metrics.Stream(metrics.StreamID{Account: call.Account, Region: call.Region, Name: of.Stream})
	meter.GetRecords(get)
	meter.Shards().Of(of.Shard()).GetRecords(get)
}

// countGet counts a call that was answered.
func (s *Service) countGet(call *shape.Call, begin time.Time, records *stream.Records, size int) {
	now := s.clock.Now()
	get := metrics.Get{Success: true, Records: len(records.Page.Records), Bytes: size, Latency: now.Sub(begin)}
	if n := len(records.Page.Records); n > 0 && records.MillisBehind > 0 {
		get.IteratorAge = now.Sub(records.Page.Records[n-1].ArrivalTime.Time())
	}
	meter := s.metrics.Stream(metrics.StreamID{Account: call.Account, Region: call.Region, Name: records.Stream})
	meter.GetRecords(get)
	meter.Shards().Of(records.Shard()).GetRecords(get)
}

// fill writes the page's records to out without an allocation a record, and returns their bytes.
func (b *getBuffers) fill(out *kinesis.GetRecordsOutput) (size int) {
	page := b.records.Page.Records
	b.digits = b.digits[:0]
	for i := range page {
		b.digits = b.numbering.Append(b.digits, b.records.Sequence(i))
	}
	numbers := string(b.digits) // one string for all: each record's is a part of it
	out.Records, size = appendRecords(out.Records, page, numbers)
	return size
}

// appendRecords appends the records of a page, whose sequence numbers stand one after the other in numbers,
// and returns their bytes. Where a stream places records by turns they may have no partition key.
func appendRecords(to []kinesis.Record, page []record.Record, numbers string) (_ []kinesis.Record, size int) {
	for i := range page {
		r := &page[i]
		to = append(to, kinesis.Record{
			SequenceNumber:              numbers[i*record.SequenceDigits:][:record.SequenceDigits],
			ApproximateArrivalTimestamp: shape.Some(shape.Timestamp(r.ArrivalTime)),
			Data:                        r.Data,
			EncryptionType:              encrypted(r.Seal == record.Opened),
			PartitionKey:                some(r.PartitionKey),
		})
		size += r.Size()
	}
	return to, size
}
