package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/testpoll"
	"github.com/headrace/headrace/internal/wire/eventstream"
)

// TestConsumerMetrics subscribes, is refused a second subscription, and reads on the page what both consumers
// did. The series go with their consumers.
func TestConsumerMetrics(t *testing.T) {
	g := guard(t)
	g.allowed(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":1}`)
	wheel, pond := g.consumer("wheel"), g.consumer("pond")
	g.allowed(g.root, "PutRecords", `{"StreamName":"mill","Records":[{"PartitionKey":"k","Data":"eHh4"},{"PartitionKey":"k","Data":"eHh4"}]}`)

	// A dry run begins nothing, and counts as nothing.
	document := `{"ConsumerARN":"` + wheel + `","ShardId":"0","StartingPosition":{"Type":"TRIM_HORIZON"}}`
	g.denied(g.root, "DryRunOperationException", "", "SubscribeToShard", strings.TrimSuffix(document, "}")+`,"DryRun":true}`)
	resp := g.send(g.root, "SubscribeToShard", document)
	defer resp.Body.Close()
	d := &eventstream.Decoder{From: resp.Body}
	for range 2 { // the initial response, and the records
		if _, err := d.Next(); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", resp.Status, err)
		}
	}
	g.denied(g.root, "ResourceInUseException", "Another active subscription exists for this consumer.", "SubscribeToShard", document)
	g.denied(g.root, "ResourceNotFoundException", "", "SubscribeToShard", strings.Replace(document, `"ShardId":"0"`, `"ShardId":"7"`, 1)) // no rate was exceeded

	want := func(consumer string, series ...string) (missing string) {
		for _, s := range series {
			name, value, _ := strings.Cut(s, " ")
			line := fmt.Sprintf(`headrace_kinesis_subscribe_to_shard_%s{account="%s",consumer="%s",region="eu-west-1",stream="mill"} %s`, name, home, consumer, value)
			if !slices.Contains(g.scrape("subscribe_to_shard"), line) {
				return line
			}
		}
		return ""
	}
	testpoll.Until(t, 10*time.Second, func() bool {
		return want("wheel", "success_total 1", "rate_exceeded_total 1", "event_success_total 1", "event_bytes_total 8", "event_records_total 2",
			"event_behind_latest_seconds_count 1", "event_behind_latest_seconds_sum 0") == ""
	}, "what wheel did is on the page")
	if line := want("pond", "success_total 0", "rate_exceeded_total 0", "event_success_total 0", "event_bytes_total 0", "event_records_total 0",
		"event_behind_latest_seconds_count 0"); line != "" {
		t.Errorf("there is no %s", line)
	}

	g.allowed(g.root, "DeregisterStreamConsumer", `{"ConsumerARN":"`+pond+`"}`)
	if got := g.scrape(`consumer="pond"`); len(got) != 0 {
		t.Errorf("a consumer that was deregistered has\n%s", strings.Join(got, "\n"))
	}
	g.allowed(g.root, "DeleteStream", `{"StreamName":"mill","EnforceConsumerDeletion":true}`)
	if got := g.scrape("subscribe_to_shard"); len(got) != 0 {
		t.Errorf("a stream that was deleted has\n%s", strings.Join(got, "\n"))
	}
}
