package emit

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/gen/awsgen/model"
	"github.com/headrace/headrace/internal/gen/awsgen/models"
)

// TestStoredModels writes every stored model or gets an error that says what is missing. When a
// service moves from one list to the other, only this table changes.
func TestStoredModels(t *testing.T) {
	f := func(service, want string) {
		t.Helper()
		text, err := models.Text(service)
		if err != nil {
			t.Fatal(err)
		}
		s, err := model.Parse(service, text)
		if err != nil {
			t.Fatal(err)
		}
		files, err := Package(s, "p", "0")
		if want == "" {
			if err != nil || len(files) == 0 {
				t.Errorf("%s: got %d files and error %v, want files", service, len(files), err)
			}
			return
		}
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want ErrUnsupported saying %q", service, err, want)
		}
	}
	f("kinesis", "")
	f("firehose", "shape ClusterJDBCURL: emit: not supported: pattern")
	f("kinesisanalytics", "shape KinesisAnalyticsARN: emit: not supported: pattern")
	f("kinesisanalyticsv2", "shape RecordRowPath: emit: not supported: pattern")
	f("kinesisvideo", "protocol rest-json")
	f("sqs", "flattened")
	f("dynamodb", "shape AutoScalingPolicyName: emit: not supported: pattern")
	f("cloudwatch", "protocol smithy-rpc-v2-cbor")
	f("sts", "")
}

// TestQuery writes what only the query protocol has.
func TestQuery(t *testing.T) {
	const text = `{"version":"2.0","metadata":{"protocol":"query","endpointPrefix":"x","apiVersion":"2020-01-02","xmlNamespace":"urn:x"},"operations":{
		"Op":{"name":"Op","http":{"method":"POST","requestUri":"/"},"authtype":"none","input":{"shape":"In"},"output":{"shape":"In","resultWrapper":"OpResult"},"errors":[{"shape":"Bad"}]}},
		"shapes":{"In":{"type":"structure","members":{"A":{"shape":"S","locationName":"a"},"L":{"shape":"L"},"F":{"shape":"F"},"M":{"shape":"M","locationName":"Attribute"}}},
		"Bad":{"type":"structure","exception":true,"error":{"code":"Worse","httpStatusCode":403},"members":{}},
		"L":{"type":"list","member":{"shape":"S","locationName":"Item"}},"F":{"type":"list","flattened":true,"member":{"shape":"S","locationName":"Each"}},
		"M":{"type":"map","flattened":true,"key":{"shape":"S","locationName":"Name"},"value":{"shape":"S","locationName":"Value"}},
		"S":{"type":"string","sensitive":true,"max":5}}}`
	s, err := model.Parse("made-up", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	files, err := Package(s, "p", "0")
	if err != nil {
		t.Fatal(err)
	}
	f := func(file string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(string(files[file]), w) {
				t.Errorf("%s: want %q in\n%s", file, w, files[file])
			}
		}
	}
	f("types_gen.go", `XMLNamespace = "urn:x"`)
	f("decode_gen.go", `case "a":`, `case "L":`, `case "Each":`, `case "Attribute":`,
		`d.BeginListIn(shape.Layout{Element: "Item"})`, `d.BeginListIn(shape.Layout{Flat: true})`,
		`d.BeginMapIn(shape.Layout{Flat: true, Key: "Name", Value: "Value"})`)
	f("encode_gen.go", `e.Member("Each")`, `e.BeginListIn(shape.Layout{Element: "Item"}, len(s))`)
	f("validate_gen.go", `c.Secret("A", v.A.Value, -1, 5)`)
	f("errors_gen.go", `Code: "Worse"`, `Status: 403`)
	f("operations_gen.go", "op.Unsigned = true")

	s, err = model.Parse("made-up", []byte(strings.Replace(text, "OpResult", "Other", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Package(s, "p", "0"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("another wrapper: got error %v, want ErrUnsupported", err)
	}
}

func parse(t *testing.T, shapes string) *model.Service {
	t.Helper()
	text := `{"version":"2.0","metadata":{"protocol":"json","endpointPrefix":"x","apiVersion":"2020-01-02"},"operations":{
		"Op":{"name":"Op","http":{"method":"POST","requestUri":"/"},"input":{"shape":"In"}}},"shapes":{` + shapes + `}}`
	s, err := model.Parse("made-up", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUnsupported(t *testing.T) {
	f := func(shapes, want string) {
		t.Helper()
		_, err := Package(parse(t, shapes), "p", "0")
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want ErrUnsupported saying %q", shapes, err, want)
		}
	}
	const text = `"S":{"type":"string"}`
	f(`"In":{"type":"structure","union":true,"members":{"A":{"shape":"S"}}},`+text, "union")
	f(`"In":{"type":"structure","members":{"A":{"shape":"S","location":"uri"}}},`+text, "member A is bound outside the body")
	f(`"In":{"type":"structure","required":["A"],"members":{"A":{"shape":"In"}}}`, "In requires itself")
	f(`"In":{"type":"structure","members":{"A":{"shape":"D"}}},"D":{"type":"double","max":1}`, "bounds on a fraction")
	f(`"In":{"type":"structure","members":{"A":{"shape":"op"}}},"op":{"type":"structure","members":{}}`, "both named Op")
	f(`"In":{"type":"structure","members":{"A":{"shape":"S"}}},"S":{"type":"string","pattern":"(?=a)b"}`, "pattern")
	f(`"In":{"type":"structure","members":{"A":{"shape":"E"}}},"E":{"type":"structure","exception":true,"members":{"Item":{"shape":"In"}}}`, "error member Item")
	f(`"In":{"type":"structure","members":{"A":{"shape":"T"}}},"T":{"type":"timestamp","timestampFormat":"iso8601"}`, "timestamp format")
	f(`"In":{"type":"structure","members":{"A":{"shape":"P"}}},"P":{"type":"string","sensitive":true,"pattern":"a+"}`, "must not be shown")
}

// TestRecursion writes a structure that contains itself through a list, a map and a pointer.
func TestRecursion(t *testing.T) {
	files, err := Package(parse(t, `"In":{"type":"structure","members":{"A":{"shape":"In"},"L":{"shape":"L"},"M":{"shape":"M"}}},
		"L":{"type":"list","member":{"shape":"In"},"max":3},"M":{"type":"map","key":{"shape":"S"},"value":{"shape":"L"}},
		"S":{"type":"string","max":5}`), "p", "0")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A *In", "L []In", "M map[string][]In"} {
		if !strings.Contains(strings.Join(strings.Fields(string(files["types_gen.go"])), " "), want) {
			t.Errorf("types: want %q in\n%s", want, files["types_gen.go"])
		}
	}
}

// TestEnumOrder compares with messages AWS was seen to send.
func TestEnumOrder(t *testing.T) {
	f := func(want ...string) {
		t.Helper()
		for range 5 {
			values := append([]string{}, want...)
			rand.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			if got := javaSet(values); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	}
	f("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON") // Kinesis
	f("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")                 // Kinesis, until 2015
	f("INDEXES", "TOTAL", "NONE")                                                              // DynamoDB, and so on
	f("SIZE", "NONE")
	f("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
	f("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")
}

func TestNames(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(enumConstant("StreamStatus", "ACTIVE"), "StreamStatusActive")
	f(enumConstant("ShardFilterType", "AT_TRIM_HORIZON"), "ShardFilterTypeAtTrimHorizon")
	f(enumConstant("EncryptionType", "KMS"), "EncryptionTypeKMS")
	f(enumConstant("ChannelDestinationType", "S3_TABLES"), "ChannelDestinationTypeS3Tables")
	f(enumConstant("RecordFormatType", "GSR_JSON"), "RecordFormatTypeGSRJSON")
	f(enumConstant("MetricsName", "IncomingBytes"), "MetricsNameIncomingBytes")
	f(unexported("StreamARN"), "streamARN")
	f(unexported("GSRSchemaARN"), "gsrSchemaARN")
	f(unexported("S3Prefix"), "s3Prefix")
	f(exported("nonNegativeIntegerType"), "NonNegativeIntegerType")
}

// TestMatchers says which patterns get matchers of their own.
func TestMatchers(t *testing.T) {
	f := func(pattern string, want bool) {
		t.Helper()
		if _, got := matcher(pattern); got != want {
			t.Errorf("%s: got own matcher %v, want %v", pattern, got, want)
		}
	}
	f(`[a-zA-Z0-9_.-]+`, true)
	f(`[0-9A-Za-z!\-_'.*()\/]+`, true)
	f(`\d{12}`, true)
	f(`^(0|([1-9]\d{0,38}))$`, true)
	f(`[^:*]*`, false)
	f(`arn:aws.*:kinesis:.*:\d{12}:stream/\S+`, false)
	f(`[a-z0-9]{20}-[a-z0-9]{3}`, false)
	f(`(`, false)
}

// TestPatterns lists the patterns of the stored models that Go cannot compile: those need matchers
// written by hand before their services can be written.
func TestPatterns(t *testing.T) {
	var bad []string
	for _, service := range models.Services() {
		text, err := models.Text(service)
		if err != nil {
			t.Fatal(err)
		}
		s, err := model.Parse(service, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range s.Shapes.List() {
			if _, err := regexp.Compile(wholeText(e.Value.Pattern)); err != nil {
				bad = append(bad, service+" "+e.Name)
			}
		}
	}
	want := []string{
		"firehose ClusterJDBCURL", "firehose DatabaseEndpoint", "firehose HttpEndpointAttributeName",
		"firehose HttpEndpointName", "firehose NonEmptyString", "firehose ProcessorParameterValue",
		"firehose TagKey", "kinesisanalytics KinesisAnalyticsARN", "kinesisanalyticsv2 RecordRowPath",
		"dynamodb AutoScalingPolicyName", "dynamodb AutoScalingRoleArn",
	}
	if !slices.Equal(bad, want) {
		t.Errorf("got %q, want %q", bad, want)
	}
}
