package cli

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/vfs/osfs"
)

// served makes a data directory by running the real server on it: a stream of 2 shards with the
// lines of text, if there are any. It returns what headrace printed.
func served(t *testing.T, data, text string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, stderr strings.Builder
	app := newApp(&out, &stderr, newFake(1))
	app.Connect = connect
	app.Environ = []string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1"}
	app.Serve = func(ctx context.Context, s Service) error {
		ready := s.Ready
		s.Ready = func(addr net.Addr) {
			ready(addr)
			go func() {
				defer stop()
				client := newApp(new(strings.Builder), new(strings.Builder), newFake(1))
				client.Environ, client.Connect, client.In = app.Environ, connect, strings.NewReader(text)
				for _, args := range [][]string{{"create", "clicks", "--shards", "2", "--wait"}, {"put", "clicks"}} {
					if code := client.Run(ctx, append(append([]string{"stream"}, args...), "--endpoint", endpointURL(addr.String()))); code != 0 {
						t.Errorf("stream %q: exit code %d, %s", args, code, client.Err)
					}
				}
			}()
		}
		return run(ctx, s)
	}
	if code := app.Run(ctx, []string{"dev", "--data", data, "--listen", "127.0.0.1:0", "--wal-size", "32MiB", "--memory", "64MiB"}); code != 0 {
		t.Fatalf("dev --data: exit code %d, %s", code, &stderr)
	}
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
	served(t, data, strings.Repeat("a line of some length\n", 1000))
	out, _ := f(ExitOK)
	head, _, _ := strings.Cut(out, "\n")
	printed += "=== sound\n" + head + "\n"
	var report checkReport
	if out, _ = f(ExitOK, "-o", "json"); json.Unmarshal([]byte(out), &report) != nil || !report.Sound || report.Findings == nil || report.Read.Shards != 3 || report.Read.Segments < 2 {
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
	printed += "=== damaged -o json\n" + out
	golden(t, "check.txt", printed)
}
