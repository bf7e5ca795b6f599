package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/wire/eventstream"
)

// TestSubscriptions subscribes in every way that clients connect, reads a large record that is pushed, and
// stops the server: the streams end as streams do, and the server drains.
func TestSubscriptions(t *testing.T) {
	r, trusted := selfSigned(t, func(c *Config) {
		c.MemoryBytes, c.Ring = 256<<20, Ring{Segments: 4, SegmentBytes: 16 << 20}
	})
	plain := client(t, "HTTP/1.1")
	r.call(plain, "CreateStream", `{"StreamName":"mill","ShardCount":1,"MaxRecordSizeInKiB":10240}`)
	const mill = "arn:aws:kinesis:us-east-1:000000000000:stream/mill"
	subscribe := func(c *http.Client, protocol string) (io.Closer, *eventstream.Decoder) {
		t.Helper()
		name := fmt.Sprintf("c%p", c)
		_, body := r.call(plain, "RegisterStreamConsumer", `{"StreamARN":"`+mill+`","ConsumerName":"`+name+`"}`)
		var registered struct{ Consumer struct{ ConsumerARN string } }
		if err := json.Unmarshal([]byte(body), &registered); err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(r.request("SubscribeToShard", strings.NewReader(`{"ConsumerARN":"`+registered.Consumer.ConsumerARN+`","ShardId":"0","StartingPosition":{"Type":"TRIM_HORIZON"}}`)))
		if err != nil || resp.StatusCode != http.StatusOK || resp.Proto != protocol {
			t.Fatalf("%s: %v, error %v", protocol, resp, err)
		}
		d := &eventstream.Decoder{From: resp.Body}
		for range 2 { // the initial response, and an event that says where the stream begins
			if _, err := d.Next(); err != nil {
				t.Fatal(err)
			}
		}
		return resp.Body, d
	}
	var all []*eventstream.Decoder
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, c := range []*http.Client{client(t, protocol), r.secureClient(protocol, true, trusted), r.secureClient(protocol, false, trusted)} {
			body, d := subscribe(c, protocol)
			defer body.Close()
			all = append(all, d)
		}
	}
	record := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("headrace", 10<<17-8))) // almost 10 MiB
	if resp, body := r.call(plain, "PutRecord", `{"StreamName":"mill","PartitionKey":"k","Data":"`+record+`"}`); resp.StatusCode != 200 {
		t.Fatalf("put: %d %s", resp.StatusCode, body)
	}
	for i, d := range all {
		for pushed := false; !pushed; { // perhaps after signs of life
			m, err := d.Next()
			if err != nil {
				t.Fatalf("subscription %d: %v", i, err)
			}
			var event struct{ Records []struct{ Data string } }
			if err := json.Unmarshal(m.Payload, &event); err != nil {
				t.Fatal(err)
			}
			if pushed = len(event.Records) > 0; pushed && event.Records[0].Data != record {
				t.Errorf("subscription %d has another record of %d bytes", i, len(event.Records[0].Data))
			}
		}
	}
	r.stop()
	for i, d := range all {
		err := error(nil)
		for err == nil {
			_, err = d.Next()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("subscription %d ended with %v", i, err)
		}
	}
	if err := <-r.done; err != nil {
		t.Errorf("Run returned %v", err)
	}
	r.done <- nil
	if strings.Contains(r.log.String(), "cut off") || strings.Contains(r.log.String(), "failed") {
		t.Errorf("the log says %s", r.log)
	}
}

// TestSubscribePermission has subscribing be allowed by consumer, and by the policies of consumers.
func TestSubscribePermission(t *testing.T) {
	g := guard(t)
	g.allowed(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":1}`)
	wheel, pond := g.consumer("wheel"), g.consumer("pond")
	subscribe := func(consumer string) string {
		return `{"ConsumerARN":"` + consumer + `","ShardId":"0","StartingPosition":{"Type":"LATEST"},"DryRun":true}`
	}
	const allowed = "Request would have succeeded" // and a dry run is an error, which ends
	reader := g.user(home, "reader", statement("Allow", "kinesis:SubscribeToShard", mill+"/consumer/wheel:*", ""))
	g.denied(reader, "DryRunOperationException", allowed, "SubscribeToShard", subscribe(wheel))
	g.denied(reader, "AccessDeniedException", "kinesis:SubscribeToShard on resource: "+pond, "SubscribeToShard", subscribe(pond))
	g.denied(reader, "AccessDeniedException", "kinesis:DescribeStreamConsumer on resource: "+wheel, "DescribeStreamConsumer",
		`{"StreamARN":"`+mill+`","ConsumerName":"wheel"}`)

	guest := g.user(other, "guest", statement("Allow", "kinesis:*", "*", ""))
	g.denied(guest, "AccessDeniedException", "because no resource-based policy allows", "SubscribeToShard", subscribe(wheel))
	policy, err := json.Marshal(map[string]string{"ResourceARN": wheel, "Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` +
		other + `"},"Action":["kinesis:SubscribeToShard","kinesis:DescribeStreamConsumer"],"Resource":"` + wheel + `"}]}`})
	g.ok(err)
	g.allowed(g.root, "PutResourcePolicy", string(policy))
	g.denied(guest, "DryRunOperationException", allowed, "SubscribeToShard", subscribe(wheel))
	g.allowed(guest, "DescribeStreamConsumer", `{"ConsumerARN":"`+wheel+`"}`)
	g.denied(guest, "AccessDeniedException", "", "SubscribeToShard", subscribe(pond))
	g.denied(guest, "AccessDeniedException", "", "DeregisterStreamConsumer", `{"ConsumerARN":"`+wheel+`"}`)

	// Tags at registration need a permission of their own, and are what conditions see.
	maker := g.user(home, "maker", statement("Allow", "kinesis:RegisterStreamConsumer", "*", ""))
	g.allowed(maker, "RegisterStreamConsumer", `{"StreamARN":"`+mill+`","ConsumerName":"plain"}`)
	g.denied(maker, "AccessDeniedException", "kinesis:TagResource", "RegisterStreamConsumer", `{"StreamARN":"`+mill+`","ConsumerName":"dyed","Tags":{"team":"water"}}`)
	g.allowed(g.root, "RegisterStreamConsumer", `{"StreamARN":"`+mill+`","ConsumerName":"dyed","Tags":{"team":"water"}}`)
	tagged := g.user(home, "tagged", statement("Allow", "kinesis:Describe*", "*", `,"Condition":{"StringEquals":{"aws:ResourceTag/team":"water"}}`))
	g.allowed(tagged, "DescribeStreamConsumer", `{"StreamARN":"`+mill+`","ConsumerName":"dyed"}`)
	g.denied(tagged, "AccessDeniedException", "", "DescribeStreamConsumer", `{"ConsumerARN":"`+wheel+`"}`)
}
