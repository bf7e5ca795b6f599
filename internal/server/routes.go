package server

import (
	"context"
	"net/http"
	"strings"

	"github.com/headrace/headrace/internal/admin"
	adminapi "github.com/headrace/headrace/internal/api/admin"
	"github.com/headrace/headrace/internal/api/kinesis"
	"github.com/headrace/headrace/internal/auth/access"
	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire"
)

// Route is one way in by the port.
type Route struct {
	// Method and Path are those of its requests; Path may have wildcards of http.ServeMux.
	Method, Path string
	// Service and Operation name a call of AWS's, or one that administers access. Our own pages and
	// controls have neither.
	Service, Operation string
	// ContentTypes are those that a call takes, Target is its X-Amz-Target, and Version that of its API
	// in the query protocol.
	ContentTypes    []string
	Target, Version string
	// Built says that the operation can be called, not only named, and Unsigned that its callers need
	// not sign: what they send is their proof.
	Built, Unsigned bool
	// Development says that the route exists in dev alone.
	Development bool
}

// Routes returns all routes, from the tables that requests are served by. A test that walks them finds
// what was added without a guard.
func Routes() []Route {
	var out []Route
	for pattern := range ownPages(pages{}) {
		method, path, _ := strings.Cut(pattern, " ")
		out = append(out, Route{Method: method, Path: path, Built: true})
	}
	out = append(out, ownCalls(context.Background(), Config{Dev: true}, engines{}, nil, nil).routes...)
	for _, name := range adminapi.OperationNames() {
		out = append(out, Route{
			Method: http.MethodPost, Path: admin.Path + name, Service: admin.SigningName, Operation: name,
			ContentTypes: []string{"application/json"}, Built: true,
		})
	}
	for _, s := range services(Config{}, nil, nil, nil, nil, clock.System{}) {
		out = append(out, routesOf(s)...)
	}
	return out
}

func routesOf(s wire.Service) []Route {
	built := map[string]Route{}
	for _, o := range s.Operations {
		built[o.Name] = Route{Built: true, Unsigned: o.Unsigned}
	}
	var out []Route
	for _, name := range s.Known {
		r := built[name]
		r.Method, r.Path, r.Service, r.Operation = http.MethodPost, "/", s.SigningName, name
		r.ContentTypes, r.Version = s.Formats.ContentTypes(), s.Version
		if s.TargetPrefix != "" {
			r.Target = s.TargetPrefix + "." + name
		}
		out = append(out, r)
	}
	return out
}

// services are AWS's, as the port serves them.
func services(cfg Config, streams *stream.Streams, meters *metrics.Metrics, keys *keyring.Keyring, decider *access.Decider, now clock.Clock) []wire.Service {
	return []wire.Service{
		kinesis.New(streams, meters, now, checkResourcePolicy).Wire(),
		tokenService(cfg, keys, decider, now).Wire(),
	}
}
