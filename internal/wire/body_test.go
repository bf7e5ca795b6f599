package wire

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
)

func zip(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// post sends r and returns what came back.
func post(t testing.TB, c *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("x-amzn-RequestId") == "" {
		t.Error("response without x-amzn-RequestId")
	}
	return resp, string(b)
}

func TestGzip(t *testing.T) {
	server := newServer(t, NewHandler(fakeConfig()))
	f := func(encoding string, body []byte, wantStatus int, wantBody string) {
		t.Helper()
		for _, version := range []int{1, 2} {
			r := newCall(t, server.URL, "Echo", typeJSON11, body)
			r.Header.Set("Content-Encoding", encoding)
			if resp, got := post(t, client(version), r); resp.StatusCode != wantStatus || got != wantBody {
				t.Errorf("HTTP/%d, encoding %q: got %d %s, want %d %s", version, encoding, resp.StatusCode, got, wantStatus, wantBody)
			}
		}
	}
	const unparsable = `{"__type":"SerializationException"}`
	const tooLarge = `{"__type":"RequestEntityTooLargeException","message":"Request body is larger than the server accepts."}`
	doc := []byte(`{"Name":"x"}`)
	spaces := func(n int) []byte { return append(bytes.Repeat([]byte(" "), n), doc...) }
	f("gzip", zip(t, doc), 200, `{"Name":"x"}`)
	f(" GZIP ", zip(t, doc), 200, `{"Name":"x"}`)
	f("gzip", append(zip(t, doc[:5]), zip(t, doc[5:])...), 200, `{"Name":"x"}`)
	f("amz-1.0", doc, 200, `{"Name":"x"}`)
	f("deflate", zip(t, doc), 400, unparsable)

	f("gzip", doc, 400, unparsable)
	f("gzip", zip(t, doc)[:20], 400, unparsable)
	f("gzip", append(zip(t, doc), "tail"...), 400, unparsable)
	f("gzip", zip(t, nil), 400, unparsable) // an empty body

	f("gzip", zip(t, spaces(1<<20-100)), 200, `{"Name":"x"}`) // 1000:1, but small
	f("gzip", zip(t, spaces(2<<20)), 413, tooLarge)           // ratio
	f("gzip", zip(t, zip(t, spaces(20<<20))), 400, unparsable)
	random := make([]byte, 15<<20)
	for i := range random {
		random[i] = byte(i*i>>8) ^ byte(i>>3)
	}
	f("gzip", zip(t, random), 413, tooLarge)
}

func TestBodyCap(t *testing.T) {
	c := fakeConfig()
	c.MaxBody = 100_000
	server := newServer(t, NewHandler(c))
	f := func(version, size int, contentType string, chunked bool, wantStatus int) {
		t.Helper()
		body := `{"Name":"x"}` + strings.Repeat(" ", size-len(`{"Name":"x"}`))
		r := newCall(t, server.URL, "Echo", contentType, []byte(body))
		if chunked {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
		}
		resp, _ := post(t, client(version), r)
		if resp.StatusCode != wantStatus {
			t.Errorf("HTTP/%d, %s of %d bytes, chunked %v: got %d, want %d", version, contentType, size, chunked, resp.StatusCode, wantStatus)
		}
		if wantStatus == 413 && version == 1 && !resp.Close {
			t.Errorf("%s of %d bytes, chunked %v: the connection stays open", contentType, size, chunked)
		}
	}
	for _, version := range []int{1, 2} {
		for _, chunked := range []bool{false, true} {
			f(version, 100_000, typeJSON11, chunked, 200)
			f(version, 100_001, typeJSON11, chunked, 413)
			f(version, 300_000, typeJSON11, chunked, 413)
			f(version, 100_000, "text/plain", chunked, 404)
			f(version, 100_001, "text/plain", chunked, 413)
		}
	}
}

func TestBodySizes(t *testing.T) {
	server := newServer(t, NewHandler(fakeConfig()))
	for _, size := range []int{1 << 12, 1<<12 + 1, 1 << 16, 1<<16 + 1, 1 << 18, 1<<18 + 1, 3 << 20, 14 << 20} {
		for _, chunked := range []bool{false, true} {
			for _, version := range []int{1, 2} {
				body := `{"Name":"x"` + strings.Repeat(" ", size-len(`{"Name":"x"}`)) + `}`
				r := newCall(t, server.URL, "Echo", typeJSON11, []byte(body))
				if chunked {
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
				}
				if resp, got := post(t, client(version), r); resp.StatusCode != 200 || got != `{"Name":"x"}` {
					t.Errorf("HTTP/%d, %d bytes, chunked %v: got %d %s", version, size, chunked, resp.StatusCode, got)
				}
			}
		}
	}
}

// A compressed body that goes on without ever becoming content ends like one that is too large.
func TestEmptyGzipMembers(t *testing.T) {
	c := fakeConfig()
	c.MaxBody = 64 << 10
	server := newServer(t, NewHandler(c))
	f := func(members, wantStatus int) {
		t.Helper()
		body := append(bytes.Repeat(zip(t, nil), members), zip(t, []byte(`{"Name":"x"}`))...)
		r := newCall(t, server.URL, "Echo", typeJSON11, body)
		r.ContentLength = -1
		r.Header.Set("Content-Encoding", "gzip")
		if resp, got := post(t, client(1), r); resp.StatusCode != wantStatus {
			t.Errorf("%d empty members, %d bytes: got %d %s, want %d", members, len(body), resp.StatusCode, got, wantStatus)
		}
	}
	f(1000, 200)
	f((2<<20)/len(zip(t, nil)), 413)
}
