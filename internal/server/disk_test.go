package server

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/config"
	"github.com/headrace/headrace/internal/shardlog/space"
)

// TestQuota fills a stream in memory up to its quota: it alone is throttled, in AWS's words, and log,
// metrics and the readiness page say why.
func TestQuota(t *testing.T) {
	r := start(t, func(c *Config) { c.Disk.StreamBytes = config.Share{Bytes: 200_000} })
	c := client(t, "HTTP/1.1")
	r.call(c, "CreateStream", `{"StreamName":"big","ShardCount":1}`)
	r.call(c, "CreateStream", `{"StreamName":"small","ShardCount":1}`)
	data := strings.Repeat("aaaa", 4<<10)
	single := func(stream string) (int, string) {
		resp, body := r.call(c, "PutRecord", fmt.Sprintf(`{"StreamName":%q,"PartitionKey":"k","Data":%q}`, stream, data))
		return resp.StatusCode, body
	}
	taken := 0
	for ; taken < 100; taken++ {
		if status, _ := single("big"); status != 200 {
			break
		}
	}
	if taken < 10 || taken > 16 {
		t.Fatalf("%d records of 12 KiB were taken by a stream that may take 200,000 bytes", taken)
	}
	const words = "Rate exceeded for shard shardId-000000000000 in stream big under account 000000000000."
	status, body := single("big")
	if status != 400 || !strings.Contains(body, "ProvisionedThroughputExceededException") || !strings.Contains(body, words) {
		t.Errorf("PutRecord at the quota: %d %s", status, body)
	}
	resp, body := r.call(c, "PutRecords", fmt.Sprintf(`{"StreamName":"big","Records":[{"PartitionKey":"k","Data":%q}]}`, data))
	if resp.StatusCode != 200 || !strings.Contains(body, `"ErrorCode":"ProvisionedThroughputExceededException"`) ||
		!strings.Contains(body, words) || !strings.Contains(body, `"FailedRecordCount":1`) {
		t.Errorf("PutRecords at the quota: %d %s", resp.StatusCode, body)
	}
	if status, body := single("small"); status != 200 {
		t.Errorf("another stream: %d %s", status, body)
	}
	_, body = r.call(c, "GetShardIterator", `{"StreamName":"big","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)
	_, body = r.call(c, "GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, field(t, body, "ShardIterator")))
	if n := strings.Count(body, "SequenceNumber"); n != taken {
		t.Errorf("%d records are read of %d", n, taken)
	}
	if status, body := r.get("/-/ready"); status != 200 || !strings.HasPrefix(body, "ready\n") {
		t.Errorf("/-/ready: %d %q; want ready", status, body)
	}
	_, text := r.get("/metrics")
	for _, series := range []string{
		"headrace_stream_quota_bytes 200000\n", `headrace_refused_records_total{reason="quota"} 3`, `headrace_refused_records_total{reason="disk"} 0`,
		`headrace_disk_state{state="ample"} 1`, "headrace_disk_total_bytes 0\n",
		`headrace_stream_unflushed_bytes{account="000000000000",region="us-east-1",stream="big"} 1`,
	} {
		if !strings.Contains(text, series) {
			t.Errorf("no series %s", series)
		}
	}
	r.call(c, "DeleteStream", `{"StreamName":"big"}`)
	r.call(c, "CreateStream", `{"StreamName":"big","ShardCount":1}`)
	if status, body := single("big"); status != 200 {
		t.Errorf("a stream of the same name, made anew: %d %s", status, body)
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil
	if n := strings.Count(r.log.String(), "it has reached its quota"); n != 1 || !strings.Contains(r.log.String(), "stream=big") {
		t.Errorf("the log names the quota %d times; want once, with the stream's name:\n%s", n, r.log)
	}
}

// TestLimits turns settings into what the store is told.
func TestLimits(t *testing.T) {
	f := func(l DiskLimits, total, quota, mark int64) {
		t.Helper()
		got := l.limits()
		if q, m := got.Stream.Of(total), got.LowWater.Of(total); q != quota || m != mark {
			t.Errorf("%+v on %d bytes: quota %d and mark %d; want %d and %d", l, total, q, m, quota, mark)
		}
	}
	const gib = 1 << 30
	d := config.Default().Limits
	standard := DiskLimits{StreamBytes: d.StreamBytes, LowWater: d.LowWater}
	f(DiskLimits{}, 100*gib, 0, 0)
	f(standard, 10*gib, 8*gib, gib/2)
	f(standard, 1000*gib, 800*gib, 2*gib)
	f(standard, 0, 0, 0)
	f(DiskLimits{StreamBytes: config.Share{Bytes: 5 * gib}, LowWater: config.Share{Percent: 10}}, 20*gib, 5*gib, 2*gib)
}

// TestLoggedOnce says what is logged for each change.
func TestLoggedOnce(t *testing.T) {
	var log strings.Builder
	d := disk{logger: slog.New(slog.NewTextHandler(&log, nil))}
	f := func(v space.View, want ...string) {
		t.Helper()
		log.Reset()
		d.changed(v)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != len(want) {
			t.Fatalf("%+v: logged\n%s", v, log.String())
		}
		for i, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("%+v: logged %q; want %q", v, lines[i], w)
			}
		}
	}
	at := func(s space.State, stopped ...uint64) space.View {
		return space.View{Situation: space.Situation{State: s, Stopped: stopped}, Disk: space.Disk{Free: 3 << 30, Total: 40 << 30}, Left: 1 << 30, Mark: 2 << 30}
	}
	f(at(space.Low, 7), "the biggest writers are throttled\" free=\"3072 MiB\" size=\"40960 MiB\" low_water=\"2048 MiB\" unwritten=\"2048 MiB\"", "stream_id=0000000000000007")
	f(at(space.Low, 7, 9), "stream_id=0000000000000009")
	f(at(space.Full, 7, 9), "level=ERROR msg=\"the disk is nearly full: all puts are throttled\"")
	f(at(space.Ample), "level=INFO msg=\"the disk has room again")
	exhausted := at(space.Full)
	exhausted.Exhausted = true
	f(exhausted, "the disk refuses to store more")
}
