package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/fxamacker/cbor/v2"

	"github.com/headrace/headrace/internal/binarytest"
	headrace "github.com/headrace/headrace/internal/server"
)

const (
	typeJSON = "application/x-amz-json-1.1"
	typeCBOR = "application/x-amz-cbor-1.1"
	typeForm = "application/x-www-form-urlencoded"
)

// isOpen says which of our own pages answer without a signature: health, and to processes of this
// machine the metrics, unless metrics.from says otherwise. Others are refused those: see package server.
func isOpen(r headrace.Route) bool {
	return r.Path == "/-/healthy" || r.Path == "/-/ready" || r.Path == "/metrics"
}

// isFree says which calls need a valid signature and no permission, as with AWS.
func isFree(r headrace.Route) bool {
	return r.Service == "sts" && (r.Operation == "GetCallerIdentity" || r.Operation == "GetSessionToken")
}

// caller is somebody who may do nothing. A refusal of theirs has the first code where AWS's JSON is
// spoken, in the query protocol and with our own calls the second.
type caller struct {
	name        string
	key         aws.Credentials
	json, query string
}

// TestWalk goes down every route that the tables of `headrace serve` have, and some that they have not,
// as everybody who may not: nothing but health answers with success, and in the end everything is as it
// was. Then root goes the same way and everything works: it was not for some other reason that the others
// were refused.
func TestWalk(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	before := w.state()
	seen := map[string]int{}
	for _, r := range headrace.Routes() {
		switch {
		case r.Development:
			w.absent(r)
		case r.Service == "":
			w.page(r)
		default:
			w.refused(r)
		}
		seen[r.Service]++
	}
	if seen["kinesis"] < 40 || seen["sts"] < 10 || seen["headrace"] < 20 || seen[""] < 5 {
		t.Errorf("the tables have too few routes: %v", seen)
	}
	w.strays()
	if after := w.state(); after != before {
		t.Errorf("somebody who may do nothing did something. Before:\n%s\nafter:\n%s", before, after)
	}
	for _, r := range headrace.Routes() {
		w.granted(r)
	}
}

// walk is a server, who may call it, and who may not.
type walk struct {
	t       *testing.T
	server  *binarytest.Server
	http    *http.Client
	root    aws.Credentials
	alice   aws.Credentials // may become the role reader
	callers []caller
	inputs  map[string]map[string]map[string]any // by service and operation
}

func newWalk(t *testing.T) *walk {
	s, err := binarytest.LaunchProfile(binary, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--wal-size", "32MiB", "--memory", "128MiB")
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{t: t, server: s, http: &http.Client{
		Timeout:       requestLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(func() {
		w.http.CloseIdleConnections()
		if err := s.Stop(); err != nil {
			t.Errorf("headrace did not stop cleanly: %v\n%s", err, s.Output())
		}
	})
	shown := shownKey.FindStringSubmatch(s.Output())
	if shown == nil {
		t.Fatalf("serve shows no root key:\n%s", s.Output())
	}
	w.root = aws.Credentials{AccessKeyID: shown[1], SecretAccessKey: shown[2]}
	w.furnish()
	return w
}

func (w *walk) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// answer is a response: its status, the code of its error if it has one, and its body.
type answer struct {
	status int
	code   string
	body   []byte
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s %q", a.status, a.code, a.body[:min(len(a.body), 200)])
}

// send makes a request, which the key signs for the service unless it is empty.
func (w *walk) send(key aws.Credentials, service, method, path, contentType, target string, body []byte) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.server.Endpoint+path, bytes.NewReader(body))
	w.ok(err)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if target != "" {
		r.Header.Set("X-Amz-Target", target)
	}
	if key.AccessKeyID != "" {
		sum := sha256.Sum256(body)
		w.ok(v4.NewSigner().SignHTTP(w.t.Context(), key, r, hex.EncodeToString(sum[:]), service, "us-east-1", time.Now()))
	}
	resp, err := w.http.Do(r)
	w.ok(err)
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	a.body, err = io.ReadAll(resp.Body)
	w.ok(err)
	a.code = codeOf(resp.Header.Get("Content-Type"), a.body)
	return a
}

// codeOf finds the code of an error as protocols have it.
func codeOf(contentType string, body []byte) string {
	var e struct {
		Type string `json:"__type" cbor:"__type"`
	}
	switch {
	case strings.Contains(contentType, "json"):
		_ = json.Unmarshal(body, &e) // no object has no code
		return e.Type
	case strings.Contains(contentType, "cbor"):
		_ = cbor.Unmarshal(body, &e)
		return e.Type
	case strings.Contains(contentType, "xml"):
		_, rest, _ := strings.Cut(string(body), "<Code>")
		code, _, _ := strings.Cut(rest, "</Code>")
		return code
	}
	code, _, _ := strings.Cut(string(body[:min(len(body), 100)]), ":")
	return code
}

// call makes the call of a route in one of its content types.
func (w *walk) call(key aws.Credentials, r headrace.Route, contentType string, in map[string]any) answer {
	w.t.Helper()
	return w.send(key, r.Service, r.Method, r.Path, contentType, r.Target, w.encode(r, contentType, in))
}

func (w *walk) encode(r headrace.Route, contentType string, in map[string]any) []byte {
	w.t.Helper()
	switch contentType {
	case typeCBOR:
		body, err := cbor.Marshal(in)
		w.ok(err)
		return body
	case typeForm:
		return []byte(form(r, in))
	}
	body, err := json.Marshal(in)
	w.ok(err)
	return body
}

// refused makes a call as everybody who may not.
func (w *walk) refused(r headrace.Route) {
	name := r.Service + " " + r.Operation
	in, known := w.inputs[r.Service][r.Operation]
	if r.Built && !known {
		w.t.Errorf("%s is built, and this walk has no input for it", name)
		return
	}
	if !known {
		in = map[string]any{}
	}
	for _, c := range w.callers {
		for _, contentType := range r.ContentTypes {
			want := c.json
			switch {
			case !r.Built && contentType == typeForm:
				want = "InvalidAction"
			case !r.Built:
				want = "UnknownOperationException"
			case r.Unsigned:
				want = "InvalidIdentityToken" // what is sent is the proof, and this is none
			case contentType == typeForm || r.Service == "headrace":
				want = c.query
			}
			try := func(how string, got answer) {
				w.t.Helper()
				if isFree(r) && c.query == "AccessDenied" {
					if got.status != http.StatusOK {
						w.t.Errorf("%s, %s, by %s: %v; want success", name, how, c.name, got)
					}
					return
				}
				if got.status/100 != 4 || got.code != want {
					w.t.Errorf("%s, %s, by %s: %v; want %s", name, how, c.name, got, want)
				}
			}
			try(contentType, w.call(c.key, r, contentType, in))
			if contentType == typeForm {
				try("GET", w.send(c.key, r.Service, http.MethodGet, "/?"+form(r, in), "", "", nil))
			}
		}
		if r.Path != "/" {
			w.otherMethods(r, c)
		}
	}
}

// methods are those that a request may have; the last is nobody's.
func methods() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"}
}

// otherMethods calls one of our own calls with the methods that it does not have.
func (w *walk) otherMethods(r headrace.Route, c caller) {
	for _, method := range methods() {
		if method == r.Method {
			continue
		}
		got := w.send(c.key, "headrace", method, r.Path, "", "", []byte("{}"))
		// A browser that asks before it calls learns which method there is, and nothing else.
		if asked := method == "OPTIONS" && got.status == http.StatusNoContent && len(got.body) == 0; got.status/100 != 4 && !asked {
			w.t.Errorf("%s %s by %s: %v; want a refusal", method, r.Path, c.name, got)
		}
	}
}

// pathOf is where one of our own pages or controls is asked for: hot keys are those of a stream.
func pathOf(r headrace.Route) string {
	if r.Path == "/_headrace/streams/hot" {
		return r.Path + "?stream=mill"
	}
	return r.Path
}

// isUnsupported says which calls nobody gets anything by yet: there are no channels.
func isUnsupported(r headrace.Route) bool {
	return strings.HasSuffix(r.Operation, "Channel")
}

// page asks for one of our own pages or controls.
func (w *walk) page(r headrace.Route) {
	for _, c := range w.callers {
		got := w.send(c.key, "headrace", r.Method, pathOf(r), "", "", nil)
		switch {
		case isOpen(r):
			if got.status != http.StatusOK {
				w.t.Errorf("%s %s by %s: %v; want success", r.Method, r.Path, c.name, got)
			}
			for _, method := range methods() {
				if got := w.send(c.key, "headrace", method, r.Path, "", "", nil); got.status != http.StatusMethodNotAllowed && method != "GET" && method != "HEAD" {
					w.t.Errorf("%s %s by %s: %v; want 405", method, r.Path, c.name, got)
				}
			}
		case c.query == "AccessDenied": // the signature is good
			says := string(got.body)
			if got.status != http.StatusForbidden || !strings.Contains(says, "alone") && !strings.Contains(says, "is not authorized to perform: ") {
				w.t.Errorf("%s %s by %s: %v; want a refusal", r.Method, r.Path, c.name, got)
			}
		case got.status != http.StatusForbidden || got.code != c.json:
			w.t.Errorf("%s %s by %s: %v; want %s", r.Method, r.Path, c.name, got, c.json)
		}
		if !isOpen(r) {
			w.otherMethods(r, c)
		}
	}
}

// absent asks for what dev alone has, which not even root gets to see.
func (w *walk) absent(r headrace.Route) {
	before, rest, wild := strings.Cut(r.Path, "{")
	path := before
	if wild {
		_, after, _ := strings.Cut(rest, "}")
		path = before + "heap" + after
	}
	for _, c := range append([]caller{{name: "root", key: w.root}}, w.callers...) {
		for _, method := range methods() {
			if got := w.send(c.key, "headrace", method, path, "", "", nil); got.status != http.StatusNotFound {
				w.t.Errorf("%s %s by %s: %v; want 404", method, path, c.name, got)
			}
		}
	}
}

// strays goes where no table leads: paths that look like something, with every method, once with the
// body of a call that would have an effect. AWS's calls are taken on any path, and refused there too.
func (w *walk) strays() {
	call := headrace.Route{Method: "POST", Path: "/", Service: "kinesis", Target: target + "CreateStream"}
	body := w.encode(call, typeJSON, w.inputs["kinesis"]["CreateStream"])
	for _, path := range []string{
		"/", "/anything", "/mill/shards?force=true", "/?Action=CreateUser&Version=2010-05-08&UserName=mallory", "/-", "/-/", "/-/healthy/", "/-/stop", "/-/reload", "/-/quit",
		"//metrics", "/metrics/", "/Metrics", "/metrics/../_headrace/backup", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/_headrace", "/_headrace/", "/_headrace/clock", "/_headrace/debug/",
		"/_headrace/debug/profiles/", "/_headrace/debug/pprof/heap", "/_headrace/backup/", "/_headrace//backup", "/_headrace/./backup", "/_headrace/%62ackup%2F", "/_headrace/restore", "/_headrace/access",
		"/_headrace/access/", "/_headrace/access/NoSuchOperation", "/_headrace/access/CreateUser/", "/_headrace//access/CreateUser", "/x/../_headrace/access/CreateUser", "/_HEADRACE/access/CreateUser",
		"/_headrace/access/createuser", "/_aws/health", "/_localstack/health", "/console", "/favicon.ico", "/.well-known/acme-challenge/x", "/.well-known/openid-configuration",
	} {
		for _, method := range methods() {
			for _, c := range w.callers {
				got := w.send(c.key, "kinesis", method, path, typeJSON, call.Target, body)
				if got.status/100 != 4 {
					w.t.Errorf("%s %s by %s: %v; want a refusal", method, path, c.name, got)
				}
			}
		}
	}
}

// granted makes a call as root, or as the user that may become the role.
func (w *walk) granted(r headrace.Route) {
	if !r.Built || r.Unsigned || r.Development || isOpen(r) {
		return
	}
	key, in, contentTypes := w.root, w.inputs[r.Service][r.Operation], r.ContentTypes
	switch r.Service {
	case "":
		if got := w.send(key, "headrace", r.Method, pathOf(r), "", "", nil); got.status != http.StatusOK {
			w.t.Errorf("%s %s by root: %v; want success", r.Method, r.Path, got)
		}
		return
	case "sts":
		if r.Operation == "AssumeRole" {
			key = w.alice
		}
	case "headrace":
		contentTypes = contentTypes[:1]
	}
	for i, contentType := range contentTypes {
		if r.Service == "kinesis" {
			all := w.streamCalls(fmt.Sprintf("%s-%d", r.Operation, i))
			if in = all[r.Operation]; r.Operation == "SubscribeToShard" {
				w.kinesis("SplitShard", all["SplitShard"]) // so that the answer ends
			}
		}
		got := w.call(key, r, contentType, in)
		if isUnsupported(r) {
			if got.code != "InvalidArgumentException" && got.code != "ResourceNotFoundException" {
				w.t.Errorf("%s by root: %v; want to hear that there are no channels", r.Operation, got)
			}
			continue
		}
		if got.status != http.StatusOK {
			w.t.Errorf("%s %s, %s, by whoever may: %v; want success", r.Service, r.Operation, contentType, got)
		}
	}
}
