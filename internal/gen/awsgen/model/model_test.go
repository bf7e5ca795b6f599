package model_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/gen/awsgen/model"
	"github.com/headrace/headrace/internal/gen/awsgen/models"
)

// load parses a stored model, which also checks that every key is known and every reference
// resolves.
func load(t *testing.T, service string) *model.Service {
	t.Helper()
	text, err := models.Text(service)
	if err != nil {
		t.Fatal(err)
	}
	s, err := model.Parse(service, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoredModels(t *testing.T) {
	tested := 0
	f := func(service string, operations, shapes int, protocol, prefix, signer string) {
		t.Helper()
		tested++
		s := load(t, service)
		if s.Operations.Len() != operations || s.Shapes.Len() != shapes {
			t.Errorf("%s: got %d operations and %d shapes, want %d and %d", service, s.Operations.Len(), s.Shapes.Len(), operations, shapes)
		}
		if n := len(s.Reachable()); n != shapes {
			t.Errorf("%s: operations reach %d shapes, want all %d", service, n, shapes)
		}
		m := s.Metadata
		if m.Protocol != protocol || m.TargetPrefix != prefix || m.Signer() != signer {
			t.Errorf("%s: got protocol %q, target prefix %q, signer %q; want %q, %q, %q", service, m.Protocol, m.TargetPrefix, m.Signer(), protocol, prefix, signer)
		}
	}
	f("kinesis", 45, 227, "json", "Kinesis_20131202", "kinesis")
	f("firehose", 12, 297, "json", "Firehose_20150804", "firehose")
	f("kinesisanalytics", 20, 159, "json", "KinesisAnalytics_20150814", "kinesisanalytics")
	f("kinesisanalyticsv2", 41, 371, "json", "KinesisAnalytics_20180523", "kinesisanalytics")
	f("kinesisvideo", 32, 170, "rest-json", "", "kinesisvideo")
	f("kinesis-video-media", 1, 18, "rest-json", "", "kinesisvideo")
	f("kinesis-video-archived-media", 6, 71, "rest-json", "", "kinesisvideo")
	f("kinesis-video-signaling", 2, 24, "rest-json", "", "kinesisvideo")
	f("kinesis-video-webrtc-storage", 2, 9, "rest-json", "", "kinesisvideo")
	f("sqs", 23, 114, "json", "AmazonSQS", "sqs")
	f("dynamodb", 62, 553, "json", "DynamoDB_20120810", "dynamodb")
	f("cloudwatch", 59, 402, "smithy-rpc-v2-cbor", "GraniteServiceVersion20100801", "monitoring")
	f("sts", 11, 101, "query", "", "sts")
	if tested != len(models.Services()) {
		t.Errorf("tested %d models, stored are %d", tested, len(models.Services()))
	}
}

func TestKindsOfShapes(t *testing.T) {
	kinesis := load(t, "kinesis")
	if s := kinesis.Shapes.Get("SubscribeToShardEventStream"); !s.EventStream || s.Members.Len() != 10 {
		t.Errorf("SubscribeToShardEventStream: got event stream %v of %d members, want true and 10", s.EventStream, s.Members.Len())
	}
	if !kinesis.Shapes.Get("SubscribeToShardEvent").Event {
		t.Error("SubscribeToShardEvent is not an event")
	}
	if s := kinesis.Shapes.Get("InternalFailureException"); !s.Exception || !s.Fault {
		t.Error("InternalFailureException is not a fault")
	}
	if s := kinesis.Shapes.Get("Data"); s.Type != model.Blob || s.Max.String() != "10485760" {
		t.Errorf("Data: got %s of at most %v, want a blob of at most 10485760", s.Type, s.Max)
	}
	var members []string
	for _, m := range kinesis.Shapes.Get("PutRecordInput").Members.List() {
		members = append(members, m.Name)
	}
	want := "StreamName Data PartitionKey ExplicitHashKey SequenceNumberForOrdering StreamARN StreamId DryRun"
	if got := strings.Join(members, " "); got != want {
		t.Errorf("PutRecordInput: got members %s, want %s", got, want)
	}

	dynamodb := load(t, "dynamodb")
	value := dynamodb.Shapes.Get("AttributeValue")
	list := dynamodb.Of(value.Members.Get("L"))
	if list.Member.Shape != "AttributeValue" {
		t.Errorf("AttributeValue.L: got elements %s, want AttributeValue", list.Member.Shape)
	}

	sts := load(t, "sts")
	if e := sts.Shapes.Get("IDPRejectedClaimException").Error; e == nil || e.Code != "IDPRejectedClaim" || !e.SenderFault || e.HTTPStatusCode != 403 {
		t.Errorf("IDPRejectedClaimException: got %+v", e)
	}
	if !load(t, "sqs").Shapes.Get("MessageAttributeValue").Members.Get("StringListValues").Flattened {
		t.Error("StringListValues is not flattened")
	}
	media := load(t, "kinesis-video-media")
	out := media.Shapes.Get("GetMediaOutput")
	if r := out.Members.Get("ContentType"); out.Payload != "Payload" || r.Location != model.InHeader || r.LocationName != "Content-Type" {
		t.Errorf("GetMediaOutput: got payload %q, content type in %q as %q", out.Payload, r.Location, r.LocationName)
	}
	if !media.Shapes.Get("Payload").Streaming {
		t.Error("GetMedia's payload is not streaming")
	}
	if !load(t, "cloudwatch").Shapes.Get("EvaluationCriteria").Union {
		t.Error("EvaluationCriteria is not a union")
	}
}

// TestTraitsOfOtherModels parses what no stored model has yet and the format knows.
func TestTraitsOfOtherModels(t *testing.T) {
	text := `{"version":"2.0","metadata":{"protocol":"rest-json"},"operations":{
		"Get":{"name":"Get","http":{"method":"GET","requestUri":"/{Id}","responseCode":202},"input":{"shape":"In"}}},
		"shapes":{"In":{"type":"structure","required":["Id"],"members":{
			"Id":{"shape":"S","location":"uri","locationName":"Id","idempotencyToken":true},
			"Q":{"shape":"S","location":"querystring","locationName":"q"},
			"H":{"shape":"M","location":"headers","locationName":"x-"},
			"Code":{"shape":"F","location":"statusCode"},
			"J":{"shape":"S","jsonvalue":true,"location":"header","locationName":"j"},
			"T":{"shape":"T","timestampFormat":"iso8601"},
			"E":{"shape":"Ev"}}},
		"Ev":{"type":"structure","event":true,"members":{
			"P":{"shape":"B","eventpayload":true},"Hd":{"shape":"S","eventheader":true}}},
		"S":{"type":"string","sensitive":true,"pattern":"a+"},"B":{"type":"blob","streaming":true},
		"M":{"type":"map","key":{"shape":"S"},"value":{"shape":"S"},"flattened":true},
		"F":{"type":"float"},"T":{"type":"timestamp","timestampFormat":"unixTimestamp"}}}`
	s, err := model.Parse("made-up", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	in := s.Shapes.Get("In").Members
	if !in.Get("Id").IdempotencyToken || !in.Get("J").JSONValue || in.Get("Code").Location != model.InStatusCode {
		t.Errorf("got %+v", in.List())
	}
	if !s.Shapes.Get("Ev").Members.Get("P").EventPayload || s.Operations.Get("Get").HTTP.ResponseCode != 202 {
		t.Error("event payload or response code lost")
	}
}

func TestParseRefuses(t *testing.T) {
	f := func(shapes, want string) {
		t.Helper()
		text := `{"version":"2.0","metadata":{},"operations":{},"shapes":{` + shapes + `}}`
		_, err := model.Parse("bad", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one saying %q", shapes, err, want)
		}
	}
	f(`"A":{"type":"string","colour":"red"}`, `unknown field "colour"`)
	f(`"A":{"type":"structure","members":{"B":{"shape":"C","colour":1}}}`, `unknown field "colour"`)
	f(`"A":{"type":"structure","members":{"B":{"shape":"C"}}}`, `no shape "C"`)
	f(`"A":{"type":"structure","members":{},"required":["B"]}`, "no member B")
	f(`"A":{"type":"structure","members":{"B":{"shape":"A","location":"moon"}}}`, `unknown location "moon"`)
	f(`"A":{"type":"list"}`, "a reference is missing")
	f(`"A":{"type":"tree"}`, `unknown type "tree"`)
	f(`"A":{"type":"string"},"A":{"type":"string"}`, "named twice")
	f(`"A":[]`, "cannot unmarshal array")
}

func TestStrip(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got, err := model.Strip([]byte(in))
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if string(got) != want {
			t.Errorf("strip %s: got %s, want %s", in, got, want)
		}
	}
	f(`{"documentation":"<p>"}`, `{}`)
	f(`{"a": 1, "documentation": {"b": [1, 2]}, "c": "<&>"}`, `{"a":1,"c":"<&>"}`)
	f(`{"operations":{"documentation":{"documentation":"x","name":"documentation"}}}`, `{"operations":{"documentation":{"name":"documentation"}}}`)
	f(`{"shapes":{"A":{"members":{"documentation":{"shape":"B","documentation":"x"}}}}}`, `{"shapes":{"A":{"members":{"documentation":{"shape":"B"}}}}}`)
	f(`{"operations":{"A":{"errors":[{"shape":"E","documentation":"x"},{"shape":"F"}]}}}`, `{"operations":{"A":{"errors":[{"shape":"E"},{"shape":"F"}]}}}`)
	f(`{"max":10000000000000000001,"b":true,"n":null}`, `{"max":10000000000000000001,"b":true,"n":null}`)

	for _, bad := range []string{``, `{`, `{"a":1}x`, `{"a" 1}`} {
		if got, err := model.Strip([]byte(bad)); err == nil {
			t.Errorf("strip %q: got %s, want an error", bad, got)
		}
	}
}

// FuzzStrip checks that stripping gives valid JSON that has nothing left to strip.
func FuzzStrip(f *testing.F) {
	f.Add([]byte(`{"documentation":"x","shapes":{"A":{"members":{"documentation":{"documentation":1}}}}}`))
	f.Add([]byte(`[{"a":[1.5e3,"\u0000"]}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		once, err := model.Strip(text)
		if err != nil {
			return
		}
		if !json.Valid(once) {
			t.Fatalf("not JSON: %s", once)
		}
		twice, err := model.Strip(once)
		if err != nil || string(twice) != string(once) {
			t.Fatalf("got %s (%v) the second time, want %s", twice, err, once)
		}
	})
}
