package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/server"
)

const testAccount = "111122223333"

// accessServer is a server as serve runs it, and an environment that reaches it as the root.
type accessServer struct {
	t   *testing.T
	url string
}

func newAccessServer(t *testing.T) *accessServer {
	t.Helper()
	s := &accessServer{t: t}
	isolate(t)
	ctx, stop := context.WithCancel(t.Context())
	done, ready := make(chan error, 1), make(chan net.Addr, 1)
	go func() {
		done <- server.Run(ctx, server.Config{
			Listen: "127.0.0.1:0", MemoryBytes: 64 << 20, DefaultAccount: testAccount,
			Logger: slog.New(slog.DiscardHandler), Registry: metrics.NewRegistry(),
			Access: server.Access{ShowKey: func(_, id, secret string) { s.as(id, secret) }},
			Ready:  func(a net.Addr) { ready <- a },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the server failed: %v", err)
		}
	})
	select {
	case a := <-ready:
		s.url = "http://" + a.String()
	case err := <-done:
		done <- err
		t.Fatalf("the server did not start: %v", err)
	}
	t.Setenv("AWS_ENDPOINT_URL", s.url)
	return s
}

// as changes who calls.
func (s *accessServer) as(id, secretKey string) {
	s.t.Setenv("AWS_ACCESS_KEY_ID", id)
	s.t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
}

// run runs a command and returns what it printed, with keys and secrets made the same every time.
func (s *accessServer) run(stdin string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, err strings.Builder
	app := newApp(&out, &err, newFake(1))
	app.In, app.ConnectAccess = strings.NewReader(stdin), connectAccess
	code = app.Run(s.t.Context(), args)
	return code, out.String(), err.String()
}

func masked(text string) string {
	for _, m := range []struct{ pattern, with string }{
		{`AKIA[A-Z2-7]{16}`, "AKIAXXXXXXXXXXXXXXXX"}, {`(SECRET_ACCESS_KEY  |"SecretAccessKey": ?")[A-Za-z0-9+/]{40}`, "${1}SECRET"},
		{`A(IDA|ROA)[A-Z2-7]{17}`, "A${1}XXXXXXXXXXXXXXXXX"}, {`request id [0-9a-f-]{36}`, "request id ID"}, {`http://127\.0\.0\.1:\d+`, "URL"},
		{`The system cannot find the file specified\.`, "no such file or directory"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, "2026-11-23T10:00:00Z"},
	} {
		text = regexp.MustCompile(m.pattern).ReplaceAllString(text, m.with)
	}
	return text
}

// TestAccessCommands is a session of an operator: every command, and what it prints.
func TestAccessCommands(t *testing.T) {
	s := newAccessServer(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	policy := file("policy.json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"headrace:CreateAccessKey","Resource":"arn:aws:iam::*:user/${aws:username}"}]}`)
	trust := file("trust.json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+testAccount+`"},"Action":"sts:AssumeRole"}]}`)
	bad := file("bad.json", `{"Version":"2012-10-17","Statement":[{}]}`)
	file("keys.json", `{"keys":[]}`)
	declared := file("access.yaml", "accounts:\n  "+testAccount+":\n    users: {alice: {policies: {read: {Version: 2012-10-17, Statement: [{Effect: Allow, Action: 'kinesis:Get*', Resource: '*'}]}}}}\n"+
		"    roles: {deployer: {trust: {Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {AWS: "+testAccount+"}, Action: sts:AssumeRole}]}, max-session: 2h}}\n"+
		"    providers: {\"https://idp.example\": {audiences: [app], keys-file: keys.json}}\n")
	var all strings.Builder
	do := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := s.run(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kinesis:Put*","Resource":"*"}}`, args...)
		text := strings.ReplaceAll(strings.Join(args, " "), dir+string(filepath.Separator), "")
		fmt.Fprintf(&all, "=== headrace %s\n%s%s", masked(text), masked(stdout), masked(strings.ReplaceAll(stderr, dir+string(filepath.Separator), "")))
		if code != 0 {
			fmt.Fprintf(&all, "exit code %d\n", code)
		}
		return stdout
	}
	key := regexp.MustCompile(`AKIA[A-Z2-7]{16}`)
	do("user", "create", "alice")
	do("user", "create", "alice")
	do("user", "put-policy", "alice", "read", policy)
	do("user", "put-policy", "alice", "write", "-")
	do("user", "put-policy", "alice", "bad", bad)
	do("user", "ls")
	do("user", "delete-policy", "alice", "write")
	made := do("key", "create", "alice")
	first := key.FindString(made)
	do("key", "rotate", "alice", "-o", "json")
	do("key", "rotate", "alice")
	do("key", "disable", first)
	do("key", "ls", "alice")
	do("key", "rotate", "alice")
	do("key", "create", "--root", "-o", "ndjson")
	do("key", "create")
	do("key", "ls")
	do("key", "enable", "AKIANONE")
	do("role", "create", "deployer", "--trust", trust, "--description", "of the pipeline")
	do("role", "update", "deployer", "--trust", trust, "--max-session", "2h")
	do("role", "update", "deployer")
	do("role", "put-policy", "deployer", "p", policy)
	do("role", "ls")
	do("role", "end-sessions", "deployer")
	do("role", "delete", "deployer")
	do("role", "delete-policy", "deployer", "p")
	do("role", "delete", "deployer")
	do("user", "delete", "alice")
	do("user", "end-sessions", "alice")
	do("account", "create", "444455556666", "staging")
	do("account", "rename", "444455556666", "production")
	do("account", "ls")
	do("user", "create", "bob", "--account", "444455556666")
	do("user", "ls", "--account", "444455556666", "-o", "json")
	do("access", "apply", declared, "--dry-run")
	do("access", "apply", declared)
	do("access", "apply", declared)
	do("access", "apply", declared, "--prune", "--dry-run")
	do("access", "apply", declared, "--account", testAccount)
	do("access", "apply", filepath.Join(dir, "none.yaml"))
	do("access", "apply", file("bad.yaml", "accounts: {12: {}}"))
	do("access", "show", "--account", testAccount)

	id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	do("user", "create", "carol")
	do("user", "put-policy", "carol", "own-keys", policy)
	made = do("key", "create", "carol")
	s.as(key.FindString(made), regexp.MustCompile(`SECRET_ACCESS_KEY  (\S{40})`).FindStringSubmatch(made)[1])
	do("key", "create", "carol")
	do("key", "create", "alice")
	do("key", "create", "--root")
	do("user", "ls")
	s.as(id, secret)
	do("key", "ls", "carol")
	golden(t, "access.txt", all.String())
}

// TestAccessFails is called by nobody, by strangers and where no server is.
func TestAccessFails(t *testing.T) {
	s := newAccessServer(t)
	f := func(want string, args ...string) {
		t.Helper()
		code, stdout, stderr := s.run("", args...)
		if got := masked(stderr); code != ExitFailure || stdout != "" || got != want {
			t.Errorf("%q: got %d, %q, %q; want %q", args, code, stdout, got, want)
		}
	}
	s.as("AKIANOBODY", "x")
	f("headrace: list users: InvalidClientTokenId: The security token included in the request is invalid. (request id ID)\n", "user", "ls")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "<AccessDeniedException>")
	}))
	f("headrace: list users: the server does not take these calls: it answers 403 Forbidden\n", "user", "ls", "--endpoint", other.URL)
	url := other.URL
	other.Close()
	code, _, stderr := s.run("", "user", "ls", "--endpoint", url)
	if code != ExitFailure || !strings.Contains(stderr, "list users: ") || !strings.Contains(stderr, "is headrace running there?") {
		t.Errorf("no server: got %d, %q", code, stderr)
	}
}

// TestConnectAccess finds server and credentials as the stream commands do.
func TestConnectAccess(t *testing.T) {
	f := func(target Target, endpoint, region string, env ...string) {
		t.Helper()
		isolate(t)
		for _, e := range append(env, "AWS_ACCESS_KEY_ID=AKIAX", "AWS_SECRET_ACCESS_KEY=x") {
			name, value, _ := strings.Cut(e, "=")
			t.Setenv(name, value)
		}
		c, err := connectAccess(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		got := c.(*accessClient)
		creds, err := got.credentials.Retrieve(t.Context())
		if err != nil || got.endpoint != endpoint || got.region != region || creds.AccessKeyID != "AKIAX" {
			t.Errorf("%+v with %s: got %s in %s as %s, %v; want %s in %s", target, env, got.endpoint, got.region, creds.AccessKeyID, err, endpoint, region)
		}
	}
	f(Target{}, "http://127.0.0.1:4566", "us-east-1")
	f(Target{}, "http://a:1", "us-east-1", "AWS_ENDPOINT_URL=http://a:1")
	f(Target{Endpoint: "http://e:1"}, "http://e:1", "eu-west-1", "AWS_ENDPOINT_URL=http://a:1", "AWS_REGION=eu-west-1")
	isolate(t)
	if _, err := connectAccess(t.Context(), Target{}); err == nil || !strings.Contains(err.Error(), "no credentials: set AWS_ACCESS_KEY_ID") {
		t.Errorf("without credentials: %v", err)
	}
}
