package cli

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/certificate"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/config"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

// secureServer answers every page with 200 by TLS, with a certificate of our own authority.
func secureServer(t *testing.T) (s *httptest.Server, authority *certificate.Authority) {
	t.Helper()
	authority, err := certificate.NewAuthority(clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	config := certificate.Config(authority.Serving([]string{"127.0.0.1"}).Get)
	// httptest has a certificate of its own, which is served where no name is asked for.
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return config, nil }}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, authority
}

func TestExportFromServer(t *testing.T) {
	s, authority := secureServer(t)
	code, out, stderr := newFake(1).run(t.Context(), "", "ca", "export", "--endpoint", s.URL)
	if code != 0 || out != string(authority.PEM()) || stderr != "SHA-256 fingerprint "+authority.Fingerprint()+"\n" {
		t.Errorf("got %d, %q, %q", code, out, stderr)
	}
	code, out, _ = newFake(1).run(t.Context(), "", "ca", "export", "--listen", s.Listener.Addr().String())
	if code != 0 || out != string(authority.PEM()) {
		t.Errorf("by the listen address: got %d, %q", code, out)
	}

	// A server whose certificate is somebody else's business has nothing to export.
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	code, out, stderr = newFake(1).run(t.Context(), "", "ca", "export", "--endpoint", other.URL)
	if code != 1 || out != "" || !strings.Contains(stderr, "has no certificate authority of its own") {
		t.Errorf("got %d, %q, %q", code, out, stderr)
	}
}

func TestExportFromDirectory(t *testing.T) {
	dir := t.TempDir()
	fs, err := osfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	authority, err := certificate.OpenAuthority(fs, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	code, out, stderr := newFake(1).run(t.Context(), "", "ca", "export", "--data", dir)
	if code != 0 || out != string(authority.PEM()) || strings.Contains(out+stderr, "PRIVATE") {
		t.Errorf("got %d, %q, %q", code, out, stderr)
	}
	if code, _, _ := newFake(1).run(t.Context(), "", "ca", "export", "--data", t.TempDir()); code != 1 {
		t.Errorf("a directory without one: exit code %d", code)
	}
}

func TestHealthByTLS(t *testing.T) {
	s, authority := secureServer(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(bundle string, want int) {
		t.Helper()
		var out strings.Builder
		app := newApp(&out, &out, newFake(1))
		app.Environ = []string{"AWS_CA_BUNDLE=" + bundle}
		if code := app.Run(t.Context(), []string{"health", "--endpoint", s.URL}); code != want {
			t.Errorf("AWS_CA_BUNDLE=%s: exit code %d, want %d: %s", bundle, code, want, &out)
		}
	}
	f(file, 0)
	f("", 1) // the system does not know the authority
	f(file+".absent", 1)
}

func TestEnvByTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(wantCode int, want string, args ...string) {
		t.Helper()
		code, out, stderr := newFake(1).run(t.Context(), "", append([]string{"env", "--shell", "sh"}, args...)...)
		if code != wantCode || !strings.Contains(out+stderr, want) {
			t.Errorf("%q: got %d, %q, %q; want %d, %q", args, code, out, stderr, wantCode, want)
		}
	}
	f(0, "export AWS_ENDPOINT_URL='https://127.0.0.1:4566'\n", "--ca", file)
	f(0, "export AWS_CA_BUNDLE='"+file+"'\nexport NODE_EXTRA_CA_CERTS='"+file+"'\n", "--ca", file)
	f(0, "export AWS_ENDPOINT_URL='https://kinesis.example.com'\n", "--endpoint", "https://kinesis.example.com")
	f(0, "ca_bundle = "+file+"\n", "--ca", file, "--profile")
	f(2, "is not a URL", "--endpoint", "kinesis.example.com")
	f(2, "is not a URL", "--endpoint", "https://x';reboot;'")
	f(1, "find certificate authorities", "--ca", file+".absent")
	quoted := filepath.Join(t.TempDir(), "it's.pem")
	if err := os.WriteFile(quoted, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f(2, "cannot be quoted", "--ca", quoted)
	t.Setenv("HEADRACE_TLS_CLEARTEXT", "none") // of this process, which is not what the command looks at
	f(0, "export AWS_ENDPOINT_URL='http://127.0.0.1:4566'\n")
}

// TestProfileTLS shows what each profile makes of what the configuration leaves open.
func TestProfileTLS(t *testing.T) {
	dev, serve, insecure := Profile{Dev: true}, Profile{}, Profile{InsecureListen: true}
	f := func(p Profile, change func(*config.TLS), mode config.TLSMode, cleartext config.Peers) {
		t.Helper()
		c := config.Default().TLS
		if change != nil {
			change(&c)
		}
		if got := p.tls(c); got.Mode != mode || got.Cleartext != cleartext {
			t.Errorf("%+v: got %s and cleartext from %s, want %s and %s", p, got.Mode, got.Cleartext, mode, cleartext)
		}
	}
	files := func(c *config.TLS) { c.Cert, c.Key = "c", "k" }
	f(dev, nil, config.TLSSelfSigned, config.AnyPeer)
	f(dev, func(c *config.TLS) { c.Mode = config.TLSOff }, config.TLSOff, config.AnyPeer)
	f(dev, func(c *config.TLS) { c.Cleartext = config.NoPeer }, config.TLSSelfSigned, config.NoPeer)
	f(serve, nil, config.TLSOff, config.AnyPeer)
	f(serve, files, config.TLSFiles, config.LoopbackPeers)
	f(serve, func(c *config.TLS) { c.ACMEDomains = "a.example" }, config.TLSACME, config.LoopbackPeers)
	f(serve, func(c *config.TLS) { files(c); c.Cleartext = config.AnyPeer }, config.TLSFiles, config.AnyPeer)
	f(insecure, files, config.TLSFiles, config.AnyPeer)
	// Cleartext can be refused only where there is something else.
	f(serve, func(c *config.TLS) { c.Cleartext = config.NoPeer }, config.TLSOff, config.AnyPeer)
}

// TestExposed shows what keeps serve from listening beyond loopback.
func TestExposed(t *testing.T) {
	f := func(listen string, secure, verified bool, want string) {
		t.Helper()
		c := config.Default()
		c.Listen = listen
		if secure {
			c.TLS.Cert, c.TLS.Key = "c", "k"
		}
		if got := exposed(c, verified); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s, TLS %t, signatures %t: got %q, want %q", listen, secure, verified, got, want)
		}
	}
	f("127.0.0.1:1", false, false, "")
	f("0.0.0.0:1", false, false, "signatures are not verified")
	f("0.0.0.0:1", true, false, "signatures are not verified")
	f("0.0.0.0:1", false, true, "in cleartext")
	f("0.0.0.0:1", true, true, "")
}

func TestGreetingSaysHowToConnect(t *testing.T) {
	f := func(want string, change func(*config.TLS), p Profile) {
		t.Helper()
		var out strings.Builder
		c := config.Default()
		if change != nil {
			change(&c.TLS)
		}
		newApp(&out, &out, newFake(1)).greet(c, p, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4566})
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s\nwant %s", &out, want)
		}
	}
	f("  address   http://127.0.0.1:4566\n  TLS       https://127.0.0.1:4566 (to trust it: headrace ca export > ca.pem)\n  connect", nil, Profile{Dev: true})
	f("  address   http://127.0.0.1:4566\n  connect", func(c *config.TLS) { c.Mode = config.TLSOff }, Profile{Dev: true})
	f("  address   http://127.0.0.1:4566\n  TLS       https://127.0.0.1:4566\n", func(c *config.TLS) { c.Cert, c.Key = "c", "k" }, Profile{})
	f("  address   https://127.0.0.1:4566\n  connect", func(c *config.TLS) { c.Cert, c.Key, c.Cleartext = "c", "k", config.NoPeer }, Profile{})
}

// The certificate is not looked at before it is exported, so it is parsed with care.
func TestExportRefusesOddChains(t *testing.T) {
	s, authority := secureServer(t)
	stranger, err := certificate.NewAuthority(clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cert, err := authority.Serving([]string{"127.0.0.1"}).Get(nil)
		if err != nil {
			return nil, err
		}
		root, err := parsePEM(stranger.PEM())
		if err != nil {
			return nil, err
		}
		wrong := *cert
		wrong.Certificate = [][]byte{cert.Certificate[0], root.Raw}
		return &tls.Config{Certificates: []tls.Certificate{wrong}}, nil
	}
	code, out, _ := newFake(1).run(t.Context(), "", "ca", "export", "--endpoint", s.URL)
	if code != 1 || out != "" {
		t.Errorf("an authority that did not sign the server's certificate was exported: %d, %q", code, out)
	}
}

func parsePEM(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	return x509.ParseCertificate(block.Bytes)
}
