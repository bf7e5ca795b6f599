// Package node runs Headrace in a test's own process, wired as the program wires it, for tests that
// need what cannot be had from outside: a clock of their own, and a look at the memory. It is not a
// client for users, and where the shipped binary will do, package binarytest runs that.
//
//	n, err := node.Start(server.Config{Data: dir, Clock: clock})
//	err = n.Call(ctx, "CreateStream", node.Fields{"StreamName": "mill", "ShardCount": 2}, nil)
//	err = n.Stop()
package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/server"
)

// authorization is a signature of the right form.
const authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, " +
	"SignedHeaders=host;x-amz-date;x-amz-target, Signature=00000000000000000000000000000000000000000000000000000000000000ff"

// callLimit is how long a call may take.
const callLimit = time.Minute

// Node is a running server. Its methods are safe for concurrent use.
type Node struct {
	// Endpoint is the URL that it serves.
	Endpoint string

	http *http.Client
	stop context.CancelFunc
	done chan error
	log  *log
}

// Fields is the input of a call.
type Fields map[string]any

// Refusal is an error that the server answered with.
type Refusal struct {
	Status  int    `json:"-"`
	Type    string `json:"__type"`
	Message string `json:"message"`
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Type, r.Message) }

// Refused says whether the error is a refusal of one of the types.
func Refused(err error, types ...string) bool {
	var r *Refusal
	if !errors.As(err, &r) {
		return false
	}
	for _, t := range types {
		if strings.HasSuffix(r.Type, t) {
			return true
		}
	}
	return false
}

// Answered says whether the error is the server's answer; a call without one may have happened.
func Answered(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

// Start starts a server on a free port of 127.0.0.1 and returns when it serves. The caller stops it.
func Start(cfg server.Config) (*Node, error) {
	ctx, stop := context.WithCancel(context.Background())
	n := &Node{stop: stop, done: make(chan error, 1), log: new(log),
		http: &http.Client{Timeout: callLimit, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	ready := make(chan net.Addr, 1)
	cfg.Listen, cfg.DefaultAccount = "127.0.0.1:0", "000000000000"
	cfg.Logger = slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg.Registry = metrics.NewRegistry()
	cfg.Ready = func(a net.Addr) { ready <- a }
	go func() { n.done <- server.Run(ctx, cfg) }()
	select {
	case a := <-ready:
		n.Endpoint = "http://" + a.String()
		return n, nil
	case err := <-n.done:
		stop()
		return nil, fmt.Errorf("start server: %w", err)
	}
}

// Stop lets the server drain and waits for it. It returns what Run returned.
func (n *Node) Stop() error {
	n.stop()
	err := <-n.done
	n.done <- err // for whoever calls again
	n.http.CloseIdleConnections()
	return err
}

// Log returns what the server logged, from warnings up.
func (n *Node) Log() string { return n.log.String() }

// Call makes one call in JSON and decodes the answer into out, if that is not nil. The error is a
// *Refusal if the server answered with one.
func (n *Node) Call(ctx context.Context, operation string, in Fields, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", operation, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.Endpoint, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make %s: %w", operation, err)
	}
	r.Header.Set("Authorization", authorization)
	r.Header.Set("X-Amz-Date", "20260101T000000Z")
	r.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	response, err := n.http.Do(r)
	if err != nil {
		return fmt.Errorf("call %s: %w", operation, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", operation, err)
	}
	if response.StatusCode != http.StatusOK {
		said := &Refusal{Status: response.StatusCode}
		if json.Unmarshal(answer, said) != nil {
			said.Message = string(answer)
		}
		return fmt.Errorf("call %s: %w", operation, said)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("decode answer of %s: %w", operation, err)
	}
	return nil
}

// log keeps what is written to it.
type log struct {
	mu  sync.Mutex
	buf []byte
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) < 64<<10 {
		l.buf = append(l.buf, p...)
	}
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}
