package server

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/stream"
)

// TestEncryptedStreamOnDisk keeps the records of an encrypted stream in a data directory that is not: no
// file has a byte of them, and another start serves them.
func TestEncryptedStreamOnDisk(t *testing.T) {
	const plain, base64 = "nobody may read this", "bm9ib2R5IG1heSByZWFkIHRoaXM="
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, onDisk(dir))
	c := client(t, "HTTP/1.1")
	r.call(c, "CreateStream", `{"StreamName":"mill","ShardCount":1}`)
	r.call(c, "StartStreamEncryption", `{"StreamName":"mill","EncryptionType":"KMS","KeyId":"alias/aws/kinesis"}`)
	if _, body := r.call(c, "PutRecord", `{"StreamName":"mill","PartitionKey":"a key in clear","Data":"`+base64+`"}`); field(t, body, "EncryptionType") != "KMS" {
		t.Errorf("PutRecord answers %s", body)
	}
	finish(t, r)
	if files := holds(t, dir, plain); len(files) > 0 {
		t.Errorf("the record stands in %v", files)
	}
	if len(holds(t, dir, "a key in clear")) == 0 {
		t.Error("its partition key is not found: the search proves nothing")
	}
	r = start(t, onDisk(dir))
	_, body := r.call(c, "GetShardIterator", `{"StreamName":"mill","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)
	_, body = r.call(c, "GetRecords", `{"ShardIterator":"`+field(t, body, "ShardIterator")+`"}`)
	if !strings.Contains(body, base64) || !strings.Contains(body, `"EncryptionType":"KMS"`) {
		t.Errorf("another start serves %s", body)
	}
	if status, body := r.get("/-/ready"); status != 200 || strings.Contains(body, "keys") {
		t.Errorf("/-/ready: %d %q", status, body)
	}
	finish(t, r)
}

// TestLockedStreamIsTold starts with another node key. The stream cannot be read; log and readiness say so,
// and everything else is served.
func TestLockedStreamIsTold(t *testing.T) {
	h := newHouse(t, 1, DiskLimits{})
	ctx := t.Context()
	put := func(name string) error {
		_, err := h.streams.Put(ctx, where, stream.Ref{Name: name}, record.Entry{PartitionKey: "k", Data: []byte("x")}, "")
		return err
	}
	for _, name := range []string{"mill", "race"} {
		if err := h.streams.CreateStream(ctx, where, stream.CreateInput{Name: name, ShardCount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	err := h.streams.StartEncryption(ctx, where, stream.Ref{Name: "mill"}, "alias/mill")
	if err = errors.Join(err, put("mill"), put("race")); err != nil {
		t.Fatal(err)
	}
	if note := lockedNote(h.streams); note != "" || strings.Contains(h.log.String(), "data key") {
		t.Errorf("with the right key it says %q and logs\n%s", note, h.log.String())
	}
	h.down()
	h.node = secret.NewKey()
	h.boot()
	const want = "data keys do not open: records of encrypted streams cannot be read or written, streams: 1\n"
	if note := lockedNote(h.streams); note != want {
		t.Errorf("the note is %q; want %q", note, want)
	}
	if n := strings.Count(h.log.String(), "a data key of an encrypted stream does not open"); n != 1 || !strings.Contains(h.log.String(), "stream=mill") {
		t.Errorf("the log has %d lines about it:\n%s", n, h.log.String())
	}
	var refused *stream.Error
	if err := put("mill"); !errors.As(err, &refused) || refused.Kind != stream.KMSAccessDenied {
		t.Errorf("put to the locked stream: %v", err)
	}
	if err := put("race"); err != nil {
		t.Errorf("put to another stream: %v", err)
	}
}
