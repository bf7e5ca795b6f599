package server

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/audit"
	"github.com/headrace/headrace/internal/config"
	"github.com/headrace/headrace/internal/testpoll"
	"github.com/headrace/headrace/internal/wire"
)

// audited starts a server that writes calls down and returns a function that reads what it wrote, once
// there are so many lines of a sequence.
func audited(t *testing.T, change func(*Config)) (r *running, read func(sequence string, lines int) []map[string]any) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "events")
	r = start(t, func(c *Config) {
		c.Audit = Audit{On: true, Directory: dir, FileBytes: 1 << 20, TotalBytes: 4 << 20, FileAge: time.Hour}
		if change != nil {
			change(c)
		}
	})
	return r, func(sequence string, lines int) (events []map[string]any) {
		t.Helper()
		var text []byte
		testpoll.Until(t, 10*time.Second, func() bool {
			files, err := filepath.Glob(filepath.Join(dir, sequence+"-*.jsonl"))
			if err != nil || len(files) == 0 {
				return lines == 0
			}
			if text, err = os.ReadFile(files[0]); err != nil {
				t.Fatal(err)
			}
			return bytes.Count(text, []byte("\n")) >= lines
		}, "lines of the audit log")
		for line := range bytes.Lines(text) {
			var event map[string]any
			if err := json.Unmarshal(line, &event); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			events = append(events, event)
		}
		return events
	}
}

// member returns a value by its path.
func member(event map[string]any, path string) any {
	var v any = event
	for name := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			v = at[0].(map[string]any)[name]
		default:
			return nil
		}
	}
	return v
}

func TestCallsAreWrittenDown(t *testing.T) {
	r, read := audited(t, nil)
	c := client(t, "HTTP/1.1")
	resp, _ := r.call(c, "CreateStream", `{"StreamName":"clicks","ShardCount":2}`)
	r.call(c, "PutRecord", `{"StreamName":"clicks","PartitionKey":"k","Data":"aGVsbG8="}`)
	r.call(c, "DescribeStreamSummary", `{"StreamName":"nope"}`)
	r.call(c, "UpdateShardCount", `{"StreamName":"clicks","TargetShardCount":4,"ScalingType":"UNIFORM_SCALING"}`)
	events := read("calls", 3)
	f := func(i int, path string, want any) {
		t.Helper()
		if got := member(events[i], path); got != want {
			t.Errorf("event %d: %s is %v, want %v", i, path, got, want)
		}
	}
	if len(events) != 3 { // the put is data
		t.Fatalf("%d events: %v", len(events), events)
	}
	f(0, "eventName", "CreateStream")
	f(0, "eventSource", "kinesis.amazonaws.com")
	f(0, "awsRegion", "us-east-1")
	f(0, "userIdentity.type", "AWSAccount")
	f(0, "userIdentity.accountId", "000000000000")
	f(0, "userIdentity.accessKeyId", "test")
	f(0, "sourceIPAddress", "127.0.0.1")
	f(0, "userAgent", "Go-http-client/1.1")
	f(0, "requestParameters.streamName", "clicks")
	f(0, "requestParameters.shardCount", float64(2))
	f(0, "responseElements", nil)
	f(0, "requestID", resp.Header.Get("X-Amzn-Requestid"))
	f(0, "readOnly", false)
	f(0, "managementEvent", true)
	f(0, "resources.ARN", "arn:aws:kinesis:us-east-1:000000000000:stream/clicks")
	f(0, "recipientAccountId", "000000000000")
	f(0, "errorCode", nil)
	f(0, "tlsDetails", nil)
	f(1, "eventName", "DescribeStreamSummary")
	f(1, "errorCode", "ResourceNotFoundException")
	f(1, "errorMessage", "Stream nope under account 000000000000 not found.")
	f(1, "readOnly", true)
	f(2, "eventName", "UpdateShardCount")
	f(2, "responseElements.targetShardCount", float64(4))
	if text, _ := r.get("/metrics"); text != 200 {
		t.Fatal("no metrics")
	}
	if _, text := r.get("/metrics"); !strings.Contains(text, "\nheadrace_audit_events_total 3\n") || !strings.Contains(text, "\nheadrace_audit_dropped_total 0\n") {
		t.Error("the metrics do not count three events")
	}
}

func TestDataEventsAreWrittenDownIfAskedFor(t *testing.T) {
	r, read := audited(t, func(c *Config) { c.Audit.DataEvents = true })
	c := client(t, "HTTP/1.1")
	r.call(c, "CreateStream", `{"StreamName":"clicks","ShardCount":1}`)
	r.call(c, "PutRecord", `{"StreamName":"clicks","PartitionKey":"hush-key","Data":"aHVzaC1yZWNvcmQ="}`)
	r.call(c, "PutRecords", `{"StreamName":"clicks","Records":[{"PartitionKey":"hush-key","Data":"aHVzaC1yZWNvcmQ="}]}`)
	_, iterator := r.call(c, "GetShardIterator", `{"StreamName":"clicks","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)
	r.call(c, "GetRecords", iterator)
	// Errors of these calls repeat what was sent.
	r.call(c, "PutRecord", `{"StreamName":"clicks","PartitionKey":"k","ExplicitHashKey":"hush-hash","Data":"aGVsbG8="}`)
	r.call(c, "GetRecords", `{"ShardIterator":"hush-iterator"}`)
	events := read("calls", 7)
	for i, want := range []string{"CreateStream", "PutRecord", "PutRecords", "GetShardIterator", "GetRecords", "PutRecord", "GetRecords"} {
		if events[i]["eventName"] != want || events[i]["managementEvent"] != (i == 0) || events[i]["readOnly"] != (i == 3 || i == 4 || i == 6) || (events[i]["errorCode"] != nil) != (i > 4) {
			t.Errorf("event %d is %v", i, events[i])
		}
	}
	if got := member(events[2], "requestParameters.streamName"); got != "clicks" {
		t.Errorf("the parameters of a put name stream %v", got)
	}
	var handle struct{ ShardIterator string }
	if err := json.Unmarshal([]byte(iterator), &handle); err != nil {
		t.Fatal(err)
	}
	noSecrets(t, events, "hush", "aHVzaC", handle.ShardIterator)
}

// noSecrets looks for texts that must not be in any event.
func noSecrets(t *testing.T, events []map[string]any, secrets ...string) {
	t.Helper()
	text, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if s == "" || bytes.Contains(text, []byte(s)) {
			t.Errorf("%q is in the audit log: %s", s, text)
		}
	}
}

// Whoever is refused is written down, for data calls as well, and beside the calls of known callers.
func TestDenialsAreWrittenDown(t *testing.T) {
	r, read := audited(t, nil)
	c := client(t, "HTTP/1.1")
	send := func(change func(*http.Request)) {
		req := r.request("PutRecord", strings.NewReader(`{"StreamName":"clicks","PartitionKey":"hush-key","Data":"aHVzaC1yZWNvcmQ="}`))
		change(req)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	send(func(r *http.Request) { r.Header.Del("Authorization") })
	send(func(r *http.Request) {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAHUSH/20260101/us-east-1/kinesis/aws4_request, Signature=hush-signature")
		r.Header.Set("X-Amz-Security-Token", "hush-token")
	})
	events := read("refused", 2)
	f := func(i int, path string, want any) {
		t.Helper()
		if got := member(events[i], path); got != want {
			t.Errorf("event %d: %s is %v, want %v", i, path, got, want)
		}
	}
	for i := range 2 {
		f(i, "eventName", "PutRecord")
		f(i, "managementEvent", false)
		f(i, "userIdentity.type", "Unknown")
		f(i, "requestParameters", nil)
		f(i, "sourceIPAddress", "127.0.0.1")
	}
	f(0, "errorCode", "MissingAuthenticationTokenException")
	f(1, "errorCode", "IncompleteSignatureException")
	noSecrets(t, events, "hush", "aHVzaC")
	if calls := read("calls", 0); len(calls) != 0 {
		t.Errorf("strangers are among the known callers: %v", calls)
	}
}

// Secrets in headers and URLs of calls that are written down do not get into the log.
func TestSecretsAreNotWrittenDown(t *testing.T) {
	r, read := audited(t, func(c *Config) { c.Audit.DataEvents = true })
	c := client(t, "HTTP/1.1")
	req := r.request("CreateStream", strings.NewReader(`{"StreamName":"clicks","ShardCount":1,"Unknown":"hush-member"}`))
	req.Header.Set("X-Amz-Security-Token", "hush-token")
	req.Header.Set("Authorization", strings.Replace(req.Header.Get("Authorization"), "Signature=00", "Signature=hush-signature", 1))
	req.Header.Set("Cookie", "hush-cookie")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	presigned := r.request("ListStreams", strings.NewReader(`{"NextToken":"hush-page"}`))
	presigned.Header.Del("Authorization")
	presigned.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test%2F20260101%2Fus-east-1%2Fkinesis%2Faws4_request&X-Amz-Date=20260101T000000Z" +
		"&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Security-Token=hush-token&X-Amz-Signature=hush-signature"
	resp, err = c.Do(presigned)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	events := read("calls", 2)
	if events[0]["eventName"] != "CreateStream" || events[1]["eventName"] != "ListStreams" {
		t.Fatalf("got %v", events)
	}
	noSecrets(t, events, "hush")
}

func TestTLSIsWrittenDown(t *testing.T) {
	r, read := audited(t, func(c *Config) { c.TLS = config.TLS{Mode: config.TLSSelfSigned} })
	c := client(t, "HTTP/1.1")
	c.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
	r.url = "https" + strings.TrimPrefix(r.url, "http")
	r.call(c, "ListStreams", "{}")
	c.Transport.(*http.Transport).CloseIdleConnections()
	c.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	r.call(c, "ListStreams", "{}")
	events := read("calls", 2)
	f := func(i int, path string, want any) {
		t.Helper()
		if got := member(events[i], path); got != want {
			t.Errorf("event %d: %s is %v, want %v", i, path, got, want)
		}
	}
	f(0, "tlsDetails.tlsVersion", "TLSv1.2")
	f(0, "tlsDetails.cipherSuite", "ECDHE-ECDSA-AES128-GCM-SHA256")
	f(0, "tlsDetails.clientProvidedHostHeader", strings.TrimPrefix(r.url, "https://"))
	f(1, "tlsDetails.tlsVersion", "TLSv1.3")
	if suite, _ := member(events[1], "tlsDetails.cipherSuite").(string); !strings.HasPrefix(suite, "TLS_AES_") && !strings.HasPrefix(suite, "TLS_CHACHA20_") {
		t.Errorf("the suite of TLS 1.3 is %q", suite)
	}
}

// CloudTrail's words for principals.
func TestIdentities(t *testing.T) {
	f := func(principal string, want audit.Identity) {
		t.Helper()
		want.ARN, want.AccountID, want.AccessKeyID = principal, "111122223333", "AKIA"
		if got := identityOf(wire.Event{Account: "111122223333", AccessKeyID: "AKIA", Principal: principal}); got != want {
			t.Errorf("%s: %+v, want %+v", principal, got, want)
		}
	}
	f("", audit.Identity{Type: "AWSAccount"})
	f("arn:aws:iam::111122223333:root", audit.Identity{Type: "Root"})
	f("arn:aws:iam::111122223333:user/alice", audit.Identity{Type: "IAMUser", UserName: "alice"})
	f("arn:aws:iam::111122223333:user/team/a/alice", audit.Identity{Type: "IAMUser", UserName: "alice"})
	f("arn:aws:sts::111122223333:assumed-role/deployer/ci", audit.Identity{Type: "AssumedRole"})
	f("arn:aws:sts::111122223333:federated-user/bob", audit.Identity{Type: "FederatedUser"})
	f("no arn", audit.Identity{Type: "AWSAccount"})
}

// What the Security Token Service hands out is not written down.
func TestSessionsAreWrittenDownWithoutTheirSecrets(t *testing.T) {
	r, read := audited(t, func(c *Config) { c.Access.AnyCredentials = true })
	c := client(t, "HTTP/1.1")
	form := "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::111122223333:role/deployer&RoleSessionName=ci"
	req := r.request("", strings.NewReader(form))
	req.Header.Del("X-Amz-Target")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", strings.Replace(req.Header.Get("Authorization"), "/kinesis/", "/sts/", 1))
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s, %v", resp.StatusCode, answer, err)
	}
	between := func(tag string) string {
		_, rest, _ := strings.Cut(string(answer), "<"+tag+">")
		value, _, _ := strings.Cut(rest, "</"+tag+">")
		return strings.TrimSpace(value)
	}
	events := read("calls", 1)
	if events[0]["eventName"] != "AssumeRole" || events[0]["eventSource"] != "sts.amazonaws.com" || member(events[0], "requestParameters.roleSessionName") != "ci" ||
		member(events[0], "responseElements.credentials.accessKeyId") != between("AccessKeyId") {
		t.Errorf("got %v", events)
	}
	noSecrets(t, events, between("SecretAccessKey"), between("SessionToken"))
}

func TestSuiteNames(t *testing.T) {
	f := func(suite uint16, want string) {
		t.Helper()
		if got := suiteName(&tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: suite}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384")
	f(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA")
	f(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305")
}

// Pages of our own, and calls of nothing that exists, are no events.
func TestWhatIsNoEvent(t *testing.T) {
	r, read := audited(t, nil)
	r.get("/-/healthy")
	r.get("/")
	c := client(t, "HTTP/1.1")
	r.call(c, "NoSuchOperation", "{}")
	req := r.request("ListStreams", strings.NewReader("{}"))
	req.Header.Set("X-Amz-Target", "Nothing.Here")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	r.call(c, "ListStreams", "{}")
	if events := read("calls", 1); len(events) != 1 || events[0]["eventName"] != "ListStreams" {
		t.Errorf("got %v", events)
	}
}

func TestAuditThatCannotBeOpened(t *testing.T) {
	cfg := Config{Listen: "127.0.0.1:0", MemoryBytes: 64 << 20, Logger: discard(), Registry: newRegistry(), Access: Access{AnyCredentials: true}, Audit: Audit{On: true, FileBytes: 1 << 20, TotalBytes: 4 << 20, FileAge: time.Hour}}
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "audit.directory") {
		t.Errorf("without a directory: %v", err)
	}
	r, _ := audited(t, func(c *Config) { cfg.Audit.Directory = c.Audit.Directory })
	_ = r
	cfg.Registry = newRegistry()
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "another process writes there") {
		t.Errorf("in a directory that is written to: %v", err)
	}
}

// TestRates shows that the settings reach requests: of this machine by key alone.
func TestRates(t *testing.T) {
	r := start(t, func(c *Config) { c.RequestsPerKey, c.RequestsPerAddress = 3, 1 })
	c := client(t, "HTTP/1.1")
	throttled := 0
	for range 10 {
		if resp, body := r.call(c, "ListStreams", "{}"); resp.StatusCode == 400 && strings.Contains(body, `"ThrottlingException"`) {
			throttled++
		}
	}
	if throttled == 0 || throttled > 7 {
		t.Errorf("%d of 10 requests were throttled at three a second, want up to 7", throttled)
	}
	if _, text := r.get("/metrics"); !strings.Contains(text, `headrace_requests_throttled_total{by="key"}`) || strings.Contains(text, `by="address"`) {
		t.Error("the metrics do not say that a key was throttled, and no address")
	}
}

// An address has a bucket, its IPv6 neighbours share it, and this machine has none.
func TestRatesByAddress(t *testing.T) {
	meters := newMeters(t)
	rates := newRates(Config{RequestsPerAddress: 1}, meters.Port())
	f := func(peer string, want bool) {
		t.Helper()
		r := &http.Request{RemoteAddr: peer}
		if got := rates.admit(r); got != want {
			t.Errorf("%s: admitted %t, want %t", peer, got, want)
		}
	}
	f("192.0.2.1:1000", true)
	f("192.0.2.1:1001", false)
	f("[::ffff:192.0.2.1]:1001", false)
	f("192.0.2.2:1000", true)
	f("[2001:db8::1]:1000", true)
	f("[2001:db8::ffff]:1000", false)
	f("[2001:db8:0:1::1]:1000", true)
	for range 10 {
		f("127.0.0.1:1000", true)
		f("[::1]:1000", true)
	}
}
