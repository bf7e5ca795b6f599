package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// backedUp makes a data directory as served does and takes a backup of it into file while the server
// runs.
func backedUp(t *testing.T, data, file string) {
	t.Helper()
	served(t, data, "one\ntwo\n", func(endpoint string) {
		code, out, stderr := newFake(1).run(t.Context(), "", "backup", "--to", file, "--endpoint", endpoint+"/")
		out = strings.NewReplacer(file, "FILE", endpoint, "URL").Replace(out)
		out = regexp.MustCompile(`\d{4}-[\dT:-]+Z|\d+`).ReplaceAllString(out, "N")
		if code != 0 || stderr != "" || out != "FILE: a backup of URL, taken N: N objects, N.N KiB\n" {
			t.Errorf("backup: exit code %d, %q, %q", code, out, stderr)
		}
		code, out, stderr = newFake(1).run(t.Context(), "", "backup", "--to", "-", "--listen", strings.TrimPrefix(endpoint, "http://"), "-o", "json")
		var report backupReport
		if code != 0 || json.Unmarshal([]byte(stderr), &report) != nil || report.File != "-" || report.Endpoint != endpoint || report.Objects < 2 || report.Bytes < 100 || report.Taken.IsZero() {
			t.Errorf("backup to stdout: exit code %d, %q", code, stderr)
		}
		if first, err := os.ReadFile(file); err != nil || !strings.HasPrefix(out, string(first[:512])[:6]) {
			t.Errorf("backup to stdout: %d bytes that are none", len(out))
		}
	})
}

func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	data, file, restored := filepath.Join(dir, "data"), filepath.Join(dir, "b.tar"), filepath.Join(dir, "restored")
	backedUp(t, data, file)
	f := func(in string, wantCode int, args ...string) (out, stderr string) {
		t.Helper()
		code, out, stderr := newFake(1).run(t.Context(), in, append([]string{"restore"}, args...)...)
		if code != wantCode || (code != 0) != (strings.Count(stderr, "\n") == 1) {
			t.Errorf("restore %q: exit code %d, want %d; stderr %q", args, code, wantCode, stderr)
		}
		return strings.ReplaceAll(out, dir, "DIR"), strings.ReplaceAll(stderr, dir, "DIR")
	}
	out, _ := f("", ExitOK, file, "--data", restored)
	printed := "=== restored\n" + regexp.MustCompile(`\d{4}-[\dT:-]+Z|\d+`).ReplaceAllString(out, "N")
	if code, out, stderr := newFake(1).run(t.Context(), "", "check", restored); code != 0 || !strings.Contains(out, "is sound") {
		t.Errorf("check: exit code %d, %q, %q", code, out, stderr)
	}
	_, stderr := f("", ExitUsage, file, "--data", restored)
	printed += "=== not empty\n" + stderr
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out, _ = f(string(whole), ExitOK, "-", "--data", filepath.Join(dir, "again"), "-o", "json")
	var report restoreReport
	if json.Unmarshal([]byte(out), &report) != nil || report.ShardLogs != 3 || report.Jumped != 2 || report.Objects < 2 || report.Taken.IsZero() {
		t.Errorf("restore -o json: %s", out)
	}
	nowhere := filepath.Join(dir, "nowhere")
	_, stderr = f(string(whole[:len(whole)/2]), ExitFailure, "-", "--data", nowhere)
	printed += "=== cut short\n" + stderr
	_, stderr = f("{}", ExitFailure, "-", "--data", nowhere)
	printed += "=== something short\n" + stderr
	_, stderr = f(strings.Repeat("x", 1024), ExitUsage, "-", "--data", nowhere)
	printed += "=== something else\n" + stderr
	_, stderr = f(strings.Replace(string(whole), "headrace backup 1", "headrace backup 2", 1), ExitUsage, "-", "--data", nowhere)
	printed += "=== newer\n" + stderr
	_, stderr = f("", ExitUsage, filepath.Join(dir, "missing"), "--data", nowhere)
	printed += "=== missing\n" + stderr
	if _, err := os.Stat(nowhere); !os.IsNotExist(err) {
		t.Errorf("a restore that fails leaves its directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(restored, "RESTORING"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := newFake(1).run(t.Context(), "", "check", restored)
	printed += "=== check what was restored in part\n" + out + strings.ReplaceAll(stderr, dir, "DIR")
	if code != ExitFailure {
		t.Errorf("check: exit code %d", code)
	}
	golden(t, "restore.txt", printed)
}

// TestBackupFails asks servers that do not give a backup.
func TestBackupFails(t *testing.T) {
	dir := t.TempDir()
	older := filepath.Join(dir, "b.tar")
	f := func(wantCode int, want string, answer http.HandlerFunc) {
		t.Helper()
		if err := os.WriteFile(older, []byte("an older one"), 0o600); err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(answer)
		defer srv.Close()
		if answer == nil {
			srv.Close()
		}
		code, out, stderr := newFake(1).run(t.Context(), "", "backup", "--to", older, "--endpoint", srv.URL)
		stderr = strings.NewReplacer(srv.URL, "URL", strings.TrimPrefix(srv.URL, "http://"), "ADDRESS").Replace(stderr)
		if code != wantCode || out != "" || stderr != "headrace: take a backup of URL: "+want+"\n" {
			t.Errorf("exit code %d, %q, %q; want %d, %q", code, out, stderr, wantCode, want)
		}
		left, err := os.ReadFile(older)
		if names, _ := os.ReadDir(dir); err != nil || string(left) != "an older one" || len(names) != 1 {
			t.Errorf("%q, %v and %d files are left", left, err, len(names))
		}
	}
	f(1, "409 Conflict: another backup is being taken", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(409)
		io.WriteString(w, "another backup is being taken\n")
	})
	f(1, "save backup: the backup is not whole: it was cut short; the server's log says why", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(make([]byte, 10))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	f(1, "save backup: not a backup of headrace", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("<html>", 1000))
	})
	f(1, "cannot reach ADDRESS: connect: connection refused; is headrace running there?", nil)
}
