package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strings"
)

// TLS is how the one port is encrypted.
type TLS struct {
	// Mode says where the certificate comes from. Use Source to read it.
	Mode TLSMode
	// Cert and Key are PEM files, for TLSFiles.
	Cert, Key string
	// SAN are names and addresses that a self-signed certificate is good for, beside this machine's.
	SAN List
	// Cleartext says which peers may do without TLS where it is on. Use the profile's rule for
	// AutoPeers.
	Cleartext Peers
	// ClientCA is a PEM file of authorities that clients' certificates must come from; "" asks for
	// none. ClientCertificate says whether clients need one.
	ClientCA          string
	ClientCertificate ClientCertificate
	// ACMEDomains are the names to get certificates for, for TLSACME; ACMEEmail is where the
	// authority may write to, ACMEDirectory its URL, ACMECA a PEM file of whom to trust when talking
	// to it.
	ACMEDomains   List
	ACMEEmail     string
	ACMEDirectory string
	ACMECA        string
}

// TLSMode is a source of certificates.
type TLSMode string

// The sources of certificates. AutoTLS is TLSFiles or TLSACME where their keys are set, and else
// leaves it to the profile.
const (
	AutoTLS       TLSMode = "auto"
	TLSOff        TLSMode = "off"
	TLSSelfSigned TLSMode = "self-signed"
	TLSFiles      TLSMode = "files"
	TLSACME       TLSMode = "acme"
)

// Peers is a set of clients by where they are.
type Peers string

// The sets of peers. AutoPeers leaves it to the profile.
const (
	AutoPeers     Peers = "auto"
	AnyPeer       Peers = "any"
	LoopbackPeers Peers = "loopback"
	NoPeer        Peers = "none"
)

// Or returns p, or def where the configuration leaves it open.
func (p Peers) Or(def Peers) Peers {
	if p == AutoPeers {
		return def
	}
	return p
}

// ClientCertificate says what clients without a certificate get.
type ClientCertificate string

// RequireCertificate refuses clients without one; RequestCertificate takes them.
const (
	RequireCertificate ClientCertificate = "require"
	RequestCertificate ClientCertificate = "request"
)

// defaultACMEDirectory is Let's Encrypt.
const defaultACMEDirectory = "https://acme-v02.api.letsencrypt.org/directory"

func defaultTLS() TLS {
	return TLS{Mode: AutoTLS, Cleartext: AutoPeers, ClientCertificate: RequireCertificate, ACMEDirectory: defaultACMEDirectory}
}

// Source returns where the certificate comes from, which is never AutoTLS: auto is the profile's
// choice where the configuration makes none.
func (t TLS) Source(auto TLSMode) TLSMode {
	switch {
	case t.Mode != AutoTLS:
		return t.Mode
	case t.Cert != "" || t.Key != "":
		return TLSFiles
	case t.ACMEDomains != "":
		return TLSACME
	}
	return auto
}

// List is a text of several values with commas between them.
type List string

// Items returns the values without the space around them.
func (l List) Items() []string {
	var items []string
	for item := range strings.SplitSeq(string(l), ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// tlsSettings are the keys of the section tls.
func tlsSettings(t *TLS) []setting {
	return []setting{
		{"tls.mode", "text", "where the certificate comes from: auto, off, self-signed, files or acme", (*textValue)(&t.Mode)},
		{"tls.cert", "file", "certificate with its chain, in PEM; loaded again when it changes", (*textValue)(&t.Cert)},
		{"tls.key", "file", "private key of the certificate, in PEM", (*textValue)(&t.Key)},
		{"tls.san", "list", "names and addresses of a self-signed certificate beside this machine's", (*textValue)(&t.SAN)},
		{"tls.cleartext", "text", "who may do without TLS where it is on: auto, any, loopback or none", (*textValue)(&t.Cleartext)},
		{"tls.client-ca", "file", "authorities that clients' certificates must come from, in PEM; empty asks for none", (*textValue)(&t.ClientCA)},
		{"tls.client-certificate", "text", "whether clients must have a certificate: require or request", (*textValue)(&t.ClientCertificate)},
		{"tls.acme-domains", "list", "names to get certificates for from an ACME authority", (*textValue)(&t.ACMEDomains)},
		{"tls.acme-email", "text", "where the ACME authority may write to", (*textValue)(&t.ACMEEmail)},
		{"tls.acme-directory", "url", "the ACME authority", (*textValue)(&t.ACMEDirectory)},
		{"tls.acme-ca", "file", "authorities to trust when talking to the ACME authority, in PEM; empty trusts the system's", (*textValue)(&t.ACMECA)},
	}
}

// tlsChecks are what is wrong with single values of the section.
func tlsChecks(t TLS) []check {
	return []check{
		{"tls.mode", oneOf(t.Mode, AutoTLS, TLSOff, TLSSelfSigned, TLSFiles, TLSACME)},
		{"tls.san", checkNames(t.SAN)},
		{"tls.cleartext", oneOf(t.Cleartext, AutoPeers, AnyPeer, LoopbackPeers, NoPeer)},
		{"tls.client-certificate", oneOf(t.ClientCertificate, RequireCertificate, RequestCertificate)},
		{"tls.acme-domains", checkNames(t.ACMEDomains)},
		{"tls.acme-email", checkEmail(t.ACMEEmail)},
		{"tls.acme-directory", checkURL(t.ACMEDirectory)},
	}
}

// tlsRelations are what is wrong between values of the section.
func tlsRelations(t TLS) []check {
	source := t.Source(TLSOff)
	return []check{
		{"tls.mode", checkSources(t)},
		{"tls.cert", given(source == TLSFiles, t.Cert, "the certificate's file is missing")},
		{"tls.key", given(source == TLSFiles, t.Key, "the key's file is missing")},
		{"tls.acme-domains", given(source == TLSACME, string(t.ACMEDomains), "no name to get a certificate for")},
	}
}

// checkSources refuses to guess which of two certificates is meant.
func checkSources(t TLS) error {
	if t.Mode == AutoTLS && (t.Cert != "" || t.Key != "") && t.ACMEDomains != "" {
		return errors.New("tls.cert and tls.acme-domains are both there: say which with files or acme")
	}
	return nil
}

func given(needed bool, text, missing string) error {
	if needed && text == "" {
		return errors.New(missing)
	}
	return nil
}

func oneOf[T ~string](v T, allowed ...T) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	return fmt.Errorf("%q is none of %s", v, strings.Join(words, ", "))
}

// checkNames takes what can stand in a certificate: addresses, host names, and host names whose first
// part is a star.
func checkNames(l List) error {
	for _, name := range l.Items() {
		host := strings.TrimPrefix(name, "*.")
		if net.ParseIP(name) != nil {
			continue
		}
		if len(host) > 253 || strings.ContainsFunc(host, func(c rune) bool { return c == ':' || c == '%' || notInHost(c) }) || strings.Contains("."+host+".", "..") {
			return fmt.Errorf("%q is neither a host name nor an address", name)
		}
	}
	return nil
}

func checkEmail(s string) error {
	if s == "" {
		return nil
	}
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
		return fmt.Errorf("%q is not an e-mail address", s)
	}
	return nil
}

func checkURL(s string) error {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not a URL that begins with https://", s)
	}
	return nil
}
