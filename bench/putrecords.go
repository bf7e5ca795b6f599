package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
)

const (
	batchRecords = 500
	recordBytes  = 1 << 10
	benchStream  = "bench"
	benchShards  = 8
)

// putRecords compares PutRecords of 500 records of 1 KiB, JSON, into the memory engine with a bare
// server that reads (and hashes) the same bodies.
func putRecords(ctx context.Context, o options) error {
	requests := putRecordsRequests(4)
	hashing, err := startCeiling(ctx, o.self, "-hash")
	if err != nil {
		return err
	}
	defer hashing.stop()
	reading, err := startCeiling(ctx, o.self)
	if err != nil {
		return err
	}
	defer reading.stop()
	under, err := startHeadrace(ctx, o.headrace, "--memory", "8GiB")
	if err != nil {
		return err
	}
	defer under.stop()

	// The first bytes a process ever stores cost a page fault each, on a virtual machine one of the
	// hypervisor too. What is wanted is the rate of a server that has been running, so every server
	// runs once before the rounds.
	if err := freshStream(ctx, under.addr); err != nil {
		return err
	}
	for _, p := range []*process{hashing, reading, under} {
		if _, err := runLoad(ctx, p.addr, requests, o.conns, o.duration); err != nil {
			return err
		}
	}
	var withHash, bare, ours []float64
	for range o.rounds {
		for _, m := range []struct {
			addr    string
			results *[]float64
		}{{hashing.addr, &withHash}, {reading.addr, &bare}, {under.addr, &ours}} {
			if m.addr == under.addr {
				if err := freshStream(ctx, under.addr); err != nil {
					return err
				}
			}
			got, err := runLoad(ctx, m.addr, requests, o.conns, o.duration)
			if err != nil {
				return err
			}
			*m.results = append(*m.results, got.mbPerSecond())
		}
	}
	mine := median(ours)
	fmt.Fprintf(o.out, "\nPutRecords %dx%d B, JSON, memory engine, %d shards, %d connections (MB/s of data, median)\n", batchRecords, recordBytes, benchShards, o.conns)
	fmt.Fprintf(o.out, "  %-44s %8.0f\n", "headrace dev", mine)
	fmt.Fprintf(o.out, "  %-44s %8.0f   ratio %.2f   (at least 0.50)\n", "bare net/http, reads and hashes (SHA-256)", median(withHash), mine/median(withHash))
	fmt.Fprintf(o.out, "  %-44s %8.0f   ratio %.2f\n", "bare net/http, reads only", median(bare), mine/median(bare))
	return nil
}

// putRecordsRequests makes n different PutRecords calls with incompressible data and random keys.
func putRecordsRequests(n int) []request {
	rng := rand.New(rand.NewPCG(1, 2))
	requests := make([]request, n)
	data := make([]byte, recordBytes)
	for i := range requests {
		var body bytes.Buffer
		body.WriteString(`{"Records":[`)
		for r := range batchRecords {
			if r > 0 {
				body.WriteByte(',')
			}
			for j := range data {
				data[j] = byte(rng.Uint32())
			}
			fmt.Fprintf(&body, `{"Data":"%s","PartitionKey":"key-%d"}`, base64.StdEncoding.EncodeToString(data), rng.Uint32())
		}
		fmt.Fprintf(&body, `],"StreamName":%q}`, benchStream)
		requests[i] = request{
			bytes:   rawCall("PutRecords", body.Bytes()),
			payload: batchRecords * recordBytes,
			accept:  []byte(`"FailedRecordCount":0`),
		}
	}
	return requests
}

// authorization has the form of a signature; dev does not check its truth.
const authorization = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"

func rawCall(operation string, body []byte) []byte {
	head := "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\n" +
		"X-Amz-Target: Kinesis_20131202." + operation + "\r\nX-Amz-Date: 20260101T000000Z\r\n" +
		"Authorization: " + authorization + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...)
}

// freshStream replaces the stream, which frees the memory of the round before.
func freshStream(ctx context.Context, addr string) error {
	if err := call(ctx, addr, "DeleteStream", map[string]any{"StreamName": benchStream}); err != nil && !bytes.Contains([]byte(err.Error()), []byte("ResourceNotFoundException")) {
		return err
	}
	return call(ctx, addr, "CreateStream", map[string]any{"StreamName": benchStream, "ShardCount": benchShards})
}

// call makes one API call outside the measurement.
func call(ctx context.Context, addr, operation string, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
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
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}
