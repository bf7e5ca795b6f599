package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/vfs"
)

const (
	// authorityLife outlives a development machine.
	authorityLife = 10 * 365 * 24 * time.Hour
	// servingLife and renewBefore: a certificate is replaced long before it ends, and one that was
	// copied is soon worthless.
	servingLife = 30 * 24 * time.Hour
	renewBefore = 10 * 24 * time.Hour
	// backdate covers clients whose clock is behind ours.
	backdate = time.Hour
)

// File is where an Authority lies in a data directory. Its layout is docs/format/tls.md.
const File = "tls/ca.pem"

const (
	tempFile   = File + ".new"
	blockCert  = "CERTIFICATE"
	blockKey   = "PRIVATE KEY"
	maxPEMFile = 64 << 10
)

// ErrDamaged says that an authority's file does not hold what was written into it.
var ErrDamaged = errors.New("damaged")

// Authority is a certificate authority of our own, which development machines may trust. Whoever has
// its key can pretend to be any server to a client that trusts it: it is for clients that are told of
// it one by one, not for a system's store. It is safe for concurrent use.
type Authority struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	clock clock.Clock
}

// NewAuthority makes an authority that lives as long as the process.
func NewAuthority(c clock.Clock) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	now := c.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"Headrace development"}, CommonName: "Headrace development CA"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, // it signs servers, not authorities
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	return &Authority{cert: cert, key: key, clock: c}, nil
}

// OpenAuthority reads the authority of a data directory, or makes one that is durable when it
// returns. ErrDamaged if the file is not what was written.
func OpenAuthority(fs vfs.FS, c clock.Clock) (*Authority, error) {
	text, err := readFile(fs, File)
	if errors.Is(err, vfs.ErrNotExist) {
		return createAuthority(fs, c)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", File, err)
	}
	a, err := parseAuthority(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", File, err)
	}
	// A process that was killed may have left a name that a power cut would still take away.
	if err := errors.Join(fs.SyncDir(path.Dir(File)), fs.SyncDir(".")); err != nil {
		return nil, fmt.Errorf("sync %s: %w", File, err)
	}
	a.clock = c
	if c.Now().After(a.cert.NotAfter) {
		return nil, fmt.Errorf("read %s: the certificate authority ended on %s; remove the file to have a new one made", File, a.cert.NotAfter.Format(time.DateOnly))
	}
	return a, nil
}

// createAuthority makes an authority and stores it: a temporary file, synced, takes the name at once.
func createAuthority(fs vfs.FS, c clock.Clock) (*Authority, error) {
	a, err := NewAuthority(c)
	if err != nil {
		return nil, err
	}
	if err := a.store(fs); err != nil {
		return nil, fmt.Errorf("store certificate authority: %w", err)
	}
	return a, nil
}

func (a *Authority) store(fs vfs.FS) error {
	text, err := a.private()
	if err != nil {
		return err
	}
	if err := fs.Mkdir(path.Dir(File)); err != nil {
		return err
	}
	if err := writeFile(fs, tempFile, text); err != nil {
		return err
	}
	if err := fs.Rename(tempFile, File); err != nil {
		return err
	}
	return errors.Join(fs.SyncDir(path.Dir(File)), fs.SyncDir("."))
}

// writeFile replaces the content of a file and syncs it.
func writeFile(fs vfs.FS, name string, text []byte) error {
	f, err := fs.Open(name, vfs.Create)
	if err != nil {
		return err
	}
	err = f.Truncate(0) // a start that was cut short may have left one
	if err == nil {
		_, err = f.WriteAt(text, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readFile returns a whole file, which is small.
func readFile(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name, vfs.ReadOnly)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxPEMFile))
	return text, errors.Join(err, f.Close())
}

// private returns the authority's file: its certificate and its key.
func (a *Authority) private() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return append(a.PEM(), pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: key})...), nil
}

// parseAuthority reads what private wrote. The certificate's signature and the key that must be its
// own tell every changed byte that matters.
func parseAuthority(text []byte) (*Authority, error) {
	cert, rest, err := parseCertificate(text)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(rest)
	if block == nil || block.Type != blockKey || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: no private key behind the certificate", ErrDamaged)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: the private key cannot be read", ErrDamaged) // err might show it
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%w: the private key is not the certificate's", ErrDamaged)
	}
	return &Authority{cert: cert, key: key}, nil
}

// parseCertificate reads the certificate of an authority, which has signed itself.
func parseCertificate(text []byte) (cert *x509.Certificate, rest []byte, err error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != blockCert {
		return nil, nil, fmt.Errorf("%w: no certificate", ErrDamaged)
	}
	if cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return cert, rest, nil
}

// Export returns the certificate, without its key, of the authority in a data directory, in PEM. It
// needs no lock: the file is never changed.
func Export(data string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(data, filepath.FromSlash(File)))
	if err != nil {
		return nil, fmt.Errorf("read certificate authority: %w", err)
	}
	cert, _, err := parseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", File, err)
	}
	return encode(cert), nil
}

func encode(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockCert, Bytes: cert.Raw})
}

// PEM returns the authority's certificate as clients read it.
func (a *Authority) PEM() []byte { return encode(a.cert) }

// Fingerprint returns the SHA-256 of a certificate as people compare it.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	var parts []string
	for _, b := range sum {
		parts = append(parts, fmt.Sprintf("%02X", b))
	}
	return strings.Join(parts, ":")
}

// Fingerprint returns that of the authority's certificate.
func (a *Authority) Fingerprint() string { return Fingerprint(a.cert) }

// Serving returns the certificate of a server with these names and addresses, which is made at the
// first handshake and made anew before it ends. The authority's certificate is sent with it, so that
// a client on the same machine can take it from there.
func (a *Authority) Serving(names []string) *Serving { return &Serving{authority: a, names: names} }

// Serving is the certificate of a server, signed by an Authority. It is safe for concurrent use.
type Serving struct {
	authority *Authority
	names     []string

	mu struct {
		sync.Mutex
		current *tls.Certificate
		renewal time.Time // when the current one is replaced
	}
}

// Get returns the certificate for a handshake.
func (s *Serving) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := s.authority.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.mu.current; c != nil && now.Before(s.mu.renewal) && !now.Before(c.Leaf.NotBefore) {
		return c, nil
	}
	made, err := s.issue(now)
	if err != nil {
		return nil, err
	}
	s.mu.current, s.mu.renewal = made, made.Leaf.NotAfter
	if early := made.Leaf.NotAfter.Add(-renewBefore); now.Before(early) {
		s.mu.renewal = early // else the authority itself ends soon, and there is no longer one
	}
	return made, nil
}

// issue makes a key and has the authority sign it, for a server.
func (s *Serving) issue(now time.Time) (*tls.Certificate, error) {
	return s.issueWith(now, x509.ExtKeyUsageServerAuth)
}

func (s *Serving) issueWith(now time.Time, use x509.ExtKeyUsage) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	end := now.Add(servingLife)
	if end.After(s.authority.cert.NotAfter) {
		end = s.authority.cert.NotAfter
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{"Headrace development"}, CommonName: "headrace"},
		NotBefore:   now.Add(-backdate),
		NotAfter:    end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{use},
	}
	for _, name := range s.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.authority.cert, &key.PublicKey, s.authority.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, s.authority.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
