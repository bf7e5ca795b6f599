package server

import (
	"net/http"
	"net/netip"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/listener"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/ratelimit"
)

// rates bound how many requests a second one address and one access key may make.
type rates struct {
	port      *metrics.Port
	addresses *ratelimit.Limiter[netip.Addr]
	keys      *ratelimit.Limiter[string]
}

func newRates(cfg Config, port *metrics.Port) rates {
	return rates{
		port:      port,
		addresses: ratelimit.New[netip.Addr](ratelimit.Config{Rate: cfg.RequestsPerAddress}),
		keys:      ratelimit.New[string](ratelimit.Config{Rate: cfg.RequestsPerKey}),
	}
}

// admit asks the bucket of a request's address. This machine has none: all its processes would share
// it, and with a proxy beside the server so would all its clients.
func (r rates) admit(req *http.Request) bool {
	if r.addresses == nil {
		return true
	}
	peer := addressOf(req)
	if !peer.IsValid() || peer.IsLoopback() || r.addresses.Allow(listener.Network(peer)) {
		return true
	}
	r.port.Throttled(metrics.ByAddress)
	return false
}

// allow asks the bucket of the key that signed a request.
func (r rates) allow(id sigv4.Identity) bool {
	if r.keys.Allow(id.AccessKeyID) {
		return true
	}
	r.port.Throttled(metrics.ByKey)
	return false
}
