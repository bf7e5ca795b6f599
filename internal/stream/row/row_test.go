package row

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/commitment"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/seal"
)

// every is a row of each kind with every member set, and its key.
func every() map[string][]byte {
	hash := keyspace.Uniform(1, 3)
	stream := &Stream{
		Layout: EncryptedVersion, ID: 1<<64 - 1, Account: "123456789012", Region: "eu-west-1", Name: "mill",
		Status: Updating, Mode: OnDemand, Created: 1421889722, RetentionHours: 48, MaxRecordKiB: 2048,
		Tags: map[string]string{"team": "water"}, Policy: `{"Id":"p"}`, Metrics: []ShardMetric{"IncomingBytes"}, Auto: true, WarmMiBps: 7,
		Scalings: []record.Millis{1}, Switches: []record.Millis{2}, Sealings: []record.Millis{3},
		Encryption: Encryption{KeyID: "alias/mill", Key: 2}, Keys: []seal.Row{{Number: 2, Made: 4, Box: []byte{5}}},
		Shards: 2, NextShard: 9, Horizon: 6, Due: 7,
		Plan: &Plan{
			Ops:    []keyspace.Op{keyspace.Split(keyspace.Shard{Number: 1, Hash: hash}, hash.Middle(), 7)},
			Target: 4, Retain: true, Encryption: &Encryption{KeyID: "alias/a", Key: 3},
		},
	}
	shard := &Shard{
		Stream: 255, Number: 12, ID: "shardId-000000000012", Parent: 3, Adjacent: 4, Hash: hash, Created: 17, Opened: 16_999, Closed: 20_001,
	}
	consumer := &Consumer{Stream: 255, Name: "wheel", Created: 18, Tags: map[string]string{"a": "b"}, Policy: "{}", Due: 19, Deleting: true}
	account := NewAccount("123456789012", "eu-west-1")
	account.Terms = commitment.Terms{Started: 1, EarliestEnd: 2, Ending: true, Ended: 3}
	return map[string][]byte{
		stream.Key(): Encode(stream), shard.Key(): shard.Encode(), consumer.Key(): consumer.Encode(), account.Key(): Encode(account),
	}
}

// again reads a row and writes what it read; kind is "" for the key of no row.
func again(key string, value []byte) (kind, at string, written []byte, err error) {
	switch {
	case strings.HasPrefix(key, StreamPrefix):
		r, err := DecodeStream(key, value)
		if err != nil {
			return "stream", "", nil, err
		}
		return "stream", r.Key(), Encode(r), nil
	case strings.HasPrefix(key, ShardPrefix):
		r, err := DecodeShard(key, value)
		return "shard", r.Key(), r.Encode(), err
	case strings.HasPrefix(key, ConsumerPrefix):
		r, err := DecodeConsumer(key, value)
		return "consumer", r.Key(), r.Encode(), err
	case strings.HasPrefix(key, AccountPrefix):
		r, err := DecodeAccount(key, value)
		if err != nil {
			return "account", "", nil, err
		}
		return "account", r.Key(), Encode(r), nil
	}
	return "", "", nil, nil
}

// TestRows reads rows of every kind and writes them again.
func TestRows(t *testing.T) {
	kinds := map[string]bool{}
	for key, value := range every() {
		kind, at, written, err := again(key, value)
		if err != nil || at != key || string(written) != string(value) {
			t.Errorf("%s is read as %s %s, error %v\nwant %s", key, at, written, err, value)
		}
		kinds[kind] = true
	}
	if len(kinds) != 4 {
		t.Errorf("kinds: %v", kinds)
	}
}

// TestLayout holds the bytes of rows as programs have written them: what lies on a disk must stay readable.
func TestLayout(t *testing.T) {
	f := func(key, value string) {
		t.Helper()
		if _, at, written, err := again(key, []byte(value)); err != nil || at != key || string(written) != value {
			t.Errorf("%s is read as %s %s, error %v\nwant %s", key, at, written, err, value)
		}
	}
	f("kinesis/stream/123456789012/eu-west-1/mill", `{"v":1,"id":7,"account":"123456789012","region":"eu-west-1","name":"mill","status":"ACTIVE","mode":"PROVISIONED",`+
		`"created":1421889722,"retentionHours":24,"maxRecordKiB":1024,"shards":1,"nextShard":3}`)
	f("kinesis/shard/0000000000000007/0000000002", `{"v":1,"start":"0","end":"170141183460469231731687303715884105727","parent":0,"created":1421889740,"opened":1421889739500}`)
	f("kinesis/consumer/0000000000000007/wheel", `{"v":1,"created":1421889722,"tags":{"a":"b"}}`)
	f("kinesis/account/123456789012/eu-west-1", `{"v":1,"account":"123456789012","region":"eu-west-1","started":5,"earliestEnd":6}`)
	if key := CapacityKey(7); key != "kinesis/capacity/0000000000000007" {
		t.Errorf("the key of a load: %s", key)
	}
}

// TestRefused reads what is no row, or one of a layout to come.
func TestRefused(t *testing.T) {
	f := func(key, value, want string) {
		t.Helper()
		if _, _, _, err := again(key, []byte(value)); fmt.Sprint(err) != "read row "+key+": "+want {
			t.Errorf("error = %v\nwant read row %s: %s", err, key, want)
		}
	}
	const stream = "kinesis/stream/123456789012/eu-west-1/mill"
	f(stream, `{"v":3,"account":"123456789012","region":"eu-west-1","name":"mill"}`, "layout 3 is not known here")
	f(stream, `{"v":1,"account":"123456789012","region":"eu-west-1","name":"race"}`, "it describes kinesis/stream/123456789012/eu-west-1/race")
	f(stream, `{`, "unexpected end of JSON input")
	f("kinesis/shard/0000000000000007/0000000002", `{"v":2}`, "layout 2 is not known here")
	f("kinesis/shard/0000000000000007/2", `{"v":1}`, "not the key of a shard")
	f("kinesis/shard/0000000000000007-0000000002", `{"v":1}`, "not the key of a shard")
	f("kinesis/shard/000000000000000x/0000000002", `{"v":1}`, `strconv.ParseUint: parsing "000000000000000x": invalid syntax`)
	f("kinesis/consumer/0000000000000007/wheel", `{"v":2}`, "layout 2 is not known here")
	f("kinesis/consumer/0000000000000007/", `{"v":1}`, "not the key of a consumer")
	f("kinesis/consumer/7/wheel", `{"v":1}`, "not the key of a consumer")
	f("kinesis/account/123456789012/eu-west-1", `{"v":1,"account":"1","region":"eu-west-1"}`, "layout 1 of kinesis/account/1/eu-west-1 is not known here")
	if _, _, _, ok := ParseStreamKey("kinesis/stream/a/b"); ok {
		t.Error("a key without a name was taken apart")
	}
}

// TestClone changes a copy of a row, and looks at the row.
func TestClone(t *testing.T) {
	var key string
	for k := range every() {
		if strings.HasPrefix(k, StreamPrefix) {
			key = k
		}
	}
	r, err := DecodeStream(key, every()[key])
	if err != nil {
		t.Fatal(err)
	}
	before := string(Encode(r))
	c := r.Clone()
	if !reflect.DeepEqual(c, r) {
		t.Errorf("the copy is %+v; want %+v", c, r)
	}
	c.Tags["team"], c.Plan.Target, c.Name = "wind", 1, "race"
	c.Do(keyspace.Merge(keyspace.Shard{Number: 1, Hash: keyspace.Uniform(0, 2)}, keyspace.Shard{Number: 2, Hash: keyspace.Uniform(1, 2)}, 9))
	if after := string(Encode(r)); after != before {
		t.Errorf("the row is %s; want %s", after, before)
	}
	if c.NextShard != 10 || !c.Plan.Reshards() || (*Plan)(nil).Reshards() || (&Plan{Retain: true}).Reshards() {
		t.Errorf("the copy's plan: %+v, next %d", c.Plan, c.NextShard)
	}
}

// FuzzRows reads whatever lies under a key: what is read without an error is written, and read, as the same.
func FuzzRows(f *testing.F) {
	for key, value := range every() {
		f.Add(key, value)
	}
	f.Add("kinesis/shard/0000000000000007/0000000002", []byte(`{"v":1,"start":"5","end":"4"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		kind, at, first, err := again(key, value)
		if err != nil || kind == "" {
			return
		}
		_, _, second, err := again(at, first)
		if err != nil || string(second) != string(first) {
			t.Errorf("%s %s is read as %s, and that as %s, error %v", key, value, first, second, err)
		}
	})
}
