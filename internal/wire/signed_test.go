package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/wire/shape"
)

// signedAt is when the requests of these tests are signed and judged.
var signedAt = time.Date(2026, 11, 23, 10, 11, 12, 0, time.UTC)

// oneKey is all keys there are.
type oneKey struct{}

var errKeys = errors.New("keys on fire at /dev/secret")

func (oneKey) Lookup(_ context.Context, id, _ string) (sigv4.Key, error) {
	switch id {
	case "AKID":
		return sigv4.Key{Secret: secret.NewText("secret"), Account: "123456789012", Active: true}, nil
	case "BROKEN":
		return sigv4.Key{}, errKeys
	}
	return sigv4.Key{}, sigv4.ErrNoKey
}

// verifiedConfig is fakeConfig with signatures that must be right. called counts the calls of Echo.
func verifiedConfig() (c Config, called *int) {
	c, called = fakeConfig(), new(int)
	c.Authenticate = sigv4.NewVerifier(oneKey{}, clock.NewManual(signedAt))
	echoes := &c.Services[0].Operations[0]
	handle := echoes.Handle
	echoes.Handle = func(ctx context.Context, call *shape.Call, in, out shape.Shape) error {
		*called++
		return handle(ctx, call, in, out)
	}
	return c, called
}

// resign signs a request with the SDK for Go, over payload, which is the body's hash unless given.
func resign(t testing.TB, r *http.Request, id, payload string) {
	t.Helper()
	body, err := r.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if payload == "" {
		payload = hashOf(content)
	}
	length := r.ContentLength
	r.ContentLength = -1 // it is not signed: tests change it
	defer func() { r.ContentLength = length }()
	who := aws.Credentials{AccessKeyID: id, SecretAccessKey: "secret"}
	if err := v4.NewSigner().SignHTTP(t.Context(), who, r, payload, "fake", "eu-west-1", signedAt); err != nil {
		t.Fatal(err)
	}
}

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func sha256Base64(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// swap gives a signed request another body.
func swap(r *http.Request, body []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
}

// The body is what was signed, or nothing happens.
func TestSignedBodies(t *testing.T) {
	c, called := verifiedConfig()
	server := newServer(t, NewHandler(c))
	const other = `{"__type":"InvalidSignatureException","message":"The request signature we calculated does not match the signature you provided. ` +
		`Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}`
	large := []byte(`{"Name":"x"` + strings.Repeat(" ", 3<<20) + `}`)
	for _, version := range []int{1, 2} {
		for _, sent := range []bool{false, true} {
			f := func(name string, body, arrives []byte, encoding string, chunked bool, want string) {
				t.Helper()
				*called = 0
				r := newCall(t, server.URL, "Echo", typeJSON11, body)
				if encoding != "" {
					r.Header.Set("Content-Encoding", encoding)
				}
				if sent {
					r.Header.Set("X-Amz-Content-Sha256", hashOf(body))
				}
				resign(t, r, "AKID", "")
				swap(r, arrives)
				if chunked {
					r.ContentLength = -1
				}
				_, got := post(t, client(version), r)
				if got != want || (*called == 1) != (want == `{"Name":"x"}`) {
					t.Errorf("HTTP/%d, hash sent %v, %s: got %s after %d calls, want %s", version, sent, name, got, *called, want)
				}
			}
			small := []byte(`{"Name":"x"}`)
			f("small", small, small, "", false, `{"Name":"x"}`)
			f("small, chunked", small, small, "", true, `{"Name":"x"}`)
			f("large", large, large, "", false, `{"Name":"x"}`)
			f("large, chunked", large, large, "", true, `{"Name":"x"}`)
			f("gzip", zip(t, small), zip(t, small), "gzip", false, `{"Name":"x"}`)
			f("another", small, []byte(`{"Name":"y"}`), "", false, other)
			f("another large one", large, append(large[:len(large)-2:len(large)-2], "\n}"...), "", false, other)
			f("another gzip of the same", zip(t, small), append(zip(t, nil), zip(t, small)...), "gzip", false, other)
			f("hash of what is in the gzip", small, zip(t, small), "gzip", false, other)
			f("not well-formed", small, []byte(`{`), "", false, `{"__type":"SerializationException"}`)
			f("none", small, nil, "", false, `{"__type":"SerializationException"}`)
		}
	}
}

// Each refusal has its place in the order of checks.
func TestSignatureRefusals(t *testing.T) {
	c, called := verifiedConfig()
	var l log
	c.Observer = l.observer()
	h := NewHandler(c)
	f := func(operation, body, id, payload, code string, change func(*http.Request)) {
		t.Helper()
		r := newCall(t, "/", operation, typeJSON11, []byte(body))
		r.Host = "h"
		resign(t, r, id, payload)
		if change != nil {
			change(r)
		}
		w := serveRecorded(h, r)
		if got := l.last(); got.ErrorCode != code || got.Account != "" || *called != 0 {
			t.Errorf("%s %s signed by %s: got %+v, %s, want %s", operation, body, id, got, w.body.String(), code)
		}
	}
	unsign := func(r *http.Request) { r.Header.Del("Authorization") }
	f("Echo", `{"Name":"x"}`, "NOBODY", "", "UnrecognizedClientException", nil)
	f("Echo", `{"Name":1}`, "NOBODY", "", "UnrecognizedClientException", nil)
	f("Echo", `{"Name"`, "NOBODY", "", "SerializationException", nil)
	f("NotBuilt", `{}`, "NOBODY", "", "UnknownOperationException", nil)
	f("Echo", `{}`, "AKID", "", "MissingAuthenticationTokenException", unsign)
	f("Echo", `{`, "AKID", "", "SerializationException", unsign)
	f("Echo", `{}`, "AKID", hashOf(nil), "InvalidSignatureException", nil)
	f("Echo", `{}`, "AKID", "UNSIGNED-PAYLOAD", "InvalidSignatureException", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") })
	f("Echo", `{}`, "AKID", "", "InvalidSignatureException", func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/fake/", "/kinesis/", 1))
	})
	if len(l.faults) > 0 {
		t.Errorf("faults %v, want none", l.faults)
	}
	f("Echo", `{}`, "BROKEN", "", "InternalFailureException", nil)
	if len(l.faults) != 1 || !strings.Contains(l.faults[0], errKeys.Error()) {
		t.Errorf("faults %q, want the keys'", l.faults)
	}
}

// Who is refused by his headers gets no more memory than the first step, and his answer all the same.
func TestRefusedBodiesAreNotKept(t *testing.T) {
	c, _ := verifiedConfig()
	c.MaxBody = 1 << 20
	var most int64
	h := NewHandler(c)
	h.cfg.Observer.Done = func(Event) { most = max(most, h.buffers.idle) }
	server := newServer(t, h)
	f := func(version, size int, encoding string, chunked bool, want int, code string) {
		t.Helper()
		body := []byte(`{"Name":"x"` + strings.Repeat(" ", size))
		if encoding != "" {
			body = zip(t, body)
		}
		r := newCall(t, server.URL, "Echo", typeJSON11, body)
		r.Header.Del("Authorization")
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		if chunked {
			r.ContentLength = -1
		}
		resp, got := post(t, client(version), r)
		if resp.StatusCode != want || !strings.Contains(got, code) {
			t.Errorf("HTTP/%d, %d bytes %s, chunked %v: got %d %s, want %d %s", version, size, encoding, chunked, resp.StatusCode, got, want, code)
		}
	}
	for _, version := range []int{1, 2} {
		for _, chunked := range []bool{false, true} {
			f(version, 1<<10, "", chunked, 400, "SerializationException") // it is in memory, and seen to be no document
			f(version, 100<<10, "", chunked, 400, "MissingAuthenticationTokenException")
			f(version, 900<<10, "", chunked, 400, "MissingAuthenticationTokenException")
			f(version, 900<<10, "gzip", chunked, 400, "MissingAuthenticationTokenException")
			f(version, 1<<20, "", chunked, 413, "RequestEntityTooLargeException")
		}
	}
	if most > 2*firstStep {
		t.Errorf("buffers of %d bytes were used for callers that were refused", most)
	}
	if got := h.budget.taken(); got != 0 {
		t.Errorf("%d bytes are still held", got)
	}
}

// A service that says so takes bodies in chunks, with gzip below them.
func TestChunkedBodies(t *testing.T) {
	c, called := verifiedConfig()
	c.Services[0].Signatures.Payloads = sigv4.Chunked
	h := NewHandler(c)
	server := newServer(t, h)
	content := []byte(`{"Name":"` + strings.Repeat("x", 100) + `"}`)
	f := func(name, encoding string, content []byte, checksum string, status int, code string) {
		t.Helper()
		*called = 0
		body := fmt.Appendf(nil, "%x\r\n%s\r\n%x\r\n%s\r\n0\r\nx-amz-checksum-sha256:%s\r\n\r\n",
			10, content[:10], len(content)-10, content[10:], checksum)
		for _, version := range []int{1, 2} {
			r := newCall(t, server.URL, "Echo", typeJSON11, body)
			r.Header.Set("Content-Encoding", encoding)
			r.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
			r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(len(content)))
			r.Header.Set("X-Amz-Trailer", "x-amz-checksum-sha256")
			resign(t, r, "AKID", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
			resp, got := post(t, client(version), r)
			if resp.StatusCode != status || !strings.Contains(got, code) {
				t.Errorf("%s, HTTP/%d: got %d %s, want %d %s", name, version, resp.StatusCode, got, status, code)
			}
		}
		if (status == 200) != (*called == 2) {
			t.Errorf("%s: %d calls", name, *called)
		}
	}
	f("plain", "aws-chunked", content, sha256Base64(content), 200, "xxx")
	f("gzip", "aws-chunked,gzip", zip(t, content), sha256Base64(zip(t, content)), 200, "xxx")
	f("another checksum", "aws-chunked", content, sha256Base64(nil), 400, "BadDigest")
	f("another checksum, gzip", "gzip, aws-chunked", zip(t, content), sha256Base64(content), 400, "BadDigest")
	if got := h.budget.taken(); got != 0 {
		t.Errorf("%d bytes are still held", got)
	}
}
