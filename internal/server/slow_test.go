package server

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/wire"
)

// TestSlowLog logs what took long and nothing else, and not more than it may.
func TestSlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&out, nil))
		lines := func() (all []map[string]any) {
			t.Helper()
			for line := range strings.Lines(out.String()) {
				m := map[string]any{}
				if err := json.Unmarshal([]byte(line), &m); err != nil {
					t.Fatal(err)
				}
				all = append(all, m)
			}
			out.Reset()
			return all
		}
		slow := wire.Event{
			RequestID: "id-1", Service: "kinesis", Operation: "PutRecords", Account: "000000000000", Region: "us-east-1",
			Status: 400, ErrorCode: "ProvisionedThroughputExceededException", Duration: 1500*time.Millisecond + time.Microsecond,
			BytesIn: 7, BytesOut: 8, Request: httptest.NewRequest("POST", "/", nil),
		}
		newSlowLog(0, logger, clock.System{}).done(&slow)
		l := newSlowLog(time.Second, logger, clock.System{})
		fast, lasting := slow, slow
		fast.Duration, lasting.Operation = time.Second-1, "SubscribeToShard"
		l.done(&fast)
		l.done(&lasting)
		if got := lines(); len(got) != 0 {
			t.Errorf("logged: %v", got)
		}
		l.done(&slow)
		got := lines()
		if len(got) != 1 {
			t.Fatalf("logged: %v", got)
		}
		for name, want := range map[string]any{
			"level": "WARN", "request": "id-1", "operation": "PutRecords", "duration": float64(1500 * time.Millisecond),
			"status": 400.0, "code": "ProvisionedThroughputExceededException", "bytes_in": 7.0, "bytes_out": 8.0,
			"account": "000000000000", "client": "192.0.2.1:1234", "not_logged": nil,
		} {
			if got[0][name] != want {
				t.Errorf("%s = %v, want %v", name, got[0][name], want)
			}
		}
		<-time.After(time.Second)
		for range 1000 {
			l.done(&slow)
		}
		if got := lines(); len(got) != slowRate {
			t.Errorf("%d lines in a moment, want %d", len(got), slowRate)
		}
		<-time.After(time.Second)
		l.done(&slow)
		if got := lines(); len(got) != 1 || got[0]["not_logged"] != float64(1000-slowRate) {
			t.Errorf("a second later: %v", got)
		}
	})
}

// TestSlowRequestsAreLogged has every request count as slow, and finds one by the id that its client got.
func TestSlowRequestsAreLogged(t *testing.T) {
	r := start(t, func(c *Config) { c.SlowRequests = 1 })
	resp, _ := r.call(client(t, "HTTP/1.1"), "ListStreams", "{}")
	id := resp.Header.Get("x-amzn-RequestId")
	r.stop()
	err := <-r.done
	if r.done <- nil; err != nil { // the cleanup asks, too
		t.Error(err)
	}
	if text := r.log.String(); !strings.Contains(text, `msg="a request was slow" request=`+id+" service=kinesis operation=ListStreams duration=") {
		t.Errorf("request %s is not in\n%s", id, text)
	}
}
