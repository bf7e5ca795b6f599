// Package certificate is what the port's TLS is served with: the certificate of a pair of files that
// is loaded again when they change, or one of a certificate authority of our own, for development.
// Package certificate/acme gets one from an authority that others trust.
//
// It accepts no connection (package listener does) and decides nothing about who may call.
//
//	files, err := certificate.OpenFiles("tls.crt", "tls.key", func(err error) { /* log it */ })
//	go files.Run(ctx)
//	config := certificate.Config(files.Get)
//
//	authority, err := certificate.OpenAuthority(fs, clock) // kept in a data directory
//	config := certificate.Config(authority.Serving([]string{"localhost", "127.0.0.1"}).Get)
package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Get returns the certificate for one handshake. It is what tls.Config calls GetCertificate.
type Get func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Config returns the TLS of the port: TLS 1.2 and later, HTTP/2 and HTTP/1.1 offered by ALPN, and
// neither asked for by it.
func Config(get Get) *tls.Config {
	return &tls.Config{
		GetCertificate: get,
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
	}
}

// AskClients makes config ask its clients for a certificate of one of the authorities in a PEM file,
// and with require refuse those that have none. A certificate that is sent is always verified. The
// file is read once.
func AskClients(config *tls.Config, file string, require bool) error {
	pool, err := Pool(file)
	if err != nil {
		return err
	}
	config.ClientCAs, config.ClientAuth = pool, tls.VerifyClientCertIfGiven
	if require {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return nil
}

// Pool reads a PEM file of certificates.
func Pool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read certificates: %s holds none in PEM", file)
	}
	return pool, nil
}
