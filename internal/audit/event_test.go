package audit

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// full is an event with every field.
func full() Event {
	return Event{
		Time: time.Date(2026, 3, 1, 12, 30, 15, 999, time.FixedZone("x", 3600)), Source: "kinesis.amazonaws.com", Name: "CreateStream",
		Region: "us-east-1", Account: "012345678910",
		Identity: Identity{Type: "IAMUser", PrincipalID: "AIDAEXAMPLE", ARN: "arn:aws:iam::012345678910:user/Alice", AccountID: "012345678910", AccessKeyID: "AKIAEXAMPLE", UserName: "Alice"},
		SourceIP: "192.0.2.1", UserAgent: "aws-cli/2.0 <x> & \"y\"",
		Parameters: json.RawMessage(`{"shardCount":1,"streamName":"GoodStream"}`),
		Resources:  []Resource{{AccountID: "012345678910", Type: "AWS::Kinesis::Stream", ARN: "arn:aws:kinesis:us-east-1:012345678910:stream/GoodStream"}},
		RequestID:  "db6c59f8-c757-11e3-bc3b-57923b443c1c",
		TLS:        &TLS{Version: "TLSv1.3", CipherSuite: "TLS_AES_128_GCM_SHA256", Host: "kinesis.us-east-1.amazonaws.com"},
	}
}

func decoded(t *testing.T, e Event) map[string]any {
	t.Helper()
	line, err := e.line()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
		t.Errorf("not one line: %q", line)
	}
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// The example of an event that AWS documents for Kinesis, in the fields that it has, and the fields
// that events have gained since.
func TestShapeOfCloudTrail(t *testing.T) {
	const documented = `{
		"eventVersion": "1.01",
		"userIdentity": {
			"type": "IAMUser", "principalId": "EX_PRINCIPAL_ID", "arn": "arn:aws:iam::012345678910:user/Alice",
			"accountId": "012345678910", "accessKeyId": "EXAMPLE_KEY_ID", "userName": "Alice"
		},
		"eventTime": "2014-04-19T00:16:31Z",
		"eventSource": "kinesis.amazonaws.com",
		"eventName": "CreateStream",
		"awsRegion": "us-east-1",
		"sourceIPAddress": "127.0.0.1",
		"userAgent": "aws-sdk-java/unknown-version Linux/x.xx",
		"requestParameters": {"shardCount": 1, "streamName": "GoodStream"},
		"responseElements": null,
		"requestID": "db6c59f8-c757-11e3-bc3b-57923b443c1c",
		"eventID": "b7acfcd0-6ca9-4ee1-a3d7-c4e8d420d99b"
	}`
	var want map[string]any
	if err := json.Unmarshal([]byte(documented), &want); err != nil {
		t.Fatal(err)
	}
	got := decoded(t, full())
	compareTypes(t, "", want, got)
	names := slices.Sorted(maps.Keys(got))
	all := "awsRegion eventCategory eventID eventName eventSource eventTime eventType eventVersion managementEvent readOnly recipientAccountId requestID requestParameters resources responseElements sourceIPAddress tlsDetails userAgent userIdentity"
	if strings.Join(names, " ") != all {
		t.Errorf("fields\n%s\nwant\n%s", names, all)
	}
	f := func(name string, want any) {
		t.Helper()
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	f("eventVersion", "1.11")
	f("eventTime", "2026-03-01T11:30:15Z")
	f("eventType", "AwsApiCall")
	f("eventCategory", "Management")
	f("managementEvent", true)
	f("readOnly", false)
	f("recipientAccountId", "012345678910")
	f("userAgent", "aws-cli/2.0 <x> & \"y\"")
}

// compareTypes finds every member of want in got, with a value of the same type.
func compareTypes(t *testing.T, path string, want, got map[string]any) {
	t.Helper()
	for name, w := range want {
		g, there := got[name]
		if !there {
			t.Errorf("%s%s is missing", path, name)
			continue
		}
		switch w := w.(type) {
		case map[string]any:
			object, ok := g.(map[string]any)
			if !ok {
				t.Errorf("%s%s is %T", path, name, g)
				continue
			}
			compareTypes(t, path+name+".", w, object)
		case string:
			if _, ok := g.(string); !ok {
				t.Errorf("%s%s is %T", path, name, g)
			}
		case nil:
			if g != nil {
				t.Errorf("%s%s is %T, want null", path, name, g)
			}
		}
	}
}

func TestDataEvents(t *testing.T) {
	e := full()
	e.Data, e.ReadOnly, e.ErrorCode, e.ErrorMessage = true, true, "AccessDeniedException", "no"
	got := decoded(t, e)
	if got["eventCategory"] != "Data" || got["managementEvent"] != false || got["readOnly"] != true || got["errorCode"] != "AccessDeniedException" || got["errorMessage"] != "no" {
		t.Errorf("got %v", got)
	}
}

// What callers choose does not make a line long, and what is cut stays text.
func TestFieldsAreBounded(t *testing.T) {
	long := strings.Repeat("é\"\x00", 100_000)
	e := full()
	e.UserAgent, e.ErrorMessage, e.Identity.AccessKeyID, e.TLS.Host = long, long, long, long
	e.Parameters = json.RawMessage(`{"a":"` + strings.Repeat("x", maxParameters) + `"}`)
	e.Response = e.Parameters
	e.Resources = slices.Repeat([]Resource{{ARN: long}}, 100)
	line, err := e.line()
	if err != nil || len(line) > maxLine {
		t.Fatalf("%d bytes, %v; want at most %d", len(line), err, maxLine)
	}
	got := decoded(t, e)
	if p, ok := got["requestParameters"].(map[string]any); !ok || p["omitted"] != true || p["reason"] != "requestParameters too large" || p["originalSize"] != float64(len(e.Parameters)) {
		t.Errorf("large parameters are %v", got["requestParameters"])
	}
	if agent, _ := got["userAgent"].(string); len(agent) > maxText || !strings.HasPrefix(agent, "é\"\x00é") {
		t.Errorf("the user agent is %.20q, %d bytes", agent, len(agent))
	}
}

// AWS's error for a wrong signature repeats the request, a session token in it.
func TestErrorTextEndsWithItsLine(t *testing.T) {
	e := full()
	e.ErrorMessage = "The request signature we calculated does not match.\n\nThe Canonical String for this request should have been\n'x-amz-security-token:SECRET'"
	line, err := e.line()
	if err != nil || bytes.Contains(line, []byte("SECRET")) || !bytes.Contains(line, []byte("does not match.\"")) {
		t.Errorf("got %s, %v", line, err)
	}
}

func TestBrokenParameters(t *testing.T) {
	e := full()
	e.Parameters = json.RawMessage(`{"a":`)
	if line, err := e.line(); err == nil {
		t.Errorf("half an object became %s", line)
	}
}

func TestRedact(t *testing.T) {
	secret := func(name string) bool { return name == "Data" || name == "SessionToken" }
	f := func(in, want string) {
		t.Helper()
		if got, _ := Redact([]byte(in), secret); string(got) != want {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
	f(`{}`, `{}`)
	f(`{"StreamName":"a","ShardCount":1,"Big":12345678901234567890,"Rate":1.5e3,"On":true,"Off":null}`,
		`{"streamName":"a","shardCount":1,"big":12345678901234567890,"rate":1.5e3,"on":true,"off":null}`)
	f(`{"Data":"c2VjcmV0"}`, `{"data":"HIDDEN_DUE_TO_SECURITY_REASONS"}`)
	f(`{"Data":{"a":[1,{"b":2}]},"Next":1}`, `{"data":"HIDDEN_DUE_TO_SECURITY_REASONS","next":1}`)
	f(`{"Records":[{"Data":"x","Key":"k"},{"Key":"l","Data":null}]}`, `{"records":[{"data":"HIDDEN_DUE_TO_SECURITY_REASONS","key":"k"},{"key":"l","data":"HIDDEN_DUE_TO_SECURITY_REASONS"}]}`)
	f(`{"A":{"SessionToken":"t"},"B":[[]]}`, `{"a":{"sessionToken":"HIDDEN_DUE_TO_SECURITY_REASONS"},"b":[[]]}`)
	f(`{"":1,"É":2,"a\"b":3}`, `{"":1,"é":2,"a\"b":3}`)
	f(``, ``)
	f(`[]`, ``)
	f(`"x"`, ``)
	f(`{"a":1`, ``)
	f(`{"a":1}{"b":2}`, ``)
	f(`{"a":1} x`, ``)
	f(strings.Repeat(`{"a":`, 100)+`1`+strings.Repeat(`}`, 100), ``)
}

func TestHide(t *testing.T) {
	_, hidden := Redact([]byte(`{"Token":"abc","A":{"Token":"xyz"},"B":"abd","C":{"Token":["no text"]},"D":{"Token":""}}`), func(name string) bool { return name == "Token" })
	if got := Hide("abc is not abd, xyz neither is abc.", hidden); got != Hidden+" is not abd, "+Hidden+" neither is "+Hidden+"." {
		t.Errorf("got %q", got)
	}
}

// FuzzRedact shows that whatever comes out is one JSON object on one line, and that nothing but Hidden
// is left of secret members.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{`{}`, `{"Data":"x"}`, `{"A":[{"Data":{"b":"hush"}}],"B":-1.5e9}`, `{"a":`, `[1]`, "{\"\\u0044ata\":\"hush\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var v map[string]any
		for what, secret := range map[string]Secret{"none": func(string) bool { return false }, "all": func(string) bool { return true }} {
			out, _ := Redact(in, secret)
			if out == nil {
				continue
			}
			clear(v)
			if err := json.Unmarshal(out, &v); err != nil || bytes.ContainsAny(out, "\n") {
				t.Fatalf("%q became %q: %v", in, out, err)
			}
			for name, value := range v {
				if what == "all" && value != Hidden {
					t.Errorf("%q became %q: %s is left", in, out, name)
				}
			}
		}
	})
}
