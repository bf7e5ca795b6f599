// Package acme gets the port's certificate from an authority that clients trust already, such as
// Let's Encrypt, by the ACME protocol (RFC 8555), and renews it. CertMagic does the work; this
// package says what of it is used.
//
// The authority is shown that the names are ours on the port itself, by the challenge tls-alpn-01
// (RFC 8737): it connects to port 443 of each name, begins a TLS handshake and looks at the
// certificate that it gets. So the port must be reached there. The challenges of HTTP and DNS would
// need a second port or a provider's credentials and are not used.
//
//	a, err := acme.Open(acme.Config{Domains: []string{"kinesis.example.com"}, Storage: "data/tls/acme", ...})
//	defer a.Close()
//	// serve a.TLS() on the port
//	err = a.Start(ctx)
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/headrace/headrace/internal/certificate"
)

// Protocol is what ALPN agrees on when an authority looks at the certificate of a challenge. There
// is nothing to say on such a connection.
const Protocol = "acme-tls/1"

// Config says for which names to get a certificate, and from whom.
type Config struct {
	// Domains are the names, or addresses, that clients use. There is a certificate for each. The
	// first is served to clients that name none, or one that is not there.
	Domains []string
	// Email is where the authority writes to when something is wrong; it may be empty.
	Email string
	// Directory is the authority's URL; "" means Let's Encrypt. Using it agrees to its terms.
	Directory string
	// Roots are who to trust when talking to the authority; nil means whom the system trusts.
	Roots *x509.CertPool
	// Storage is the directory that the account and the certificates are kept in. Without it every
	// start would ask for new ones, which authorities limit.
	Storage string
	// Listen is the address of the port, where challenges are answered.
	Listen net.Addr
	// Logger hears of what is obtained, renewed and refused.
	Logger *slog.Logger
}

// ACME obtains and renews certificates. Use Open.
type ACME struct {
	domains []string
	cache   *certmagic.Cache
	magic   *certmagic.Config
	storage *storage
	cancel  context.CancelFunc
}

// closePatience is how long Close waits for work that was cancelled to let go of its files.
const closePatience = 5 * time.Second

// Open prepares everything and talks to nobody yet. Close it.
func Open(cfg Config) (*ACME, error) {
	if len(cfg.Domains) == 0 || cfg.Storage == "" {
		return nil, errors.New("open ACME: needs a domain to get a certificate for and a directory to keep it in")
	}
	host, text, err := net.SplitHostPort(cfg.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("open ACME: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("open ACME: %w", err)
	}
	a := &ACME{domains: cfg.Domains, storage: newStorage(cfg.Storage), cancel: func() {}}
	logger := zap.New(logCore{handler: cfg.Logger.Handler()})
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		Logger:           logger,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:            a.storage,
		DefaultServerName:  cfg.Domains[0],
		FallbackServerName: cfg.Domains[0],
		Logger:             logger,
	})
	a.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(a.magic, certmagic.ACMEIssuer{
		CA:                   cfg.Directory,
		Email:                cfg.Email,
		Agreed:               true,
		DisableHTTPChallenge: true,
		// The solver looks whether somebody listens where the challenge will come, and listens
		// itself if not. It is us who do.
		ListenHost:     host,
		AltTLSALPNPort: port,
		TrustedRoots:   cfg.Roots,
		Logger:         logger,
	})}
	return a, nil
}

// TLS returns what to serve: handshakes of clients, and those of the authority.
func (a *ACME) TLS() *tls.Config {
	config := certificate.Config(a.magic.GetCertificate)
	config.NextProtos = append(config.NextProtos, Protocol)
	return config
}

// Start loads the certificates that are stored, and gets and renews those that are not there or end
// soon, until Close. The port must be served already: the authority connects to it. What fails is
// told to the logger and tried again; until then handshakes fail.
func (a *ACME) Start(ctx context.Context) error {
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := a.magic.ManageAsync(ctx, a.domains); err != nil {
		return fmt.Errorf("manage certificates: %w", err)
	}
	return nil
}

// Close stops all work and waits until it has let go of what it holds in the storage, so that the
// next start does not wait for it.
func (a *ACME) Close() error {
	a.cancel()
	a.cache.Stop()
	return a.storage.idle(closePatience)
}

// storage is certmagic's, which counts the locks that are held: each is work of a goroutine that
// certmagic owns and offers no way to wait for.
type storage struct {
	*certmagic.FileStorage
	mu   sync.Mutex
	held int
	none *sync.Cond
}

func newStorage(dir string) *storage {
	s := &storage{FileStorage: &certmagic.FileStorage{Path: dir}}
	s.none = sync.NewCond(&s.mu)
	return s
}

// Lock implements certmagic.Locker.
func (s *storage) Lock(ctx context.Context, name string) error {
	if err := s.FileStorage.Lock(ctx, name); err != nil {
		return err
	}
	s.count(1)
	return nil
}

// Unlock implements certmagic.Locker.
func (s *storage) Unlock(ctx context.Context, name string) error {
	defer s.count(-1)
	return s.FileStorage.Unlock(ctx, name)
}

func (s *storage) count(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held += by; s.held == 0 {
		s.none.Broadcast()
	}
}

// idle waits until no lock is held, for as long as patience.
func (s *storage) idle(patience time.Duration) error {
	late := false
	timer := time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.none.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.held > 0 && !late {
		s.none.Wait()
	}
	if s.held > 0 {
		return fmt.Errorf("close ACME: certificates were still being worked on after %v", patience)
	}
	return nil
}
