package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// reloadInterval is how soon a changed certificate is served. Both files are read every time: they
// are small, and their times say nothing certain, since a file may change twice within one tick of
// the file system's clock and what orchestrators mount is a link that is turned to another directory.
const reloadInterval = 5 * time.Second

// Files is a certificate and its key in two PEM files, which may be replaced while it serves. Get is
// safe for concurrent use.
type Files struct {
	cert, key string
	changed   func(error)
	current   atomic.Pointer[tls.Certificate]
	tried     pair // what load saw last, good or not
}

// pair is the content of both files.
type pair struct{ cert, key []byte }

func (p pair) equal(q pair) bool { return bytes.Equal(p.cert, q.cert) && bytes.Equal(p.key, q.key) }

// OpenFiles reads the certificate, with the chain that is sent with it, and its private key. After
// that changed, if not nil, hears of every change of the files: nil when the new certificate is
// served, else why it cannot be and the old one still is.
func OpenFiles(cert, key string, changed func(error)) (*Files, error) {
	f := &Files{cert: cert, key: key, changed: changed}
	if f.changed == nil {
		f.changed = func(error) {}
	}
	p, err := f.read()
	if err == nil {
		err = f.load(p)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Get returns the certificate of the files as they were last found good. A client that asks for
// another name gets it as well, and decides.
func (f *Files) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current.Load(), nil }

// Run looks for changes until ctx is done. It returns nil.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.look()
		case <-ctx.Done():
			return nil
		}
	}
}

// look loads the files if they have changed. What cannot be served is told once, not at every look;
// of files that are being replaced the next look finds the rest.
func (f *Files) look() {
	p, err := f.read()
	if p.equal(f.tried) {
		return
	}
	f.tried = p
	if err == nil {
		err = f.load(p)
	}
	f.changed(err)
}

// read returns what is in the files; one that cannot be read is empty in the pair.
func (f *Files) read() (pair, error) {
	cert, err := os.ReadFile(f.cert)
	if err != nil {
		return pair{}, fmt.Errorf("read certificate: %w", err)
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return pair{cert: cert}, fmt.Errorf("read key of certificate: %w", err)
	}
	return pair{cert, key}, nil
}

// load serves the pair from now on. The error never shows the key.
func (f *Files) load(p pair) error {
	f.tried = p
	loaded, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return fmt.Errorf("load certificate %s with key %s: %w", f.cert, f.key, err)
	}
	f.current.Store(&loaded)
	return nil
}
