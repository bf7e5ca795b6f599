package sigv4_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/secret"
)

var (
	permanent = aws.Credentials{AccessKeyID: keyID, SecretAccessKey: hidden}
	temporary = aws.Credentials{AccessKeyID: tempID, SecretAccessKey: hidden, SessionToken: token}
	kinesis   = sigv4.Rules{Service: "kinesis"}
)

// put is a request of Kinesis, not signed yet.
func put(t testing.TB, url string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	return r
}

// sdkSign signs with the SDK for Go, as its clients do.
func sdkSign(t testing.TB, r *http.Request, who aws.Credentials, payload, service string, at time.Time, options ...func(*v4.SignerOptions)) {
	t.Helper()
	if err := v4.NewSigner().SignHTTP(t.Context(), who, r, payload, service, "eu-west-1", at, options...); err != nil {
		t.Fatal(err)
	}
}

// The examples of AWS's documentation.
func TestPublishedExamples(t *testing.T) {
	then := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	v := sigv4.NewVerifier(newKeys(), clock.NewManual(then))
	r, err := http.NewRequest(http.MethodGet, "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	r.Header.Set("X-Amz-Date", "20150830T123600Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "+
		"SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
	got, _, err := verify(v, r, nil, sigv4.Rules{Service: "iam"})
	want := sigv4.Identity{Account: account, Region: "us-east-1", AccessKeyID: keyID, Principal: "arn:aws:iam::123456789012:user/ann"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// Every kind of request that the SDK's signer makes is accepted, and refused with another body.
func TestAgainstSDK(t *testing.T) {
	v := newVerifier()
	plain := func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }
	f := func(method, target string, header http.Header, body string, who aws.Credentials) {
		t.Helper()
		for _, sent := range []bool{false, true} {
			for _, rules := range []sigv4.Rules{kinesis, {Service: "kinesis", PlainPath: true}} {
				if rules.PlainPath && strings.Contains(target, "*") {
					continue // clients of S3 encode the path before they sign it
				}
				r, err := http.NewRequest(method, target, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header = header.Clone()
				if sent {
					r.Header.Set("X-Amz-Content-Sha256", hashOf([]byte(body)))
				}
				if rules.PlainPath {
					sdkSign(t, r, who, hashOf([]byte(body)), "kinesis", noon, plain)
				} else {
					sdkSign(t, r, who, hashOf([]byte(body)), "kinesis", noon)
				}
				got := received(t, r, []byte(body))
				if id, content, err := verify(v, got, []byte(body), rules); err != nil || id.AccessKeyID != who.AccessKeyID || string(content) != body {
					t.Errorf("%s %s, hash sent %v, %+v: got %+v, %v", method, target, sent, rules, id, err)
				}
				_, _, err = verify(v, got, []byte(body+" "), rules)
				expectRefusal(t, target+" with another body", err, sigv4.Invalid, "The request signature we calculated does not match")
			}
		}
	}
	none := http.Header{}
	f("GET", "http://example.com", none, "", permanent)
	f("GET", "http://example.com/", none, "", temporary)
	f("POST", "http://127.0.0.1:4566/", http.Header{"X-Amz-Target": {"Kinesis_20131202.PutRecord"}}, `{"StreamName":"s"}`, permanent)
	f("POST", "http://[::1]:4566/", none, "x", temporary)
	f("POST", "http://example.com/", http.Header{"X-Amz-Two": {"b", "a", " c  d "}, "My-Header": {"  a   b   c  "}}, "x", permanent)
	f("GET", "http://example.com/?b=2&a=2&a=1&=x&c", none, "", permanent)
	f("GET", "http://example.com/?a%20b=c+d&a-b=%2F%7E&e=%c3%a9&f=*'()!", none, "", permanent)
	f("GET", "http://example.com/-._~0123456789/ABC", none, "", permanent)
	f("GET", "http://example.com/with space/and%20escape/%E1%88%B4/%2Fslash", none, "", permanent)
	f("GET", "http://example.com/ሴ/*'()!$&,;=:@+", none, "", permanent)
	f("GET", "http://example.com/a//b/./c/../d/", none, "", permanent)
	f("PUT", "http://example.com/.../..a/", http.Header{"User-Agent": {"x"}, "Content-Encoding": {"gzip"}}, "\x1f\x8b", permanent)
}

func TestSDKPresigned(t *testing.T) {
	v := newVerifier()
	f := func(name, target string, who aws.Credentials, at time.Time, rules sigv4.Rules, payload string, reason sigv4.Reason, text string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), who, r, payload, "kinesisvideo", "eu-west-1", at)
		if err != nil {
			t.Fatal(err)
		}
		r.URL, err = url.Parse(signed)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = verify(v, received(t, r, nil), nil, rules)
		if text == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return
		}
		expectRefusal(t, name, err, reason, text)
	}
	const base = "https://example.com:8443/?X-Amz-ChannelARN=arn:aws:kinesisvideo:eu-west-1:1:channel/c/1&X-Amz-Expires="
	video := sigv4.Rules{Service: "kinesisvideo"}
	f("in time", base+"299", permanent, noon, video, hashOf(nil), 0, "")
	f("with a token", base+"299", temporary, noon, video, hashOf(nil), 0, "")
	f("at its last second", base+"299", permanent, noon.Add(-299*time.Second), video, hashOf(nil), 0, "")
	f("expired", base+"299", permanent, noon.Add(-300*time.Second), video, hashOf(nil), sigv4.Invalid,
		"Signature expired: 20261123T115500Z is now earlier than 20261123T115501Z (20261123T120000Z - 299 sec.)")
	f("for a week", base+"604800", permanent, noon.Add(-7*24*time.Hour), video, hashOf(nil), 0, "")
	f("for longer", base+"604801", permanent, noon, video, hashOf(nil), sigv4.Incomplete, "X-Amz-Expires must be less than a week")
	f("for no time", base+"0", permanent, noon, video, hashOf(nil), sigv4.Incomplete, "X-Amz-Expires must be positive")
	f("for long", base+"long", permanent, noon, video, hashOf(nil), sigv4.Incomplete, "X-Amz-Expires should be a number")
	f("from the future", base+"604800", permanent, noon.Add(301*time.Second), video, hashOf(nil), sigv4.Invalid,
		"Signature not yet current: 20261123T120501Z is still later than 20261123T120500Z (20261123T120000Z + 5 min.)")
	f("without a limit", "https://example.com/", permanent, noon.Add(-5*time.Minute), video, hashOf(nil), 0, "")
	f("without a limit, late", "https://example.com/", permanent, noon.Add(-301*time.Second), video, hashOf(nil), sigv4.Invalid, "Signature expired: ")
	f("unsigned body", base+"299", permanent, noon, sigv4.Rules{Payloads: sigv4.Unsigned}, "UNSIGNED-PAYLOAD", 0, "")
	f("unsigned body, where it must be signed", base+"299", permanent, noon, video, "UNSIGNED-PAYLOAD", sigv4.Invalid, "The request signature")
}

func TestTime(t *testing.T) {
	f := func(at time.Time, rules sigv4.Rules, text string) {
		t.Helper()
		r := put(t, "http://h/", nil)
		sdkSign(t, r, permanent, hashOf(nil), "kinesis", at)
		_, _, err := verify(newVerifier(), received(t, r, nil), nil, rules)
		if text == "" {
			if err != nil {
				t.Errorf("signed at %v: %v", at, err)
			}
			return
		}
		expectRefusal(t, fmt.Sprint("signed at ", at), err, sigv4.Invalid, text)
	}
	sts := sigv4.Rules{Service: "kinesis", Skew: 15 * time.Minute}
	f(noon.Add(-5*time.Minute), kinesis, "")
	f(noon.Add(5*time.Minute), kinesis, "")
	f(noon.Add(-5*time.Minute-time.Second), kinesis, "Signature expired: 20261123T115459Z is now earlier than 20261123T115500Z (20261123T120000Z - 5 min.)")
	f(noon.Add(5*time.Minute+time.Second), kinesis, "Signature not yet current: 20261123T120501Z is still later than 20261123T120500Z (20261123T120000Z + 5 min.)")
	f(noon.Add(-15*time.Minute), sts, "")
	f(noon.Add(-15*time.Minute-time.Second), sts, "Signature expired: 20261123T114459Z is now earlier than 20261123T114500Z (20261123T120000Z - 15 min.)")
	f(noon.Add(-30*24*time.Hour), kinesis, "Signature expired: 20261024T120000Z")
}

// signBy signs by the book, whatever it is told to sign.
func signBy(r *http.Request, f reference) *http.Request {
	f.secret, f.region, f.service = hidden, "eu-west-1", "kinesis"
	if f.time == "" {
		f.time = noon.Format("20060102T150405Z")
	}
	f.date = f.time[:8]
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+keyID+"/"+f.date+"/eu-west-1/kinesis/aws4_request, SignedHeaders="+
		f.signed+", Signature="+f.signature())
	return r
}

// What differs between clients without being wrong.
func TestReadings(t *testing.T) {
	f := func(name, host, signedHost, signed string, change func(*http.Request)) {
		t.Helper()
		r := put(t, "http://"+host+"/", []byte("x"))
		r.Header.Set("X-Amz-Date", noon.Format("20060102T150405Z"))
		if change != nil {
			change(r)
		}
		by := referenceOf(r, signedHost)
		by.signed, by.payload = signed, hashOf([]byte("x"))
		if _, _, err := verify(newVerifier(), signBy(r, by), []byte("x"), kinesis); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	const usual = "content-type;host;x-amz-date;x-amz-target"
	f("host and port", "127.0.0.1:4566", "127.0.0.1:4566", usual, nil)
	f("host without its port", "127.0.0.1:4566", "127.0.0.1", usual, nil)
	f("IPv6 without its port", "[::1]:4566", "[::1]", usual, nil)
	f("HTTP/2", "h:1", "h:1", ":authority;content-length;x-amz-date;x-amz-target", func(r *http.Request) { r.ProtoMajor = 2 })
	f("what net/http takes away", "h", "h", "connection;content-length;host;transfer-encoding;x-amz-date;x-amz-target", func(r *http.Request) {
		r.TransferEncoding, r.ContentLength, r.Close = []string{"chunked"}, -1, true
	})
	f("a header that is not there", "h", "h", "host;x-amz-date;x-amz-nothing;x-amz-target", nil)
	f("only a Date header", "h", "h", "date;host;x-amz-target", func(r *http.Request) {
		r.Header.Del("X-Amz-Date")
		r.Header.Set("Date", noon.Format(http.TimeFormat))
	})
}

func TestRefusals(t *testing.T) {
	body := []byte("{}")
	f := func(name string, reason sigv4.Reason, text string, who aws.Credentials, change func(*http.Request)) {
		t.Helper()
		r := put(t, "http://h/", body)
		sdkSign(t, r, who, hashOf(body), "kinesis", noon)
		change(r)
		_, _, err := verify(newVerifier(), received(t, r, body), body, kinesis)
		expectRefusal(t, name, err, reason, text)
	}
	unchanged := func(*http.Request) {}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	replace := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			was := r.Header.Get("Authorization")
			if !strings.Contains(was, old) {
				t.Fatalf("%q is not in %q", old, was)
			}
			r.Header.Set("Authorization", strings.Replace(was, old, new, 1))
		}
	}
	const (
		other   = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
		invalid = "The security token included in the request is invalid."
	)
	who := func(id, key, token string) aws.Credentials {
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: key, SessionToken: token}
	}
	f("wrong secret", sigv4.Invalid, other, who(keyID, hidden+"x", ""), unchanged)
	f("no such key", sigv4.UnknownKey, invalid, who("AKIDNOBODY", hidden, ""), unchanged)
	f("disabled key", sigv4.UnknownKey, invalid, who("AKIDDISABLED", hidden, ""), unchanged)
	f("token of another", sigv4.UnknownKey, invalid, who(tempID, hidden, token+"x"), unchanged)
	f("no token", sigv4.UnknownKey, invalid, who(tempID, hidden, ""), unchanged)
	f("token that nobody asked for", sigv4.UnknownKey, invalid, who(keyID, hidden, token), unchanged)
	f("wrong secret and token", sigv4.Invalid, other, who(tempID, "x", "x"), unchanged)
	f("other content type", sigv4.Invalid, other, permanent, set("Content-Type", "application/json"))
	f("other target", sigv4.Invalid, other, permanent, set("X-Amz-Target", "Kinesis_20131202.DeleteStream"))
	f("second target", sigv4.Invalid, other, permanent, func(r *http.Request) { r.Header.Add("X-Amz-Target", "x") })
	f("other time", sigv4.Invalid, other, permanent, set("X-Amz-Date", "20261123T120001Z"))
	f("time of no form", sigv4.Incomplete, "Date must be in ISO-8601 'basic format'. Got '2026-11-23T12:00:00Z'. See http", permanent, set("X-Amz-Date", "2026-11-23T12:00:00Z"))
	f("time with fractions", sigv4.Incomplete, "Date must be in ISO-8601", permanent, set("X-Amz-Date", "20261123T1200.0Z"))
	f("other day", sigv4.Invalid, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261122' != '20261123', from '20261123T120000Z'.",
		permanent, replace("/20261123/", "/20261122/"))
	f("other service", sigv4.Invalid, "Credential should be scoped to correct service: 'kinesis'.", permanent, replace("/kinesis/", "/firehose/"))
	f("all of the scope", sigv4.Invalid, "Credential should be scoped to a valid region, not '_'. Credential should be scoped to correct service: 'kinesis'. "+
		"Credential should be scoped with a valid terminator: 'aws4_request', not 'aws3'. Date in Credential scope does not match",
		permanent, replace("20261123/eu-west-1/kinesis/aws4_request", "x/_/x/aws3"))
	f("other region", sigv4.Invalid, other, permanent, replace("/eu-west-1/", "/eu-west-2/"))
	f("host not signed", sigv4.Invalid, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.", permanent, replace("host;", ""))
	f("target not signed", sigv4.Invalid, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.", permanent, replace(";x-amz-target", ""))
	f("no signed headers", sigv4.Incomplete, "Authorization header requires 'SignedHeaders' parameter.", permanent, replace("SignedHeaders=", "Signed="))
	f("upper case", sigv4.Invalid, other, permanent, func(r *http.Request) {
		before, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		r.Header.Set("Authorization", before+"Signature="+strings.ToUpper(signature))
	})
	f("cut short", sigv4.Invalid, other, permanent, func(r *http.Request) {
		was := r.Header.Get("Authorization")
		r.Header.Set("Authorization", was[:len(was)-1])
	})
	f("newer algorithm", sigv4.Incomplete, "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'.", permanent, replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"))
	f("unsigned", sigv4.Missing, "Missing Authentication Token", permanent, func(r *http.Request) { r.Header.Del("Authorization") })
	f("twice", sigv4.Invalid, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.", permanent,
		func(r *http.Request) { r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256" })
	f("a parameter more", sigv4.Invalid, other, permanent, func(r *http.Request) { r.URL.RawQuery = "a=b" })
	f("a bad escape", sigv4.Invalid, other, permanent, func(r *http.Request) { r.URL.RawQuery = "a=%2" })
	f("a hash that was not signed", sigv4.Invalid, other, permanent, set("X-Amz-Content-Sha256", hashOf([]byte("x"))))
	f("unsigned body", sigv4.Invalid, other, permanent, set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"))
	f("chunks", sigv4.Invalid, other, permanent, set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"))
	f("chunks of events", sigv4.Invalid, other, permanent, set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-EVENTS"))
}

// A signed hash is the body's, or the request is refused before its body matters.
func TestSignedHash(t *testing.T) {
	r := put(t, "http://h/", nil)
	r.Header.Set("X-Amz-Content-Sha256", hashOf([]byte("right")))
	sdkSign(t, r, permanent, hashOf([]byte("right")), "kinesis", noon)
	if _, _, err := verify(newVerifier(), r, []byte("right"), kinesis); err != nil {
		t.Error(err)
	}
	_, _, err := verify(newVerifier(), r, []byte("wrong"), kinesis)
	expectRefusal(t, "another body", err, sigv4.Invalid, "The request signature")

	r.Header.Set("X-Amz-Content-Sha256", hashOf([]byte("wrong")))
	var c sigv4.Check
	expectRefusal(t, "another hash", newVerifier().Begin(&c, r, kinesis), sigv4.Invalid, "The request signature")
	if id, err := c.Finish(); err == nil || id != (sigv4.Identity{}) {
		t.Errorf("a check that was refused at its begin finished with %+v, %v", id, err)
	}
}

// What PutMedia's clients do: the body never ends, so it is not what was signed.
func TestEndlessBody(t *testing.T) {
	media := sigv4.Rules{Service: "kinesisvideo", Payloads: sigv4.Endless}
	f := func(name, payload, header string, rules sigv4.Rules, ok bool) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, "http://h:8099/putMedia", nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			r.Header.Set("X-Amz-Content-Sha256", header)
		}
		sdkSign(t, r, permanent, payload, "kinesisvideo", noon)
		r.Header.Set("X-Amz-Security-Token", "") // some add it afterwards
		var c sigv4.Check
		err = newVerifier().Begin(&c, r, rules)
		if err == nil {
			_, err = c.Finish()
		}
		if (err == nil) != ok {
			t.Errorf("%s: %v, want success %v", name, err, ok)
		}
	}
	const literal = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	f("hash of nothing", hashOf(nil), "", media, true)
	f("hash of nothing, sent", hashOf(nil), hashOf(nil), media, true)
	f("name of chunks", literal, literal, media, true)
	f("name of chunks, elsewhere", literal, literal, sigv4.Rules{Service: "kinesisvideo"}, false)
	f("hash of something", hashOf([]byte("x")), "", media, false)
}

func TestTokenExpires(t *testing.T) {
	now := clock.NewManual(noon)
	v := sigv4.NewVerifier(newKeys(), now)
	f := func(ok bool) {
		t.Helper()
		r := put(t, "http://h/", nil)
		sdkSign(t, r, temporary, hashOf(nil), "kinesis", now.Now())
		switch _, _, err := verify(v, r, nil, kinesis); {
		case !ok:
			expectRefusal(t, "at "+now.Now().String(), err, sigv4.Expired, "The security token included in the request is expired")
		case err != nil:
			t.Errorf("at %v: %v", now.Now(), err)
		}
	}
	f(true)
	now.Advance(time.Hour - time.Second)
	f(true)
	now.Advance(time.Second)
	f(false)
}

// A token in the query of a request that is signed in its header counts as well.
func TestTokenInQuery(t *testing.T) {
	r := put(t, "http://h/?X-Amz-Security-Token="+url.QueryEscape(token), nil)
	sdkSign(t, r, aws.Credentials{AccessKeyID: tempID, SecretAccessKey: hidden}, hashOf(nil), "kinesis", noon)
	if _, _, err := verify(newVerifier(), received(t, r, nil), nil, kinesis); err != nil {
		t.Error(err)
	}
}

// errStore is what keys answer that cannot be read.
var errStore = errors.New("disk on fire")

type brokenKeys struct{ keyTable }

func (brokenKeys) Lookup(context.Context, string, string) (sigv4.Key, error) {
	return sigv4.Key{}, errStore
}

func TestKeysThatFail(t *testing.T) {
	r := put(t, "http://h/", nil)
	sdkSign(t, r, permanent, hashOf(nil), "kinesis", noon)
	var c sigv4.Check
	err := sigv4.NewVerifier(brokenKeys{}, clock.NewManual(noon)).Begin(&c, r, kinesis)
	var refusal *sigv4.Refusal
	if !errors.Is(err, errStore) || errors.As(err, &refusal) {
		t.Errorf("got %v, want the store's error, and no refusal", err)
	}
}

// A key that was rotated is derived anew, and the old secret is of no use any more.
func TestRotation(t *testing.T) {
	keys := newKeys()
	v := sigv4.NewVerifier(keys, clock.NewManual(noon))
	f := func(key string, ok bool) {
		t.Helper()
		r := put(t, "http://h/", nil)
		sdkSign(t, r, aws.Credentials{AccessKeyID: keyID, SecretAccessKey: key}, hashOf(nil), "kinesis", noon)
		if _, _, err := verify(v, r, nil, kinesis); (err == nil) != ok {
			t.Errorf("secret %q: %v, want success %v", key, err, ok)
		}
	}
	f(hidden, true)
	f(hidden, true)
	rotated := keys[keyID]
	rotated.Secret = secret.NewText("new")
	keys[keyID] = rotated
	f(hidden, false)
	f("new", true)
	f(hidden, false)
	if n := v.Kept(); n != 1 {
		t.Errorf("%d keys are kept, want 1", n)
	}
}

// Derived keys are bounded, and strangers leave none behind.
func TestDerivedKeysAreBounded(t *testing.T) {
	v := newVerifier()
	sign := func(key string, n int) error {
		r := put(t, "http://h/", nil)
		who := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: key}
		if err := v4.NewSigner().SignHTTP(t.Context(), who, r, hashOf(nil), "kinesis", fmt.Sprint("region-", n), noon); err != nil {
			t.Fatal(err)
		}
		_, _, err := verify(v, r, nil, kinesis)
		return err
	}
	for n := range 100 {
		if sign("wrong", n) == nil {
			t.Fatal("a wrong secret was accepted")
		}
	}
	if n := v.Kept(); n != 0 {
		t.Errorf("strangers left %d keys", n)
	}
	for n := range 4 * sigv4.KeptKeys {
		if err := sign(hidden, n); err != nil {
			t.Fatal(err)
		}
	}
	if n := v.Kept(); n > sigv4.KeptKeys || n < sigv4.KeptKeys/2 {
		t.Errorf("%d keys are kept, want at most %d and not much less", n, sigv4.KeptKeys)
	}
}

// No derived key serves another day, region, service or access key.
func TestScopesAreKeptApart(t *testing.T) {
	keys, now := newKeys(), clock.NewManual(noon)
	second := keys[keyID]
	second.Secret = secret.NewText("second")
	keys["AKIDSECOND"] = second
	v := sigv4.NewVerifier(keys, now)
	whose := []aws.Credentials{permanent, {AccessKeyID: "AKIDSECOND", SecretAccessKey: "second"}}
	for seed := range uint64(4000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		now.Advance(noon.AddDate(0, 0, rng.IntN(10)).Sub(now.Now()))
		region, service := fmt.Sprint("region-", rng.IntN(10)), fmt.Sprint("service-", rng.IntN(10))
		r := put(t, "http://h/", nil)
		if err := v4.NewSigner().SignHTTP(t.Context(), whose[rng.IntN(2)], r, hashOf(nil), service, region, now.Now()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := verify(v, r, nil, sigv4.Rules{Service: service}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// Many requests at once, of more scopes than are kept: run with -race.
func TestConcurrentRequests(t *testing.T) {
	v := newVerifier()
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			var c sigv4.Check
			for n := range 300 {
				r := put(t, "http://h/", nil)
				if err := v4.NewSigner().SignHTTP(t.Context(), permanent, r, hashOf(nil), "kinesis", fmt.Sprint("region-", (worker+n)%700), noon); err != nil {
					t.Error(err)
					return
				}
				err := v.Begin(&c, r, kinesis)
				if err == nil {
					_, err = c.Finish()
				}
				if err != nil {
					t.Errorf("worker %d, request %d: %v", worker, n, err)
					return
				}
				c.Reset()
			}
		})
	}
	all.Wait()
}

// A name that is part of another's is not signed.
func TestHostIsSignedByItsName(t *testing.T) {
	f := func(signed string, ok bool) {
		t.Helper()
		r := put(t, "http://h/", nil)
		r.Header.Set("X-Amz-Date", noon.Format("20060102T150405Z"))
		by := referenceOf(r, "h")
		by.signed, by.payload = signed, hashOf(nil)
		_, _, err := verify(newVerifier(), signBy(r, by), nil, kinesis)
		if (err == nil) != ok {
			t.Errorf("%s: %v, want success %v", signed, err, ok)
		}
	}
	f("host;x-amz-target", true)
	f("hostess;my-host;host;x-amz-target", true)
	f("x-amz-target;:authority", true)
	f("my-host;x-amz-target", false)
	f("hosts;x-amz-target", false)
	f("host;x-amz-targets;my-x-amz-target", false)
}
