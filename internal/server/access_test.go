package server

import (
	"encoding/xml"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/secret"
)

// shownKey is what a start has shown.
type shownKey struct{ account, id, secret string }

// showing makes a server show keys into a list.
func showing(keys *[]shownKey) func(*Config) {
	return func(c *Config) {
		c.Access.ShowKey = func(account, id, secret string) { *keys = append(*keys, shownKey{account, id, secret}) }
	}
}

// all applies several changes.
func all(changes ...func(*Config)) func(*Config) {
	return func(c *Config) {
		for _, f := range changes {
			f(c)
		}
	}
}

// finish stops a server and waits.
func (r *running) finish() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Fatal(err)
	}
	r.done <- nil
}

// token calls the Security Token Service with an access key and returns the answer's elements.
func (r *running) token(accessKey, sessionToken string, parameters url.Values) map[string]string {
	r.t.Helper()
	parameters.Set("Version", "2011-06-15")
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url, strings.NewReader(parameters.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.sign(req, accessKey, sessionToken, "sts")
	resp, err := client(r.t, "HTTP/1.1").Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	elements := map[string]string{}
	d := xml.NewDecoder(resp.Body)
	name := ""
	for {
		t, err := d.Token()
		if err != nil {
			return elements
		}
		switch t := t.(type) {
		case xml.StartElement:
			name = t.Name.Local
		case xml.CharData:
			if text := strings.TrimSpace(string(t)); text != "" {
				elements[name] = text
			}
		}
	}
}

func (r *running) sign(req *http.Request, accessKey, sessionToken, service string) {
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+accessKey+"/20260101/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=00")
	if sessionToken != "" {
		req.Header.Set("X-Amz-Security-Token", sessionToken)
	}
}

// TestFirstKey follows an installation: its first root key is shown once, works after a restart, and can
// be replaced.
func TestFirstKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var keys []shownKey
	disk := all(onDisk(dir), showing(&keys), func(c *Config) { c.DefaultAccount = "111122223333" })
	r := start(t, disk)
	if len(keys) != 1 || keys[0].account != "111122223333" || len(keys[0].secret) != 40 {
		t.Fatalf("shown were %v", keys)
	}
	who := url.Values{"Action": {"GetCallerIdentity"}}
	if arn := r.token(keys[0].id, "", who)["Arn"]; arn != "arn:aws:iam::111122223333:root" {
		t.Errorf("the root key is %s", arn)
	}
	if strings.Contains(r.log.String(), keys[0].secret) {
		t.Error("the secret is in the log")
	}
	r.finish()
	r = start(t, disk)
	if len(keys) != 1 {
		t.Errorf("a second start has shown %v", keys[1:])
	}
	if arn := r.token(keys[0].id, "", who)["Arn"]; arn != "arn:aws:iam::111122223333:root" {
		t.Errorf("after a restart the root key is %s", arn)
	}
	r.finish()
	r = start(t, all(disk, func(c *Config) { c.DefaultAccount, c.Access.NewRootKey = "111122223333", true }))
	if len(keys) != 2 || keys[1].id == keys[0].id {
		t.Fatalf("shown were %v", keys)
	}
	if arn := r.token(keys[1].id, "", who)["Arn"]; arn != "arn:aws:iam::111122223333:root" {
		t.Errorf("the new root key is %s", arn)
	}
}

// TestSessionActsForItsAccount takes a session's account for Kinesis too.
func TestSessionActsForItsAccount(t *testing.T) {
	r := start(t, func(c *Config) { c.Access.AnyCredentials = true })
	s := r.token("test", "", url.Values{"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::444455556666:role/deployer"}, "RoleSessionName": {"ci"}})
	if s["SessionToken"] == "" {
		t.Fatalf("got %v", s)
	}
	create := func(accessKey, token, name string) {
		t.Helper()
		req := r.request("CreateStream", strings.NewReader(`{"StreamName":"`+name+`","ShardCount":1}`))
		r.sign(req, accessKey, token, "kinesis")
		resp, err := client(t, "HTTP/2.0").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	create(s["AccessKeyId"], s["SessionToken"], "by-session")
	req := r.request("DescribeStreamSummary", strings.NewReader(`{"StreamName":"by-session"}`))
	r.sign(req, "444455556666", "", "kinesis")
	resp, err := client(t, "HTTP/1.1").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the stream is not in the session's account: status %d", resp.StatusCode)
	}
}

// TestNodeKey starts with the node's key in every place, and without it.
func TestNodeKey(t *testing.T) {
	refused := func(names string, change func(*Config)) {
		t.Helper()
		cfg := Config{Listen: "127.0.0.1:0", MemoryBytes: 64 << 20, DefaultAccount: "000000000000", Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()}
		change(&cfg)
		if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("Run returned %v; want an error naming %s", err, names)
		}
	}
	dir := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(dir, "node.key")

	start(t, onDisk(dir)).finish()
	info, err := os.Stat(file)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Fatalf("the key's file: %v, %v", info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refused(file+" is missing", onDisk(dir))
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("another key was made in the place of the one that is missing: %v", err)
	}
	t.Setenv("KEY_OF_TEST", string(text))
	start(t, all(onDisk(dir), keyed("env:KEY_OF_TEST"))).finish()
	refused("KEY_OF_NOBODY", all(onDisk(dir), keyed("env:KEY_OF_NOBODY")))
	elsewhere := filepath.Join(t.TempDir(), "moved.key")
	if err := os.WriteFile(elsewhere, text, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, all(onDisk(dir), keyed(elsewhere))).finish()
	if err := os.WriteFile(file, []byte(secret.NewKey().Text().Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("another node key", onDisk(dir))
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("not a key", onDisk(dir))

	fresh := filepath.Join(t.TempDir(), "fresh.key")
	start(t, all(onDisk(filepath.Join(t.TempDir(), "other")), keyed(fresh))).finish()
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("a key was not made where it should be: %v", err)
	}
	refused("no such file", all(onDisk(filepath.Join(t.TempDir(), "third")), keyed(filepath.Join(dir, "no", "parent.key"))))
}
