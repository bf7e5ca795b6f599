package golden

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/e2e/node"
	"github.com/headrace/headrace/internal/cli"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/testpoll"
)

// write makes a directory with a bit of everything and keeps it as name.tar.gz and name.json:
// streams of both modes, tags, splits, merges and a uniform scaling, another retention, a resource policy,
// a root key that the node's key sealed, a deleted stream, a record that no group holds, empty data, all byte values, records in block files and records in the
// log alone, records sealed under two data keys of their stream, and so many changes of tags that the coordinator has a snapshot, with commands behind it in
// block files of the position-trimmed class and in the log. In the middle it is lost and restored from a
// backup, so that shards have left numbers out.
func write(t *testing.T, name string) {
	dir := filepath.Join(t.TempDir(), "data")
	now := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	keys := 0
	s := &served{t: t, Node: start(t, config(dir, now, func(_, _, _ string) { keys++ })), clock: now}
	s.call("CreateStream", node.Fields{"StreamName": "orders", "ShardCount": 2, "MaxRecordSizeInKiB": 10240,
		"Tags": map[string]string{"team": "mill", "empty": ""}}, nil)
	s.call("PutResourcePolicy", node.Fields{"ResourceARN": arnOf("orders"), "Policy": `{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
		"Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kinesis:GetRecords", "Resource": "` + arnOf("orders") + `"}}`}, nil)
	s.call("IncreaseStreamRetentionPeriod", node.Fields{"StreamName": "orders", "RetentionPeriodHours": 48}, nil)
	s.call("CreateStream", node.Fields{"StreamName": "clicks", "StreamModeDetails": node.Fields{"StreamMode": "ON_DEMAND"}}, nil)
	s.call("CreateStream", node.Fields{"StreamName": "gone", "ShardCount": 1}, nil)
	s.put("orders", 40)
	s.put("clicks", 30)
	s.put("gone", 10)
	s.snapshot(dir)
	s.call("SplitShard", node.Fields{"StreamName": "orders", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "1000"}, nil)
	s.insist("PutRecord", node.Fields{"StreamName": "orders", "PartitionKey": "large", "Data": bytes.Repeat([]byte("no group holds this. "), 90_000)})
	s.encrypt("orders", "alias/aws/kinesis") // not before: what is sealed does not compress
	s.put("orders", 20)
	s.flush("orders")
	dir = s.restored(dir)
	s.encrypt("orders", "alias/mill")
	s.call("MergeShards", node.Fields{"StreamName": "orders", "ShardToMerge": "shardId-000000000003", "AdjacentShardToMerge": "shardId-000000000001"}, nil)
	s.call("UpdateShardCount", node.Fields{"StreamName": "orders", "TargetShardCount": 3, "ScalingType": "UNIFORM_SCALING"}, nil)
	s.clock.Advance(20 * time.Second) // shards that were restored are ahead of the clock, so scaling waits
	s.call("DeleteStream", node.Fields{"StreamName": "gone"}, nil)
	testpoll.Until(t, 10*time.Second, func() bool {
		var d struct{ StreamDescriptionSummary struct{ StreamStatus string } }
		s.call("DescribeStreamSummary", node.Fields{"StreamName": "orders"}, &d)
		return d.StreamDescriptionSummary.StreamStatus == "ACTIVE"
	}, "scaling")
	s.put("orders", 25)
	s.put("clicks", 15)
	s.flush("clicks")
	s.call("AddTagsToStream", node.Fields{"StreamName": "clicks", "Tags": map[string]string{"last": "in the log"}}, nil)
	s.put("orders", 12)
	s.put("clicks", 6)

	w := s.look([]string{"clicks", "orders"})
	for i, sh := range w.Shards {
		if n := len(sh.Records); n > 4 && !sh.Closed {
			w.IteratorShard, w.Follows = i, 3
			w.Iterator = s.iterator(sh.Stream, sh.Shard, node.Fields{"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": sh.Records[n-4].Number})
		}
	}
	w.Closed = now.Now()
	total := 0
	for _, sh := range w.Shards {
		total += len(sh.Records)
	}
	sealed := 0
	for _, sh := range w.Shards {
		for _, r := range sh.Records {
			if r.Encryption == "KMS" {
				sealed++
			}
		}
	}
	if put := 20 + 1 + 25 + 12; sealed != put {
		t.Fatalf("%d records are sealed, want %d", sealed, put)
	}
	if put := 40 + 30 + 20 + 1 + 1 + 25 + 15 + 1 + 12 + 6; total != put || w.Iterator == "" || keys != 1 {
		t.Fatalf("%d records can be read of the %d that were put; %d root keys were made", total, put, keys)
	}
	s.end()
	for _, part := range []string{"blocks/manifest+/*", "blocks/blocks+/1d+/*", "blocks/blocks+/7d+/*", "blocks/blocks+/trim+/*", "state/*/*/*", "node.key"} {
		if found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(part))); err != nil || len(found) == 0 {
			t.Errorf("the directory has no %s: %v", part, err)
		}
	}
	if err := os.WriteFile(name+".json", tell(t, w), 0o644); err != nil {
		t.Fatal(err)
	}
	pack(t, dir, name+".tar.gz")
}

// restored takes a backup, loses the directory with what is put after that, and goes on in another one.
func (s *served) restored(dir string) string {
	s.t.Helper()
	headrace := func(args ...string) {
		s.t.Helper()
		var said strings.Builder
		app := cli.New(strings.NewReader(""), &said, &said, nil, cli.Build{})
		if code := app.Run(s.t.Context(), args); code != 0 {
			s.t.Fatalf("headrace %q: exit code %d: %s", args, code, &said)
		}
	}
	archive, next := filepath.Join(s.t.TempDir(), "backup.tar"), filepath.Join(s.t.TempDir(), "data")
	headrace("backup", "--to", archive, "--endpoint", s.Endpoint)
	s.put("orders", 10)
	s.end()
	headrace("restore", archive, "--data", next)
	key, err := os.ReadFile(filepath.Join(dir, "node.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(next, "node.key"), key, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.Node = start(s.t, config(next, s.clock, func(_, id, _ string) { s.t.Errorf("a new root key was made: %s", id) }))
	return next
}

// encrypt has a stream seal what is put from now on.
func (s *served) encrypt(stream, key string) {
	s.t.Helper()
	s.call("StartStreamEncryption", node.Fields{"StreamName": stream, "EncryptionType": "KMS", "KeyId": key}, nil)
}

// put puts some records, a call each ten; a second passes with each call.
func (s *served) put(stream string, n int) {
	s.t.Helper()
	for n > 0 {
		var records []node.Fields
		for i := range min(n, 10) {
			records = append(records, s.entry(stream, n, i))
		}
		n -= len(records)
		var out struct{ FailedRecordCount int }
		s.call("PutRecords", node.Fields{"StreamName": stream, "Records": records}, &out)
		if out.FailedRecordCount > 0 {
			s.t.Fatalf("%d records of %s failed", out.FailedRecordCount, stream)
		}
		s.clock.Advance(time.Second)
	}
}

// entry is one record: some are empty, some have all byte values, some have their own hash key.
func (s *served) entry(stream string, n, i int) node.Fields {
	data := fmt.Appendf(nil, "%s %d %d at %s", stream, n, i, s.clock.Now())
	switch i {
	case 3:
		data = []byte{}
	case 5:
		for b := range 256 {
			data = append(data, byte(b))
		}
	case 7:
		for k := range uint32(500) {
			data = binary.BigEndian.AppendUint32(data, k*2654435761)
		}
	}
	e := node.Fields{"PartitionKey": fmt.Sprintf("key-%d-ü", (n+i)%11), "Data": data}
	if i%4 == 1 {
		e["ExplicitHashKey"] = fmt.Sprintf("%d%036d", i, n)
	}
	return e
}

// flush lets so much time pass that the records leave the log, and puts one more.
func (s *served) flush(stream string) {
	s.t.Helper()
	s.clock.Advance(2 * time.Minute)
	s.insist("PutRecord", node.Fields{"StreamName": stream, "PartitionKey": "flush", "Data": []byte("flush")})
	s.clock.Advance(time.Second)
}

// insist makes a call again until the log has room for it.
func (s *served) insist(operation string, in node.Fields) {
	s.t.Helper()
	testpoll.Until(s.t, 10*time.Second, func() bool {
		err := s.Call(s.t.Context(), operation, in, nil)
		if err != nil && !node.Refused(err, "ProvisionedThroughputExceededException", "LimitExceededException") {
			s.t.Fatal(err)
		}
		s.clock.Advance(time.Second)
		return err == nil
	}, operation)
}

// snapshot changes tags until the coordinator stores its rows.
func (s *served) snapshot(dir string) {
	s.t.Helper()
	tags := map[string]string{}
	for n := range 5000 {
		for i := range 50 {
			tags[fmt.Sprintf("%0128d", i)] = fmt.Sprintf("%0256d", n)
		}
		s.insist("AddTagsToStream", node.Fields{"StreamName": "gone", "Tags": tags})
		if n%20 != 0 {
			continue
		}
		if found, err := filepath.Glob(filepath.Join(dir, "state", "*", "*", "*")); err != nil || len(found) > 0 {
			return
		}
	}
	s.t.Fatal("the coordinator stores no snapshot")
}
