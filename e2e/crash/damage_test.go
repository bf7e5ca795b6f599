package crash

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/binarytest"
)

// keeper makes a directory that has every type of file, killed, not stopped, at its end.
func keeper(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, seed(t), filepath.Join(t.TempDir(), "data"), sigkill(t))
	w.stumbles = false
	for w.lives < 10 && len(w.files("blocks")) < 3 {
		w.life(300 * time.Millisecond)
	}
	w.start()
	w.snapshot()
	// What comes last is alone in its group: that one a damaged log may lose.
	wr := &writer{w: w, rng: w.dice(), name: "last", top: map[string]string{}}
	if err := wr.single(t.Context(), w.streams[0]); err != nil {
		t.Fatal(err)
	}
	w.crash(w.server)
	w.judge()
	return w
}

// snapshot changes tags until the coordinator has stored its state.
func (w *world) snapshot() {
	w.tb.Helper()
	name := "other-tags"
	ctx := w.tb.Context()
	if err := w.client.call(ctx, "CreateStream", fields{"StreamName": name, "ShardCount": 1}, nil); err != nil {
		w.tb.Fatal(err)
	}
	w.active(name)
	for n := 0; len(w.files("state")) == 0; n++ {
		err := w.client.call(ctx, "AddTagsToStream", fields{"StreamName": name, "Tags": tagged(strconv.Itoa(n))}, nil)
		if err != nil && !w.strain(err) || n > 5000 {
			w.tb.Fatalf("after %d changes of tags: %v", n, err)
		}
	}
}

// copied returns a world of its own on a copy of the directory.
func (w *world) copied(t *testing.T) *world {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	return &world{tb: t, dir: dir, args: append([]string{"--data", dir}, small...), streams: w.streams}
}

// outcome is what became of a start on a damaged directory.
type outcome struct {
	refused string   // what it said, if it did not start
	unread  []string // shards that could not be read
	lost    []string // acknowledged records that are gone
	wrong   []string
	said    string
	gone    bool // the server ended while it was read
}

// examine starts the server and reads all it has, as far as that goes.
func (w *world) examine(t *testing.T) (o outcome) {
	t.Helper()
	s, err := binarytest.Launch(program, w.args...)
	if err != nil {
		return outcome{refused: err.Error()}
	}
	defer func() {
		o.gone = s.Exited()
		_ = s.Signal(kill)
		_ = s.Wait(patience) // it was killed
		o.said = s.Output()
	}()
	w.server, w.client = s, newClient(s.Endpoint)
	for _, old := range w.streams {
		l := old.clone()
		shards, err := w.client.shards(t.Context(), l.stream)
		if err != nil {
			o.wrong = append(o.wrong, err.Error())
			continue
		}
		a := l.audit()
		a.lost = &o.lost
		bad := map[string]bool{}
		for _, sh := range shards {
			if err := w.readShard(a, sh.ShardID); err != nil {
				bad[sh.ShardID] = true
				o.unread = append(o.unread, l.stream+"/"+sh.ShardID)
			}
		}
		a.unread(bad)
		a.finish()
		o.wrong = append(o.wrong, l.broken()...)
	}
	return o
}

// clone copies what the ledger knows of records.
func (l *ledger) clone() *ledger {
	c := newLedger(l.stream)
	for key, f := range l.records {
		copied := *f
		c.records[key] = &copied
	}
	return c
}

// unread takes records of shards that could not be read as found.
func (a *audit) unread(shards map[string]bool) {
	for key, f := range a.records {
		if shards[f.shard] {
			a.found[key] = true
		}
	}
}

// TestDamage changes single bits of every type of file. The server refuses to start and names the
// file, or refuses to read what is damaged; what it serves is right. Only in the log's last group,
// which looks like one that was never finished, may a bit take a record away.
func TestDamage(t *testing.T) {
	base := keeper(t)
	rng := base.dice()
	f := func(kind string, files []string, n int) {
		t.Run(kind, func(t *testing.T) {
			if len(files) == 0 {
				t.Skipf("skipped: the directory has no %s", kind)
			}
			counts := map[string]int{}
			for range n {
				w := base.copied(t)
				name := files[rng.IntN(len(files))]
				rel, _ := filepath.Rel(base.dir, name)
				offset := flip(t, filepath.Join(w.dir, rel), rng)
				o := w.examine(t)
				counts[judgeDamage(t, rel, offset, o, base.streams[0])]++
				os.RemoveAll(w.dir)
			}
			t.Logf("%d bits: %v", n, counts)
		})
	}
	blocks := base.files("blocks")
	var data, manifests []string
	for _, b := range blocks {
		if info, err := os.Stat(b); err != nil || info.Size() == 0 {
			continue // the kill came when it had just been made: it has no bit to change
		}
		if name := strings.ToLower(filepath.Base(b)); strings.Contains(name, "manifest") || strings.Contains(b, "manifest") {
			manifests = append(manifests, b)
		} else {
			data = append(data, b)
		}
	}
	n := int(span(t, 5*time.Second) / time.Second)
	f("wal", logs(base.files("wal")), n)
	f("blocks", data, n)
	f("manifest", manifests, n)
	f("snapshot", base.files("state"), n)
	t.Run("newer", base.newer)
}

func logs(files []string) []string {
	var out []string
	for _, f := range files {
		if strings.HasSuffix(f, ".wal") {
			out = append(out, f)
		}
	}
	return out
}

// judgeDamage says what became of a flipped bit, and fails the test if it may not.
func judgeDamage(t *testing.T, file string, offset int64, o outcome, last *ledger) string {
	t.Helper()
	base := filepath.Base(file)
	fail := func(what string) {
		t.Errorf("%s, bit at %d: %s\nlost: %v\nwrong: %v\nunread: %v\n%s%s", file, offset, what, o.lost, o.wrong, o.unread, o.refused, o.said)
	}
	for _, text := range []string{o.refused, o.said} {
		if strings.Contains(text, "panic:") || strings.Contains(text, "goroutine ") {
			fail("the server panicked")
		}
	}
	switch {
	case o.refused != "" && !strings.Contains(o.refused, base):
		fail("the error does not name the file")
	case o.refused != "":
		return "refused"
	case len(o.wrong) > 0:
		fail("what is served is wrong")
	case len(o.lost) > 1 || len(o.lost) == 1 && (!strings.HasPrefix(o.lost[0], "last.") || !strings.HasPrefix(file, "wal")):
		fail("acknowledged records are lost")
	case len(o.lost) == 1:
		return "last group cut"
	case len(o.unread) > 0 && !strings.Contains(o.said, base):
		fail("shards cannot be read and nothing names the file")
	case len(o.unread) > 0 || o.gone:
		return "unread"
	}
	return "unaffected"
}

// flip turns one bit of a file, more often near its ends than elsewhere.
func flip(t *testing.T, name string, rng *rand.Rand) int64 {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	at := rng.Int64N(info.Size())
	switch rng.IntN(4) {
	case 0:
		at = rng.Int64N(min(info.Size(), 256))
	case 1:
		at = info.Size() - 1 - rng.Int64N(min(info.Size(), 256))
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << rng.IntN(8)
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	return at
}

// startLimit is how long a start that must fail may take.
const startLimit = 20 * time.Second

// refuses expects a start on the directory to fail with one line that has all the texts in it.
func refuses(t *testing.T, dir string, texts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	out, err := binarytest.Command(ctx, program, append([]string{"dev", "--listen", "127.0.0.1:0", "--data", dir}, small...)...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("started on %s: %v; want exit code 1\n%s", dir, err, out)
	}
	for _, text := range texts {
		if !strings.Contains(string(out), text) {
			t.Errorf("the error does not contain %q:\n%s", text, out)
		}
	}
	if n := strings.Count(string(out), "\n"); n != 1 {
		t.Errorf("the error has %d lines, want 1:\n%s", n, out)
	}
}

// TestRefused starts on directories that cannot be used.
func TestRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	args := append([]string{"--data", dir}, small...)
	s := binarytest.Start(t, program, args...)
	refuses(t, dir, dir, "another process uses it")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, file, file)
	missing := filepath.Join(t.TempDir(), "no", "parent")
	refuses(t, missing, missing)
	if err := os.Remove(filepath.Join(dir, "wal", "003.wal")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	refuses(t, dir, "003.wal")
}

// newer starts on a segment whose version byte is that of a later program, with a checksum that is
// right: the error names the file. Objects are left to the tests of their packages: which of them a
// start reads depends on what was stored last.
func (base *world) newer(t *testing.T) {
	w := base.copied(t)
	name := filepath.Join(w.dir, "wal", "002.wal")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const version, sum = 4, 124 // offsets of the version and of the header's checksum
	b[version]++
	binary.LittleEndian.PutUint32(b[sum:], crc32.Checksum(b[:sum], crc32.MakeTable(crc32.Castagnoli)))
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, w.dir, "002.wal", "version")
}
