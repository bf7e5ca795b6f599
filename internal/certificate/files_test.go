package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
)

// pairFiles is a certificate and its key on the disk.
type pairFiles struct {
	t         *testing.T
	cert, key string
}

func newPairFiles(t *testing.T) pairFiles {
	dir := t.TempDir()
	return pairFiles{t, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
}

func (p pairFiles) put(cert, key []byte) {
	p.t.Helper()
	for name, text := range map[string][]byte{p.cert: cert, p.key: key} {
		if text == nil {
			continue
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
}

// pairFor makes a certificate and its key in PEM.
func pairFor(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	made := get(t, authority(t, clock.NewManual(start)).Serving([]string{name}))
	der, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockCert, Bytes: made.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: der})
}

func (f *Files) serves(t *testing.T) string {
	t.Helper()
	cert, err := f.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.DNSNames[0]
}

func TestFilesAreLoadedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPairFiles(t)
		cert1, key1 := pairFor(t, "one")
		p.put(cert1, key1)
		var mu sync.Mutex
		var told []string
		f, err := OpenFiles(p.cert, p.key, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				told = append(told, "changed")
			} else {
				told = append(told, strings.ReplaceAll(err.Error(), filepath.Dir(p.cert)+string(filepath.Separator), ""))
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		// later is some time after a change.
		later := func(serves string, want ...string) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := f.serves(t); got != serves || strings.Join(told, "\n") != strings.Join(want, "\n") {
				t.Errorf("serves %s and told %q; want %s and %q", got, told, serves, want)
			}
			told = nil
		}
		later("one")
		cert2, key2 := pairFor(t, "two")
		p.put(cert2, nil)
		later("one", "load certificate tls.crt with key tls.key: tls: private key does not match public key")
		p.put(nil, key2)
		later("two", "changed")
		p.put([]byte("half a certifi"), nil)
		later("two", "load certificate tls.crt with key tls.key: tls: failed to find any PEM data in certificate input")
		p.put(cert2, nil)
		later("two", "changed")
		if err := os.Remove(p.key); err != nil {
			t.Fatal(err)
		}
		later("two", "read key of certificate: open tls.key: no such file or directory")
		later("two") // told once
		p.put(cert1, key1)
		later("one", "changed")
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestFilesThatCannotServe(t *testing.T) {
	p := newPairFiles(t)
	f := func(want string) {
		t.Helper()
		if _, err := OpenFiles(p.cert, p.key, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("read certificate: open ")
	cert, key := pairFor(t, "one")
	p.put(cert, nil)
	f("read key of certificate: open ")
	_, other := pairFor(t, "two")
	p.put(nil, other)
	f("private key does not match")
	p.put(nil, append([]byte("secret "), key[:40]...))
	f("failed to find any PEM")
	if _, err := OpenFiles(p.cert, p.key, nil); strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows the key: %v", err)
	}
}

func TestClientCertificates(t *testing.T) {
	now := clock.NewManual(time.Now())
	trusted, other := authority(t, now), authority(t, now)
	file := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(file, trusted.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	server := authority(t, now)
	// shake does a handshake with a client that has a certificate of an authority, or none.
	shake := func(require bool, client *Authority) error {
		t.Helper()
		config := Config(server.Serving([]string{"localhost"}).Get)
		if err := AskClients(config, file, require); err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(server.PEM())
		theirs := &tls.Config{ServerName: "localhost", RootCAs: roots}
		if client != nil {
			cert, err := client.issueFor(x509.ExtKeyUsageClientAuth)
			if err != nil {
				t.Fatal(err)
			}
			// What the server says it takes is not looked at.
			theirs.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		shaken := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, tls.Client(b, theirs)) // the handshake, and tickets after it
			shaken <- err
		}()
		err := tls.Server(a, config).Handshake()
		a.Close()
		<-shaken
		return err
	}
	f := func(what string, require bool, client *Authority, want string) {
		t.Helper()
		err := shake(require, client)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", what, err, want)
		}
	}
	f("asked, has one", false, trusted, "")
	f("asked, has none", false, nil, "")
	f("asked, has a stranger's", false, other, "unknown authority")
	f("required, has one", true, trusted, "")
	f("required, has none", true, nil, "didn't provide a certificate")
	f("required, has a stranger's", true, other, "unknown authority")
	if err := AskClients(Config(nil), filepath.Join(t.TempDir(), "absent"), true); err == nil {
		t.Error("a file that is not there was taken")
	}
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := AskClients(Config(nil), file, true); err == nil {
		t.Error("a file without a certificate was taken: it would refuse everybody, or nobody")
	}
}

// issueFor makes a certificate for another use than serving.
func (a *Authority) issueFor(use x509.ExtKeyUsage) (*tls.Certificate, error) {
	cert, err := a.Serving([]string{"client"}).issueWith(a.clock.Now(), use)
	return cert, err
}

func TestOldProtocolsAreRefused(t *testing.T) {
	config := Config(authority(t, clock.NewManual(time.Now())).Serving([]string{"localhost"}).Get)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go io.Copy(io.Discard, tls.Client(b, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}))
	if err := tls.Server(a, config).Handshake(); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}
