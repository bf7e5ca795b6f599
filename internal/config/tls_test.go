package config

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestTLSSource(t *testing.T) {
	f := func(t1 TLS, want TLSMode) {
		t.Helper()
		if got := t1.Source(TLSSelfSigned); got != want {
			t.Errorf("%+v: got %s, want %s", t1, got, want)
		}
	}
	f(TLS{Mode: AutoTLS}, TLSSelfSigned)
	f(TLS{Mode: AutoTLS, Cert: "c", Key: "k"}, TLSFiles)
	f(TLS{Mode: AutoTLS, ACMEDomains: "a"}, TLSACME)
	f(TLS{Mode: TLSOff, Cert: "c", Key: "k"}, TLSOff)
	f(TLS{Mode: TLSACME, Cert: "c", ACMEDomains: "a"}, TLSACME)
}

func TestList(t *testing.T) {
	f := func(l List, want ...string) {
		t.Helper()
		if got := l.Items(); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", l, got, want)
		}
	}
	f("")
	f(" , ")
	f("a", "a")
	f("a, b,c ,", "a", "b", "c")
}

func TestOr(t *testing.T) {
	if AutoPeers.Or(LoopbackPeers) != LoopbackPeers || NoPeer.Or(AnyPeer) != NoPeer {
		t.Error("a profile's peers must fill in for auto alone")
	}
	if !AutoSwitch.Or(true) || AutoSwitch.Or(false) || !On.Or(false) || Off.Or(true) {
		t.Error("a profile's switch must fill in for auto alone")
	}
}

func TestValidateEdge(t *testing.T) {
	f := func(key string, change func(*Config)) {
		t.Helper()
		c := Default()
		change(&c)
		err := c.Validate()
		var bad *KeyError
		if key == "" && err != nil || key != "" && (!errors.As(err, &bad) || bad.Key != key) {
			t.Errorf("got %v, want an error that names %q", err, key)
		}
	}
	f("tls.mode", func(c *Config) { c.TLS.Mode = "on" })
	f("tls.mode", func(c *Config) { c.TLS.Cert, c.TLS.Key, c.TLS.ACMEDomains = "c", "k", "a.example" })
	f("tls.cert", func(c *Config) { c.TLS.Mode = TLSFiles })
	f("tls.cert", func(c *Config) { c.TLS.Key = "k" })
	f("tls.key", func(c *Config) { c.TLS.Cert = "c" })
	f("", func(c *Config) { c.TLS.Cert, c.TLS.Key = "c", "k" })
	f("tls.san", func(c *Config) { c.TLS.SAN = "localhost, a b" })
	f("tls.san", func(c *Config) { c.TLS.SAN = "https://host" })
	f("tls.san", func(c *Config) { c.TLS.SAN = "a..b" })
	f("tls.san", func(c *Config) { c.TLS.SAN = "*.*.example" })
	f("", func(c *Config) { c.TLS.SAN = "headrace, *.kinesis.example, 192.0.2.1, 2001:db8::1" })
	f("tls.cleartext", func(c *Config) { c.TLS.Cleartext = "yes" })
	f("tls.client-certificate", func(c *Config) { c.TLS.ClientCertificate = "" })
	f("tls.acme-domains", func(c *Config) { c.TLS.Mode = TLSACME })
	f("tls.acme-domains", func(c *Config) { c.TLS.ACMEDomains = "a b" })
	f("tls.acme-email", func(c *Config) { c.TLS.ACMEEmail = "Ops <ops@example.com>" })
	f("tls.acme-directory", func(c *Config) { c.TLS.ACMEDirectory = "http://acme.example/dir" })
	f("audit.mode", func(c *Config) { c.Audit.Mode = "yes" })
	f("audit.file-size", func(c *Config) { c.Audit.FileSize = 1000 })
	f("audit.file-age", func(c *Config) { c.Audit.FileAge = time.Second })
	f("audit.total-size", func(c *Config) { c.Audit.TotalSize = 100 << 20 })
	f("", func(c *Config) { c.Audit.FileSize, c.Audit.TotalSize = 1<<20, 4<<20 })
	f("limits.connections", func(c *Config) { c.Limits.Connections = 0 })
	f("limits.connections-per-address", func(c *Config) { c.Limits.ConnectionsPerAddress = -1 })
	f("limits.requests-per-address", func(c *Config) { c.Limits.RequestsPerAddress = -1 })
	f("", func(c *Config) { c.Limits.RequestsPerKey = 0 })
	f("metrics.from", func(c *Config) { c.Metrics.From = "" })
	f("controls.origins", func(c *Config) { c.Controls.Origins = "*" })
	f("controls.origins", func(c *Config) { c.Controls.Origins = "http://*" })
	f("controls.origins", func(c *Config) { c.Controls.Origins = "http://localhost:3000/" })
	f("controls.origins", func(c *Config) { c.Controls.Origins = "null" })
	f("", func(c *Config) { c.Controls.Origins = "http://localhost:3000, https://dev.example" })
}

// A flag is judged by itself: what it works with may be another flag.
func TestCheckLooksAtOneKey(t *testing.T) {
	f := func(key, text string) {
		t.Helper()
		if err := Check(key, text); err != nil {
			t.Errorf("%s = %s: %v", key, text, err)
		}
	}
	f("tls.cert", "c")
	f("tls.mode", "files")
	f("audit.total-size", "4MiB")
	f("audit.data-events", "true")
	if err := Check("audit.data-events", "maybe"); err == nil {
		t.Error("maybe is neither true nor false")
	}
}
