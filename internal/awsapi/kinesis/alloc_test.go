package kinesis_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

// TestAllocations checks that the hot paths allocate nothing per record, and nothing at all once
// their memory has grown to the size of a request.
func TestAllocations(t *testing.T) {
	for _, format := range []shape.Format{shape.JSON, shape.CBOR} {
		for _, records := range []int{10, 500} {
			f := func(what string, run func()) {
				t.Helper()
				run()
				if got := testing.AllocsPerRun(20, run); got != 0 {
					t.Errorf("%s of %d records as %v: got %v allocations, want 0", what, records, format, got)
				}
			}
			f("decoding PutRecords", decodePutRecords(t, format, records))
			f("encoding its answer", encodePutRecords(format, records))
			f("encoding GetRecords", encodeGetRecords(format, records))
		}
	}
}

// decodePutRecords returns a function that decodes and validates a request of so many records.
func decodePutRecords(t testing.TB, format shape.Format, records int) func() {
	body := encode(putRecords(records), format)
	memory := make([]byte, len(body))
	var (
		in PutRecordsInput
		d  shape.Decoder
		c  shape.Validator
	)
	return func() {
		copy(memory, body)
		in.Reset()
		d.Reset(format, memory)
		in.Decode(&d)
		c.Reset()
		in.Validate(&c)
		if err := d.Finish(); err != nil || c.Err() != nil || len(in.Records) != records {
			t.Fatalf("got %d records, errors %v and %v", len(in.Records), err, c.Err())
		}
	}
}

func putRecords(records int) *PutRecordsInput {
	in := &PutRecordsInput{StreamName: shape.Some("orders")}
	for i := range records {
		e := PutRecordsRequestEntry{
			Data:         []byte(strings.Repeat("x", 100+i)),
			PartitionKey: shape.Some(fmt.Sprintf("customer \"%d\"", i)),
		}
		if i%2 == 0 {
			e.ExplicitHashKey = shape.Some("340282366920938463463374607431768211455")
		}
		in.Records = append(in.Records, e)
	}
	return in
}

func encodePutRecords(format shape.Format, records int) func() {
	var (
		out    PutRecordsOutput
		e      shape.Encoder
		memory []byte
	)
	return func() {
		out.Reset()
		for range records {
			out.Records = append(out.Records, PutRecordsResultEntry{
				SequenceNumber: shape.Some("49590338271490256608559692538361571095921575989136588898"),
				ShardId:        shape.Some("shardId-000000000000"),
			})
		}
		e.Reset(format, memory[:0])
		out.Encode(&e)
		memory = e.Bytes()
	}
}

func encodeGetRecords(format shape.Format, records int) func() {
	data := []byte(strings.Repeat("y", 300))
	var (
		out    GetRecordsOutput
		e      shape.Encoder
		memory []byte
	)
	return func() {
		out.Reset()
		for i := range records {
			out.Records = append(out.Records, Record{
				SequenceNumber:              "49590338271490256608559692538361571095921575989136588898",
				ApproximateArrivalTimestamp: shape.Some(shape.Timestamp(1700000000123 + i)),
				Data:                        data,
				PartitionKey:                shape.Some("customer"),
			})
		}
		out.NextShardIterator = shape.Some("AAAA")
		out.MillisBehindLatest = shape.Some(int64(0))
		e.Reset(format, memory[:0])
		out.Encode(&e)
		memory = e.Bytes()
	}
}

func BenchmarkDecodePutRecords(b *testing.B) {
	run := decodePutRecords(b, shape.JSON, 500)
	b.SetBytes(int64(len(encode(putRecords(500), shape.JSON))))
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkEncodeGetRecords(b *testing.B) {
	run := encodeGetRecords(shape.JSON, 500)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
