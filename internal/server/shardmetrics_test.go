package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// scrape returns the lines of /metrics that contain text.
func (g *guardedServer) scrape(text string) []string {
	g.t.Helper()
	resp, err := http.Get(g.url + "/metrics")
	g.ok(err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	g.ok(err)
	if resp.StatusCode != http.StatusOK {
		g.t.Fatalf("GET /metrics: %d %s", resp.StatusCode, page)
	}
	var lines []string
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "#") && strings.Contains(line, text) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// TestShardMetrics turns shard-level metrics on by the API and reads them on the page.
func TestShardMetrics(t *testing.T) {
	g := guard(t)
	g.allowed(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":2}`)
	put := `{"StreamName":"mill","Records":[{"PartitionKey":"k","Data":"eHh4"},{"PartitionKey":"k","ExplicitHashKey":"0","Data":"eHh4"}]}`
	read := func() {
		t.Helper()
		it := g.allowed(g.root, "GetShardIterator", `{"StreamName":"mill","ShardId":"0","ShardIteratorType":"TRIM_HORIZON"}`)["ShardIterator"]
		g.allowed(g.root, "GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, it))
	}
	want := func(lines ...string) {
		t.Helper()
		got := g.scrape("_shard_")
		if len(got) != len(lines) {
			t.Errorf("got %d series, want %d:\n%s", len(got), len(lines), strings.Join(got, "\n"))
		}
		for _, line := range lines {
			name, rest, _ := strings.Cut(line, " ")
			shard, value, _ := strings.Cut(rest, " ")
			line = fmt.Sprintf(`headrace_kinesis_shard_%s{account="%s",region="eu-west-1",shard="shardId-%012s",stream="mill"} %s`, name, home, shard, value)
			if len(g.scrape(line)) != 1 {
				t.Errorf("there is no %s in\n%s", line, strings.Join(got, "\n"))
			}
		}
	}
	g.allowed(g.root, "PutRecords", put)
	read()
	want()

	g.allowed(g.root, "EnableEnhancedMonitoring", `{"StreamName":"mill","ShardLevelMetrics":["ALL"]}`)
	g.allowed(g.root, "PutRecords", put)
	g.allowed(g.root, "PutRecord", `{"StreamName":"mill","PartitionKey":"k","ExplicitHashKey":"0","Data":"eHh4"}`)
	read()
	want(
		"incoming_bytes_total 0 8", "incoming_records_total 0 2", "outgoing_bytes_total 0 12", "outgoing_records_total 0 3",
		"write_provisioned_throughput_exceeded_total 0 0", "read_provisioned_throughput_exceeded_total 0 0", "iterator_age_seconds 0 0",
		"incoming_bytes_total 1 4", "incoming_records_total 1 1", "outgoing_bytes_total 1 0", "outgoing_records_total 1 0",
		"write_provisioned_throughput_exceeded_total 1 0", "read_provisioned_throughput_exceeded_total 1 0",
	)

	// New shards have series from their first moment on, and what is turned off ends.
	g.allowed(g.root, "DisableEnhancedMonitoring", `{"StreamName":"mill","ShardLevelMetrics":["OutgoingBytes","OutgoingRecords",`+
		`"WriteProvisionedThroughputExceeded","ReadProvisionedThroughputExceeded","IteratorAgeMilliseconds","IncomingRecords"]}`)
	g.allowed(g.root, "SplitShard", `{"StreamName":"mill","ShardToSplit":"0","NewStartingHashKey":"1000"}`)
	want("incoming_bytes_total 0 8", "incoming_bytes_total 1 4", "incoming_bytes_total 2 0", "incoming_bytes_total 3 0")
	g.allowed(g.root, "DeleteStream", `{"StreamName":"mill"}`)
	want()
}
