package sigv4_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
)

// captured is a request that a real client signed, as net/http gave it to a server. testdata/captured
// has one file a client. All were signed with this package's keys; TestRecord makes them.
type captured struct {
	Proto            string
	Method           string
	URI              string
	Host             string
	Header           http.Header
	TransferEncoding []string `json:",omitempty"`
	ContentLength    int64
	Close            bool `json:",omitempty"`
	Body             body
}

// body is written as text where it is one, and else compressed, in base64.
type body []byte

// MarshalText implements encoding.TextMarshaler.
func (b body) MarshalText() ([]byte, error) {
	if utf8.Valid(b) && len(b) < 4<<10 {
		return append([]byte("text:"), b...), nil
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(b)
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	return base64.StdEncoding.AppendEncode([]byte("gzip:"), packed.Bytes()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *body) UnmarshalText(text []byte) error {
	kind, content, _ := bytes.Cut(text, []byte(":"))
	if string(kind) == "text" {
		*b = content
		return nil
	}
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(content)))
	if err != nil {
		return err
	}
	*b, err = io.ReadAll(z)
	return err
}

// load returns the requests of every client.
func load(t testing.TB) map[string][]captured {
	t.Helper()
	files, err := filepath.Glob("testdata/captured/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of captured requests, %v", len(files), err)
	}
	all := make(map[string][]captured)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var of []captured
		if err := json.Unmarshal(text, &of); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = of
	}
	return all
}

// errHTTP says that net/http would not have given the request to anybody.
var errHTTP = errors.New("no request of HTTP")

// request returns c as the server had it.
func (c captured) request() (*http.Request, error) {
	u, err := url.ParseRequestURI(c.URI)
	if err != nil {
		return nil, errHTTP
	}
	for _, values := range c.Header {
		if slices.ContainsFunc(values, func(v string) bool {
			return strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
		}) {
			return nil, errHTTP
		}
	}
	host := c.Host
	if u.Host != "" {
		host = u.Host
	}
	r := &http.Request{
		Method: c.Method, URL: u, RequestURI: c.URI, Proto: c.Proto, Host: host, Header: c.Header,
		TransferEncoding: c.TransferEncoding, ContentLength: c.ContentLength, Close: c.Close,
	}
	return r.WithContext(context.Background()), nil
}

// at returns the time at which the request was signed.
func (c captured) at() time.Time {
	stamp := c.Header.Get("X-Amz-Date")
	if u, err := url.Parse(c.URI); err == nil && u.Query().Has("X-Amz-Date") {
		stamp = u.Query().Get("X-Amz-Date")
	}
	t, err := time.Parse("20060102T150405Z", stamp)
	if err != nil {
		panic(err)
	}
	return t
}

// rules are those of the service that the request is for.
func (c captured) rules() sigv4.Rules {
	r, err := c.request()
	if err != nil {
		panic(err)
	}
	credential, err := sigv4.Parse(r)
	if err != nil {
		panic(err)
	}
	rules := sigv4.Rules{Service: credential.Service}
	switch {
	case credential.Service == "s3":
		rules = bucket
	case r.URL.Path == "/putMedia":
		rules.Payloads = sigv4.Endless
	}
	return rules
}

// verify judges the request at the time at which it was signed.
func (c captured) verify(rules sigv4.Rules, at time.Time) error {
	r, err := c.request()
	if err != nil {
		return err
	}
	keys := newKeys()
	temporary := keys[tempID]
	temporary.Expires = at.Add(time.Hour)
	keys[tempID] = temporary
	_, _, err = verify(sigv4.NewVerifier(keys, clock.NewManual(at)), r, c.Body, rules)
	return err
}

func TestCapturedRequests(t *testing.T) {
	for client, requests := range load(t) {
		for i, c := range requests {
			if err := c.verify(c.rules(), c.at()); err != nil {
				t.Errorf("%s, request %d, %s %s: %v", client, i, c.Method, c.URI, err)
			}
			err := c.verify(c.rules(), c.at().Add(8*24*time.Hour))
			expectRefusal(t, client+" a week later", err, sigv4.Invalid, "Signature expired: ")
		}
	}
}

// TestRecord writes what clients send to a file, when it is told one:
//
//	SIGV4_RECORD=boto3.json go test -v -run TestRecord ./internal/auth/sigv4
//
// It prints its two endpoints, answers every request with next to nothing, and ends when its input
// does. The credentials are those of world_test.go.
func TestRecord(t *testing.T) {
	file := os.Getenv("SIGV4_RECORD")
	if file == "" {
		t.Skip("SIGV4_RECORD names no file")
	}
	var mu sync.Mutex
	var all []captured
	record := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read body: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, captured{
			Proto: r.Proto, Method: r.Method, URI: r.RequestURI, Host: r.Host, Header: r.Header.Clone(),
			TransferEncoding: r.TransferEncoding, ContentLength: r.ContentLength, Close: r.Close, Body: body,
		})
		switch kind := r.Header.Get("Content-Type"); {
		case strings.Contains(kind, "cbor"):
			w.Header().Set("Content-Type", kind)
			w.Write([]byte{0xa0})
		case strings.Contains(kind, "json"):
			w.Header().Set("Content-Type", kind)
			io.WriteString(w, "{}")
		}
	})
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	plain, secure := httptest.NewUnstartedServer(record), httptest.NewTLSServer(record)
	plain.Config.Protocols = protocols
	plain.Start()
	defer plain.Close()
	defer secure.Close()
	t.Logf("recording at %s and %s until the input ends", plain.URL, secure.URL)
	io.Copy(io.Discard, os.Stdin)
	mu.Lock()
	defer mu.Unlock()
	text, err := json.MarshalIndent(all, "", "\t")
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o600)
	}
	if err != nil {
		t.Error(err)
	}
}
