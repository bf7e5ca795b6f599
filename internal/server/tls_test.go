package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/certificate"
	"github.com/headrace/headrace/internal/config"
	"github.com/headrace/headrace/internal/testpoll"
)

// secureClient returns a client of one protocol by TLS that trusts an authority. With offered it says
// by ALPN what it will speak; without, it just speaks it.
func (r *running) secureClient(protocol string, offered bool, trusted []byte) *http.Client {
	r.t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(trusted) {
		r.t.Fatal("no authority to trust")
	}
	// The transport is told that the URL is plain, so that it leaves the choice of the protocol to us.
	c := client(r.t, protocol)
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		wants := &tls.Config{RootCAs: roots, ServerName: "localhost"}
		if offered {
			wants.NextProtos = map[string][]string{"HTTP/1.1": {"http/1.1"}, "HTTP/2.0": {"h2"}}[protocol]
		}
		return (&tls.Dialer{Config: wants}).DialContext(ctx, network, addr)
	}
	return c
}

// selfSigned starts a server on a data directory with an authority of its own.
func selfSigned(t *testing.T, change func(*Config)) (r *running, trusted []byte) {
	t.Helper()
	dir := t.TempDir()
	r = start(t, func(c *Config) {
		c.Data, c.Ring = dir, Ring{Segments: 2, SegmentBytes: 4 << 20}
		c.TLS = config.TLS{Mode: config.TLSSelfSigned, Cleartext: config.AnyPeer}
		if change != nil {
			change(c)
		}
	})
	trusted, err := certificate.Export(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r, trusted
}

// TestTLS makes calls in every way that clients do, on one port.
func TestTLS(t *testing.T) {
	r, trusted := selfSigned(t, nil)
	f := func(c *http.Client, protocol string) {
		t.Helper()
		resp, body := r.call(c, "ListStreams", "{}")
		if resp.Proto != protocol || resp.StatusCode != 200 || !strings.Contains(body, `"StreamNames":[]`) {
			t.Errorf("%s: %s %d %s", protocol, resp.Proto, resp.StatusCode, body)
		}
	}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		f(client(t, protocol), protocol)
		f(r.secureClient(protocol, true, trusted), protocol)
		f(r.secureClient(protocol, false, trusted), protocol)
	}
}

// A large body and a large answer get through TLS whole, over both protocols.
func TestTLSCarriesLargeRecords(t *testing.T) {
	r, trusted := selfSigned(t, nil)
	record := strings.Repeat("A", 1_200_000) // base64 of 900,000 bytes
	for i, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		c := r.secureClient(protocol, i == 0, trusted)
		name := "s" + protocol[5:6]
		r.call(c, "CreateStream", `{"StreamName":"`+name+`","ShardCount":1}`)
		if resp, body := r.call(c, "PutRecord", `{"StreamName":"`+name+`","PartitionKey":"k","Data":"`+record+`"}`); resp.StatusCode != 200 {
			t.Fatalf("%s: put: %d %s", protocol, resp.StatusCode, body)
		}
		_, iterator := r.call(c, "GetShardIterator", `{"StreamName":"`+name+`","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)
		if resp, body := r.call(c, "GetRecords", iterator); resp.StatusCode != 200 || !strings.Contains(body, record) {
			t.Errorf("%s: get: %d, %d bytes", protocol, resp.StatusCode, len(body))
		}
	}
}

func TestAuthorityOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	var first []byte
	for range 2 {
		r := start(t, func(c *Config) {
			c.Data, c.Ring, c.TLS.Mode = dir, Ring{Segments: 2, SegmentBytes: 4 << 20}, config.TLSSelfSigned
		})
		trusted, err := certificate.Export(dir)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = trusted
		}
		r.call(r.secureClient("HTTP/1.1", true, first), "ListStreams", "{}")
		r.stop()
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
		r.done <- nil
	}
}

// Names of the machine and those that are asked for are in the certificate.
func TestNamesOfTheCertificate(t *testing.T) {
	r, trusted := selfSigned(t, func(c *Config) { c.TLS.SAN = "headrace, *.kinesis.example,192.0.2.7" })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, want bool) {
		t.Helper()
		conn, err := tls.Dial("tcp", strings.TrimPrefix(r.url, "http://"), &tls.Config{RootCAs: roots, ServerName: name})
		if (err == nil) != want {
			t.Errorf("%s: %v, want trusted %t", name, err, want)
		}
		if err == nil {
			conn.Close()
		}
	}
	for _, name := range []string{"localhost", "data.localhost", "127.0.0.1", "::1", host, "headrace", "a.kinesis.example", "192.0.2.7"} {
		f(name, true)
	}
	f("example.com", false)
	f("192.0.2.8", false)
}

// TestFilesAreReloaded replaces a served certificate.
func TestFilesAreReloaded(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the next look at the files")
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	authority, err := certificate.NewAuthority(realClock{})
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string) {
		made, err := authority.Serving([]string{"localhost", name}).Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: made.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
			if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("old.example")
	r := start(t, func(c *Config) { c.TLS = config.TLS{Mode: config.TLSFiles, Cert: cert, Key: key} })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM())
	serves := func(name string) bool {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(r.url, "http://"), &tls.Config{RootCAs: roots, ServerName: name})
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	if !serves("old.example") {
		t.Fatal("the certificate is not served")
	}
	put("new.example")
	testpoll.Until(t, time.Minute, func() bool { return serves("new.example") }, "the new certificate")
}

// realClock is the machine's clock: TLS clients of tests go by it.
type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func TestTLSThatCannotBeSetUp(t *testing.T) {
	f := func(want string, change func(*config.TLS)) {
		t.Helper()
		cfg := Config{Listen: "127.0.0.1:0", MemoryBytes: 64 << 20, Logger: discard(), Registry: newRegistry()}
		change(&cfg.TLS)
		if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "set up TLS: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("read certificate: ", func(c *config.TLS) { c.Mode, c.Cert, c.Key = config.TLSFiles, "absent.crt", "absent.key" })
	f("need a data directory", func(c *config.TLS) { c.Mode, c.ACMEDomains = config.TLSACME, "a.example" })
	f("read certificates: ", func(c *config.TLS) { c.Mode, c.ClientCA = config.TLSSelfSigned, "absent.pem" })
}

// TestClientCertificateIsAsked shows that the setting reaches the handshake.
func TestClientCertificateIsAsked(t *testing.T) {
	authority, err := certificate.NewAuthority(realClock{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(file, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, trusted := selfSigned(t, func(c *Config) {
		c.TLS.ClientCA, c.TLS.ClientCertificate = file, config.RequireCertificate
	})
	req := r.request("ListStreams", strings.NewReader("{}"))
	if resp, err := r.secureClient("HTTP/1.1", true, trusted).Do(req); err == nil {
		resp.Body.Close()
		t.Error("a client without a certificate was served")
	}
}

// TestHandlersSeeTLS: policies and the audit log ask for it.
func TestHandlersSeeTLS(t *testing.T) {
	addr := make(chan string, 1)
	seen := make(chan *tls.ConnectionState, 1)
	authority, err := certificate.NewAuthority(realClock{})
	if err != nil {
		t.Fatal(err)
	}
	sys := &system{port: newMeters(t).Port(), endStreams: func() {}, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.TLS
		io.WriteString(w, "x")
	})}
	ctx, stop := context.WithCancel(t.Context())
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	cfg := Config{DrainTimeout: time.Second, Logger: discard(), TLS: config.TLS{Mode: config.TLSSelfSigned}, Ready: func(a net.Addr) { addr <- a.String() }}
	go func() { ended <- serve(ctx, cfg, sys, inner) }()
	r := &running{t: t, url: "http://" + <-addr}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		resp, err := client(t, protocol).Get(r.url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if state := <-seen; state != nil {
			t.Errorf("%s in cleartext has TLS", protocol)
		}
		c := r.secureClient(protocol, false, authority.PEM())
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, network, addr)
		}
		resp, err = c.Get(r.url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if state := <-seen; state == nil || !state.HandshakeComplete || state.Version != tls.VersionTLS13 {
			t.Errorf("%s: the handler saw %+v", protocol, state)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
