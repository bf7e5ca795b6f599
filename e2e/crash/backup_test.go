package crash

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/binarytest"
)

// TestBackup takes a backup while clients write, read and reshard, loses the directory some time
// later, and restores: twice the same backup, and then one that was taken of what was restored. What
// was acknowledged before a backup began is there, byte for byte; no sequence number comes again,
// whatever was lost; and who remembers a number that is lost goes on with the next record.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, seed(t), filepath.Join(dir, "data"), sigkill(t))
	w.start()
	for i := range 2 {
		name := fmt.Sprint("backup", i)
		if err := w.client.call(t.Context(), "CreateStream", fields{"StreamName": name, "ShardCount": 2, "MaxRecordSizeInKiB": 10240}, nil); err != nil {
			t.Fatal(err)
		}
		w.active(name)
		w.streams = append(w.streams, newLedger(name))
	}
	limit := span(t, 3*time.Second)
	first := w.backedUp(filepath.Join(dir, "first.tar"), "a", limit)
	w = w.restored(first, filepath.Join(dir, "once"))
	w.checkpoints(first)
	w.lose("b", limit/2)
	first.note(w)
	w = w.restored(first, filepath.Join(dir, "twice"))
	w.checkpoints(first)
	second := w.backedUp(filepath.Join(dir, "second.tar"), "c", limit)
	w = w.restored(second, filepath.Join(dir, "again"))
	w.checkpoints(second)
	if err := w.server.Stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, w.server.Output())
	}
	w.sound()
	for _, l := range w.streams {
		records, bytes := l.counts()
		t.Logf("stream %s: %d records, %d MiB, %d shards", l.stream, records, bytes>>20, len(l.shards))
	}
}

// saved is a backup, and what was known when it began.
type saved struct {
	file    string
	streams []*ledger
	// issued is the highest number that was ever given, by stream and shard, in any life.
	issued map[string]string
}

// note takes note of the numbers that a world has given.
func (s *saved) note(w *world) {
	for _, l := range w.streams {
		for shard, number := range l.top {
			key := l.stream + "/" + shard
			s.issued[key] = max(s.issued[key], number)
		}
	}
}

// command runs the program, which must succeed.
func (w *world) command(args ...string) string {
	w.tb.Helper()
	out, err := binarytest.Command(w.tb.Context(), program, args...).CombinedOutput()
	if err != nil {
		w.tb.Fatalf("headrace %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// sound checks the directory, which no server uses.
func (w *world) sound() {
	w.tb.Helper()
	w.command("check", w.dir)
}

// clients runs writers, a resharder and a reader until the function it returns is called.
func (w *world) clients(label string) (stop func()) {
	ctx, cancel := context.WithCancel(w.tb.Context())
	var clients sync.WaitGroup
	for i := range 3 {
		wr := &writer{w: w, rng: w.dice(), name: fmt.Sprintf("%s.%d", label, i), top: map[string]string{}}
		clients.Go(func() { wr.run(ctx) })
	}
	re := &resharder{w: w, rng: w.dice()}
	clients.Go(func() { re.run(ctx) })
	clients.Go(func() { w.follow(ctx) })
	return func() {
		w.ending.Store(true)
		w.crash(w.server)
		cancel()
		clients.Wait()
		w.judge()
	}
}

// backedUp takes a backup in the middle of a life that is then lost.
func (w *world) backedUp(file, label string, limit time.Duration) *saved {
	w.tb.Helper()
	lose := w.clients(label)
	pause(w.tb.Context(), limit/2)
	s := &saved{file: file, issued: map[string]string{}}
	for _, l := range w.streams {
		s.streams = append(s.streams, l.copy())
	}
	began := time.Now()
	w.tb.Log(strings.TrimSpace(w.command("backup", "--to", file, "--endpoint", w.server.Endpoint)))
	w.tb.Logf("it took %v", time.Since(began).Round(time.Millisecond))
	pause(w.tb.Context(), limit/2)
	lose()
	s.finish(w)
	return s
}

// copy returns what is known now: records that are answered later may be in a backup or not.
func (l *ledger) copy() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger(l.stream)
	for key, f := range l.records {
		c.records[key] = &fate{size: f.size, state: f.state, shard: f.shard, number: f.number}
	}
	c.shards = maps.Clone(l.shards)
	c.closing = append(c.closing, l.closing...)
	return c
}

// finish adds what was sent since the backup began, of which nobody knows whether it is in it, and the
// numbers given.
func (s *saved) finish(w *world) {
	for i, l := range w.streams {
		for key, f := range l.records {
			if s.streams[i].records[key] == nil {
				s.streams[i].records[key] = &fate{size: f.size}
			}
		}
	}
	s.note(w)
}

// lose writes for a time and loses all of it.
func (w *world) lose(label string, limit time.Duration) {
	lose := w.clients(label)
	pause(w.tb.Context(), limit)
	lose()
}

// restored removes the directory, restores the backup to another one and starts a server on that. What
// was acknowledged when the backup began must be there, and nothing that was not sent.
func (w *world) restored(s *saved, dir string) *world {
	w.tb.Helper()
	key, err := os.ReadFile(filepath.Join(w.dir, "node.key"))
	if err == nil {
		err = os.RemoveAll(w.dir)
	}
	if err != nil {
		w.tb.Fatal(err)
	}
	next := newWorld(w.tb, w.rng.Uint64(), dir, w.crash)
	w.tb.Log(strings.TrimSpace(next.command("restore", s.file, "--data", dir)))
	next.sound()
	if err := os.WriteFile(filepath.Join(dir, "node.key"), key, 0o600); err != nil {
		w.tb.Fatal(err)
	}
	for _, l := range s.streams {
		next.streams = append(next.streams, l.copy())
	}
	for _, l := range next.streams {
		for key, number := range s.issued {
			if stream, shard, _ := strings.Cut(key, "/"); stream == l.stream {
				l.top[shard] = number // what is put from now on is above
			}
		}
	}
	next.start()
	return next
}

// checkpoints has a consumer come back to every open shard with the highest number it may remember,
// which is lost: there is nothing for it, until a record is put, and that is what it gets.
func (w *world) checkpoints(s *saved) {
	w.tb.Helper()
	ctx, lost := w.tb.Context(), 0
	for i, l := range w.streams {
		shards, err := w.client.shards(ctx, l.stream)
		if err != nil {
			w.tb.Fatal(err)
		}
		for _, sh := range shards {
			number := s.issued[l.stream+"/"+sh.ShardID]
			if sh.SequenceNumberRange.EndingSequenceNumber != "" || number == "" || s.streams[i].shards[sh.ShardID].ShardID == "" {
				continue // closed, empty, or of a reshard that is lost
			}
			lost++
			var out struct{ ShardIterator string }
			err := w.client.call(ctx, "GetShardIterator", fields{"StreamName": l.stream, "ShardId": sh.ShardID,
				"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": number}, &out)
			if err != nil {
				w.tb.Fatal(err)
			}
			at := out.ShardIterator
			p, err := w.client.read(ctx, at)
			if err != nil || len(p.Records) > 0 || p.MillisBehindLatest != 0 {
				w.tb.Fatalf("%s of %s after %s: %+v, %v; want nothing", sh.ShardID, l.stream, number, p, err)
			}
			key := fmt.Sprintf("checkpoint.%d.%s.%s", w.lives, filepath.Base(w.dir), sh.ShardID)
			l.sending(key, 100)
			var answer put
			if err := w.client.call(ctx, "PutRecord", fields{"StreamName": l.stream, "PartitionKey": key,
				"ExplicitHashKey": sh.HashKeyRange.StartingHashKey, "Data": content(nil, key, 100)}, &answer); err != nil {
				w.tb.Fatal(err)
			}
			l.answered(key, answer)
			for _, at := range []string{at, p.NextShardIterator} {
				p, err = w.client.read(ctx, at)
				if err != nil || len(p.Records) != 1 || p.Records[0].PartitionKey != key || p.Records[0].SequenceNumber <= number {
					w.tb.Fatalf("%s of %s after %s: %+v, %v; want the record that was put", sh.ShardID, l.stream, number, p, err)
				}
			}
		}
	}
	if lost == 0 {
		w.tb.Error("no shard with a number that is lost")
	}
	w.judge()
	w.tb.Logf("%d shards with a number that is lost", lost)
}
