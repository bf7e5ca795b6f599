package kinesis_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/headrace/headrace/internal/alloctest"
)

// sink is a ResponseWriter that keeps no more than the status and, if asked, the body.
type sink struct {
	header http.Header
	status int
	body   []byte
	keep   bool
}

// Header returns the response's headers.
func (w *sink) Header() http.Header { return w.header }

// WriteHeader keeps the status.
func (w *sink) WriteHeader(status int) { w.status = status }

// Write keeps the body if that is wanted.
func (w *sink) Write(p []byte) (int, error) {
	if w.keep {
		w.body = append(w.body, p...)
	}
	return len(p), nil
}

// SetReadDeadline and SetWriteDeadline say that there are deadlines, as a connection does.
func (w *sink) SetReadDeadline(time.Time) error  { return nil }
func (w *sink) SetWriteDeadline(time.Time) error { return nil }

// round is one call that goes through the whole handler again and again.
type round struct {
	w    *world
	r    *http.Request
	body *bytes.Reader
	out  sink
}

// newRound prepares a call; in is encoded in the format that contentType names.
func newRound(t testing.TB, w *world, operation, contentType string, in map[string]any) *round {
	t.Helper()
	document, err := json.Marshal(in)
	if contentType == typeCBOR {
		document, err = cbor.Marshal(binary("", in))
	}
	w.must(err)
	rd := &round{w: w, body: bytes.NewReader(document), out: sink{header: http.Header{}}}
	rd.r = httptest.NewRequest(http.MethodPost, "http://kinesis/", nil)
	rd.r.Body = io.NopCloser(rd.body)
	rd.r.ContentLength = int64(len(document))
	head(rd.r.Header, operation, contentType, "123456789012", "eu-west-1")
	return rd
}

func (rd *round) call() {
	_, err := rd.body.Seek(0, io.SeekStart)
	rd.w.must(err)
	clear(rd.out.header)
	rd.out.body = rd.out.body[:0]
	rd.w.handler.ServeHTTP(&rd.out, rd.r)
	if rd.out.status != http.StatusOK {
		rd.w.t.Fatalf("got status %d: %s", rd.out.status, rd.out.body)
	}
}

// answer returns the answer to a call in JSON.
func (rd *round) answer() map[string]any {
	rd.out.keep = true
	rd.call()
	rd.out.keep = false
	var a map[string]any
	rd.w.must(json.Unmarshal(rd.out.body, &a))
	return a
}

// puts returns the input of PutRecords for n records of size bytes for the four shards of the stream mill.
func puts(n, size int, explicit bool) map[string]any {
	data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, size))
	var records []any
	for i := range n {
		r := map[string]any{"PartitionKey": fmt.Sprintf("partition key %d", i), "Data": data}
		if explicit {
			r["ExplicitHashKey"] = fmt.Sprintf("%d00000000000000000000000000000000000%d", i%3+1, i)
		}
		records = append(records, r)
	}
	return map[string]any{"StreamName": "mill", "Records": records}
}

func newMill(t testing.TB, shards int) *world {
	w := newWorld(t, setup{memory: 1 << 30})
	t.Cleanup(w.close)
	newRound(t, w, "CreateStream", typeJSON, map[string]any{"StreamName": "mill", "ShardCount": shards}).call()
	return w
}

// The most allocations a call makes, whatever is in it: its ids and headers, its part of a group
// commit, its iterator.
const (
	putAllocations = 16
	getAllocations = 32
)

// Decoding, routing, writing and encoding make no allocation for a record: 500 cost what 10 do, give
// or take the log's own memory.
func TestPutRecordsAllocations(t *testing.T) {
	testPutRecordsAllocations(t, newMill)
}

// TestEncryptedAllocations is the same for streams that are encrypted, and for reading from them.
func TestEncryptedAllocations(t *testing.T) {
	testPutRecordsAllocations(t, newEncryptedMill)
	testGetRecordsAllocations(t, newEncryptedMill(t, 1))
}

func newEncryptedMill(t testing.TB, shards int) *world {
	w := newMill(t, shards)
	newRound(t, w, "StartStreamEncryption", typeJSON, map[string]any{
		"StreamName": "mill", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis",
	}).call()
	return w
}

func testPutRecordsAllocations(t *testing.T, newMill func(testing.TB, int) *world) {
	t.Helper()
	f := func(contentType string, explicit bool) {
		t.Helper()
		w := newMill(t, 4)
		few := alloctest.Count(t, 20, newRound(t, w, "PutRecords", contentType, puts(10, 100, explicit)).call)
		many := alloctest.Count(t, 20, newRound(t, w, "PutRecords", contentType, puts(500, 100, explicit)).call)
		t.Logf("%s, explicit hash keys %v: %v allocations a call with 10 records, %v with 500", contentType, explicit, few, many)
		if many > few+2 || many > putAllocations {
			t.Errorf("%s, explicit hash keys %v: 500 records make %v allocations, 10 make %v; want the same and at most %d",
				contentType, explicit, many, few, putAllocations)
		}
	}
	f(typeJSON, false)
	f(typeJSON, true)
	f(typeCBOR, false)
	f(typeCBOR, true)
}

// Reading makes no allocation for a record either.
func TestGetRecordsAllocations(t *testing.T) { testGetRecordsAllocations(t, newMill(t, 1)) }

func testGetRecordsAllocations(t *testing.T, w *world) {
	t.Helper()
	newRound(t, w, "PutRecords", typeJSON, puts(500, 100, false)).call()
	it := newRound(t, w, "GetShardIterator", typeJSON, map[string]any{
		"StreamName": "mill", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON",
	}).answer()["ShardIterator"]
	f := func(contentType string) {
		t.Helper()
		get := func(limit int) float64 {
			rd := newRound(t, w, "GetRecords", contentType, map[string]any{"ShardIterator": it, "Limit": float64(limit)})
			if contentType == typeJSON {
				if got := len(rd.answer()["Records"].([]any)); got != limit {
					t.Fatalf("got %d records, want %d", got, limit)
				}
			}
			return alloctest.Count(t, 20, rd.call)
		}
		few, many := get(10), get(500)
		t.Logf("%s: %v allocations a call with 10 records, %v with 500", contentType, few, many)
		if many > few+2 || many > getAllocations {
			t.Errorf("%s: 500 records make %v allocations, 10 make %v; want the same and at most %d", contentType, many, few, getAllocations)
		}
	}
	f(typeJSON)
	f(typeCBOR)
}

func BenchmarkPutRecords500x1KiB(b *testing.B) {
	for _, contentType := range []string{typeJSON, typeCBOR} {
		b.Run(contentType, func(b *testing.B) {
			w := newMill(b, 4)
			rd := newRound(b, w, "PutRecords", contentType, puts(500, 1024, false))
			b.SetBytes(rd.r.ContentLength)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%400 == 399 { // before the records fill the memory budget
					b.StopTimer()
					newRound(b, w, "DeleteStream", typeJSON, map[string]any{"StreamName": "mill"}).call()
					newRound(b, w, "CreateStream", typeJSON, map[string]any{"StreamName": "mill", "ShardCount": 4}).call()
					b.StartTimer()
				}
				rd.call()
			}
		})
	}
}

func BenchmarkGetRecords500x1KiB(b *testing.B) {
	for _, contentType := range []string{typeJSON, typeCBOR} {
		b.Run(contentType, func(b *testing.B) {
			w := newMill(b, 1)
			newRound(b, w, "PutRecords", typeJSON, puts(500, 1024, false)).call()
			it := newRound(b, w, "GetShardIterator", typeJSON, map[string]any{
				"StreamName": "mill", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON",
			}).answer()["ShardIterator"]
			rd := newRound(b, w, "GetRecords", contentType, map[string]any{"ShardIterator": it})
			b.SetBytes(500 * 1024)
			b.ReportAllocs()
			for b.Loop() {
				rd.call()
			}
		})
	}
}
