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
	"strings"
	"time"
)

const (
	recordBytes = 1 << 10
	benchStream = "bench"
	benchShards = 8
)

// putRecords compares PutRecords of 500 records of 1 KiB, JSON, into the memory engine with a bare
// server that reads (and hashes) the same bodies.
func putRecords(ctx context.Context, o options) error {
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
	under, err := startHeadrace(ctx, o.headrace, "dev", "--memory", "8GiB")
	if err != nil {
		return err
	}
	defer under.stop()
	c := comparison{
		title: "in memory", records: 500, conns: o.conns,
		headrace: &measured{name: "headrace dev", process: under},
		ceilings: []*measured{
			{name: "bare net/http, reads and hashes (SHA-256)", process: hashing},
			{name: "bare net/http, reads only", process: reading},
		},
		wanted: "at least 0.50 to the server that hashes",
	}
	return c.run(ctx, o)
}

// comparison is one load on Headrace and on servers that do less.
type comparison struct {
	title    string
	records  int // in a request; 1 is PutRecord
	conns    int
	headrace *measured
	ceilings []*measured
	wanted   string
}

// run measures and prints the comparison.
//
// The first bytes a process ever stores cost a page fault each, on a virtual machine one of the
// hypervisor too. What is wanted is the rate of a server that has been running, so there is a
// round before those that count.
func (c *comparison) run(ctx context.Context, o options) error {
	requests := putRequests(4, c.records)
	servers := append([]*measured{c.headrace}, c.ceilings...)
	for round := range 1 + o.rounds {
		if err := freshStream(ctx, c.headrace.process.addr); err != nil {
			return err
		}
		for _, m := range servers {
			if err := m.run(ctx, requests, c.conns, o.duration, round > 0); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(o.out, "\nPuts of %dx%d B, JSON, %s, %d shards, %d connections (medians)\n", c.records, recordBytes, c.title, benchShards, c.conns)
	fmt.Fprintf(o.out, "  %-50s %6s %7s %6s %9s %14s %6s\n", "", "MB/s", "req/s", "ratio", "p99", "CPU a request", "ratio")
	for _, m := range servers {
		fmt.Fprintf(o.out, "  %-50s %6.0f %7.0f %6.2f %6.1f ms %11.0f us %6.2f\n", m.name, median(m.rates), median(m.requests),
			median(c.headrace.requests)/median(m.requests), median(m.slowest), median(m.costs), median(m.costs)/median(c.headrace.costs))
	}
	fmt.Fprintf(o.out, "  ratios are headrace's to that line's; %s\n", c.wanted)
	return nil
}

// measured is a server and what the rounds found: data in MB/s, requests a second, the slowest
// hundredth in milliseconds, and microseconds of its own processor time a request, which the load
// of other programs disturbs less.
type measured struct {
	name                            string
	process                         *process
	rates, requests, slowest, costs []float64
}

func (m *measured) run(ctx context.Context, requests []request, conns int, d time.Duration, counts bool) error {
	before, err := m.process.cpu()
	if err != nil {
		return err
	}
	got, err := runLoad(ctx, m.process.addr, requests, conns, d)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	after, err := m.process.cpu()
	if err != nil || !counts {
		return err
	}
	m.rates = append(m.rates, got.mbPerSecond())
	m.requests = append(m.requests, got.perSecond())
	m.slowest = append(m.slowest, float64(got.p99.Microseconds())/1000)
	m.costs = append(m.costs, float64((after-before).Microseconds())/float64(got.requests))
	return nil
}

// putRequests makes n different puts of some records each, with incompressible data and random keys.
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
		requests[i] = request{bytes: rawCall(operation, []byte(body)), payload: records * recordBytes, accept: []byte(accept)}
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
