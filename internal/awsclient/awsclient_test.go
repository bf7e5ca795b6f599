package awsclient

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// body is closed as the SDK's is: WriteTo then fails with what should end a Read.
type body struct {
	*strings.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func (b *body) Read(p []byte) (int, error) {
	if b.closed {
		return 0, io.EOF
	}
	return b.Reader.Read(p)
}

func (b *body) WriteTo(w io.Writer) (int64, error) {
	if b.closed {
		return 0, io.EOF
	}
	return b.Reader.WriteTo(w)
}

// clientFunc sends requests by calling itself.
type clientFunc func(*http.Request) (*http.Response, error)

func (f clientFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// A body that is closed when all of it was read but for its end does not fail the request.
func TestClosedBodyEnds(t *testing.T) {
	b := &body{Reader: strings.NewReader("records")}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x", b)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 7
	next := clientFunc(func(r *http.Request) (*http.Response, error) {
		got, err := io.ReadAll(io.LimitReader(r.Body, r.ContentLength))
		if err != nil || string(got) != "records" {
			t.Errorf("read %q, %v", got, err)
		}
		if err := req.Body.Close(); err != nil { // as the SDK does at the response's header
			t.Error(err)
		}
		n, err := io.Copy(io.Discard, r.Body) // as net/http looks for the end
		if n != 0 || err != nil {
			t.Errorf("at the end: %d bytes, %v; want none", n, err)
		}
		b.closed = false
		if err := r.Body.Close(); err != nil || !b.closed {
			t.Errorf("the transport's close did not reach the body: %v", err)
		}
		return &http.Response{Body: http.NoBody}, nil
	})
	resp, err := HTTP{Next: next}.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if req.Body != b {
		t.Error("the caller's request lost its body")
	}
}

func TestNoBody(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x", nil)
	if err != nil {
		t.Fatal(err)
	}
	next := clientFunc(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			t.Error("a request without a body got one")
		}
		return &http.Response{Body: http.NoBody}, nil
	})
	resp, err := HTTP{Next: next}.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
}
