package kinesis_test

import (
	"strings"
	"testing"

	. "github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

const (
	notNull  = "Member must not be null"
	name     = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
	sequence = `Member must satisfy regular expression pattern: ^(0|([1-9]\d{0,128}))$`
	hashKey  = `Member must satisfy regular expression pattern: ^(0|([1-9]\d{0,38}))$`
	atLeast  = "Member must have length greater than or equal to "
	atMost   = "Member must have length less than or equal to "
)

// TestValidation compares with AWS's messages, as recorded by others, with the members in the
// model's order and the model's patterns.
func TestValidation(t *testing.T) {
	ops := operations()
	f := func(op, body string, want ...string) {
		t.Helper()
		in := ops[op].NewInput()
		if err := decode(in, shape.JSON, []byte(body)); err != nil {
			t.Fatalf("%s %s: %v", op, body, err)
		}
		got := strings.Split(violations(in), " detected: ")
		if len(want) == 0 {
			if got[0] != "" {
				t.Errorf("%s %s: got %q, want no violation", op, body, got)
			}
			return
		}
		if text := strings.Join(want, "; "); got[len(got)-1] != text {
			t.Errorf("%s %s:\ngot  %s\nwant %s", op, body, got[len(got)-1], text)
		}
	}
	v := func(value, path, rule string) string {
		return "Value " + value + " at '" + path + "' failed to satisfy constraint: " + rule
	}
	f("CreateStream", `{}`, v("null", "streamName", notNull))
	f("CreateStream", `{"StreamName":"","ShardCount":0}`,
		v("''", "streamName", name), v("''", "streamName", atLeast+"1"),
		v("'0'", "shardCount", "Member must have value greater than or equal to 1"))
	f("CreateStream", `{"StreamName":"a","StreamModeDetails":{"StreamMode":"FAST"}}`,
		v("'FAST'", "streamModeDetails.streamMode", "Member must satisfy enum value set: [ON_DEMAND, PROVISIONED]"))
	f("CreateStream", `{"StreamName":"a.b-C_9","ShardCount":1}`)
	f("PutRecord", `{}`, v("null", "data", notNull))
	f("PutRecord", `{"StreamName":"","PartitionKey":"","Data":"","ExplicitHashKey":"","SequenceNumberForOrdering":""}`,
		v("''", "streamName", name), v("''", "streamName", atLeast+"1"), v("''", "partitionKey", atLeast+"1"),
		v("''", "explicitHashKey", hashKey), v("''", "sequenceNumberForOrdering", sequence))
	f("PutRecords", `{"StreamName":"a"}`, v("null", "records", notNull))
	f("PutRecords", `{"StreamName":"a","Records":[]}`, v("'[]'", "records", atLeast+"1"))
	f("PutRecords", `{"StreamName":"a","Records":[{"Data":"","PartitionKey":""},{"ExplicitHashKey":"01","PartitionKey":"`+strings.Repeat("é", 257)+`"}]}`,
		v("''", "records.1.member.partitionKey", atLeast+"1"), v("null", "records.2.member.data", notNull),
		v("'01'", "records.2.member.explicitHashKey", hashKey),
		v("'"+strings.Repeat("é", 257)+"'", "records.2.member.partitionKey", atMost+"256"))
	f("GetShardIterator", `{"StreamName":"","ShardId":"","ShardIteratorType":"","StartingSequenceNumber":""}`,
		v("''", "streamName", name), v("''", "streamName", atLeast+"1"), v("''", "shardId", name), v("''", "shardId", atLeast+"1"),
		v("''", "shardIteratorType", "Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]"),
		v("''", "startingSequenceNumber", sequence))
	f("GetRecords", `{"ShardIterator":"x","Limit":10001}`, v("'10001'", "limit", "Member must have value less than or equal to 10000"))
	f("AddTagsToStream", `{"StreamName":"a","Tags":{}}`, v("'{}'", "tags", atLeast+"1"))
	long := strings.Repeat("k", 129)
	f("AddTagsToStream", `{"StreamName":"a","Tags":{"`+long+`":"3","a":"1"}}`,
		v("'{a=1, "+long+"=3}'", "tags", "Map keys must satisfy constraint: ["+atMost+"128, "+atLeast+"1]"))
	long = strings.Repeat("v", 257)
	f("AddTagsToStream", `{"StreamName":"a","Tags":{"a":"`+long+`"}}`,
		v("'{a="+long+"}'", "tags", "Map value must satisfy constraint: ["+atMost+"256, "+atLeast+"0]"))
	f("RemoveTagsFromStream", `{"StreamName":"a","TagKeys":["a",""]}`,
		v("'[a, ]'", "tagKeys", "Member must satisfy constraint: ["+atMost+"128, "+atLeast+"1]"))
	f("DescribeStream", `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/a","StreamId":"abcdefghij0123456789-abc"}`)
	f("DescribeStream", `{"StreamARN":"x"}`, v("'x'", "streamARN", `Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+`))
}

func TestTooManyRecords(t *testing.T) {
	in := &PutRecordsInput{}
	body := `{"Records":[` + strings.TrimSuffix(strings.Repeat(`{"Data":"","PartitionKey":"k"},`, 501), ",") + `]}`
	if err := decode(in, shape.JSON, []byte(body)); err != nil {
		t.Fatal(err)
	}
	entry := "com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310"
	want := "ValidationException: 1 validation error detected: Value '[" + strings.TrimSuffix(strings.Repeat(entry+", ", 501), ", ") +
		"]' at 'records' failed to satisfy constraint: " + atMost + "500"
	if got := violations(in); got != want {
		t.Errorf("got %.300s, want %.300s", got, want)
	}
}

// TestPatterns holds the generated matchers against what the patterns mean.
func TestPatterns(t *testing.T) {
	f := func(hash string, valid bool) {
		t.Helper()
		in := &PutRecordInput{}
		if err := decode(in, shape.JSON, []byte(`{"Data":"","ExplicitHashKey":"`+hash+`"}`)); err != nil {
			t.Fatal(err)
		}
		if got := violations(in) == ""; got != valid {
			t.Errorf("hash key %q: got valid %v, want %v", hash, got, valid)
		}
	}
	f("0", true)
	f("9", true)
	f("1"+strings.Repeat("0", 38), true)
	f("1"+strings.Repeat("0", 39), false)
	f("00", false)
	f("-1", false)
	f("1a", false)
	f("1:", false)
	f("1/", false)
	f("1 ", false)
	f(`1\n`, false)
	f("", false)
}
