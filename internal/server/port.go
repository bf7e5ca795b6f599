package server

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// port divides the one port's paths: our own pages under their names, AWS calls on every other path
// and method. AWS itself does not look at the path of these protocols.
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
			own.ServeHTTP(w, r)
		default:
			calls.ServeHTTP(w, r)
		}
	})
}

func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the client has gone if this fails
}
