package sigv4_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/auth/sigv4"
)

const (
	scope    = "AKIDEXAMPLE/20261123/eu-west-1/kinesis/aws4_request"
	complete = "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host;x-amz-date, Signature=abc123"
)

// request builds a POST with the given query and Authorization header, dated unless date is empty.
func request(query, authorization, date string) *http.Request {
	r := &http.Request{Method: "POST", URL: &url.URL{Path: "/", RawQuery: query}, Header: http.Header{}}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if date != "" {
		r.Header.Set("X-Amz-Date", date)
	}
	return r
}

func TestParseHeader(t *testing.T) {
	f := func(authorization string, want sigv4.Credential) {
		t.Helper()
		want.Time = "20261123T101112Z"
		got, err := sigv4.Parse(request("", authorization, "20261123T101112Z"))
		if err != nil {
			t.Fatalf("Parse(%q) failed: %v", authorization, err)
		}
		if got != want {
			t.Errorf("Parse(%q)\n got %+v\nwant %+v", authorization, got, want)
		}
	}
	want := sigv4.Credential{
		Algorithm: "AWS4-HMAC-SHA256", AccessKeyID: "AKIDEXAMPLE", Date: "20261123", Region: "eu-west-1",
		Service: "kinesis", SignedHeaders: "host;x-amz-date", Signature: "abc123",
	}
	f(complete, want)
	f("AWS4-HMAC-SHA256 Credential="+scope+",SignedHeaders=host;x-amz-date,Signature=abc123", want)
	f("AWS4-HMAC-SHA256 Signature=abc123 Credential="+scope+"  SignedHeaders=host;x-amz-date", want)
	f("AWS4-HMAC-SHA256,Signature=abc123 ,, Credential="+scope+" ,SignedHeaders=host;x-amz-date,Extra=1,", want)

	want.AccessKeyID = "a/b/c"
	f("AWS4-HMAC-SHA256 Credential=a/b/c/20261123/eu-west-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=abc123", want)
	want.AccessKeyID, want.SignedHeaders = "AKIDEXAMPLE", ":authority;x-amz-date"
	f("AWS4-HMAC-SHA256 Credential="+scope+", SignedHeaders=:authority;x-amz-date, Signature=abc123", want)
}

// A temporary key's token comes beside the signature, wherever that is.
func TestParseSessionToken(t *testing.T) {
	r := request("", complete, "20261123T101112Z")
	r.Header.Set("X-Amz-Security-Token", "to/ken==")
	id, err := sigv4.FormOnly{}.Identify(r)
	if err != nil || id.SessionToken != "to/ken==" {
		t.Errorf("in a header: got %+v, %v", id, err)
	}
	query := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + scope + "&X-Amz-Date=20261123T101112Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
	id, err = sigv4.FormOnly{}.Identify(request(query+"&X-Amz-Security-Token=to%2Fken%3D%3D", "", ""))
	if err != nil || id.SessionToken != "to/ken==" {
		t.Errorf("presigned: got %+v, %v", id, err)
	}
}

func TestParseDateHeader(t *testing.T) {
	r := request("", complete, "")
	r.Header.Set("Date", "Mon, 23 Nov 2026 10:11:12 GMT")
	c, err := sigv4.Parse(r)
	if err != nil || c.Time != "Mon, 23 Nov 2026 10:11:12 GMT" {
		t.Errorf("got time %q, error %v; want the Date header's", c.Time, err)
	}
}

func TestParsePresigned(t *testing.T) {
	q := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + url.QueryEscape(scope) +
		"&X-Amz-Date=20261123T101112Z&X-Amz-Expires=299&X-Amz-SignedHeaders=host&X-Amz-Signature=abc123"
	want := sigv4.Credential{
		Algorithm: "AWS4-HMAC-SHA256", AccessKeyID: "AKIDEXAMPLE", Date: "20261123", Region: "eu-west-1",
		Service: "kinesis", SignedHeaders: "host", Signature: "abc123", Time: "20261123T101112Z",
		Presigned: true, Expires: "299",
	}
	got, err := sigv4.Parse(request(q, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	f := func(query, authorization, date, code, message string) {
		t.Helper()
		_, err := sigv4.Parse(request(query, authorization, date))
		var refusal *sigv4.Refusal
		if !errors.As(err, &refusal) {
			t.Fatalf("Parse(%q, %q) = %v, want a *sigv4.Refusal", query, authorization, err)
		}
		e := refusal.For(sigv4.JSON)
		if e.Code != code || e.Message != message || e.HTTPStatus() != 400 {
			t.Errorf("Parse(%q, %q)\n got %d %s: %s\nwant 400 %s: %s", query, authorization, e.HTTPStatus(), e.Code, e.Message, code, message)
		}
	}
	const (
		incomplete = "IncompleteSignatureException"
		noCred     = "Authorization header requires 'Credential' parameter. "
		noSig      = "Authorization header requires 'Signature' parameter. "
		noHeaders  = "Authorization header requires 'SignedHeaders' parameter. "
		noDate     = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
		now        = "20261123T101112Z"
	)
	f("", "", "", "MissingAuthenticationTokenException", "Missing Authentication Token")
	f("X-Amz-Credential=a&X-Amz-Signature=b&X-Amz-SignedHeaders=c&X-Amz-Date=d", "", "", "MissingAuthenticationTokenException", "Missing Authentication Token")
	f("X-Amz-Algorithm", "X", "", "InvalidSignatureException",
		"Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")

	f("", "X", "", incomplete, noCred+noSig+noHeaders+noDate+"Authorization=X")
	f("X-Amz-Algorith", "X", "", incomplete, noCred+noSig+noHeaders+noDate+"Authorization=X")
	f("", "AWS4- Signature=b Credential=a", now, incomplete, noHeaders+"Authorization=AWS4- Signature=b Credential=a")
	f("", "AWS4- Signature=b,Credential=a", now, incomplete, noHeaders+"Authorization=AWS4- Signature=b,Credential=a")
	f("", "AWS4- Signature=b, Credential=a", now, incomplete, noHeaders+"Authorization=AWS4- Signature=b, Credential=a")
	f("", complete, "", incomplete, noDate+"Authorization="+complete)
	f("", "Bearer token", now, incomplete, noCred+noSig+noHeaders+"Authorization=Bearer token")

	f("X-Amz-Algorithm", "", "", incomplete, "AWS query-string parameters must include 'X-Amz-Algorithm'. "+
		"AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Signature'. "+
		"AWS query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must include 'X-Amz-Date'. "+
		"Re-examine the query-string parameters.")
	f("X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Signature=c&X-Amz-Date=d", "", "", incomplete,
		"AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine the query-string parameters.")

	header := func(scope string) string {
		return "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host, Signature=abc"
	}
	f("", header("AKID/20261123/kinesis/aws4_request"), now, incomplete,
		"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKID/20261123/kinesis/aws4_request'")
	f("", header("/20261123/eu-west-1/kinesis/aws4_request"), now, incomplete,
		"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '/20261123/eu-west-1/kinesis/aws4_request'")
	f("", header("AKID/20261123/eu-west-1/kinesis/aws5"), now, "InvalidSignatureException",
		"Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'.")
	f("", header("AKID/20261123//kinesis/aws4_request"), now, "InvalidSignatureException",
		"Credential should be scoped to a valid region, not ''.")
	f("", header("AKID/20261123/eu_west/kinesis/aws4_request"), now, "InvalidSignatureException",
		"Credential should be scoped to a valid region, not 'eu_west'.")
	f("", header("AKID/20261123/eu_west/kinesis/aws5"), now, "InvalidSignatureException",
		"Credential should be scoped to a valid region, not 'eu_west'. "+
			"Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'.")
	f("", "AWS4-ECDSA-P256-SHA256 Credential="+scope+", SignedHeaders=host, Signature=abc", now, incomplete,
		"Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'.")
}

func TestFormOnly(t *testing.T) {
	f := func(account, key, want string) {
		t.Helper()
		id, err := sigv4.FormOnly{Account: account}.Identify(request("", strings.Replace(complete, "AKIDEXAMPLE", key, 1), "now"))
		if err != nil {
			t.Fatal(err)
		}
		if id != (sigv4.Identity{Account: want, Region: "eu-west-1", AccessKeyID: key}) {
			t.Errorf("key %q with default %q: got %+v, want account %s", key, account, id, want)
		}
	}
	f("", "AKIDEXAMPLE", "000000000000")
	f("", "123456789012", "123456789012")
	f("", "12345678901x", "000000000000")
	f("", "1234567890123", "000000000000")
	f("111122223333", "AKIDEXAMPLE", "111122223333")
	f("111122223333", "123456789012", "123456789012")

	if id, err := (sigv4.FormOnly{}).Identify(request("", "", "")); err == nil || id != (sigv4.Identity{}) {
		t.Errorf("unsigned request: got %+v, %v, want an error and no identity", id, err)
	}
}

// A check that was not reset does not name its last caller again.
func TestCheckOfAnotherRequest(t *testing.T) {
	var c sigv4.Check
	if id, err := c.Finish(); err == nil || id != (sigv4.Identity{}) {
		t.Errorf("a check that never began: got %+v, %v, want an error and no identity", id, err)
	}
	if err := (sigv4.FormOnly{}).Begin(&c, request("", complete, "now"), sigv4.Rules{}); err != nil {
		t.Fatal(err)
	}
	if id, err := c.Finish(); err != nil || id.AccessKeyID != "AKIDEXAMPLE" {
		t.Errorf("got %+v, %v", id, err)
	}
	if err := (sigv4.FormOnly{}).Begin(&c, request("", "", ""), sigv4.Rules{}); err == nil {
		t.Fatal("an unsigned request was accepted")
	}
	if id, err := c.Finish(); err == nil || id != (sigv4.Identity{}) {
		t.Errorf("after an unsigned request: got %+v, %v, want an error and no identity", id, err)
	}
}

func TestParseAllocations(t *testing.T) {
	r := request("", complete, "20261123T101112Z")
	n := alloctest.Count(t, 100, func() {
		if _, err := sigv4.Parse(r); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("Parse of a complete header makes %v allocations, want none", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("", complete, "20261123T101112Z")
	f.Add("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/b/c/d/aws4_request&X-Amz-Date=d&X-Amz-SignedHeaders=h&X-Amz-Signature=s", "", "")
	f.Add("X-Amz-Algorithm", "X", "")
	f.Add("", "AWS4-HMAC-SHA256 Credential=////aws4_request,Signature==,SignedHeaders=;", "x")
	f.Fuzz(func(t *testing.T, query, authorization, date string) {
		c, err := sigv4.Parse(request(query, authorization, date))
		var e *sigv4.Refusal
		switch {
		case err == nil && (c.AccessKeyID == "" || c.Region == "" || c.Signature == "" || c.SignedHeaders == "" || c.Time == ""):
			t.Errorf("accepted an incomplete credential: %+v", c)
		case err != nil && (!errors.As(err, &e) || c != (sigv4.Credential{})):
			t.Errorf("got %+v and error %v, want a zero credential and a *sigv4.Refusal", c, err)
		}
	})
}
