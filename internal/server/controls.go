package server

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/headrace/headrace/internal/admin"
	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/wire"
)

// controlsPath begins the paths of our own calls.
const controlsPath = "/_headrace/"

// controls are our own calls, which are not AWS's. Who may make one depends on its wrapper:
//
//   - development: it exists in dev alone, for everybody who reaches the port by a name that only
//     this machine has for itself. In serve it is 404, as if it had never been written.
//   - local: it exists in both profiles, for processes of this machine. What matters asks besides who
//     is calling: see operators.
//
// Behind both stands the browser. A page on the web can send requests to localhost, and its name can
// be made to mean 127.0.0.1 (DNS rebinding), so that the page's own scripts may read the answers. The
// first says in Origin where it comes from; the second says in Host a name that is not this
// machine's. Neither gets through, except pages whose origin the configuration lists.
type controls struct {
	dev     bool
	origins []string
	mux     *http.ServeMux
	routes  []Route // that were added
}

func newControls(dev bool, origins []string) *controls {
	c := &controls{dev: dev, origins: origins, mux: http.NewServeMux()}
	c.development("GET "+controlsPath+"debug/profiles/{name}", http.HandlerFunc(profile))
	return c
}

// ServeHTTP implements http.Handler. The mux would redirect paths that are not clean.
func (c *controls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path.Clean(r.URL.Path) != r.URL.Path {
		http.NotFound(w, r)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// development adds a call that exists in dev alone. The pattern is http.ServeMux's, with a method.
func (c *controls) development(pattern string, call http.Handler) {
	if !c.dev {
		return
	}
	c.add(pattern, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bound(w, r)
		call.ServeHTTP(w, r)
	}))
}

// local adds a call for processes of this machine. The call bounds its own time.
func (c *controls) local(pattern string, call http.Handler) {
	c.add(pattern, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromLoopback(r) {
			page(w, http.StatusForbidden, "this call is for processes of the server's own machine\n")
			return
		}
		call.ServeHTTP(w, r)
	}))
}

// add puts a call behind what keeps web pages out, and answers browsers that ask before they call.
func (c *controls) add(pattern string, development bool, call http.Handler) {
	method, where, _ := strings.Cut(pattern, " ")
	c.routes = append(c.routes, Route{Method: method, Path: where, Built: true, Development: development})
	guarded := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case !loopbackHost(r.Host):
			page(w, http.StatusForbidden, "this call is answered under a name of loopback only, such as localhost\n")
		case !c.share(w, r):
			page(w, http.StatusForbidden, "the page that calls is not one of controls.origins\n")
		default:
			next.ServeHTTP(w, r)
		}
	}
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { guarded(w, r, call) })
	c.mux.HandleFunc("OPTIONS "+where, func(w http.ResponseWriter, r *http.Request) {
		guarded(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", method+", OPTIONS")
			if r.Header.Get("Origin") != "" {
				w.Header().Set("Access-Control-Allow-Methods", method)
				w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
			}
			w.WriteHeader(http.StatusNoContent)
		}))
	})
}

// share reports whether the caller is no web page, one of ours, or one of a listed origin, which it
// then lets read the answer.
func (c *controls) share(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		// Browsers leave Origin out of requests that cannot be read across origins, and say so here.
		site := r.Header.Get("Sec-Fetch-Site")
		return site == "" || site == "none" || site == "same-origin"
	}
	if slices.Contains(c.origins, origin) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && u.Host == r.Host
}

// loopbackHost says whether a Host header is a name that every machine has for itself alone.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// fromLoopback says whether a request comes from this machine.
func fromLoopback(r *http.Request) bool {
	return addressOf(r).IsLoopback()
}

// profile answers one of the Go runtime's profiles, such as heap and goroutine, as `go tool pprof`
// reads it, or as text with ?debug=1.
func profile(w http.ResponseWriter, r *http.Request) {
	found := pprof.Lookup(r.PathValue("name"))
	if found == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	form := 0
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.FormValue("debug") == "1" {
		form = 1
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	_ = found.WriteTo(w, form) // the client has gone if this fails
}

// signed returns who signed a call of ours, which has no body.
func signed(identify wire.Authenticator, w http.ResponseWriter, r *http.Request) (caller sigv4.Identity, err error) {
	var check sigv4.Check
	if err := identify.Begin(&check, r, sigv4.Rules{Service: admin.SigningName}); err != nil {
		return caller, err
	}
	if _, err := io.Copy(io.Discard, check.Body(http.MaxBytesReader(w, r.Body, 0))); err != nil {
		return caller, err
	}
	return check.Finish()
}
