package shape_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/headrace/headrace/internal/wire/shape"
)

const (
	benchRecords = 500
	benchPayload = 1024
)

// putRecord and putRecords stand for generated code: what is measured is the codec under it.
type putRecord struct {
	data         []byte
	partitionKey string
	hashKey      shape.Opt[string]
}

type putRecords struct {
	stream  string
	records []putRecord
}

func (p *putRecords) decode(d *shape.Decoder) {
	for d.BeginStruct(); d.NextMember(); {
		switch string(d.Key()) {
		case "StreamName":
			p.stream = d.String()
		case "Records":
			p.records = p.records[:0]
			for d.BeginList(); d.NextElement(); {
				p.records = append(p.records, putRecord{})
				p.records[len(p.records)-1].decode(d)
			}
		default:
			d.Skip()
		}
	}
}

func (r *putRecord) decode(d *shape.Decoder) {
	for d.BeginStruct(); d.NextMember(); {
		switch string(d.Key()) {
		case "Data":
			r.data = d.Blob()
		case "PartitionKey":
			r.partitionKey = d.String()
		case "ExplicitHashKey":
			r.hashKey = d.OptString()
		default:
			d.Skip()
		}
	}
}

// encode writes what GetRecords answers with.
func (p *putRecords) encode(e *shape.Encoder) {
	e.BeginStruct()
	e.Member("StreamName")
	e.String(p.stream)
	e.Member("Records")
	e.BeginList(len(p.records))
	for i := range p.records {
		r := &p.records[i]
		e.BeginStruct()
		e.Member("SequenceNumber")
		e.String("49590338271490256608559692538361571095921575989136588898")
		e.Member("ApproximateArrivalTimestamp")
		e.Timestamp(1700000000123)
		e.Member("Data")
		e.Blob(r.data)
		e.Member("PartitionKey")
		e.String(r.partitionKey)
		e.EndStruct()
	}
	e.EndList()
	e.Member("MillisBehindLatest")
	e.Int64(0)
	e.EndStruct()
}

// encodeRequest writes what PutRecords is asked with.
func (p *putRecords) encodeRequest(e *shape.Encoder) {
	e.BeginStruct()
	e.Member("StreamName")
	e.String(p.stream)
	e.Member("Records")
	e.BeginList(len(p.records))
	for i := range p.records {
		e.BeginStruct()
		e.Member("Data")
		e.Blob(p.records[i].data)
		e.Member("PartitionKey")
		e.String(p.records[i].partitionKey)
		e.EndStruct()
	}
	e.EndList()
	e.EndStruct()
}

func benchInput() *putRecords {
	p := &putRecords{stream: "access-log"}
	for i := range benchRecords {
		data := make([]byte, benchPayload)
		rand.Read(data)
		p.records = append(p.records, putRecord{data: data, partitionKey: fmt.Sprintf("192.0.2.%d", i)})
	}
	return p
}

func encoded(f shape.Format, p *putRecords) []byte {
	var e shape.Encoder
	e.Reset(f, nil)
	p.encodeRequest(&e)
	return e.Bytes()
}

func benchDecode(b *testing.B, f shape.Format) {
	body := encoded(f, benchInput())
	work := make([]byte, len(body))
	var d shape.Decoder
	var p putRecords
	b.SetBytes(benchRecords * benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		copy(work, body) // decoding changes the body; a server receives a new one each time
		d.Reset(f, work)
		p.decode(&d)
		if err := d.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodePutRecordsJSON(b *testing.B) { benchDecode(b, shape.JSON) }
func BenchmarkDecodePutRecordsCBOR(b *testing.B) { benchDecode(b, shape.CBOR) }

func benchEncode(b *testing.B, f shape.Format) {
	p := benchInput()
	var e shape.Encoder
	var out []byte
	b.SetBytes(benchRecords * benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		e.Reset(f, out[:0])
		p.encode(&e)
		out = e.Bytes()
	}
}

func BenchmarkEncodeGetRecordsJSON(b *testing.B) { benchEncode(b, shape.JSON) }
func BenchmarkEncodeGetRecordsCBOR(b *testing.B) { benchEncode(b, shape.CBOR) }

func BenchmarkWellformed(b *testing.B) {
	body := encoded(shape.JSON, benchInput())
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if !shape.Wellformed(shape.JSON, body) {
			b.Fatal("not well-formed")
		}
	}
}

// BenchmarkStandardBase64 is the standard library's decoder on the same payloads, to compare with.
func BenchmarkStandardBase64(b *testing.B) {
	src := []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("headrace"), benchPayload/8)))
	dst := make([]byte, benchPayload+2)
	b.SetBytes(benchPayload)
	for b.Loop() {
		if _, err := base64.StdEncoding.Decode(dst, src); err != nil {
			b.Fatal(err)
		}
	}
}
