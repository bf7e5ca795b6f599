package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// told collects what Events hear.
type told struct {
	mu               sync.Mutex
	written, dropped int
	failures         []string
}

func (h *told) events() Events {
	locked := func(f func()) { h.mu.Lock(); defer h.mu.Unlock(); f() }
	return Events{
		Written: func(n int) { locked(func() { h.written += n }) },
		Dropped: func(n int) { locked(func() { h.dropped += n }) },
		Failed:  func(err error) { locked(func() { h.failures = append(h.failures, fmt.Sprint(err)) }) },
	}
}

func (h *told) counts() (written, dropped int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.written, h.dropped
}

// settings are small enough for a test to fill.
func settings(fs vfs.FS, h *told) Config {
	return Config{FS: fs, Dir: "audit", Clock: clock.System{}, FileBytes: 1 << 20, TotalBytes: 4 << 20, FileAge: time.Hour, Events: h.events()}
}

// run runs a log until the returned function is called.
func run(t *testing.T, l *Log) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

// numbered is an event that can be told from others.
func numbered(n int) Event {
	return Event{Source: "kinesis.amazonaws.com", Name: "CreateStream", RequestID: fmt.Sprint(n), Identity: Identity{Type: "IAMUser"}, UserAgent: agent}
}

// agent makes events long enough for few of them to fill a file.
var agent = strings.Repeat("aws-cli ", 100)

func refused(n int) Event {
	e := numbered(n)
	e.Identity = Unknown("AKIAEXAMPLE")
	return e
}

// lines returns what the files of a sequence hold, in order: the events' request ids. Every line must
// be whole.
func lines(t *testing.T, fs vfs.FS, prefix string) (ids []string, bytesHeld int64) {
	t.Helper()
	entries, err := fs.List("audit")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, prefix) {
			continue
		}
		f, err := fs.Open(path.Join("audit", e.Name), vfs.ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(f, 0, e.Size))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		bytesHeld += e.Size
		for line := range bytes.Lines(text) {
			var r struct{ RequestID string }
			if err := json.Unmarshal(line, &r); err != nil || line[len(line)-1] != '\n' {
				t.Fatalf("%s holds %.80q: %v", e.Name, line, err)
			}
			ids = append(ids, r.RequestID)
		}
	}
	return ids, bytesHeld
}

func TestEventsAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, h := memfs.New(), new(told)
		l, err := Open(settings(fs, h))
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, l)
		l.Record(numbered(1))
		l.Record(refused(2))
		l.Record(numbered(3))
		synctest.Wait()
		f := func(prefix string, want ...string) {
			t.Helper()
			if got, _ := lines(t, fs, prefix); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("%s: %v, want %v", prefix, got, want)
			}
		}
		f("calls-", "1", "3")
		f("refused-", "2")
		// A second later they are on the disk.
		time.Sleep(2 * time.Second)
		after := fs.CrashClone(rand.New(rand.NewPCG(1, 1)))
		if got, _ := lines(t, after, "calls-"); len(got) != 2 {
			t.Errorf("after a power cut: %v", got)
		}
		stop()
		// The next process goes on in the same files.
		l, err = Open(settings(fs, h))
		if err != nil {
			t.Fatal(err)
		}
		stop = run(t, l)
		l.Record(numbered(4))
		stop() // which writes what is left
		f("calls-", "1", "3", "4")
		if entries, _ := fs.List("audit"); len(entries) != 3 { // two sequences and the lock
			t.Errorf("the directory holds %v", entries)
		}
		if written, dropped := h.counts(); written != 4 || dropped != 0 {
			t.Errorf("%d written, %d dropped", written, dropped)
		}
	})
}

func TestFilesAreRotatedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, h := memfs.New(), new(told)
		l, err := Open(settings(fs, h))
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, l)
		defer stop()
		const all = 6_000
		for n := range all {
			l.Record(numbered(n))
			if n%100 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		ids, held := lines(t, fs, "calls-")
		if held > 3<<20 || held < 2<<20 {
			t.Errorf("the calls take %d bytes, want up to 3 MiB of 4", held)
		}
		if ids[len(ids)-1] != fmt.Sprint(all-1) {
			t.Errorf("the last line is of event %s", ids[len(ids)-1])
		}
		for i := range ids[1:] {
			if a, b := ids[i], ids[i+1]; fmt.Sprint(atoi(t, a)+1) != b {
				t.Fatalf("event %s is followed by %s", a, b)
			}
		}
		// Strangers take their own share and none of the others'.
		for n := range all {
			l.Record(refused(n))
			if n%100 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if after, kept := lines(t, fs, "calls-"); len(after) != len(ids) || kept != held {
			t.Errorf("%d refusals of strangers left %d of %d calls", all, len(after), len(ids))
		}
		if got, held := lines(t, fs, "refused-"); held > 1<<20 || len(got) < 500 {
			t.Errorf("%d refusals take %d bytes, want up to 1 MiB", len(got), held)
		}
		if written, dropped := h.counts(); written != 2*all || dropped != 0 {
			t.Errorf("%d written, %d dropped", written, dropped)
		}
	})
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFilesAreRotatedByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := memfs.New()
		l, err := Open(settings(fs, new(told)))
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, l)
		defer stop()
		for n := range 5 {
			l.Record(numbered(n))
			time.Sleep(25 * time.Minute)
		}
		entries, _ := fs.List("audit")
		var names []string
		for _, e := range entries {
			names = append(names, e.Name)
		}
		if len(entries) != 3 || entries[1].Name != "calls-0000000001-20000101T000000Z.jsonl" || entries[2].Name != "calls-0000000002-20000101T011500Z.jsonl" {
			t.Errorf("five events in two hours are in %v", names)
		}
	})
}

// A disk that takes nothing costs events, which are counted, and no caller's time.
func TestNothingWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, hang := new(told), make(chan struct{})
		fs := errfs.New(memfs.New(), func(c errfs.Call) error {
			if c.Op == errfs.OpWrite {
				<-hang
			}
			return nil
		})
		cfg := settings(fs, h)
		cfg.QueueBytes = 64 << 10
		l, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, l)
		l.Record(numbered(0))
		synctest.Wait() // the writer hangs
		start := time.Now()
		const all = 1000
		for n := range all {
			l.Record(numbered(1 + n))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("recording took %v", took)
		}
		_, dropped := h.counts()
		if dropped == 0 {
			t.Error("a full queue drops nothing")
		}
		close(hang)
		stop()
		written, again := h.counts()
		if again != dropped || written+dropped != all+1 {
			t.Errorf("%d written and %d dropped of %d", written, again, all+1)
		}
		if ids, _ := lines(t, fs, "calls-"); len(ids) != written {
			t.Errorf("%d lines, %d were counted", len(ids), written)
		}
	})
}

// A disk that is full, or fails, is told of once; what it did not take is counted; and when it is well
// again the log goes on, with no part of a line in between.
func TestDiskFailures(t *testing.T) {
	f := func(what string, op errfs.Op, fault error) {
		synctest.Test(t, func(t *testing.T) {
			t.Helper()
			h := new(told)
			var mu sync.Mutex
			broken := false
			fs := errfs.New(memfs.New(), func(c errfs.Call) error {
				mu.Lock()
				defer mu.Unlock()
				if broken && c.Op == op {
					return fault
				}
				return nil
			})
			set := func(b bool) { mu.Lock(); broken = b; mu.Unlock() }
			l, err := Open(settings(fs, h))
			if err != nil {
				t.Fatal(err)
			}
			stop := run(t, l)
			n := 0
			record := func(events int) {
				for range events {
					l.Record(numbered(n))
					n++
					time.Sleep(2 * time.Second)
				}
			}
			record(3)
			set(true)
			record(5)
			set(false)
			record(3)
			stop()
			ids, _ := lines(t, fs, "calls-")
			written, dropped := h.counts()
			if len(ids) != written || written+dropped != n {
				t.Errorf("%s: %d lines; %d written and %d dropped of %d", what, len(ids), written, dropped, n)
			}
			if want := strings.Join(ids, " "); !strings.HasPrefix(want, "0 1 2") || !strings.HasSuffix(want, "8 9 10") {
				t.Errorf("%s: the log has %s", what, want)
			}
			if len(h.failures) != 2 || !strings.Contains(h.failures[0], "broken") || h.failures[1] != "<nil>" {
				t.Errorf("%s: told %q; want the failure and its end", what, h.failures)
			}
		})
	}
	broken := errors.New("broken")
	f("write", errfs.OpWrite, broken)
	f("short write", errfs.OpWrite, &errfs.Short{N: 20, Err: broken})
	f("full", errfs.OpWrite, &errfs.Short{N: 20, Err: errors.Join(broken, vfs.ErrNoSpace)})
	f("sync", errfs.OpSync, errors.Join(broken, syscall.EIO))
}

// A file that cannot even be cut after a failed write is left, and does not stay without end.
func TestFailingDiskLeavesFewFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := errfs.New(memfs.New(), errfs.From(1, errfs.On(errfs.OpWrite, errfs.OpTruncate), errors.New("broken")))
		h := new(told)
		l, err := Open(settings(fs, h))
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, l)
		for n := range maxFiles + 200 {
			l.Record(numbered(n))
			synctest.Wait()
		}
		stop()
		if entries, _ := fs.List("audit"); len(entries) > maxFiles+2 {
			t.Errorf("%d files are left of a disk that fails", len(entries))
		}
		if _, dropped := h.counts(); dropped != maxFiles+200 {
			t.Errorf("%d events were dropped, want all of them", dropped)
		}
	})
}

// The power is cut at any call. What is found is whole lines in order, none missing between them, and
// all that were synced.
func TestPowerCuts(t *testing.T) {
	errCut := errors.New("power cut")
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		disk := memfs.New()
		cut := 5 + rng.IntN(120)
		var after *memfs.FS
		fs := errfs.New(disk, func(errfs.Call) error {
			if after != nil {
				return errCut
			}
			if cut--; cut < 0 {
				after = disk.CrashClone(rng)
				return errCut
			}
			return nil
		})
		now := clock.NewManual(time.Unix(1_700_000_000, 0))
		next, synced := 0, 0
		for after == nil {
			s := &sequence{fs: fs, dir: "audit", prefix: "calls-", clock: now, age: time.Hour, fileBytes: 8 << 10, totalBytes: 64 << 10}
			if fs.Mkdir("audit") != nil || fs.SyncDir(".") != nil || s.recover() != nil {
				break
			}
			for range 2 + rng.IntN(20) { // then killed and started again
				var batch []byte
				for range 1 + rng.IntN(5) {
					batch = fmt.Appendf(batch, `{"requestID":"%d","pad":"%s"}`+"\n", next, strings.Repeat("x", rng.IntN(600)))
					next++
				}
				if _, err := s.append(batch); err != nil {
					break
				}
				if rng.IntN(3) == 0 && s.unsynced > 0 && s.sync() == nil {
					synced = next
				}
				now.Advance(time.Duration(rng.IntN(20)) * time.Minute)
			}
			if after == nil && rng.IntN(2) == 0 && s.close() == nil {
				synced = next
			}
		}
		if after == nil {
			after = disk.CrashClone(rng)
		}
		s := &sequence{fs: after, dir: "audit", prefix: "calls-", clock: now, age: time.Hour, fileBytes: 8 << 10, totalBytes: 64 << 10}
		if err := errors.Join(after.Mkdir("audit"), s.recover(), s.close()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		ids, _ := lines(t, after, "calls-")
		for i := 1; i < len(ids); i++ {
			if atoi(t, ids[i]) != atoi(t, ids[i-1])+1 {
				t.Fatalf("seed %d: event %s is followed by %s", seed, ids[i-1], ids[i])
			}
		}
		if len(ids) == 0 && synced > 0 || len(ids) > 0 && atoi(t, ids[len(ids)-1]) < synced-1 {
			t.Fatalf("seed %d: event %d was synced, and the log ends %v", seed, synced-1, ids[max(0, len(ids)-1):])
		}
	}
}

// A torn line goes at the next start, and what is whole stays; so does a file of something else.
func TestTornLineIsCut(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		fs := memfs.New()
		const name = "audit/calls-0000000007-20260101T000000Z.jsonl"
		put(t, fs, name, text)
		put(t, fs, "audit/notes.txt", "not ours")
		l, err := Open(settings(fs, new(told)))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, fs, name); got != want || read(t, fs, "audit/notes.txt") != "not ours" {
			t.Errorf("%.60q became %.60q, want %.60q", text, got, want)
		}
	}
	f("", "")
	f("{}\n", "{}\n")
	f("{}\n{\"a\":1", "{}\n")
	f("{}\n{\"a\":1}", "{}\n")
	f("{\"a\":1", "")
	f("{}\n\x00\x00\x00\n{}\n", "{}\n")
	f("{}\n"+strings.Repeat("\x00", 5000), "{}\n")
	many := strings.Repeat("{\"a\":\""+strings.Repeat("x", 1000)+"\"}\n", 8000) // more than is looked at
	f(many, many)
	f(many+"{\"a\":", many)
}

func put(t *testing.T, fs vfs.FS, name, text string) {
	t.Helper()
	if err := fs.Mkdir(path.Dir(name)); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open(name, vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, fs vfs.FS, name string) string {
	t.Helper()
	f, err := fs.Open(name, vfs.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOneProcessWrites(t *testing.T) {
	fs := memfs.New()
	l, err := Open(settings(fs, new(told)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(settings(fs, new(told))); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a second process: %v, want ErrLocked", err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	l, err = Open(settings(fs, new(told)))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
}

func TestNames(t *testing.T) {
	s := &sequence{prefix: "calls-"}
	made := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	name := s.fileName(42, made)
	if number, at, ok := s.parseName(name); !ok || number != 42 || !at.Equal(made) || name != "calls-0000000042-20260301T120000Z.jsonl" {
		t.Errorf("%s is read as %d, %v, %t", name, number, at, ok)
	}
	for _, bad := range []string{"", "calls-", "calls-1-20260301T120000Z.jsonl", "refused-0000000042-20260301T120000Z.jsonl",
		"calls-0000000042-20260301T120000Z.json", "calls-0000000042-now.jsonl", "calls-000000004x-20260301T120000Z.jsonl", "LOCK"} {
		if _, _, ok := s.parseName(bad); ok {
			t.Errorf("%q is taken for one of ours", bad)
		}
	}
}

func FuzzWholeLines(f *testing.F) {
	for _, seed := range []string{"", "{}\n", "{}\n{", "\n", "{}\n\x00\n{}\n", "1\n2\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n := wholeLinesOf(text)
		if n > 0 && text[n-1] != '\n' {
			t.Fatalf("%q is cut at %d, in a line", text, n)
		}
		for line := range bytes.Lines(text[:n]) {
			if !json.Valid(line) {
				t.Errorf("%q is kept, with %q", text[:n], line)
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	l, err := Open(settings(memfs.New(), new(told)))
	if err != nil {
		b.Fatal(err)
	}
	e := full()
	b.ReportAllocs()
	for b.Loop() {
		l.Record(e)
	}
}
