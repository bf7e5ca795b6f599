package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// own answers our own calls: of the stream logs, whose shards are not in the order of what they got.
func (f *fake) own(_ context.Context, path string) ([]byte, error) {
	f.calls = append(f.calls, path)
	if path != "/_headrace/streams/hot?stream=logs" {
		return nil, errors.New("404 Not Found: Stream nope under account 000000000000 not found.")
	}
	return []byte(`{"StreamName":"logs","StreamARN":"arn:logs","Shards":[
		{"ShardId":"shardId-000000000000","StartingHashKey":"0","EndingHashKey":"7","BytesPerSecond":0,"RecordsPerSecond":0,"Keys":[]},
		{"ShardId":"shardId-000000000001","StartingHashKey":"8","EndingHashKey":"9","BytesPerSecond":2097152,"RecordsPerSecond":2048.5,"Keys":[
			{"PartitionKey":"the hot\none","BytesPerSecond":1572864,"Share":0.75},
			{"PartitionKey":"long","Cut":true,"BytesPerSecond":1024,"Share":0.0005},
			{"PartitionKey":"c","BytesPerSecond":512,"Share":0.00025},
			{"PartitionKey":"d","BytesPerSecond":256,"Share":0.000125}]},
		{"ShardId":"shardId-000000000002","StartingHashKey":"10","EndingHashKey":"11","BytesPerSecond":1048576,"RecordsPerSecond":1,"Keys":[]}]}`), nil
}

func TestHot(t *testing.T) {
	f := newFake(1)
	golden(t, "hot.txt", script(t, f,
		"stream hot logs", "stream hot logs --keys 1", "stream hot logs --keys 0 -o ndjson", "stream hot logs --keys 2 -o json",
		"stream hot nope", "stream hot logs --aws", "stream hot logs --keys -1", "stream hot",
	)+strings.Join(f.calls, "\n")+"\n")
}
