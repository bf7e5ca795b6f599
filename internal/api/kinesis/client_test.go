package kinesis_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

const (
	typeJSON = "application/x-amz-json-1.1"
	typeCBOR = "application/x-amz-cbor-1.1"
)

// client calls a Kinesis endpoint over HTTP in either format, as an account in a region.
type client struct {
	t               testing.TB
	http            *http.Client
	url             string
	account, region string
}

// answer is a response: the value that its body stands for, whatever the format, nil if it is empty.
type answer struct {
	status int
	body   any
	size   int // bytes of the body as it came
}

// code returns the error's name, empty if there is none.
func (a answer) code() string {
	m, _ := a.body.(map[string]any)
	code, _ := m["__type"].(string)
	return code
}

// call sends a JSON document as it is.
func (c *client) call(operation, document string) answer {
	c.t.Helper()
	status, body := c.send(operation, typeJSON, []byte(document))
	a := answer{status: status, size: len(body)}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &a.body); err != nil {
			c.t.Fatalf("%s answered with bad JSON: %v\n%s", operation, err, body)
		}
	}
	return a
}

// callCBOR sends what a JSON document says in CBOR. ok is false if the document is not JSON.
func (c *client) callCBOR(operation, document string) (a answer, ok bool) {
	c.t.Helper()
	var in any
	if json.Unmarshal([]byte(document), &in) != nil {
		return a, false
	}
	encoded, err := cbor.Marshal(binary("", in))
	if err != nil {
		c.t.Fatal(err)
	}
	status, body := c.send(operation, typeCBOR, encoded)
	a.status = status
	if len(body) > 0 {
		m, err := cbor.DecOptions{DefaultMapType: mapType}.DecMode()
		if err == nil {
			err = m.Unmarshal(body, &a.body)
		}
		if err != nil {
			c.t.Fatalf("%s answered with bad CBOR: %v\n%x", operation, err, body)
		}
		a.body = textual(a.body)
	}
	return a, true
}

// send sends a body and checks what every response must have.
func (c *client) send(operation, contentType string, body []byte) (status int, answer []byte) {
	c.t.Helper()
	r, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	head(r.Header, operation, contentType, c.account, c.region)
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatalf("%s: %v", operation, err)
	}
	defer resp.Body.Close()
	answer = make([]byte, resp.ContentLength)
	if _, err := io.ReadFull(resp.Body, answer); err != nil {
		c.t.Fatalf("%s: %v", operation, err)
	}
	h := resp.Header
	if len(h.Get("x-amzn-RequestId")) != 36 || h.Get("x-amz-id-2") == "" || h.Get("Content-Type") != contentType {
		c.t.Errorf("%s in %s answered with headers %v", operation, contentType, h)
	}
	if (resp.StatusCode == http.StatusOK) != (h.Get("x-amzn-ErrorType") == "") {
		c.t.Errorf("%s: status %d with error type %q", operation, resp.StatusCode, h.Get("x-amzn-ErrorType"))
	}
	return resp.StatusCode, answer
}

// head writes the headers of a signed call. An access key of 12 digits is an account.
func head(h http.Header, operation, contentType, account, region string) {
	h.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	h.Set("Content-Type", contentType)
	h.Set("X-Amz-Date", "20000101T000000Z")
	h.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/20000101/%s/kinesis/aws4_request, "+
		"SignedHeaders=host;x-amz-date, Signature=0123456789abcdef", account, region))
}

// binary turns a JSON value into what a CBOR client would send: blobs as bytes, times as tagged
// milliseconds. member is the name the value has.
func binary(member string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = binary(k, x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = binary(member, x)
		}
		return out
	case string:
		if b, err := base64.StdEncoding.DecodeString(v); err == nil && member == "Data" {
			return b
		}
	case float64:
		if strings.HasSuffix(member, "Timestamp") {
			return cbor.Tag{Number: 1, Content: int64(math.Round(v * 1000))}
		}
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	}
	return v
}

// textual turns a value decoded from CBOR into the value the same answer has in JSON.
func textual(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = textual(x)
		}
	case []any:
		for i, x := range v {
			v[i] = textual(x)
		}
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case time.Time: // AWS's tag 1 holds milliseconds, which the decoder took for seconds
		return float64(v.Unix()) / 1000
	case uint64:
		return float64(v)
	case int64:
		return float64(v)
	}
	return v
}

// pipes is a listener without a network, so that a server and its clients can live in a synctest
// bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept returns the server's end of the next connection.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr returns an address that means nothing.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// overPipes serves h for as long as the test's world lives and returns a client of it.
func overPipes(w *world) *client {
	l := newPipes()
	srv := &http.Server{Handler: w.handler}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	w.closers = append(w.closers, func() error {
		w.handler.EndStreams()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := srv.Shutdown(ctx) // Close would not wait for streams to end
		<-served
		return err
	})
	transport := &http.Transport{DialContext: l.dial, DisableKeepAlives: true, DisableCompression: true}
	return &client{t: w.t, http: &http.Client{Transport: transport}, url: "http://kinesis/", account: "123456789012", region: "eu-west-1"}
}
