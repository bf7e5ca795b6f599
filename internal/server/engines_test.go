package server

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/vfs"
)

// onDisk makes a server keep everything in dir, with a small write-ahead log.
func onDisk(dir string) func(*Config) {
	return func(c *Config) { c.Data, c.Ring = dir, Ring{Segments: 4, SegmentBytes: 1 << 20} }
}

// field returns a member of a JSON answer.
func field(t *testing.T, body, name string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	text, _ := members[name].(string)
	return text
}

// TestDataSurvives stops a server and starts another on its directory: streams, records, sequence
// numbers and iterators go on.
func TestDataSurvives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, onDisk(dir))
	c := client(t, "HTTP/1.1")
	r.call(c, "CreateStream", `{"StreamName":"clicks","ShardCount":1}`)
	_, body := r.call(c, "PutRecord", `{"StreamName":"clicks","PartitionKey":"k","Data":"b25l"}`)
	first := field(t, body, "SequenceNumber")
	_, body = r.call(c, "GetShardIterator", `{"StreamName":"clicks","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)
	iterator := field(t, body, "ShardIterator")
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil

	r = start(t, onDisk(dir))
	_, body = r.call(c, "PutRecord", `{"StreamName":"clicks","PartitionKey":"k","Data":"dHdv"}`)
	if second := field(t, body, "SequenceNumber"); second <= first {
		t.Errorf("after a restart comes %s; want more than %s", second, first)
	}
	_, body = r.call(c, "GetRecords", `{"ShardIterator":"`+iterator+`"}`)
	if one, two := strings.Index(body, "b25l"), strings.Index(body, "dHdv"); one < 0 || two < one {
		t.Errorf("an iterator of before reads %s; want both records in order", body)
	}
}

// TestDataRefused shows that a directory that cannot be used is left alone and named.
func TestDataRefused(t *testing.T) {
	refused := func(dir string, want error, names string) {
		t.Helper()
		cfg := Config{Listen: "127.0.0.1:0", MemoryBytes: 64 << 20, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()}
		onDisk(dir)(&cfg)
		err := Run(t.Context(), cfg)
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), names) {
			t.Errorf("Run on %s returned %v; want %v naming %s", dir, err, want, names)
		}
	}
	dir := t.TempDir()
	refused(filepath.Join(dir, "no", "parent"), fs.ErrNotExist, filepath.Join("no", "parent"))
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(file, nil, "not a directory")
	cut := filepath.Join(dir, "cut")
	if err := errors.Join(os.Mkdir(cut, 0o700), os.WriteFile(filepath.Join(cut, "RESTORING"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	refused(cut, backup.ErrUnfinished, "empty the directory and restore again")
	used := filepath.Join(dir, "used")
	start(t, onDisk(used))
	refused(used, vfs.ErrLocked, used)
}
