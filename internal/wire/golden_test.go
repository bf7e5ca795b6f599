package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files with what the handler answers")

// The files in testdata/golden are lists of cases: a comment, a request, "----", the response, and
// "====" after each case. A request's first line is its method, URL and the word "signed" if it is; a
// body that starts with "hex:" is binary, and "chunked:" hides its length. Every case runs over
// HTTP/1.1 and over HTTP/2 in cleartext, and both must give the response in the file. Of its headers
// those are left out that differ each time; that they are right is checked all the same.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("found golden files %v, error %v", files, err)
	}
	server := newServer(t, NewHandler(fakeConfig()))
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { testGoldenFile(t, server, file) })
	}
}

func testGoldenFile(t *testing.T, server *httptest.Server, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rewritten strings.Builder
	for _, c := range strings.SplitAfter(string(text), "\n====\n") {
		if strings.TrimSpace(c) == "" {
			continue
		}
		request, want, ok := strings.Cut(strings.TrimSuffix(c, "====\n"), "----\n")
		if !ok {
			t.Fatalf("case without ----:\n%s", c)
		}
		var got string
		for _, version := range []int{2, 1} {
			got = exchangeText(t, client(version), server.URL, request)
			if got != want && !*update {
				t.Errorf("HTTP/%d: request\n%s\n got\n%s\nwant\n%s", version, request, got, want)
			}
		}
		rewritten.WriteString(request + "----\n" + got + "====\n")
	}
	if *update {
		if err := os.WriteFile(file, []byte(rewritten.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// exchangeText sends the request written in text and returns the response as text.
func exchangeText(t *testing.T, c *http.Client, base, text string) string {
	t.Helper()
	r, err := parseRequest(base, text)
	if err != nil {
		t.Fatalf("request %q: %v", text, err)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatalf("request %q: %v", text, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("response to %q: %v", text, err)
	}
	checkIDs(t, r, resp)
	if r.Method != "HEAD" && resp.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
		t.Errorf("Content-Length %q for %d bytes", resp.Header.Get("Content-Length"), len(body))
	}

	var out strings.Builder
	fmt.Fprintln(&out, resp.StatusCode)
	var names []string
	for name := range resp.Header {
		if !slices.Contains([]string{"Date", "X-Amzn-Requestid", "X-Amz-Id-2", "Content-Length"}, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&out, "%s: %s\n", name, strings.Join(resp.Header[name], ", "))
	}
	if len(body) > 0 {
		// XML has the request's id in it.
		text := strings.ReplaceAll(readable(body), resp.Header.Get("x-amzn-RequestId"), "REQUEST-ID")
		fmt.Fprintf(&out, "\n%s\n", strings.TrimSuffix(text, "\n"))
	}
	return out.String()
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// checkIDs checks the two ids of a response.
func checkIDs(t *testing.T, r *http.Request, resp *http.Response) {
	t.Helper()
	if id := resp.Header.Get("x-amzn-RequestId"); !uuid.MatchString(id) {
		t.Errorf("%s: x-amzn-RequestId %q is not a version 4 UUID", r.Method, id)
	}
	id2, err := base64.StdEncoding.DecodeString(resp.Header.Get("x-amz-id-2"))
	want := 72
	if r.Method == "OPTIONS" && r.Header.Get("Origin") != "" {
		want = 0
	}
	if err != nil || len(id2) != want {
		t.Errorf("%s: x-amz-id-2 has %d bytes, error %v, want %d bytes", r.Method, len(id2), err, want)
	}
}

func parseRequest(base, text string) (*http.Request, error) {
	for strings.HasPrefix(text, "#") || strings.HasPrefix(text, "\n") {
		_, text, _ = strings.Cut(text, "\n")
	}
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	first := strings.Fields(lines[0])
	content := []byte(strings.TrimSuffix(body, "\n"))
	chunked := bytes.HasPrefix(content, []byte("chunked:"))
	content = bytes.TrimPrefix(content, []byte("chunked:"))
	if digits, ok := bytes.CutPrefix(content, []byte("hex:")); ok {
		var err error
		if content, err = hex.DecodeString(string(digits)); err != nil {
			return nil, err
		}
	}
	var from io.Reader = bytes.NewReader(content)
	if chunked {
		from = struct{ io.Reader }{from}
	}
	r, err := http.NewRequest(first[0], base+first[1], from)
	if err != nil {
		return nil, err
	}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("no header: %q", line)
		}
		r.Header.Add(name, strings.TrimPrefix(value, " "))
	}
	if len(first) > 2 && first[2] == "signed" {
		sign(r.Header)
	}
	return r, nil
}

// newServer serves h on a loopback port, over HTTP/1.1 and HTTP/2 in cleartext.
func newServer(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// client returns a client for one version of HTTP.
func client(version int) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(version == 1)
	p.SetUnencryptedHTTP2(version == 2)
	return &http.Client{Transport: &http.Transport{Protocols: p, DisableCompression: true}}
}
