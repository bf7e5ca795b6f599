package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/testpoll"
)

// direct calls the handler of a server on a data directory, without a connection.
type direct struct {
	t      testing.TB
	sys    *system
	header http.Header
	status int
	body   bytes.Buffer
}

// Header, WriteHeader, Write and the deadlines make direct the response's writer.
func (d *direct) Header() http.Header              { return d.header }
func (d *direct) WriteHeader(status int)           { d.status = status }
func (d *direct) Write(p []byte) (int, error)      { return d.body.Write(p) }
func (d *direct) SetReadDeadline(time.Time) error  { return nil }
func (d *direct) SetWriteDeadline(time.Time) error { return nil }

// openDirect assembles a server on a data directory with little memory.
func openDirect(t testing.TB, memory int64) *direct {
	t.Helper()
	ctx, fail := context.WithCancelCause(context.Background())
	cfg := Config{
		Access: Access{AnyCredentials: true}, Data: t.TempDir(), Ring: Ring{Segments: 4, SegmentBytes: 4 << 20}, MemoryBytes: memory,
		DefaultAccount: "000000000000", Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
	}.withDefaults()
	sys, err := assemble(ctx, cfg, fail)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.close(); err != nil {
			t.Error(err)
		}
		fail(nil)
	})
	return &direct{t: t, sys: sys, header: http.Header{}}
}

// prepare returns a function that makes a call and checks that it succeeds.
func (d *direct) prepare(operation string, in map[string]any) func() {
	d.t.Helper()
	document, err := json.Marshal(in)
	if err != nil {
		d.t.Fatal(err)
	}
	body := bytes.NewReader(document)
	req := httptest.NewRequest(http.MethodPost, "http://kinesis/", nil)
	req.Body, req.ContentLength = io.NopCloser(body), int64(len(document))
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=0")
	return func() {
		_, _ = body.Seek(0, io.SeekStart)
		clear(d.header)
		d.body.Reset()
		d.sys.handler.ServeHTTP(d, req)
		if d.status != http.StatusOK {
			d.t.Fatalf("%s: status %d: %.300s", operation, d.status, d.body.Bytes())
		}
	}
}

// answer makes a call once.
func (d *direct) answer(operation string, in map[string]any) (out map[string]any) {
	d.t.Helper()
	d.prepare(operation, in)()
	if d.body.Len() == 0 {
		return nil
	}
	if err := json.Unmarshal(d.body.Bytes(), &out); err != nil {
		d.t.Fatal(err)
	}
	return out
}

func millRecords(n, size int) map[string]any {
	data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, size))
	var records []any
	for i := range n {
		records = append(records, map[string]any{"PartitionKey": fmt.Sprintf("partition key %d", i), "Data": data})
	}
	return map[string]any{"StreamName": "mill", "Records": records}
}

// TestDurablePutsAllocateNothingPerRecord follows a put from the request to the disk and back.
func TestDurablePutsAllocateNothingPerRecord(t *testing.T) {
	d := openDirect(t, 1<<30) // so much that no flush begins meanwhile
	d.answer("CreateStream", map[string]any{"StreamName": "mill", "ShardCount": 4})
	few := alloctest.Count(t, 20, d.prepare("PutRecords", millRecords(10, 100)))
	many := alloctest.Count(t, 20, d.prepare("PutRecords", millRecords(500, 100)))
	t.Logf("%v allocations a call with 10 records, %v with 500", few, many)
	if many > few+2 || many > 20 {
		t.Errorf("500 records make %v allocations, 10 make %v; want the same and at most 20", many, few)
	}
}

// TestReadsFromBlocksAllocateNothingPerRecord reads records that are in files and no longer in memory. A
// page that takes more blocks may allocate for each of those, but not for its records.
func TestReadsFromBlocksAllocateNothingPerRecord(t *testing.T) {
	d := openDirect(t, 32<<20)
	d.answer("CreateStream", map[string]any{"StreamName": "mill", "ShardCount": 1})
	put := d.prepare("PutRecords", millRecords(500, 1000))
	it := d.answer("GetShardIterator", map[string]any{"StreamName": "mill", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"})["ShardIterator"]
	for range 100 { // twice the memory there is: the oldest are in files alone
		testpoll.Until(t, 20*time.Second, func() bool {
			put() // refused, record by record, while a flush must make room
			return bytes.Contains(d.body.Bytes(), []byte(`"FailedRecordCount":0`))
		}, "room for a put")
	}
	get := func(limit int) float64 {
		in := map[string]any{"ShardIterator": it, "Limit": limit}
		if got := len(d.answer("GetRecords", in)["Records"].([]any)); got != limit {
			t.Fatalf("got %d records, want %d", got, limit)
		}
		return alloctest.Count(t, 20, d.prepare("GetRecords", in))
	}
	few, many := get(10), get(1000)
	t.Logf("%v allocations a call with 10 records, %v with 1000", few, many)
	if many > few+8 || many > 60 {
		t.Errorf("1000 records in four blocks make %v allocations, 10 in one make %v; want a few more and at most 60", many, few)
	}
}
