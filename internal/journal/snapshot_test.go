package journal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/shardlog"
)

func TestSnapshotTrimsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		w.fill(19)
		synctest.Wait()
		if keys := w.snapshots(); len(keys) != 0 {
			t.Errorf("snapshots %q before the log has enough", keys)
		}
		for range 10 {
			w.fill(15)
			synctest.Wait()
		}
		if keys := w.snapshots(); len(keys) != 1 {
			t.Errorf("%d snapshots are kept, want the newest: %q", len(keys), keys)
		}
		b := w.bounds()
		if kept := b.Next - b.First; kept > 60 {
			t.Errorf("the log keeps %d commands, want those since the last snapshot", kept)
		}
		state := w.state()
		w.close()
		w.mustOpen()
		if got := w.state(); got != state {
			t.Errorf("recovered %s, want %s", got, state)
		}
	})
}

// TestCommandsGoOnBesideASnapshot has commands applied while a snapshot is being stored, and the
// process killed after it.
func TestCommandsGoOnBesideASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.bucket.gate = make(chan struct{})
		w.mustOpen()
		w.fill(20)
		synctest.Wait() // the snapshot has begun
		w.fill(15)
		close(w.bucket.gate)
		synctest.Wait()
		if keys := w.snapshots(); len(keys) != 1 || w.bounds().First != 21 {
			t.Errorf("snapshots %q and a log from %d, want one before 21", keys, w.bounds().First)
		}
		state := w.state()
		w.mustOpen()
		if got := w.state(); got != state {
			t.Errorf("recovered %s, want %s", got, state)
		}
	})
}

// TestCloseGivesUpTheNextTry closes a journal between two tries of a snapshot.
func TestCloseGivesUpTheNextTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.bucket.failPut.Store(true)
		w.mustOpen()
		w.fill(20)
		synctest.Wait()
		began := time.Now()
		w.close()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Close took %v, want no wait for the next try", waited)
		}
	})
}

// TestCloseGivesUpASnapshot closes a journal while the bucket takes a snapshot.
func TestCloseGivesUpASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.bucket.gate = make(chan struct{})
		w.mustOpen()
		w.fill(20)
		synctest.Wait() // the snapshot has begun
		closed := make(chan error)
		go func() { closed <- w.journal.Close() }()
		synctest.Wait()
		close(w.bucket.gate)
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
		if keys := w.snapshots(); len(keys) != 0 {
			t.Errorf("the snapshot was finished after Close: %q", keys)
		}
		w.close()
	})
}

// TestSnapshotsGrowWithTheState has a state that is larger than SnapshotBytes: the log may gather
// as much before the next snapshot.
func TestSnapshotsGrowWithTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.cfg.SnapshotBytes = 1
		w.mustOpen()
		taken, last := 0, ""
		for range 1000 {
			w.fill(1)
			synctest.Wait()
			if keys := w.snapshots(); len(keys) == 1 && keys[0] != last {
				taken, last = taken+1, keys[0]
			}
		}
		// The state has 8 bytes a command, the log 81: without growth there would be 1000.
		if taken < 10 || taken > 200 {
			t.Errorf("%d snapshots for 1000 commands, want a share of them", taken)
		}
	})
}

func TestFailedSnapshotIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		w.bucket.failPut.Store(true)
		w.fill(50)
		synctest.Wait()
		if n := w.failedSnapshots.Load(); n != 1 {
			t.Errorf("%d failures reported, want 1", n)
		}
		<-time.After(3*DefaultRetry + 1)
		if n := w.failedSnapshots.Load(); n != 4 {
			t.Errorf("%d failures reported after three more tries, want 4", n)
		}
		if b := w.bounds(); b.First != 1 {
			t.Errorf("the log begins at %d although there is no snapshot", b.First)
		}
		w.fill(5)
		w.bucket.failPut.Store(false)
		<-time.After(DefaultRetry + 1)
		synctest.Wait()
		if keys := w.snapshots(); len(keys) != 1 || w.bounds().First != 56 {
			t.Errorf("snapshots %q and a log from %d, want one before 56", keys, w.bounds().First)
		}
		w.bucket.failPut.Store(true)
		w.fill(50)
		state := w.state()
		w.mustOpen()
		if got := w.state(); got != state {
			t.Errorf("recovered %s, want %s", got, state)
		}
		if w.failures.Load() != 0 {
			t.Error("a full bucket was reported as the journal's failure")
		}
	})
}

// wantCorrupt opens and expects an error that names every one of the given words.
func (w *world) wantCorrupt(words ...string) {
	w.t.Helper()
	err := w.open()
	if !errors.Is(err, ErrCorrupt) {
		w.t.Fatalf("Open = %v, want %v", err, ErrCorrupt)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.t.Errorf("Open = %v, which does not say %q", err, word)
		}
	}
}

// TestDamagedSnapshots changes, cuts and extends a snapshot everywhere.
func TestDamagedSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		w.fill(20)
		synctest.Wait()
		key := w.snapshots()[0]
		body, err := w.bucket.Get(t.Context(), key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		whole, _ := io.ReadAll(body)
		state := w.state()
		w.close()
		replace := func(data []byte) {
			if _, err := w.bucket.Put(t.Context(), key, bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range whole {
			data := bytes.Clone(whole)
			data[i] ^= 0x40
			replace(data)
			if i == 8 || i == 9 {
				if err := w.open(); err == nil || !strings.Contains(err.Error(), "version") {
					t.Errorf("Open of a newer version = %v", err)
				}
				continue
			}
			w.wantCorrupt(key)
		}
		for n := range whole {
			replace(whole[:n])
			w.wantCorrupt(key)
		}
		replace(append(bytes.Clone(whole), 0))
		w.wantCorrupt(key)
		replace(whole)
		w.mustOpen()
		if got := w.state(); got != state {
			t.Errorf("recovered %s, want %s", got, state)
		}
	})
}

// TestSnapshotAndLogMustFit breaks the order of snapshot and trim from outside.
func TestSnapshotAndLogMustFit(t *testing.T) {
	f := func(name string, breakIt func(t *testing.T, w *world), words ...string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.close()
				w.mustOpen()
				w.fill(5)
				breakIt(t, w)
				synctest.Wait()
				w.wantCorrupt(words...)
			})
		})
	}
	f("snapshot acknowledged but not kept", func(_ *testing.T, w *world) {
		w.bucket.losePut.Store(true)
		w.fill(30)
	}, "begins at command")
	f("log trimmed without a snapshot", func(t *testing.T, w *world) {
		if err := w.store.TrimTo(t.Context(), shard, 3); err != nil {
			t.Error(err)
		}
	}, "begins at command 3")
	f("log lost", func(t *testing.T, w *world) {
		w.fill(30)
		synctest.Wait()
		if err := w.store.Drop(t.Context(), []shardlog.ShardID{shard}); err != nil {
			t.Error(err)
		}
	}, "the log ends before command 1")
	f("snapshot under another's number", func(t *testing.T, w *world) {
		w.fill(30)
		synctest.Wait()
		body, err := w.bucket.Get(t.Context(), w.snapshots()[0], 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.bucket.Put(t.Context(), w.journal.key(40), body); err != nil {
			t.Error(err)
		}
	}, "00000040", "something else")
	f("not a snapshot's key", func(t *testing.T, w *world) {
		if _, err := w.bucket.Put(t.Context(), "journal/test/x", strings.NewReader("")); err != nil {
			t.Error(err)
		}
	}, "journal/test/x")
	f("log sealed", func(t *testing.T, w *world) {
		if _, err := w.store.Seal(t.Context(), shard); err != nil {
			t.Error(err)
		}
	}, "sealed")
}

func FuzzReadSnapshot(f *testing.F) {
	h := snapshotHeader{name: "n", shard: shard, next: 9}
	for _, rows := range [][][]byte{nil, {nil}, {[]byte("one"), make([]byte, 300)}} {
		whole, err := io.ReadAll(newSnapshotReader(h, slices.Values(rows), f.Context().Err))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
		f.Add(whole[:len(whole)-1])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var rows [][]byte
		err := readSnapshot(bytes.NewReader(data), h, func(row []byte) error {
			rows = append(rows, bytes.Clone(row))
			return nil
		})
		if err != nil {
			return
		}
		again, err := io.ReadAll(newSnapshotReader(h, slices.Values(rows), t.Context().Err))
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("a snapshot of %d rows is written again as other bytes, %v", len(rows), err)
		}
	})
}

// TestHold holds a journal while it would take snapshots: the one there is stays, with every command
// behind it, until the release.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.mustOpen()
		newest, release, err := w.journal.Hold(t.Context())
		if err != nil || newest.Key != "" {
			t.Fatalf("Hold() without a snapshot = %+v, %v", newest, err)
		}
		release()
		release() // once more does nothing
		w.bucket.gate = make(chan struct{})
		w.fill(20)
		synctest.Wait() // a snapshot has begun
		held := make(chan error)
		go func() {
			var err error
			newest, release, err = w.journal.Hold(t.Context())
			held <- err
		}()
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := w.journal.Hold(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Hold() beside a snapshot = %v", err)
		}
		close(w.bucket.gate)
		if err := <-held; err != nil || newest.Key != w.snapshots()[0] || newest.Size == 0 {
			t.Fatalf("Hold() = %+v, %v; want %q", newest, err, w.snapshots())
		}
		w.fill(100)
		synctest.Wait()
		if keys, b := w.snapshots(), w.bounds(); len(keys) != 1 || keys[0] != newest.Key || b.First != 21 || b.Next != 121 {
			t.Errorf("while it is held: snapshots %q, a log of %+v; want %q and all commands from 21", keys, b, newest.Key)
		}
		release()
		synctest.Wait()
		if keys, b := w.snapshots(), w.bounds(); len(keys) != 1 || keys[0] == newest.Key || b.First != 121 {
			t.Errorf("after the release: snapshots %q, a log of %+v", keys, b)
		}
		if _, release, err = w.journal.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.fill(30)
		synctest.Wait() // a snapshot waits
		if err := w.journal.Close(); err != nil {
			t.Errorf("Close() while it is held = %v", err)
		}
		release()
		if _, _, err := w.journal.Hold(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Hold() after Close = %v", err)
		}
	})
}
