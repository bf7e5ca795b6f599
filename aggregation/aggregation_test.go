package aggregation

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/awslabs/kinesis-aggregation/go/v2/deaggregator"
	"github.com/awslabs/kinesis-aggregation/go/v2/records"
	"github.com/golang/protobuf/proto"

	"github.com/headrace/headrace/internal/alloctest"
)

// framed makes an aggregate of a message.
func framed(message []byte) []byte {
	sum := md5.Sum(message)
	return slices.Concat([]byte(magic), message, sum[:])
}

// random returns records that share some of their keys.
func random(rng *rand.Rand, n, size int) []Record {
	out := make([]Record, n)
	for i := range out {
		r := &out[i]
		r.PartitionKey = fmt.Sprint("key-", rng.IntN(n))
		if rng.IntN(3) == 0 {
			r.ExplicitHashKey = fmt.Sprint(rng.IntN(n))
		}
		r.Data = make([]byte, rng.IntN(size))
		for j := range r.Data {
			r.Data[j] = byte(rng.Uint32())
		}
	}
	return out
}

func same(a, b Record) bool {
	return a.PartitionKey == b.PartitionKey && a.ExplicitHashKey == b.ExplicitHashKey && bytes.Equal(a.Data, b.Data)
}

func wantRecords(t *testing.T, got, want []Record) {
	t.Helper()
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("got %d records, want %d\n got %.300v\nwant %.300v", len(got), len(want), got, want)
	}
}

// TestAgainstProtobuf encodes with each and decodes with the other, the other being AWS's package.
func TestAgainstProtobuf(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		in := random(rng, 2+rng.IntN(300), 1+rng.IntN(200))
		b := Builder{MaxBytes: 1 << 20}
		for _, r := range in {
			if !b.Add(r) {
				t.Fatal("a record did not fit")
			}
		}
		size := b.Size()
		built := b.Build()
		if got := len(built.Data) + len(built.PartitionKey); got != size {
			t.Fatalf("Size said %d; the aggregate has %d bytes", size, got)
		}
		theirs, err := deaggregator.DeaggregateRecords([]types.Record{{Data: built.Data, PartitionKey: &built.PartitionKey}})
		if err != nil {
			t.Fatal(err)
		}
		var got []Record
		for i, r := range theirs {
			got = append(got, Record{PartitionKey: aws.ToString(r.PartitionKey), ExplicitHashKey: in[i].ExplicitHashKey, Data: r.Data})
		}
		wantRecords(t, got, in)

		message, err := proto.Marshal(protobufOf(in))
		if err != nil {
			t.Fatal(err)
		}
		var r Reader
		wantRecords(t, slices.Collect(r.Split(Record{PartitionKey: "a", Data: framed(message)})), in)
		if string(built.Data) != string(framed(message)) {
			t.Error("the builder's bytes are not protobuf's")
		}
	}
}

// protobufOf returns the records as AWS's package has them, keys in the order of their first use.
func protobufOf(in []Record) *records.AggregatedRecord {
	m := new(records.AggregatedRecord)
	index := func(table *[]string, key string) *uint64 {
		i := slices.Index(*table, key)
		if i < 0 {
			i = len(*table)
			*table = append(*table, key)
		}
		return proto.Uint64(uint64(i))
	}
	for _, r := range in {
		p := &records.Record{Data: r.Data, PartitionKeyIndex: index(&m.PartitionKeyTable, r.PartitionKey)}
		if r.ExplicitHashKey != "" {
			p.ExplicitHashKeyIndex = index(&m.ExplicitHashKeyTable, r.ExplicitHashKey)
		}
		m.Records = append(m.Records, p)
	}
	return m
}

func TestBuilder(t *testing.T) {
	var b Builder
	if got := b.Build(); !same(got, Record{}) || b.Len() != 0 {
		t.Errorf("an empty builder gives %v", got)
	}
	one := Record{PartitionKey: "k", Data: []byte("alone")}
	b.Add(one)
	wantRecords(t, []Record{b.Build()}, []Record{one})

	b.MaxBytes = 100
	large := Record{PartitionKey: "k", Data: make([]byte, 1000)}
	if !b.Add(large) || b.Add(one) || b.Len() != 1 {
		t.Error("a large record does not stand alone")
	}
	wantRecords(t, []Record{b.Build()}, []Record{large})

	n := 0
	for b.Add(one) {
		n++
	}
	if size := b.Size(); n < 4 || size > 100 || size < 80 {
		t.Errorf("%d records make %d bytes; want nearly 100", n, size)
	}
	if got := b.Build(); got.PartitionKey != "a" || got.ExplicitHashKey != "184080949171378539834391289183453735567" && len(got.ExplicitHashKey) < 30 {
		t.Errorf("the aggregate's keys are %q and %q; want a, and the first record's hash key", got.PartitionKey, got.ExplicitHashKey)
	}

	b = Builder{MaxRecords: 2}
	if !b.Add(one) || !b.Add(one) || b.Add(one) {
		t.Error("MaxRecords 2 does not hold two records")
	}
	b.Build()
	// What looks like an aggregate must not be taken for one when it is read.
	b.Add(one)
	b.Add(one)
	looks := Record{PartitionKey: "k", ExplicitHashKey: "7", Data: b.Build().Data}
	b.Add(looks)
	var r Reader
	wantRecords(t, slices.Collect(r.Split(b.Build())), []Record{looks})
}

// The builder keeps nothing of the caller's.
func TestBuilderCopies(t *testing.T) {
	var b Builder
	data := []byte("mine")
	b.Add(Record{PartitionKey: "k", Data: data})
	copy(data, "xxxx")
	if got := string(b.Build().Data); got != "mine" {
		t.Errorf("got %q", got)
	}
}

func TestRefused(t *testing.T) {
	field := func(tag byte, body string) string { return string([]byte{tag, byte(len(body))}) + body }
	key := field(fieldPartitionKeys, "k")
	good := key + field(fieldRecords, "\x08\x00\x1a\x01x")
	f := func(name, message string, want error) {
		t.Helper()
		var r Reader
		data := framed([]byte(message))
		if err := r.Reset(data); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
		raw := Record{PartitionKey: "p", ExplicitHashKey: "5", Data: data}
		if want != nil {
			wantRecords(t, slices.Collect(r.Split(raw)), []Record{raw})
		}
	}
	f("good", good, nil)
	f("the table comes last", field(fieldRecords, "\x08\x00\x1a\x01x")+key, nil)
	f("the last of a field counts", key+field(fieldRecords, "\x08\x05\x08\x00\x1a\x01x"), nil)
	f("unknown fields", good+field(9<<3|wireBytes, "?")+"\x50\x01"+"\x59........"+"\x5d....", nil)
	f("unknown fields of a record", key+field(fieldRecords, "\x22\x01t\x28\x07\x08\x00\x1a\x01x\x35...."), nil)
	f("no data", key+field(fieldRecords, "\x08\x00"), ErrMalformed)
	f("no key", key+field(fieldRecords, "\x1a\x01x"), ErrMalformed)
	f("key not in the table", key+field(fieldRecords, "\x08\x01\x1a\x01x"), ErrMalformed)
	f("hash key not in the table", key+field(fieldRecords, "\x08\x00\x10\x00\x1a\x01x"), ErrMalformed)
	f("key beyond any table", key+field(fieldRecords, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x01x"), ErrMalformed)
	f("a record is cut", good[:len(good)-1], ErrMalformed)
	f("longer than there is", good+"\x1a\x7f", ErrMalformed)
	f("a group", good+"\x23\x24", ErrMalformed)
	f("field 0", good+"\x02\x00", ErrMalformed)
	f("endless varint", good+strings.Repeat("\xff", 11), ErrMalformed)

	var r Reader
	sound := framed([]byte(good))
	for i := range sound {
		bad := bytes.Clone(sound)
		bad[i] ^= 1
		if err := r.Reset(bad); !errors.Is(err, ErrNotAggregated) {
			t.Errorf("byte %d changed: got %v, want ErrNotAggregated", i, err)
		}
	}
	for n := range sound {
		if err := r.Reset(sound[:n]); !errors.Is(err, ErrNotAggregated) {
			t.Errorf("cut to %d bytes: got %v, want ErrNotAggregated", n, err)
		}
	}
	r = Reader{MaxRecords: 1}
	if err := r.Reset(framed([]byte(good + good))); !errors.Is(err, ErrTooMany) {
		t.Errorf("two records: got %v, want ErrTooMany", err)
	}
	r = Reader{MaxKeys: 1}
	if err := r.Reset(framed([]byte(good + key))); !errors.Is(err, ErrTooMany) {
		t.Errorf("two keys: got %v, want ErrTooMany", err)
	}
}

// What a reader returned stays as it was when it reads on.
func TestReaderIsReused(t *testing.T) {
	var b Builder
	var r Reader
	var got, want []Record
	for i := range 20 {
		for j := range 1 + i%5 {
			rec := Record{PartitionKey: fmt.Sprint("key", i, j), ExplicitHashKey: fmt.Sprint(i * j), Data: []byte{byte(i), byte(j)}}
			b.Add(rec)
			want = append(want, rec)
		}
		for rec := range r.Split(b.Build()) {
			got = append(got, rec)
		}
	}
	wantRecords(t, got, want)
}

func TestReaderAllocatesNothingPerRecord(t *testing.T) {
	allocs := func(n int) float64 {
		data := aggregate(n, 100)
		var r Reader
		return alloctest.Count(t, 50, func() {
			if err := r.Reset(data); err != nil || r.Len() != n {
				t.Fatal(r.Len(), err)
			}
			for r.Next() {
			}
		})
	}
	if few, many := allocs(10), allocs(1000); few != many || few > 1 {
		t.Errorf("10 records cost %v allocations, 1000 cost %v; want one", few, many)
	}
}

// aggregate returns an aggregate of records with keys of their own.
func aggregate(n, size int) []byte {
	b := Builder{MaxBytes: 16 << 20}
	for i := range n {
		b.Add(Record{PartitionKey: fmt.Sprint("key-", i), Data: bytes.Repeat([]byte{byte(i)}, size)})
	}
	return b.Build().Data
}

func FuzzReader(f *testing.F) {
	f.Add(aggregate(3, 5)[len(magic):])
	f.Add([]byte("\x0a\x01k\x1a\x05\x08\x00\x1a\x01x"))
	f.Add([]byte("\x1a\x09\x08\x00\x10\x00\x1a\x01x\x22\x00\x12\x01\x37\x0a\x01k"))
	f.Fuzz(func(t *testing.T, message []byte) {
		raw := Record{PartitionKey: "a", Data: framed(message)}
		r := Reader{MaxRecords: 1000, MaxKeys: 1000}
		var got []Record
		for rec := range r.Split(raw) {
			got = append(got, rec)
		}
		if err := r.Reset(raw.Data); err != nil {
			wantRecords(t, got, []Record{raw})
			return
		}
		// What we take is what protobuf takes; it may refuse more, such as keys that are not UTF-8.
		m := new(records.AggregatedRecord)
		if proto.Unmarshal(message, m) != nil {
			return
		}
		var want []Record
		for _, p := range m.Records {
			rec := Record{PartitionKey: m.PartitionKeyTable[p.GetPartitionKeyIndex()], Data: p.Data}
			if p.ExplicitHashKeyIndex != nil {
				rec.ExplicitHashKey = m.ExplicitHashKeyTable[p.GetExplicitHashKeyIndex()]
			}
			want = append(want, rec)
		}
		wantRecords(t, got, want)
	})
}

func BenchmarkReader(b *testing.B) {
	for _, size := range []int{100, 1024} {
		data := aggregate(1000, size)
		b.Run(fmt.Sprintf("1000x%d/read", size), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var r Reader
			for b.Loop() {
				if err := r.Reset(data); err != nil {
					b.Fatal(err)
				}
				for r.Next() {
				}
			}
		})
		b.Run(fmt.Sprintf("1000x%d/md5", size), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				md5.Sum(data)
			}
		})
	}
}

func BenchmarkBuilder(b *testing.B) {
	in := random(rand.New(rand.NewPCG(1, 1)), 500, 200)
	b.ReportAllocs()
	builder := Builder{MaxBytes: 1 << 20}
	for b.Loop() {
		for _, r := range in {
			builder.Add(r)
		}
		b.SetBytes(int64(len(builder.Build().Data)))
	}
}
