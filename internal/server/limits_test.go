package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
)

// TestLimitsAreCounted has AWS's limits hold, and finds what was refused on the metrics page, of the stream and of its
// shard.
func TestLimitsAreCounted(t *testing.T) {
	g := guard(t, func(cfg *Config) { cfg.Limits.AWS, cfg.Clock = true, clock.NewManual(time.Now()) })
	g.allowed(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":1}`)
	g.allowed(g.root, "EnableEnhancedMonitoring", `{"StreamName":"mill","ShardLevelMetrics":["ALL"]}`)
	data := strings.Repeat("AAAA", 200<<10) // 600 KiB
	out := g.allowed(g.root, "PutRecords", fmt.Sprintf(
		`{"StreamName":"mill","Records":[{"PartitionKey":"k","Data":%q},{"PartitionKey":"k","Data":%q}]}`, data, data))
	if out["FailedRecordCount"] != 1.0 {
		t.Errorf("%v records were refused; want 1", out["FailedRecordCount"])
	}
	g.refused("PutRecord", fmt.Sprintf(`{"StreamName":"mill","PartitionKey":"k","Data":%q}`, data))
	it := g.allowed(g.root, "GetShardIterator", `{"StreamName":"mill","ShardId":"0","ShardIteratorType":"LATEST"}`)["ShardIterator"]
	read := fmt.Sprintf(`{"ShardIterator":%q}`, it)
	for range 5 {
		g.allowed(g.root, "GetRecords", read)
	}
	for range 3 {
		g.refused("GetRecords", read)
	}
	f := func(name string, want string) {
		t.Helper()
		for _, kind := range []string{"headrace_kinesis_", "headrace_kinesis_shard_"} {
			lines := g.scrape(kind + name)
			if len(lines) != 1 || !strings.HasSuffix(lines[0], " "+want) {
				t.Errorf("%s%s: got %q, want %s", kind, name, lines, want)
			}
		}
	}
	f("write_provisioned_throughput_exceeded_total", "2")
	f("read_provisioned_throughput_exceeded_total", "3")
}

// refused calls and expects that the shard does not take it, or give it.
func (g *guardedServer) refused(operation, body string) {
	g.t.Helper()
	status, out := g.call(g.root, operation, body)
	if code, _ := out["__type"].(string); status != http.StatusBadRequest || code != "ProvisionedThroughputExceededException" {
		g.t.Errorf("%s: %d %v", operation, status, out)
	}
}
