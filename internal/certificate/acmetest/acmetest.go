// Package acmetest runs an ACME authority in the test's own process: Pebble, with which Let's Encrypt
// tests clients, and the name server that it asks, for which every name is this machine. It looks at
// challenges as a real one does, by connecting to the server that wants a certificate. It is for tests
// alone.
package acmetest

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"github.com/headrace/headrace/internal/certificate"
	"github.com/headrace/headrace/internal/clock"
)

// Authority is a running one.
type Authority struct {
	// Directory is its URL, and Front the authority, in PEM, to trust when talking to it.
	Directory string
	Front     []byte
	// Root is whom to trust that trusts the certificates it gives, in PEM.
	Root []byte
}

// Setenv tells Pebble, by the only way there is, to answer as fast as it can. Call it from TestMain.
func Setenv() {
	_ = os.Setenv("PEBBLE_VA_NOSLEEP", "1") // fails for names with an equals sign
	_ = os.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
}

// Start runs an authority that looks for challenges at a port of this machine, until the test ends.
func Start(t testing.TB, port int) Authority {
	t.Helper()
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: 90 * 24 * 3600}})
	front := wfe.New(quiet, store, va.New(quiet, 0, port, true, resolver(t), store), issuer, nil, true, false, 1, 1)

	own, err := certificate.NewAuthority(clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	config := certificate.Config(own.Serving([]string{"127.0.0.1"}).Get)
	config.NextProtos = []string{"http/1.1"} // all that is served below
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: front.Handler(), ErrorLog: quiet}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close() // there is nobody to serve
		<-served
	})
	return Authority{Directory: "https://" + l.Addr().String() + wfe.DirectoryPath, Front: own.PEM(), Root: issuer.GetRootCert(0).PEM()}
}

// resolver answers that every name is this machine.
func resolver(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(r)
		if r.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(m) // the asker has gone if this fails
	})}
	served := make(chan error, 1)
	go func() { served <- s.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = s.Shutdown() // fails when it has not begun
		_ = l.Close()    // which Shutdown does, too
		<-served
	})
	return l.Addr().String()
}
