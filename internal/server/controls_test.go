package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/config"
)

// ask makes one request of a handler and returns the answer.
func ask(h http.Handler, method, path, host, peer string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, http.NoBody)
	r.Host, r.RemoteAddr = host, peer
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// guarded has one control of each kind.
func guarded(dev bool, origins ...string) *controls {
	c := newControls(dev, origins)
	answer := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	}
	c.development("POST /_headrace/clock", answer("clock"))
	c.local("POST /_headrace/backup", answer("backup"))
	return c
}

const (
	near = "127.0.0.1:50000"
	far  = "192.0.2.1:50000"
)

func TestControlsAnswerLoopbackHosts(t *testing.T) {
	f := func(host string, want int) {
		t.Helper()
		for _, peer := range []string{near, far} { // a published port of a container has peers that are not loopback
			if got := ask(guarded(true), "POST", "/_headrace/clock", host, peer).Code; got != want {
				t.Errorf("Host %s from %s: got %d, want %d", host, peer, got, want)
			}
		}
	}
	f("localhost", 200)
	f("localhost:4566", 200)
	f("LocalHost.:4566", 200)
	f("headrace.localhost:4566", 200)
	f("127.0.0.1:4566", 200)
	f("127.1.2.3", 200)
	f("[::1]:4566", 200)
	f("[::1]", 200)
	f("[::ffff:127.0.0.1]:4566", 200)
	f("", 403)
	f("evil.example:4566", 403)
	f("localhost.evil.example:4566", 403)
	f("evil-localhost:4566", 403)
	f("192.0.2.1:4566", 403)
	f("127.0.0.1.evil.example", 403)
	f("0.0.0.0:4566", 403)
	f("2130706433:4566", 403) // 127.0.0.1 as some resolvers read it
	f("localhost:4566:80", 403)
}

func TestControlsKeepPagesOut(t *testing.T) {
	c := guarded(true, "http://localhost:3000", "https://tools.example")
	f := func(want int, wantShared string, headers ...string) {
		t.Helper()
		got := ask(c, "POST", "/_headrace/clock", "localhost:4566", near, headers...)
		if got.Code != want || got.Header().Get("Access-Control-Allow-Origin") != wantShared {
			t.Errorf("%q: got %d, shared with %q; want %d, %q", headers, got.Code, got.Header().Get("Access-Control-Allow-Origin"), want, wantShared)
		}
		if got.Code == 403 && strings.Contains(got.Body.String(), "clock") {
			t.Errorf("%q: a refused page was told something: %s", headers, got.Body)
		}
		if got.Header().Get("Vary") != "Origin" {
			t.Errorf("%q: a cache may give the answer to another page", headers)
		}
	}
	f(200, "")
	f(200, "http://localhost:3000", "Origin", "http://localhost:3000")
	f(200, "https://tools.example", "Origin", "https://tools.example", "Sec-Fetch-Site", "cross-site")
	f(200, "", "Origin", "http://localhost:4566") // a page of our own
	f(403, "", "Origin", "http://localhost:3001")
	f(403, "", "Origin", "https://localhost:3000")
	f(403, "", "Origin", "http://evil.example")
	f(403, "", "Origin", "null")
	f(403, "", "Sec-Fetch-Site", "cross-site")
	f(403, "", "Sec-Fetch-Site", "same-site")
	f(200, "", "Sec-Fetch-Site", "none")
	f(200, "", "Sec-Fetch-Site", "same-origin")
}

func TestControlsAnswerPreflights(t *testing.T) {
	c := guarded(true, "http://localhost:3000")
	got := ask(c, "OPTIONS", "/_headrace/clock", "localhost:4566", near, "Origin", "http://localhost:3000", "Access-Control-Request-Method", "POST")
	if got.Code != 204 || got.Header().Get("Access-Control-Allow-Origin") != "http://localhost:3000" || got.Header().Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("a listed page: %d %v", got.Code, got.Header())
	}
	for _, host := range []string{"localhost:4566", "evil.example"} {
		got = ask(c, "OPTIONS", "/_headrace/clock", host, near, "Origin", "http://evil.example")
		if got.Code != 403 || got.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("another page at %s: %d %v", host, got.Code, got.Header())
		}
	}
}

func TestControlsOfDevelopmentDoNotExistInServe(t *testing.T) {
	for _, c := range []*controls{guarded(false), guarded(false, "http://localhost:3000")} {
		for _, path := range []string{"/_headrace/clock", "/_headrace/debug/profiles/heap", "/_headrace/", "/_headrace/none"} {
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				if got := ask(c, method, path, "localhost", near, "Origin", "http://localhost:3000").Code; got != 404 {
					t.Errorf("serve answers %s %s with %d, want 404", method, path, got)
				}
			}
		}
	}
}

func TestLocalControls(t *testing.T) {
	f := func(dev bool, host, peer, origin string, want int) {
		t.Helper()
		headers := []string{}
		if origin != "" {
			headers = []string{"Origin", origin}
		}
		if got := ask(guarded(dev), "POST", "/_headrace/backup", host, peer, headers...).Code; got != want {
			t.Errorf("dev %t, Host %s, from %s, origin %q: got %d, want %d", dev, host, peer, origin, got, want)
		}
	}
	for _, dev := range []bool{true, false} {
		f(dev, "localhost:4566", near, "", 200)
		f(dev, "localhost:4566", "[::1]:50000", "", 200)
		f(dev, "localhost:4566", "[::ffff:127.0.0.1]:50000", "", 200)
		f(dev, "localhost:4566", far, "", 403)
		f(dev, "localhost:4566", "@", "", 403)
		f(dev, "evil.example", near, "", 403)
		f(dev, "localhost:4566", near, "http://evil.example", 403)
	}
}

func TestProfiles(t *testing.T) {
	c := newControls(true, nil)
	f := func(path string, want int, text string) {
		t.Helper()
		got := ask(c, "GET", path, "localhost", near)
		if got.Code != want || !strings.Contains(got.Body.String(), text) {
			t.Errorf("%s: %d, %.60q; want %d, %q", path, got.Code, got.Body, want, text)
		}
	}
	f("/_headrace/debug/profiles/heap", 200, "\x1f\x8b")
	f("/_headrace/debug/profiles/goroutine?debug=1", 200, "goroutine profile")
	f("/_headrace/debug/profiles/none", 404, "")
	f("/_headrace/debug/profiles/", 404, "")
	if got := ask(c, "POST", "/_headrace/debug/profiles/heap", "localhost", near).Code; got != 405 {
		t.Errorf("POST: got %d, want 405", got)
	}
}

func TestMetricsAreKeptToSome(t *testing.T) {
	f := func(from config.Peers, peer string, want int) {
		t.Helper()
		h := port(http.NotFoundHandler(), pages{ready: new(atomic.Bool), registry: prometheus.NewRegistry(), metricsFrom: from, controls: newControls(false, nil)})
		if got := ask(h, "GET", "/metrics", "headrace:4566", peer).Code; got != want {
			t.Errorf("%s, from %s: got %d, want %d", from, peer, got, want)
		}
		if got := ask(h, "GET", "/-/healthy", "headrace:4566", peer).Code; got != 200 {
			t.Errorf("%s, from %s: health got %d, want 200", from, peer, got)
		}
	}
	f(config.AnyPeer, far, 200)
	f(config.LoopbackPeers, near, 200)
	f(config.LoopbackPeers, "[::1]:1", 200)
	f(config.LoopbackPeers, far, 403)
	f(config.NoPeer, near, 404)
}

// Paths below /_headrace/ never reach AWS's calls, and no others reach the controls.
func TestPathsOfControls(t *testing.T) {
	calls := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := port(calls, pages{ready: new(atomic.Bool), registry: prometheus.NewRegistry(), controls: newControls(false, nil)})
	f := func(path string, want int) {
		t.Helper()
		if got := ask(h, "POST", path, "localhost", near).Code; got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
	f("/_headrace/x", 404)
	f("/_headrace/../_headrace/x", 404)
	f("/_headrace", 418)
	f("/", 418)
	f("/x/_headrace/x", 418)
	f("/_HEADRACE/x", 418)
}
