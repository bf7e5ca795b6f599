package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	recordBytes = 1 << 10
	benchStream = "bench"
	benchShards = 8

	jsonType = "application/x-amz-json-1.1"
	cborType = "application/x-amz-cbor-1.1"
)

// authorization has the form of a signature. Where signatures are not verified no body is hashed.
const authorization = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"

// putRequests makes n different puts of some records each, with random keys and incompressible data.
func putRequests(n, records int) []request {
	rng := rand.New(rand.NewPCG(1, 2))
	requests := make([]request, n)
	data := make([]byte, recordBytes)
	entry := func() string {
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		return fmt.Sprintf(`"Data":"%s","PartitionKey":"key-%d"`, base64.StdEncoding.EncodeToString(data), rng.Uint32())
	}
	for i := range requests {
		operation, accept := "PutRecord", `SequenceNumber`
		body := fmt.Sprintf(`{%s,"StreamName":%q}`, entry(), benchStream)
		if records > 1 {
			operation, accept = "PutRecords", `"FailedRecordCount":0`
			entries := make([]string, records)
			for r := range entries {
				entries[r] = "{" + entry() + "}"
			}
			body = fmt.Sprintf(`{"Records":[%s],"StreamName":%q}`, strings.Join(entries, ","), benchStream)
		}
		requests[i] = request{bytes: rawCall(operation, jsonType, []byte(body)), payload: records * recordBytes, accept: []byte(accept)}
	}
	return requests
}

// rawCall is one API call as it goes over the wire.
func rawCall(operation, contentType string, body []byte) []byte {
	head := "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: " + contentType + "\r\n" +
		"X-Amz-Target: Kinesis_20131202." + operation + "\r\nX-Amz-Date: 20260101T000000Z\r\n" +
		"Authorization: " + authorization + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...)
}

// freshStream replaces the stream, which frees the room of the round before.
func freshStream(ctx context.Context, addr string, shards int) error {
	if err := deleteStream(ctx, addr); err != nil {
		return err
	}
	return createStream(ctx, addr, shards)
}

// deleteStream deletes the stream, if it is there, and waits until it is gone: other servers than
// Headrace take their time.
func deleteStream(ctx context.Context, addr string) error {
	err := call(ctx, addr, "DeleteStream", map[string]any{"StreamName": benchStream}, nil)
	for err == nil {
		pause(ctx, 20*time.Millisecond)
		err = call(ctx, addr, "DescribeStreamSummary", map[string]any{"StreamName": benchStream}, nil)
	}
	if strings.Contains(err.Error(), "ResourceNotFoundException") {
		return ctx.Err()
	}
	return err
}

// createStream makes the stream and waits until it can be used.
func createStream(ctx context.Context, addr string, shards int) error {
	if err := call(ctx, addr, "CreateStream", map[string]any{"StreamName": benchStream, "ShardCount": shards}, nil); err != nil {
		return err
	}
	var out struct{ StreamDescriptionSummary struct{ StreamStatus string } }
	for range 1000 {
		if err := call(ctx, addr, "DescribeStreamSummary", map[string]any{"StreamName": benchStream}, &out); err != nil {
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
func call(ctx context.Context, addr, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", authorization)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", operation, resp.Status, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}
