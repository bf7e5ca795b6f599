package server

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/headrace/headrace/internal/admin"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/config"
)

// pageTimeout is how long a client may take to fetch one of our own pages.
const pageTimeout = 20 * time.Second

// pages are what the port has beside AWS's calls.
type pages struct {
	ready    *atomic.Bool
	registry *prometheus.Registry
	// metricsFrom says who may read /metrics: stream names are in it.
	metricsFrom config.Peers
	controls    http.Handler
	// note, if set, is added to the readiness page.
	note func() string
	// administration is what is below admin.Path.
	administration http.Handler
}

// port divides the one port's paths: our own pages under their names, whatever the method, and AWS
// calls on all others. AWS itself does not look at the path of these protocols.
func port(calls http.Handler, p pages) http.Handler {
	own, paths := http.NewServeMux(), map[string]bool{}
	for pattern, page := range ownPages(p) {
		own.Handle(pattern, page)
		_, path, _ := strings.Cut(pattern, " ")
		paths[path] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case paths[r.URL.Path]:
			bound(w, r)
			own.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, admin.Path):
			p.administration.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, controlsPath):
			p.controls.ServeHTTP(w, r)
		default:
			calls.ServeHTTP(w, r)
		}
	})
}

// ownPages returns our own pages by their patterns, which http.ServeMux reads, with a method.
func ownPages(p pages) map[string]http.Handler {
	return map[string]http.Handler{
		"GET /-/healthy": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { page(w, http.StatusOK, "healthy\n") }),
		"GET /-/ready": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !p.ready.Load() {
				page(w, http.StatusServiceUnavailable, "not ready\n")
				return
			}
			text := "ready\n"
			if p.note != nil {
				text += p.note()
			}
			page(w, http.StatusOK, text)
		}),
		"GET /metrics": only(p.metricsFrom, promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})),
	}
}

// only keeps a page to some peers.
func only(from config.Peers, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case from == config.NoPeer:
			http.NotFound(w, r)
		case from == config.LoopbackPeers && !fromLoopback(r):
			page(w, http.StatusForbidden, "this page is for the server's own machine; metrics.from lets others read it\n")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// bound keeps a client that sends a body nobody asked for, or does not read its page, from holding
// its connection and one of the few places at /metrics for ever.
func bound(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // else net/http waits for the body before it answers
	}
	deadline := clock.System{}.Now().Add(pageTimeout) // sockets follow the machine's clock
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(deadline) // a transport without deadlines has none to set
	_ = control.SetWriteDeadline(deadline)
}

func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the client has gone if this fails
}
