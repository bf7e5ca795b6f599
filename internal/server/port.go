package server

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/headrace/headrace/internal/clock"
)

// pageTimeout is how long a client may take to fetch one of our own pages.
const pageTimeout = 20 * time.Second

// port divides the one port's paths: our own pages under their names, whatever the method, and AWS
// calls on all others. AWS itself does not look at the path of these protocols.
func port(calls http.Handler, registry *prometheus.Registry, ready *atomic.Bool) http.Handler {
	own := http.NewServeMux()
	own.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { page(w, http.StatusOK, "healthy\n") })
	own.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			page(w, http.StatusServiceUnavailable, "not ready\n")
			return
		}
		page(w, http.StatusOK, "ready\n")
	})
	own.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/-/healthy", "/-/ready", "/metrics":
			bound(w, r)
			own.ServeHTTP(w, r)
		default:
			calls.ServeHTTP(w, r)
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
