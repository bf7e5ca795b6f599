package kinesis_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	. "github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

// TestFormatsAgree writes random values of every input and output in both formats, reads them back
// into fresh and into used structures, and demands the same value everywhere.
func TestFormatsAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, make := range newShapes() {
		used := make()
		for range 20 {
			want := make()
			fill(r, reflect.ValueOf(want).Elem())
			text := encode(want, shape.JSON)
			for _, f := range []shape.Format{shape.JSON, shape.CBOR} {
				used.Reset()
				for _, got := range []shape.Shape{make(), used} {
					if err := decode(got, f, encode(want, f)); err != nil {
						t.Fatalf("%s: decode %v: %v\n%s", name, f, err, text)
					}
					if at := differ(reflect.ValueOf(want), reflect.ValueOf(got), name); at != "" {
						t.Fatalf("%v: %s changed\n%s", f, at, text)
					}
					if again := encode(got, shape.JSON); !bytes.Equal(again, text) {
						t.Fatalf("%s: %v: got %s, want %s", name, f, again, text)
					}
				}
			}
		}
	}
}

// TestResetEmpties fills every structure, resets it and compares its encoding with a new one's.
func TestResetEmpties(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, make := range newShapes() {
		v := make()
		for range 5 {
			fill(r, reflect.ValueOf(v).Elem())
			v.Reset()
			if got, want := encode(v, shape.JSON), encode(make(), shape.JSON); !bytes.Equal(got, want) {
				t.Fatalf("%s: got %s after Reset, want %s", name, got, want)
			}
		}
		if err := decode(v, shape.JSON, encode(v, shape.JSON)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v.Reset()
		if got, want := violations(v), violations(make()); got != want {
			t.Errorf("%s: got %q after Reset, want %q", name, got, want)
		}
	}
}

// TestResetForgets checks that a reset input pins no request's memory but keeps its own.
func TestResetForgets(t *testing.T) {
	in := &PutRecordsInput{Records: []PutRecordsRequestEntry{{Data: []byte("a"), PartitionKey: shape.Some("k")}}}
	in.Reset()
	if len(in.Records) != 0 || cap(in.Records) != 1 {
		t.Fatalf("got %d records, room for %d; want 0 and 1", len(in.Records), cap(in.Records))
	}
	if e := in.Records[:1][0]; e.Data != nil || e.PartitionKey.Set || e.PartitionKey.Value != "" {
		t.Errorf("a record of the last request is still there: %+v", e)
	}
}

func TestAbsence(t *testing.T) {
	f := func(v shape.Shape, want string) {
		t.Helper()
		if got := encode(v, shape.JSON); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(&ListShardsOutput{}, `{}`)
	f(&ListShardsOutput{Shards: []Shard{}}, `{"Shards":[]}`)
	f(&GetRecordsOutput{}, `{"Records":[]}`)
	f(&PutRecordsOutput{FailedRecordCount: shape.Some(int32(0))}, `{"FailedRecordCount":0,"Records":[]}`)
	f(&Record{}, `{"SequenceNumber":"","Data":""}`)
	f(&AddTagsToStreamInput{}, `{"Tags":{}}`)
	f(&SubscribeToShardEvent{}, `{"Records":[],"MillisBehindLatest":0}`)
	f(&SubscribeToShardOutput{}, `{}`)
	f(&DescribeLimitsInput{}, `{}`)
	f(&CreateStreamInput{StreamName: "s", Tags: map[string]string{"b": "2", "a": "1"}}, `{"StreamName":"s","Tags":{"a":"1","b":"2"}}`)
}

// TestDecodeNull checks that null is absence, for members and inside lists.
func TestDecodeNull(t *testing.T) {
	var in PutRecordsInput
	body := `{"StreamName":null,"Unknown":{"a":[1]},"Records":[null,{"Data":null,"PartitionKey":"k"}]}`
	if err := decode(&in, shape.JSON, []byte(body)); err != nil {
		t.Fatal(err)
	}
	if in.StreamName.Set || len(in.Records) != 2 || in.Records[1].PartitionKey.Value != "k" {
		t.Errorf("got %+v", in)
	}
	want := "ValidationException: 2 validation errors detected: " +
		"Value null at 'records.1.member.data' failed to satisfy constraint: Member must not be null; " +
		"Value null at 'records.2.member.data' failed to satisfy constraint: Member must not be null"
	if got := violations(&in); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestLongListsAreCut checks that lists stop growing one element after their bound, at any length.
func TestLongListsAreCut(t *testing.T) {
	f := func(v shape.Shape, body string, length func() int, want int) {
		t.Helper()
		if err := decode(v, shape.JSON, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if got := length(); got != want {
			t.Errorf("%T: got %d elements, want %d", v, got, want)
		}
		if violations(v) == "" {
			t.Errorf("%T: %d elements violate nothing", v, length())
		}
	}
	repeat := func(element string, n int) string {
		return string(bytes.TrimSuffix(bytes.Repeat([]byte(element+","), n), []byte(",")))
	}
	var put PutRecordsInput
	f(&put, `{"Records":[`+repeat("{}", 10000)+`]}`, func() int { return len(put.Records) }, 501)
	var untag UntagResourceInput
	f(&untag, `{"TagKeys":[`+repeat(`"k"`, 10000)+`]}`, func() int { return len(untag.TagKeys) }, 51)
}
