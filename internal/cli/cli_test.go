package cli

import (
	"context"
	"errors"
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/config"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares got with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (go test -update rewrites it):\n%s", path, got)
	}
}

func TestHelp(t *testing.T) {
	var all strings.Builder
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		code, out, stderr := newFake(1).run(t.Context(), "", args...)
		if code != 0 || stderr != "" {
			t.Errorf("%v: got %d, %q", args, code, stderr)
		}
		all.WriteString("=== " + cmd.CommandPath() + "\n" + out + "\n")
		if cmd.HasParent() && !cmd.HasSubCommands() && cmd.Short == "" {
			t.Errorf("%s has no short help", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	var discard strings.Builder
	visit(newApp(&discard, &discard, newFake(1)).root())
	golden(t, "help.txt", all.String())
}

func TestUsageErrors(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		code, out, stderr := newFake(1).run(t.Context(), "", args...)
		if code != ExitUsage || out != "" {
			t.Errorf("%q: got exit code %d, want 2; stdout %q", args, code, out)
		}
		if got := strings.TrimPrefix(stderr, "headrace: "); got != want+"\n" {
			t.Errorf("%q:\n got %s\nwant %s", args, got, want)
		}
	}
	f(`unknown command "strem"; did you mean stream? (see headrace --help)`, "strem")
	f(`unknown command "zzzzzz" (see headrace stream --help)`, "stream", "zzzzzz")
	f(`unknown flag: --nope (see headrace dev --help)`, "dev", "--nope")
	f(`unexpected argument "x" (see headrace dev --help)`, "dev", "x")
	f(`invalid argument "5" for "--transition-delay" flag: "5" is not a duration such as 5s (see headrace dev --help)`, "dev", "--transition-delay", "5")
	f(`invalid argument "loud" for "--log-level" flag: "loud" is none of debug, info, warn, error (see headrace dev --help)`, "dev", "--log-level=loud")
	f(`no data directory: give --data DIR (see headrace serve --help)`, "serve")
	f(`no data directory: give --data DIR (see headrace restore --help)`, "restore", "b.tar")
	f(`missing argument FILE (see headrace restore --help)`, "restore")
	f(`give the file to write: --to FILE (see headrace backup --help)`, "backup")
	f(`give the file to write: --to FILE (see headrace backup --help)`, "backup", "--to", ".")
	for _, listen := range []string{"0.0.0.0:4566", ":4566", "[::]:4566", "192.0.2.1:4566", "host.example:4566"} {
		f(listen+` is reached from outside this machine, and in cleartext: set up TLS, listen on loopback or give --insecure-listen (see headrace serve --help)`,
			"serve", "--data", "d", "--listen", listen)
		f(listen+` is reached from outside this machine, and signatures are not verified: listen on loopback or give --insecure-listen (see headrace serve --help)`,
			"serve", "--data", "d", "--insecure-auth", "--tls-mode", "self-signed", "--listen", listen)
	}
	f(`missing argument STREAM (see headrace stream create --help)`, "stream", "create")
	f(`missing argument SHARD (see headrace stream split --help)`, "stream", "split", "logs")
	f(`--on-demand and --shards exclude each other (see headrace stream create --help)`, "stream", "create", "x", "--on-demand", "--shards", "2")
	f(`--aws and --endpoint exclude each other (see headrace stream ls --help)`, "stream", "ls", "--aws", "--endpoint", "http://x")
	f(`invalid argument "xml" for "-o, --output" flag: want one of table, json, ndjson (see headrace stream ls --help)`, "stream", "ls", "-o", "xml")
	f(`--from: "noon" is neither latest, trim-horizon nor a time such as 2026-01-31T12:00:00Z (see headrace stream tail --help)`, "stream", "tail", "logs", "--from", "noon")
	f(`DATA and --file exclude each other (see headrace stream put --help)`, "stream", "put", "logs", "x", "--file", "y")
	f(`--partition-key and --key-field exclude each other (see headrace stream put --help)`, "stream", "put", "logs", "-k", "x", "--key-field", "1")
	f(`--key-field: -1 is negative (see headrace stream put --help)`, "stream", "put", "logs", "--key-field", "-1")
	f(`unknown shell "tcsh": want sh, fish, powershell or cmd (see headrace env --help)`, "env", "--shell", "tcsh")
	f(`read configuration: open no-such.yaml: no such file or directory`, "config", "print", "--config", "no-such.yaml")
}

// TestServe shows with what the server of the serve profile is started.
func TestServe(t *testing.T) {
	f := func(wantListen string, args ...string) {
		t.Helper()
		var out strings.Builder
		app := newApp(&out, &out, newFake(1))
		var got *Service
		app.Serve = func(_ context.Context, s Service) error { got = &s; return nil }
		if code := app.Run(t.Context(), append([]string{"serve"}, args...)); code != ExitOK {
			t.Fatalf("%q: exit code %d: %s", args, code, &out)
		}
		if got.Config.Data != "d" || got.Config.Listen != wantListen || got.Config.WALBytes(got.Profile.WAL) != 2<<30 || got.Profile.Dev ||
			got.Profile.InsecureAuth != slices.Contains(args, "--insecure-auth") || got.ShowKey == nil {
			t.Errorf("%q: started with %+v", args, got)
		}
	}
	f("127.0.0.1:4566", "--data", "d")
	f("[::1]:1", "--data", "d", "--listen", "[::1]:1")
	f("localhost:1", "--data", "d", "--listen", "localhost:1")
	f("0.0.0.0:1", "--data", "d", "--listen", "0.0.0.0:1", "--insecure-listen")
	f("0.0.0.0:1", "--data", "d", "--listen", "0.0.0.0:1", "--tls-mode", "self-signed")
	f("127.0.0.1:4566", "--data", "d", "--insecure-auth")
}

func TestEnv(t *testing.T) {
	var all strings.Builder
	for _, args := range [][]string{
		{"--shell", "sh"},
		{"--shell", "fish", "--listen", "0.0.0.0:4000"},
		{"--shell", "powershell", "--listen", "[::]:4000", "--region", "eu-west-1"},
		{"--shell", "cmd", "--listen", "host.example:80"},
		{"--profile"},
		{"--profile=default", "--region", "eu-west-1"},
	} {
		code, out, stderr := newFake(1).run(t.Context(), "", append([]string{"env"}, args...)...)
		if code != 0 || stderr != "" {
			t.Errorf("%q: got %d, %q", args, code, stderr)
		}
		all.WriteString("=== env " + strings.Join(args, " ") + "\n" + out)
	}
	golden(t, "env.txt", all.String())
}

func TestShellIsFound(t *testing.T) {
	f := func(shell, want string) {
		t.Helper()
		a := &App{Environ: []string{"SHELL=/bin/other", "SHELL=" + shell}}
		if got := a.shell(); got != want {
			t.Errorf("SHELL=%s: got %s, want %s", shell, got, want)
		}
	}
	f("/usr/bin/fish", "fish")
	f("/bin/zsh", "sh")
	f("/opt/fisherman/bash", "sh")
}

func TestVersion(t *testing.T) {
	_, out, _ := newFake(1).run(t.Context(), "", "version")
	want := "headrace 1.2.3\ncommit   abc\ngo       " + runtime.Version() + "\nplatform " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	if out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	_, out, _ = newFake(1).run(t.Context(), "", "version", "-o", "json")
	if !strings.HasPrefix(out, "{\n  \"Version\": \"1.2.3\",\n  \"Commit\": \"abc\",\n") {
		t.Errorf("got %s", out)
	}
}

func TestConfigPrint(t *testing.T) {
	var out, stderr strings.Builder
	app := newApp(&out, &stderr, newFake(1))
	app.Environ = []string{"HEADRACE_REGION=eu-west-1", "HEADRACE_REGOIN=x"}
	if code := app.Run(t.Context(), []string{"config", "print", "--memory", "64MiB"}); code != 0 {
		t.Fatalf("got %d, %s", code, stderr.String())
	}
	for _, want := range []string{
		"region: eu-west-1 # environment variable HEADRACE_REGION\n", "memory: 64MiB # flag --memory\n", "account: \"000000000000\" # default\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s, want it to hold %q", out.String(), want)
		}
	}
	if want := "headrace: warning: environment variable HEADRACE_REGOIN is no configuration key; did you mean HEADRACE_REGION?\n"; stderr.String() != want {
		t.Errorf("got %q, want %q", stderr.String(), want)
	}
}

func TestDev(t *testing.T) {
	f := func(port int, want string, args ...string) {
		t.Helper()
		var out, stderr strings.Builder
		app := newApp(&out, &stderr, newFake(1))
		var got Service
		app.Serve = func(_ context.Context, s Service) error {
			got = s
			s.Ready(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			return nil
		}
		if code := app.Run(t.Context(), append([]string{"dev", "--limits-streams", "7", "--log-format", "json"}, args...)); code != 0 {
			t.Errorf("got %d, %s", code, stderr.String())
		}
		mode := config.NoLimits
		if slices.Contains(args, "--limits") {
			mode = config.AWSLimits
		}
		if got.Config.Limits.Streams != 7 || got.Config.Limits.Mode != mode || got.Build != app.Build {
			t.Errorf("the server was started with %+v", got)
		}
		for _, line := range []string{"Headrace 1.2.3, in memory: nothing survives when it stops.\n", want, "\nReady.\n"} {
			if !strings.Contains(out.String(), line) {
				t.Errorf("got %s, want it to hold %q", out.String(), line)
			}
		}
		if !strings.Contains(stderr.String(), `"msg":"stopped"`) {
			t.Errorf("the log is not JSON on stderr: %q", stderr.String())
		}
	}
	if runtime.GOOS == "windows" {
		t.Skip("prints PowerShell")
	}
	f(4566, "address   http://127.0.0.1:4566\n  TLS       https://127.0.0.1:4566 (to trust it: headrace ca export > ca.pem)\n  connect   eval \"$(headrace env)\"\n")
	f(5000, "address   http://127.0.0.1:5000\n  TLS       https://127.0.0.1:5000 (to trust it: headrace ca export --listen 127.0.0.1:5000 > ca.pem)\n  connect   eval \"$(headrace env --listen 127.0.0.1:5000 --region eu-west-1)\"\n", "--region", "eu-west-1", "--limits", "aws")
}

func TestDevFails(t *testing.T) {
	var out, stderr strings.Builder
	app := newApp(&out, &stderr, newFake(1))
	app.Serve = func(context.Context, Service) error { return errors.New("listen: address\nin use") }
	if code := app.Run(t.Context(), []string{"dev"}); code != ExitFailure {
		t.Errorf("got exit code %d", code)
	}
	if want := "headrace: run server: listen: address in use\n"; stderr.String() != want {
		t.Errorf("got %q, want %q", stderr.String(), want)
	}
}

func TestHealth(t *testing.T) {
	ready := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/-/healthy":
		case "/-/ready":
			w.WriteHeader(ready)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	f := func(wantCode int, want string, args ...string) {
		t.Helper()
		code, out, stderr := newFake(1).run(t.Context(), "", append([]string{"health"}, args...)...)
		if got := strings.ReplaceAll(out, srv.URL, "URL"); code != wantCode || got != want {
			t.Errorf("got %d, %q, want %d, %q", code, got, wantCode, want)
		}
		if wantCode != 0 && strings.Count(stderr, "\n") != 1 {
			t.Errorf("got %q, want one line", stderr)
		}
	}
	f(0, "URL: healthy, ready\n", "--endpoint", srv.URL+"/")
	f(0, "URL: healthy, ready\n", "--listen", strings.TrimPrefix(srv.URL, "http://"))
	f(0, "{\n  \"Endpoint\": \"URL\",\n  \"Healthy\": true,\n  \"Ready\": true\n}\n", "--endpoint", srv.URL, "-o", "json")
	ready = http.StatusServiceUnavailable
	f(1, "URL: healthy, not ready\n", "--endpoint", srv.URL)
	srv.Close()
	f(1, "URL: not healthy, not ready\n", "--endpoint", srv.URL)
}
