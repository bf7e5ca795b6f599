package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/headrace/headrace/internal/certificate"
	"github.com/headrace/headrace/internal/certificate/acme"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/config"
	"github.com/headrace/headrace/internal/listener"
)

// acmeDir is where certificates from an ACME authority lie below the data directory.
const acmeDir = "tls/acme"

// openTLS makes the port's TLS; nil means that there is none. What it runs and holds is left to sys.
// started is called once the port accepts connections.
func openTLS(ctx context.Context, cfg Config, sys *system, addr net.Addr) (served *tls.Config, started func(context.Context) error, err error) {
	started = func(context.Context) error { return nil }
	switch cfg.TLS.Mode {
	case config.TLSFiles:
		served, err = openFiles(ctx, cfg, sys)
	case config.TLSSelfSigned:
		served, err = openSelfSigned(cfg, sys, addr)
	case config.TLSACME:
		served, started, err = openACME(cfg, sys, addr)
	default:
		return nil, started, nil
	}
	if err == nil && cfg.TLS.ClientCA != "" {
		err = certificate.AskClients(served, cfg.TLS.ClientCA, cfg.TLS.ClientCertificate == config.RequireCertificate)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("set up TLS: %w", err)
	}
	return served, started, nil
}

// openFiles serves a certificate that is looked at again while it is served.
func openFiles(ctx context.Context, cfg Config, sys *system) (*tls.Config, error) {
	files, err := certificate.OpenFiles(cfg.TLS.Cert, cfg.TLS.Key, func(err error) {
		if err != nil {
			cfg.Logger.Error("a changed certificate cannot be served; the old one still is", "error", err)
			return
		}
		cfg.Logger.Info("a changed certificate is served", "file", cfg.TLS.Cert)
	})
	if err != nil {
		return nil, err
	}
	sys.run(ctx, files.Run, nil)
	return certificate.Config(files.Get), nil
}

// openSelfSigned serves certificates of an authority of our own.
func openSelfSigned(cfg Config, sys *system, addr net.Addr) (*tls.Config, error) {
	var authority *certificate.Authority
	var err error
	if sys.data != nil {
		authority, err = certificate.OpenAuthority(sys.data, clock.System{})
	} else {
		authority, err = certificate.NewAuthority(clock.System{})
	}
	if err != nil {
		return nil, err
	}
	cfg.Logger.Debug("TLS is served with a certificate of our own authority", "fingerprint", authority.Fingerprint())
	return certificate.Config(authority.Serving(ownNames(cfg, addr)).Get), nil
}

// ownNames are what clients on this machine and near it call it.
func ownNames(cfg Config, addr net.Addr) []string {
	names := []string{"localhost", "*.localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() && !tcp.IP.IsLoopback() {
		names = append(names, tcp.IP.String())
	}
	return append(names, cfg.TLS.SAN.Items()...)
}

// openACME serves certificates that an authority gives us once it reaches the port.
func openACME(cfg Config, sys *system, addr net.Addr) (*tls.Config, func(context.Context) error, error) {
	if cfg.Data == "" {
		return nil, nil, fmt.Errorf("certificates of an ACME authority need a data directory: it limits how many it gives")
	}
	wanted := acme.Config{
		Domains: cfg.TLS.ACMEDomains.Items(), Email: cfg.TLS.ACMEEmail, Directory: cfg.TLS.ACMEDirectory,
		Storage: filepath.Join(cfg.Data, filepath.FromSlash(acmeDir)), Listen: addr, Logger: cfg.Logger,
	}
	if cfg.TLS.ACMECA != "" {
		var err error
		if wanted.Roots, err = certificate.Pool(cfg.TLS.ACMECA); err != nil {
			return nil, nil, err
		}
	}
	certificates, err := acme.Open(wanted)
	if err != nil {
		return nil, nil, err
	}
	sys.onClose(certificates.Close)
	return certificates.TLS(), certificates.Start, nil
}

// cleartext is the listener's word for the configuration's.
func cleartext(p config.Peers) listener.Cleartext {
	switch p {
	case config.LoopbackPeers:
		return listener.Loopback
	case config.NoPeer:
		return listener.Nobody
	}
	return listener.Anyone
}

// connKey is where the context of a request has its *connection.
type connKey struct{}

// connection is what all requests of a connection have in common.
type connection struct {
	tls  *tls.ConnectionState // what the handshake agreed on, nil without one
	peer netip.Addr           // zero if it has none
}

// keepConn gives the requests of a connection what they have in common.
func keepConn(ctx context.Context, c net.Conn) context.Context {
	k := &connection{peer: parsePeer(c.RemoteAddr().String())}
	if ours, ok := c.(*listener.Conn); ok {
		k.tls = ours.TLS()
	}
	return context.WithValue(ctx, connKey{}, k)
}

// addressOf returns the address at the other end of a request's connection; zero if it has none.
func addressOf(r *http.Request) netip.Addr {
	if c, ok := r.Context().Value(connKey{}).(*connection); ok {
		return c.peer
	}
	return parsePeer(r.RemoteAddr)
}

func parsePeer(address string) netip.Addr {
	peer, _ := netip.ParseAddrPort(address) // zero for what is none
	return peer.Addr().Unmap()
}

// withTLS tells handlers of the TLS that the HTTP server does not see (package listener says why).
func withTLS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*connection); ok && c.tls != nil {
			r.TLS = c.tls
		}
		next.ServeHTTP(w, r)
	})
}
