package shardlog_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// random returns bytes that do not compress, the same ones for the same seed.
func random(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1], key[2], key[3] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// TestDeletedStreamFreesItsSpace writes two streams side by side, so that every flush has both in one
// file, and drops one. Half of every file is not enough for a merge to be worth while: the space must
// come back by itself.
func TestDeletedStreamFreesItsSpace(t *testing.T) {
	const piece, rounds = 256 << 10, 160 // 40 MiB a stream
	bucket, now := newPicky(), clock.NewManual(time.Unix(1_800_000_000, 0))
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: now, Memory: 32 << 20, FlushBytes: 8 << 20}
	cfg.Inline()
	s := open(t, cfg)
	streams := []shardlog.ShardID{{Stream: 1}, {Stream: 2}}
	if err := s.Open(ctx, streams, day); err != nil {
		t.Fatal(err)
	}
	for i := range rounds {
		for k, id := range streams {
			put(t, s, shardlog.Batch{Shard: id, Entries: []record.Entry{{PartitionKey: "k", Data: random(uint64(2*i+k), piece)}}})
		}
	}
	size := func() (sum int64) {
		settle(t, s)
		for _, o := range objects(t, bucket, "blocks/") {
			sum += o.Size
		}
		return sum
	}
	s.FlushNow()
	before := size()
	if want := int64(2 * piece * rounds); before < want || before > want*11/10 {
		t.Fatalf("%d bytes are stored; want little more than %d", before, want)
	}
	if err := s.Drop(ctx, streams[:1]); err != nil {
		t.Fatal(err)
	}
	if after := size(); after > before*5/8 {
		t.Errorf("%d bytes are stored of %d after one of two streams was dropped", after, before)
	}
	next := record.Index(1)
	for next <= rounds {
		p, err := s.Read(ctx, streams[1], next, shardlog.Limit{Records: 10, Bytes: 1 << 20})
		if err != nil || len(p.Records) == 0 {
			t.Fatalf("Read(%d) = %+v, %v", next, p, err)
		}
		for _, r := range p.Records {
			if want := random(uint64(2*(r.Index-1)+1), piece); r.Index != next || !bytes.Equal(r.Data, want) {
				t.Fatalf("record %d, where %d is due, is not what was written", r.Index, next)
			}
			next++
		}
		p.Release()
	}
}

// TestSmallStreamsShareFiles has many streams write too little for files of their own.
func TestSmallStreamsShareFiles(t *testing.T) {
	bucket, now := newPicky(), clock.NewManual(time.Unix(1_800_000_000, 0))
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: now, FlushBytes: 1}
	cfg.Inline()
	s := open(t, cfg)
	var streams []shardlog.ShardID
	for i := range 50 {
		streams = append(streams, shardlog.ShardID{Stream: uint64(i + 1)})
	}
	if err := s.Open(ctx, streams, day); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		put(t, s, shardlog.Batch{Shard: streams[i%50], Entries: []record.Entry{{PartitionKey: fmt.Sprint(i), Data: random(uint64(i), 1000)}}})
	}
	settle(t, s)
	if n := s.Stats().Files; n > 24 {
		t.Errorf("500 flushes of one of 50 streams each left %d files; want a few", n)
	}
}
