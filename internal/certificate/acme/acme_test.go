package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/certificate/acmetest"
	"github.com/headrace/headrace/internal/testpoll"
)

// patience is how long an exchange with an authority on the same machine may take; it needs a
// second or two, most of it waiting between looks at an order.
const patience = time.Minute

// pool trusts the certificates in PEM.
func pool(t *testing.T, text []byte) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %q", text)
	}
	return p
}

// logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// port is a listener and the handshakes that are served on it.
type port struct {
	net.Listener
	mu     sync.Mutex
	config *tls.Config
}

func newPort(t *testing.T) *port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{Listener: l}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				p.mu.Lock()
				config := p.config
				p.mu.Unlock()
				if config != nil {
					_ = tls.Server(conn, config).Handshake() // the client says what is wrong
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return p
}

func (p *port) number() int { return p.Addr().(*net.TCPAddr).Port }

// serve opens ACME for the port and starts it.
func (p *port) serve(t *testing.T, cfg Config) (a *ACME, said *logBuffer) {
	t.Helper()
	said = new(logBuffer)
	cfg.Listen = p.Addr()
	cfg.Logger = slog.New(slog.NewTextHandler(said, nil))
	a, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.config = a.TLS()
	p.mu.Unlock()
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, said
}

// shake does a handshake as a client that trusts the pool.
func (p *port) shake(name string, trusted *x509.CertPool) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", p.Addr().String(), &tls.Config{ServerName: name, RootCAs: trusted})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func TestMain(m *testing.M) {
	acmetest.Setenv()
	os.Exit(m.Run())
}

func TestCertificateIsObtainedAndKept(t *testing.T) {
	p := newPort(t)
	pebble := acmetest.Start(t, p.number())
	trusted := pool(t, pebble.Root)
	cfg := Config{
		Domains: []string{"kinesis.example.com", "streams.example.com"}, Email: "ops@example.com",
		Directory: pebble.Directory, Roots: pool(t, pebble.Front), Storage: filepath.Join(t.TempDir(), "acme"),
	}
	a, said := p.serve(t, cfg)
	var first *x509.Certificate
	for _, name := range cfg.Domains {
		testpoll.Until(t, patience, func() (ok bool) {
			cert, err := p.shake(name, trusted)
			if first == nil {
				first = cert
			}
			return err == nil
		}, "a certificate for "+name)
	}
	if _, err := p.shake("other.example.com", trusted); err == nil {
		t.Error("a name that was not asked for has a certificate")
	}
	if !strings.Contains(said.String(), "acme: certificate obtained successfully") || strings.Contains(said.String(), "level=ERROR") {
		t.Errorf("the log says:\n%s", said)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}

	// A start with the same storage serves what is there.
	again, _ := p.serve(t, cfg)
	testpoll.Until(t, patience, func() bool { _, err := p.shake(cfg.Domains[0], trusted); return err == nil }, "the stored certificate")
	if cert, err := p.shake(cfg.Domains[0], trusted); err != nil || !cert.Equal(first) {
		t.Errorf("another certificate is served after a start: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	err := filepath.WalkDir(cfg.Storage, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, %v; want it for its owner alone", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// An authority that is not reached is told of, and closing does not wait for it.
func TestAuthorityThatIsNotReached(t *testing.T) {
	p := newPort(t)
	a, said := p.serve(t, Config{Domains: []string{"kinesis.example.com"}, Directory: "https://127.0.0.1:1/dir", Storage: t.TempDir()})
	testpoll.Until(t, patience, func() bool { return strings.Contains(said.String(), "level=ERROR") }, "an error in the log")
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.shake("kinesis.example.com", nil); err == nil {
		t.Error("a handshake succeeded without a certificate")
	}
}

func TestOpenNeedsNamesAndStorage(t *testing.T) {
	for _, cfg := range []Config{{Domains: []string{"a"}}, {Storage: "x"}} {
		cfg.Listen, cfg.Logger = &net.TCPAddr{Port: 443}, slog.New(slog.DiscardHandler)
		if _, err := Open(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// What strangers send does not fill the log.
func TestStrangersAreNotLogged(t *testing.T) {
	p := newPort(t)
	a, said := p.serve(t, Config{Domains: []string{"kinesis.example.com"}, Directory: "https://127.0.0.1:1/dir", Storage: t.TempDir()})
	defer a.Close()
	for _, protocols := range [][]string{{Protocol}, {"h2"}, nil} {
		conn, err := tls.Dial("tcp", p.Addr().String(), &tls.Config{ServerName: "stranger.example.com", NextProtos: protocols, InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
		}
	}
	if strings.Contains(said.String(), "stranger") {
		t.Errorf("the log says:\n%s", said)
	}
}

// Work that does not end does not keep the process from ending.
func TestCloseHasLimits(t *testing.T) {
	s := newStorage(t.TempDir())
	if err := s.Lock(context.Background(), "x"); err != nil {
		t.Fatal(err)
	}
	if err := s.idle(time.Millisecond); err == nil {
		t.Error("a lock that is held was not waited for")
	}
	if err := s.Unlock(context.Background(), "x"); err != nil {
		t.Fatal(err)
	}
	if err := s.idle(time.Minute); err != nil {
		t.Error(err)
	}
}
