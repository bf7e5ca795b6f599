package cli

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/testpoll"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

// served makes a data directory by running the real server on it: a stream of 2 shards with the
// lines of text. It calls then before the server stops.
func served(t *testing.T, data, text string, then func(endpoint string)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ready, done := make(chan net.Addr, 1), make(chan int, 1)
	var out, stderr strings.Builder
	app := newApp(&out, &stderr, newFake(1))
	app.Serve = func(ctx context.Context, s Service) error {
		s.Ready = func(addr net.Addr) { ready <- addr }
		return run(ctx, s)
	}
	go func() {
		done <- app.Run(ctx, []string{"dev", "--data", data, "--listen", "127.0.0.1:0", "--wal-size", "32MiB", "--memory", "64MiB"})
	}()
	defer func() {
		stop()
		if code := <-done; code != 0 {
			t.Fatalf("dev --data: exit code %d, %s", code, &stderr)
		}
	}()
	var addr net.Addr
	select {
	case addr = <-ready:
	case code := <-done:
		done <- code
		return
	}
	for _, args := range [][]string{{"create", "clicks", "--shards", "2", "--wait"}, {"put", "clicks"}} {
		var said strings.Builder
		client := newApp(new(strings.Builder), &said, newFake(1))
		client.Connect, client.In = connect, strings.NewReader(text)
		client.Environ = []string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1"}
		if code := client.Run(ctx, append(append([]string{"stream"}, args...), "--endpoint", endpointURL(addr.String()))); code != 0 {
			t.Errorf("stream %q: exit code %d, %s", args, code, &said)
		}
	}
	then(endpointURL(addr.String()))
}

func TestCheck(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	f := func(wantCode int, args ...string) (out, stderr string) {
		t.Helper()
		code, out, stderr := newFake(1).run(t.Context(), "", append([]string{"check", data}, args...)...)
		if code != wantCode || (code != 0) != (strings.Count(stderr, "\n") == 1) {
			t.Errorf("check %q: exit code %d, want %d; stderr %q", args, code, wantCode, stderr)
		}
		return strings.ReplaceAll(out, data, "DATA"), strings.ReplaceAll(stderr, data, "DATA")
	}
	_, stderr := f(ExitUsage)
	printed := "=== missing\n" + stderr
	served(t, data, strings.Repeat(strings.Repeat("text ", 180<<10)+"\n", 18), func(string) {
		testpoll.Until(t, 10*time.Second, func() bool { // the lines are enough to be moved to block files
			names, _ := filepath.Glob(filepath.Join(data, "blocks", "manifest+", "*"))
			return len(names) > 0
		}, "a manifest")
	})
	out, _ := f(ExitOK)
	// How much the log still holds depends on when the last flush was.
	out = strings.ReplaceAll(out, "no groups", "groups 0 to 0")
	printed += "=== sound\n" + regexp.MustCompile(`\d+`).ReplaceAllString(out, "N")
	var report checkReport
	if out, _ = f(ExitOK, "-o", "json"); json.Unmarshal([]byte(out), &report) != nil || !report.Sound || report.Findings == nil || report.Read.Shards != 3 || report.Read.Segments < 2 || report.Read.BlockFiles == 0 {
		t.Errorf("got %s", out)
	}
	disk, err := osfs.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := disk.Lock("LOCK")
	if err != nil {
		t.Fatal(err)
	}
	_, stderr = f(ExitUsage)
	printed += "=== in use\n" + stderr
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := disk.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wal/000.wal", "wal/001.wal"} {
		if err := os.Truncate(filepath.Join(data, name), 8192); err != nil {
			t.Fatal(err)
		}
	}
	out, stderr = f(ExitFailure)
	printed += "=== damaged\n" + out + stderr
	out, _ = f(ExitFailure, "-o", "json")
	findings, _, _ := strings.Cut(out, `  "Read"`)
	printed += "=== damaged -o json\n" + findings
	golden(t, "check.txt", printed)
}
