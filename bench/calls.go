package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// key is an access key. Without one, calls have the form of a signature alone.
type key struct{ id, secret string }

// freshStream replaces the stream, which frees the room of the round before.
func (p *process) freshStream(ctx context.Context, shards int) error {
	if err := p.deleteStream(ctx); err != nil {
		return err
	}
	return p.createStream(ctx, shards)
}

// deleteStream deletes the stream, if it is there, and waits until it is gone: other servers than
// Headrace take their time.
func (p *process) deleteStream(ctx context.Context) error {
	err := p.call(ctx, "DeleteStream", map[string]any{"StreamName": benchStream}, nil)
	for err == nil {
		pause(ctx, 20*time.Millisecond)
		err = p.call(ctx, "DescribeStreamSummary", map[string]any{"StreamName": benchStream}, nil)
	}
	if strings.Contains(err.Error(), "ResourceNotFoundException") {
		return ctx.Err()
	}
	return err
}

// createStream makes the stream and waits until it can be used.
func (p *process) createStream(ctx context.Context, shards int) error {
	if err := p.call(ctx, "CreateStream", map[string]any{"StreamName": benchStream, "ShardCount": shards}, nil); err != nil {
		return err
	}
	var out struct{ StreamDescriptionSummary struct{ StreamStatus string } }
	for range 1000 {
		if err := p.call(ctx, "DescribeStreamSummary", map[string]any{"StreamName": benchStream}, &out); err != nil {
			return err
		}
		if out.StreamDescriptionSummary.StreamStatus == "ACTIVE" {
			return nil
		}
		pause(ctx, 20*time.Millisecond)
	}
	return errors.Join(errors.New("the stream does not become active"), ctx.Err())
}

// call makes one API call outside the measurement. out, if not nil, receives the answer.
func (p *process) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	cl, err := dial(p.addr)
	if err != nil {
		return err
	}
	defer cl.conn.Close()
	raw, err := p.sign(ctx, rawCall(operation, jsonType, body))
	if err != nil {
		return err
	}
	answer, err := cl.exchange(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}

// signed returns the requests signed with the process's key as of now: a signature is good for some
// minutes. Without a key they are returned as they are.
func (p *process) signed(ctx context.Context, requests []request) ([]request, error) {
	out := make([]request, len(requests))
	for i, q := range requests {
		raw, err := p.sign(ctx, q.bytes)
		if err != nil {
			return nil, err
		}
		out[i] = request{bytes: raw, payload: q.payload, accept: q.accept}
	}
	return out, nil
}

func (p *process) sign(ctx context.Context, raw []byte) ([]byte, error) {
	if p.key == (key{}) {
		return raw, nil
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	// The signer wants a client's request, which has a whole address.
	req.URL.Scheme, req.URL.Host = "http", req.Host
	req.Header.Del("Authorization")
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: p.key.id, SecretAccessKey: p.key.secret}
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "kinesis", "us-east-1", time.Now()); err != nil {
		return nil, fmt.Errorf("sign request: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", req.Host, len(body))
	req.Header.Del("Content-Length")
	if err := req.Header.Write(&b); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes(), nil
}
