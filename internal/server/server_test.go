package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/testpoll"
)

// running is a server under test.
type running struct {
	t    *testing.T
	url  string
	stop context.CancelFunc
	done chan error
	log  *bytes.Buffer
}

func start(t *testing.T, change func(*Config)) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{t: t, stop: stop, done: make(chan error, 1), log: new(bytes.Buffer)}
	ready := make(chan net.Addr, 1)
	cfg := Config{
		Listen:         "127.0.0.1:0",
		MemoryBytes:    64 << 20,
		DefaultAccount: "000000000000",
		Access:         Access{AnyCredentials: true},
		Logger:         slog.New(slog.NewTextHandler(r.log, nil)),
		Registry:       prometheus.NewRegistry(),
		Ready:          func(a net.Addr) { ready <- a },
	}
	if change != nil {
		change(&cfg)
	}
	go func() { r.done <- Run(ctx, cfg) }()
	select {
	case a := <-ready:
		r.url = "http://" + a.String()
	case err := <-r.done:
		t.Fatalf("Run returned %v before it was ready", err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-r.done; err != nil {
			t.Errorf("Run returned %v", err)
		}
		r.done <- nil
	})
	return r
}

// client returns an HTTP client of one protocol that keeps no connections after the test.
func client(t *testing.T, protocol string) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(protocol == "HTTP/1.1")
	p.SetUnencryptedHTTP2(protocol == "HTTP/2.0")
	transport := &http.Transport{Protocols: p}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	resp, err := client(r.t, "HTTP/1.1").Get(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// call makes an AWS call and returns the answer's status and body.
func (r *running) call(c *http.Client, operation, body string) (*http.Response, string) {
	r.t.Helper()
	resp, err := c.Do(r.request(operation, strings.NewReader(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(text)
}

func (r *running) request(operation string, body io.Reader) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url, body)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00")
	return req
}

// inFlight sends a call's header and returns when the server waits for the body, of which nothing
// is sent yet.
func (r *running) inFlight(operation string, length int) (net.Conn, *bufio.Reader) {
	r.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	req := r.request(operation, nil)
	req.Header.Set("Content-Length", strconv.Itoa(length))
	req.Header.Set("Expect", "100-continue") // answered when the body is about to be read
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: localhost\r\n")
	if err := req.Header.Write(conn); err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprint(conn, "\r\n")
	answers := bufio.NewReader(conn)
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		if line, err := answers.ReadString('\n'); err != nil || line != want {
			r.t.Fatalf("got %q, %v; want %q", line, err, want)
		}
	}
	return conn, answers
}

func TestPages(t *testing.T) {
	r := start(t, nil)
	f := func(path string, wantStatus int, want string) {
		t.Helper()
		if status, body := r.get(path); status != wantStatus || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d %q; want %d with %q", path, status, body, wantStatus, want)
		}
	}
	f("/-/healthy", 200, "healthy")
	f("/-/ready", 200, "ready")
	f("/metrics", 200, "headrace_build_info")
	f("/", 403, "AccessDeniedException")
}

func TestProtocolsShareThePort(t *testing.T) {
	r := start(t, nil)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		resp, body := r.call(client(t, protocol), "ListStreams", "{}")
		if resp.Proto != protocol || resp.StatusCode != 200 || !strings.Contains(body, `"StreamNames":[]`) {
			t.Errorf("%s: %s %d %s", protocol, resp.Proto, resp.StatusCode, body)
		}
	}
}

// TestStreamMetricsLiveAsLongAsTheStream also shows that streams' events reach the metrics.
func TestStreamMetricsLiveAsLongAsTheStream(t *testing.T) {
	r := start(t, nil)
	c := client(t, "HTTP/1.1")
	r.call(c, "CreateStream", `{"StreamName":"clicks","ShardCount":1}`)
	r.call(c, "PutRecord", `{"StreamName":"clicks","PartitionKey":"k","Data":"aGVsbG8="}`)
	const series = `headrace_kinesis_incoming_records_total{account="000000000000",region="us-east-1",stream="clicks"} 1`
	if _, text := r.get("/metrics"); !strings.Contains(text, series) {
		t.Errorf("no series %s", series)
	}
	r.call(c, "DeleteStream", `{"StreamName":"clicks"}`)
	if _, text := r.get("/metrics"); strings.Contains(text, `stream="clicks"`) {
		t.Error("a deleted stream still has series")
	}
	if _, text := r.get("/metrics"); !strings.Contains(text, `headrace_requests_total{code="OK",operation="PutRecord",service="kinesis"} 1`) {
		t.Error("the request was not counted")
	}
}

// TestDrain shows that a request in flight when the server is told to stop is still answered, that
// nothing new is, and that Run then returns nil.
func TestDrain(t *testing.T) {
	r := start(t, nil)
	c := client(t, "HTTP/1.1")
	r.call(c, "CreateStream", `{"StreamName":"clicks","ShardCount":1}`)

	const body = `{"StreamName":"clicks","PartitionKey":"k","Data":"aGVsbG8="}`
	conn, answers := r.inFlight("PutRecord", len(body))
	r.stop()
	testpoll.Until(t, 10*time.Second, func() bool {
		probe, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err == nil {
			probe.Close()
		}
		return err != nil
	}, "the port is closed")
	fmt.Fprint(conn, body)
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("the request in flight: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || !resp.Close {
		t.Errorf("the request in flight got %d, closing %t; want 200 and a closed connection", resp.StatusCode, resp.Close)
	}
}

// TestDrainEnds shows that a client which never finishes does not keep the server from stopping.
func TestDrainEnds(t *testing.T) {
	r := start(t, func(c *Config) { c.DrainTimeout = 10 * time.Millisecond })
	r.inFlight("PutRecord", 1000)
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("Run returned %v", err)
	}
	r.done <- nil
	if !strings.Contains(r.log.String(), "cut off") {
		t.Errorf("the log does not say that requests were cut off: %s", r.log)
	}
}

func TestPortInUse(t *testing.T) {
	r := start(t, nil)
	err := Run(t.Context(), Config{Listen: strings.TrimPrefix(r.url, "http://"), MemoryBytes: 64 << 20,
		Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "listen" {
		t.Errorf("Run on a port in use returned %v", err)
	}
}

// TestFailureEndsRun gives serve a context that an engine's failure has cancelled.
func TestFailureEndsRun(t *testing.T) {
	ctx, fail := context.WithCancelCause(t.Context())
	cfg := Config{MemoryBytes: 64 << 20, DrainTimeout: time.Second, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()}
	sys, err := assemble(ctx, cfg.withDefaults(), fail)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is gone")
	fail(broken)
	if err := serve(ctx, cfg, sys, listener); !errors.Is(err, broken) {
		t.Errorf("serve returned %v; want the cause", err)
	}
	if sys.ready.Load() {
		t.Error("the system still says that it is ready")
	}
	if err := sys.close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestTransitionDelay shows that the setting reaches the streams.
func TestTransitionDelay(t *testing.T) {
	r := start(t, func(c *Config) { c.TransitionDelay = time.Hour })
	c := client(t, "HTTP/1.1")
	r.call(c, "CreateStream", `{"StreamName":"clicks","ShardCount":1}`)
	_, body := r.call(c, "DescribeStreamSummary", `{"StreamName":"clicks"}`)
	var out struct {
		StreamDescriptionSummary struct{ StreamStatus string }
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil || out.StreamDescriptionSummary.StreamStatus != "CREATING" {
		t.Errorf("the stream is %q; want CREATING (%v)", out.StreamDescriptionSummary.StreamStatus, err)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

func newMeters(t *testing.T) *metrics.Metrics {
	t.Helper()
	m, err := metrics.New(newRegistry(), metrics.Build{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
