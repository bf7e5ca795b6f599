package sigv4_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/auth/sigv4"
)

// pick returns up to n pieces at random, joined.
func pick(rng *rand.Rand, n int, pieces ...string) string {
	var b strings.Builder
	for range rng.IntN(n + 1) {
		b.WriteString(pieces[rng.IntN(len(pieces))])
	}
	return b.String()
}

// anyRequest returns a request of any shape that a client may send.
func anyRequest(rng *rand.Rand) (*http.Request, string) {
	path := "/" + pick(rng, 8, "a", "B", "9", "/", "//", ".", "..", "/./", "/../", "%20", "%2F", "%2f", "%E1%88%B4", "-", "_", "~", "*", "'", "(", ")", "!", "=", "+", ":")
	query := pick(rng, 8, "a", "b", "=", "&", "=x", "&a=", "%20", "+", "%C3%A9", "%7e", "*", ";", "/", "?", "-", "%3D", "%26")
	u := &url.URL{RawQuery: query}
	var err error
	if u.Path, err = url.PathUnescape(path); err == nil {
		u.RawPath = path
	}
	r := &http.Request{
		Method: []string{"GET", "POST", "PUT", "DELETE"}[rng.IntN(4)], URL: u, Header: http.Header{},
		Host: []string{"example.com", "127.0.0.1:4566", "[::1]:80", "EXAMPLE.com"}[rng.IntN(4)],
	}
	signed := []string{"host"}
	if rng.IntN(4) == 0 {
		signed[0] = ":authority"
	}
	for _, name := range []string{"content-type", "x-amz-date", "x-amz-target", "x-amz-meta-a", "my-2nd-header", "te"} {
		if rng.IntN(3) == 0 {
			continue
		}
		signed = append(signed, name)
		for range rng.IntN(3) {
			r.Header.Add(name, pick(rng, 6, "v", " ", "  ", "\t", ",", "ü", ";", "\"", "%41"))
		}
	}
	switch rng.IntN(4) {
	case 0:
		r.TransferEncoding, r.ContentLength = []string{"chunked"}, -1
		signed = append(signed, "transfer-encoding", "connection")
	case 1:
		r.ContentLength = rng.Int64N(1 << 20)
		signed = append(signed, "content-length", "connection")
		r.Close = rng.IntN(2) == 0
	}
	return r, strings.Join(signed, ";")
}

// What the package makes of a request is what the plainest implementation makes of it.
func TestCanonicalAgainstReference(t *testing.T) {
	for seed := range uint64(20000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r, signed := anyRequest(rng)
		by := referenceOf(r, r.Host)
		by.signed, by.payload = signed, ""
		by.presigned, by.plainPath = rng.IntN(2) == 0, rng.IntN(3) == 0
		path := r.URL.EscapedPath()
		if by.plainPath {
			path = r.URL.Path
		}
		got, ok := sigv4.Canonical(r, sigv4.Credential{SignedHeaders: signed, Presigned: by.presigned}, r.Host, path, by.plainPath)
		if want := by.canonical(); !ok || got != want {
			t.Fatalf("seed %d: got %v\n%s\nwant\n%s", seed, ok, got, want)
		}
	}
}

// A request that was signed by the book is accepted, and with any other secret it is not.
func TestVerifyAgainstReference(t *testing.T) {
	v := newVerifier()
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 2))
		r, signed := anyRequest(rng)
		r.Header.Set("X-Amz-Date", noon.Format("20060102T150405Z"))
		if !strings.Contains(signed, "x-amz-target") {
			r.Header.Del("X-Amz-Target")
		}
		body := fmt.Append(nil, seed)
		by := referenceOf(r, r.Host)
		by.signed, by.payload = signed, hashOf(body)
		signBy(r, by)
		if _, _, err := verify(v, r, body, kinesis); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, by.canonical())
		}
		by.secret = hidden + "x"
		by.region, by.service, by.time, by.date = "eu-west-1", "kinesis", noon.Format("20060102T150405Z"), noon.Format("20060102")
		before, _, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		r.Header.Set("Authorization", before+"Signature="+by.signature())
		if _, _, err := verify(v, r, body, kinesis); err == nil {
			t.Fatalf("seed %d: accepted with another secret", seed)
		}
	}
}

// FuzzCanonical gives the canonicalizer requests of every kind. What it accepts is what the plainest
// implementation makes of it, it has the lines it should have, and no parameter gets lost.
func FuzzCanonical(f *testing.F) {
	f.Add("/", "", "content-type;host;x-amz-date", "h", "v", true, false)
	f.Add("/a//b/../c/%2F", "b=2&a=1&a=0&=&c", ":authority;x-amz-date", "h:1", " a  b ", false, true)
	f.Add("/%zz", "%zz", ";;", "", "\t", false, false)
	f.Add("/..", "a=%4", "host", "[::1]:80", "", true, false)
	f.Add("/é", "é=+&X-Amz-Signature=x", "host;x-amz-date;x-amz-date", "h", "a,b", false, true)
	f.Fuzz(func(t *testing.T, path, query, signed, host, value string, plain, presigned bool) {
		u := &url.URL{Path: path, RawQuery: query}
		if decoded, err := url.PathUnescape(path); err == nil {
			u.Path, u.RawPath = decoded, path
		}
		r := &http.Request{Method: "POST", URL: u, Host: host, Header: http.Header{"X-Amz-Date": {value}}}
		path = u.EscapedPath()
		if plain {
			path = u.Path
		}
		got, ok := sigv4.Canonical(r, sigv4.Credential{SignedHeaders: signed, Presigned: presigned}, host, path, plain)
		if _, err := url.ParseQuery(strings.ReplaceAll(query, ";", ",")); ok != (err == nil) {
			t.Fatalf("query %q: accepted %v, net/url says %v", query, ok, err)
		}
		if !ok || strings.ContainsAny(host+value+signed, "\n\r\v\f\u0085\u00a0") {
			return // a header cannot have them
		}
		by := referenceOf(r, host)
		by.path, by.method, by.signed = u.EscapedPath(), "POST", signed
		by.plainPath, by.presigned = plain, presigned
		if want := by.canonical(); got != want {
			t.Errorf("got\n%q\nwant\n%q", got, want)
		}
	})
}
