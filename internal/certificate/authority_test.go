package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

// start is when the tests' clock begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// verify checks a certificate as a client does that trusts the PEM text, at a time.
func verify(t *testing.T, cert *tls.Certificate, trusted []byte, name string, at time.Time) error {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(trusted) {
		t.Fatalf("no certificate in %q", trusted)
	}
	_, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: at})
	return err
}

func authority(t *testing.T, c clock.Clock) *Authority {
	t.Helper()
	a, err := NewAuthority(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(t *testing.T, s *Serving) *tls.Certificate {
	t.Helper()
	cert, err := s.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestServingIsTrusted(t *testing.T) {
	a := authority(t, clock.NewManual(start))
	cert := get(t, a.Serving([]string{"localhost", "*.localhost", "127.0.0.1", "::1"}))
	f := func(name string, want bool) {
		t.Helper()
		if err := verify(t, cert, a.PEM(), name, start); (err == nil) != want {
			t.Errorf("%s: %v; want trusted %t", name, err, want)
		}
	}
	f("localhost", true)
	f("111111111111.localhost", true)
	f("127.0.0.1", true)
	f("::1", true)
	f("example.com", false)
	f("192.0.2.1", false)
	if err := verify(t, cert, authority(t, clock.NewManual(start)).PEM(), "localhost", start); err == nil {
		t.Error("a client that trusts another authority is content")
	}
	if len(cert.Certificate) != 2 || !bytes.Equal(cert.Certificate[1], a.cert.Raw) {
		t.Error("the authority's certificate is not sent")
	}
}

// The authority signs servers; what it signs signs nothing.
func TestServingSignsNothing(t *testing.T) {
	a := authority(t, clock.NewManual(start))
	leaf := get(t, a.Serving([]string{"localhost"})).Leaf
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0 || len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("a server's certificate may do more than serve: %+v", leaf)
	}
	if !a.cert.IsCA || a.cert.MaxPathLen != 0 || !a.cert.MaxPathLenZero {
		t.Errorf("the authority may sign authorities")
	}
}

func TestServingIsRenewed(t *testing.T) {
	now := clock.NewManual(start)
	a := authority(t, now)
	s := a.Serving([]string{"localhost"})
	first := get(t, s)
	now.Advance(servingLife - renewBefore - time.Second)
	if get(t, s) != first {
		t.Error("a certificate was replaced early")
	}
	now.Advance(time.Second)
	second := get(t, s)
	if second == first || verify(t, second, a.PEM(), "localhost", now.Now().Add(servingLife-time.Second)) != nil {
		t.Error("a certificate was not replaced when it was time")
	}
	// A clock that was wrong, and is set right.
	now.Advance(-100 * 24 * time.Hour)
	if third := get(t, s); verify(t, third, a.PEM(), "localhost", start) == nil && third == second {
		t.Error("a certificate from the future is served")
	}
	// At the authority's end its certificates end with it, and are not made at every handshake.
	now.Advance(start.Add(authorityLife - time.Hour).Sub(now.Now()))
	last := get(t, s)
	if last.Leaf.NotAfter.After(a.cert.NotAfter) || get(t, s) != last {
		t.Errorf("the last certificate ends %v, the authority %v", last.Leaf.NotAfter, a.cert.NotAfter)
	}
}

func TestAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	fs, err := osfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	made, err := OpenAuthority(fs, clock.NewManual(start))
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenAuthority(fs, clock.NewManual(start))
	if err != nil || again.Fingerprint() != made.Fingerprint() || !again.key.Equal(made.key) {
		t.Fatalf("another authority was opened, or none: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, File))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v; want readable by its owner alone", info.Mode(), err)
	}
	exported, err := Export(dir)
	if err != nil || !bytes.Equal(exported, made.PEM()) || bytes.Contains(exported, []byte("PRIVATE")) {
		t.Errorf("exported %q, %v", exported, err)
	}
	if err := verify(t, get(t, again.Serving([]string{"localhost"})), exported, "localhost", start); err != nil {
		t.Errorf("a client that trusts what was exported: %v", err)
	}
	if _, err := Export(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("export of a directory without one: %v", err)
	}
}

func TestAuthorityThatEnded(t *testing.T) {
	fs, now := memfs.New(), clock.NewManual(start)
	if _, err := OpenAuthority(fs, now); err != nil {
		t.Fatal(err)
	}
	now.Advance(authorityLife + time.Hour)
	if _, err := OpenAuthority(fs, now); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("got %v, want advice", err)
	}
}

// Every changed byte of the file is noticed, or changes nothing: the text around the blocks, and how
// the blocks are wrapped.
func TestDamagedAuthority(t *testing.T) {
	a := authority(t, clock.NewManual(start))
	whole, err := a.private()
	if err != nil {
		t.Fatal(err)
	}
	noticed := 0
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		got, err := parseAuthority(changed)
		switch {
		case errors.Is(err, ErrDamaged):
			noticed++
		case err != nil:
			t.Fatalf("byte %d: %v", i, err)
		case got.Fingerprint() != a.Fingerprint() || !got.key.Equal(a.key):
			t.Fatalf("byte %d: another authority was read", i)
		}
	}
	if noticed < len(whole)*9/10 {
		t.Errorf("%d of %d changed bytes were noticed", noticed, len(whole))
	}
	f := func(text string) {
		t.Helper()
		if _, err := parseAuthority([]byte(text)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%.40q: %v, want ErrDamaged", text, err)
		}
	}
	f("")
	f("x")
	f(string(a.PEM()))
	f(string(whole[:len(whole)/2]))
	f(string(whole) + "x")
	other, _ := authority(t, clock.NewManual(start)).private()
	key := other[bytes.Index(other, []byte("-----BEGIN PRIVATE")):]
	f(string(a.PEM()) + string(key))
	leaf := get(t, a.Serving([]string{"localhost"}))
	f(string(pem.EncodeToMemory(&pem.Block{Type: blockCert, Bytes: leaf.Certificate[0]})) + string(key))
}

// The power is cut before every call that stores an authority: afterwards the one that was handed out
// is there, or none was and a new one is made.
func TestAuthorityUnderPowerCuts(t *testing.T) {
	errCut := errors.New("power cut")
	for cut := 0; ; cut++ {
		whole := false
		for seed := range uint64(20) {
			disk := memfs.New()
			var after *memfs.FS
			calls := 0
			fs := errfs.New(disk, func(errfs.Call) error {
				if calls++; calls > cut && after == nil {
					after = disk.CrashClone(rand.New(rand.NewPCG(seed, uint64(cut))))
				}
				if after != nil {
					return errCut
				}
				return nil
			})
			made, err := OpenAuthority(fs, clock.NewManual(start))
			if after == nil {
				whole, after = true, disk.CrashClone(rand.New(rand.NewPCG(seed, 1)))
			}
			found, ferr := OpenAuthority(after, clock.NewManual(start))
			if ferr != nil {
				t.Fatalf("cut before call %d, seed %d: %v", cut+1, seed, ferr)
			}
			if err == nil && found.Fingerprint() != made.Fingerprint() {
				t.Fatalf("cut before call %d, seed %d: the authority that was handed out is lost", cut+1, seed)
			}
			// What was found is there to stay.
			if kept, err := OpenAuthority(after.CrashClone(rand.New(rand.NewPCG(seed, 2))), clock.NewManual(start)); err != nil || kept.Fingerprint() != found.Fingerprint() {
				t.Fatalf("cut before call %d, seed %d: what was found is lost at the next cut: %v", cut+1, seed, err)
			}
		}
		if whole {
			return
		}
	}
}

// An error of the disk is told, and the next start gets an authority.
func TestAuthorityUnderErrors(t *testing.T) {
	broken := errors.New("input/output error")
	for n := int64(1); ; n++ {
		disk := memfs.New()
		fs := errfs.New(disk, errfs.Nth(n, errfs.Any, broken))
		_, err := OpenAuthority(fs, clock.NewManual(start))
		if fs.Total() < n {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, broken) {
			t.Errorf("error of call %d: got %v", n, err)
		}
		if _, err := OpenAuthority(disk, clock.NewManual(start)); err != nil {
			t.Errorf("after an error of call %d: %v", n, err)
		}
	}
}

func FuzzParseAuthority(f *testing.F) {
	a, err := NewAuthority(clock.NewManual(start))
	if err != nil {
		f.Fatal(err)
	}
	whole, err := a.private()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "-----BEGIN CERTIFICATE-----\n", string(a.PEM()), string(whole)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseAuthority(text)
		if err == nil && !got.key.PublicKey.Equal(got.cert.PublicKey) {
			t.Error("a key that is not the certificate's was taken")
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%v is not ErrDamaged", err)
		}
	})
}
