package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestHeatCall asks who may see hot keys: whoever may read the stream's records, and nobody else.
func TestHeatCall(t *testing.T) {
	g := guard(t)
	g.allowed(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":2}`)
	for range 20 {
		g.allowed(g.root, "PutRecords", `{"StreamName":"mill","Records":[{"PartitionKey":"hot","Data":"`+strings.Repeat("AAAA", 100)+`"},{"PartitionKey":"b","Data":""}]}`)
	}
	ask := func(keys aws.Credentials, query string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", g.url+"/_headrace/streams/hot?"+query, nil)
		g.ok(err)
		if keys.AccessKeyID != "" {
			nothing := sha256.Sum256(nil)
			g.ok(v4.NewSigner().SignHTTP(t.Context(), keys, req, hex.EncodeToString(nothing[:]), "headrace", "eu-west-1", time.Now()))
		}
		resp, err := http.DefaultClient.Do(req)
		g.ok(err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		g.ok(err)
		return resp.StatusCode, string(body)
	}
	refused := func(want int, says string, keys aws.Credentials, query string) {
		t.Helper()
		if status, body := ask(keys, query); status != want || !strings.Contains(body, says) {
			t.Errorf("%s: %d %s; want %d %q", query, status, body, want, says)
		}
	}
	shown := func(keys aws.Credentials, query string) {
		t.Helper()
		status, body := ask(keys, query)
		var got heatReport
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK || got.StreamARN != mill || len(got.Shards) != 2 {
			t.Fatalf("%s: %d %s, %v", query, status, body, err)
		}
		keysOf := map[string]float64{}
		for _, sh := range got.Shards {
			for _, k := range sh.Keys {
				keysOf[k.PartitionKey] = k.BytesPerSecond
			}
		}
		if len(keysOf) != 2 || keysOf["hot"] <= 100*keysOf["b"] {
			t.Errorf("%s: keys %v", query, keysOf)
		}
	}
	reader := g.user(home, "reader", statement("Allow", "kinesis:GetRecords", mill, ""))
	writer := g.user(home, "writer", statement("Allow", "kinesis:Put*", "*", ""))
	guest := g.user(other, "guest", statement("Allow", "kinesis:*", "*", ""))
	wrong := reader
	wrong.SecretAccessKey += "x"
	shown(g.root, "stream=mill")
	shown(reader, "stream=mill")
	shown(reader, "arn="+mill)
	refused(403, "kinesis:GetRecords on resource: "+mill, writer, "stream=mill")
	refused(403, "no resource-based policy allows", guest, "arn="+mill)
	refused(403, "signature", wrong, "stream=mill")
	refused(403, "", aws.Credentials{}, "stream=mill")
	refused(404, "Stream race under account "+home+" not found.", g.root, "stream=race")
	refused(400, "Either StreamName or StreamARN should be provided.", g.root, "")

	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kinesis:GetRecords","Resource":%q}]}`, other, mill)
	body, err := json.Marshal(map[string]string{"ResourceARN": mill, "Policy": policy})
	g.ok(err)
	g.allowed(g.root, "PutResourcePolicy", string(body))
	shown(guest, "arn="+mill)
}
