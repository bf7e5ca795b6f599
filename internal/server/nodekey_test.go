package server

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/check"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/secret/kms"
	"github.com/headrace/headrace/internal/secret/kms/kmstest"
	"github.com/headrace/headrace/internal/secret/wrapped"
)

const (
	kmsURI   = "aws-kms://" + kmstest.ARN
	kmsOther = "aws-kms://" + kmstest.Elsewhere
)

// keyService starts a KMS that this process reaches.
func keyService(t *testing.T) *kmstest.Server {
	t.Helper()
	s := kmstest.Start(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range s.Environ(ca) {
		t.Setenv(name, value)
	}
	return s
}

// keyed names the node's key.
func keyed(name string) func(*Config) { return func(c *Config) { c.Access.NodeKey = name } }

// cannotStart starts a server, which must say why it does not.
func cannotStart(t *testing.T, what string, change func(*Config), want error, says string) {
	t.Helper()
	cfg := Config{Listen: "127.0.0.1:0", MemoryBytes: 64 << 20, DefaultAccount: "000000000000", Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()}
	change(&cfg)
	err := Run(t.Context(), cfg)
	if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: Run() = %v; want %v saying %q", what, err, want, says)
	}
}

// TestWrappedNodeKey starts on directories whose node key a KMS wraps, encrypted and not: it is made once,
// each start asks the KMS once, and the key is nowhere in clear.
func TestWrappedNodeKey(t *testing.T) {
	for _, encrypt := range []bool{false, true} {
		s, dir := keyService(t), filepath.Join(t.TempDir(), "data")
		wrap := all(onDisk(dir), keyed(kmsURI), func(c *Config) { c.Encrypt = encrypt })
		made := ""
		for _, calls := range [][]string{{"Encrypt", "Decrypt"}, {"Decrypt"}, {"Decrypt"}} {
			finish(t, start(t, wrap))
			if got := s.Calls(); !slices.Equal(got, calls) {
				t.Errorf("a start made the calls %v, want %v", got, calls)
			}
			text, err := os.ReadFile(filepath.Join(dir, wrapped.File))
			if err != nil || made != "" && string(text) != made {
				t.Fatalf("the wrapped key is %q, %v; it was %q", text, err, made)
			}
			made = string(text)
		}
		key, err := ReadNodeKey(t.Context(), kmsURI, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{string(key.Bytes()), base64.StdEncoding.EncodeToString(key.Bytes())} {
			if files := holds(t, dir, form); len(files) > 0 {
				t.Errorf("the node key lies in clear in %v", files)
			}
		}
		s.MakeKey(kmstest.ARN)
		cannotStart(t, "a key made anew under the name", wrap, kms.ErrKey, kmsURI)
		s.RemoveKey(kmstest.ARN)
		cannotStart(t, "a key that is gone", wrap, kms.ErrKey, "does not exist")
		s.Deny(true)
		cannotStart(t, "no right to use it", wrap, kms.ErrDenied, "credentials")
		if text, err := os.ReadFile(filepath.Join(dir, wrapped.File)); err != nil || string(text) != made {
			t.Errorf("starts that failed left %q, %v", text, err)
		}
		t.Setenv("AWS_CA_BUNDLE", filepath.Join(dir, "none.pem")) // an error that a missing key would have, too
		cannotStart(t, "a file of the client's is missing", wrap, nil, "none.pem")
		t.Setenv("AWS_CA_BUNDLE", "")
		if err := os.Remove(filepath.Join(dir, wrapped.File)); err != nil {
			t.Fatal(err)
		}
		s.Deny(false)
		s.MakeKey(kmstest.ARN)
		cannotStart(t, "no wrapped key", wrap, nil, wrapped.File)
		if _, err := os.Stat(filepath.Join(dir, wrapped.File)); err == nil {
			t.Error("another key was made in the place of the one that is missing")
		}
	}
}

// TestWrapNodeKey moves a node's key from a file to a KMS, and from one key of it to another, while a server
// uses the directory. A backup and what is restored of it have the wrapping of its time.
func TestWrapNodeKey(t *testing.T) {
	s, root := keyService(t), t.TempDir()
	dir := filepath.Join(root, "data")
	finish(t, start(t, onDisk(dir)))
	file := filepath.Join(dir, nodeKeyFile)
	cannotStart(t, "before it is wrapped", all(onDisk(dir), keyed(kmsURI)), nil, "headrace node-key wrap")
	id, err := WrapNodeKey(t.Context(), "", dir, kmsURI)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	cannotStart(t, "without a word of it", onDisk(dir), nil, "give --node-key "+kmsURI)
	if _, err := os.Stat(file); err == nil {
		t.Error("a key in clear was made beside the wrapped one")
	}

	r := start(t, all(onDisk(dir), keyed(kmsURI)))
	take := func() []byte {
		t.Helper()
		archive, err := io.ReadAll(r.order(client(t, "HTTP/1.1"), "POST", "/_headrace/backup").Body)
		if err != nil {
			t.Fatal(err)
		}
		return archive
	}
	before := take()
	if again, err := WrapNodeKey(t.Context(), kmsURI, dir, kmsOther); err != nil || again != id {
		t.Fatalf("WrapNodeKey() = %s, %v; want %s", again, err, id)
	}
	after := take()
	for uri, archive := range map[string][]byte{kmsURI: before, kmsOther: after} {
		to := filepath.Join(t.TempDir(), "restored")
		out, err := backup.RestoreDirectory(t.Context(), to, bytes.NewReader(archive), nil, clock.System{})
		if err != nil || out.KeyURI != uri {
			t.Fatalf("restored: %+v, %v; want the key's wrapping with %s", out, err, uri)
		}
		finish(t, start(t, all(onDisk(to), keyed(uri))))
	}
	if err := os.Remove(filepath.Join(dir, wrapped.File)); err != nil {
		t.Fatal(err)
	}
	if archive := take(); !strings.Contains(string(archive), wrapped.File) || strings.Contains(string(archive), "LISTING") {
		t.Errorf("a backup without the key that it needs: %.80q", archive)
	}
	finish(t, r)

	other := filepath.Join(root, "other.key")
	if err := os.WriteFile(other, []byte(secret.NewKey().Text().Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	sealed := filepath.Join(root, "sealed")
	finish(t, start(t, all(encrypted(sealed, kmsURI))))
	f := func(what, name, dir, uri string, want error, says string) {
		t.Helper()
		if _, err := WrapNodeKey(t.Context(), name, dir, uri); err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %v saying %q", what, err, want, says)
		}
	}
	f("another key than the directory's", other, sealed, kmsURI, encryption.ErrOtherKey, "ENCRYPTION")
	f("nothing to wrap", kmsURI, dir, kmsOther, os.ErrNotExist, wrapped.File)
	f("no such directory", other, filepath.Join(root, "none"), kmsOther, os.ErrNotExist, "none")
	f("not a URI", kmsURI, sealed, "aws-kms://x", kms.ErrURI, "arn")
	s.RemoveKey(kmstest.Elsewhere)
	f("a key that is gone", kmsURI, sealed, kmsOther, kms.ErrKey, kmsOther)
	finish(t, start(t, encrypted(sealed, kmsURI)))
	if err := os.WriteFile(filepath.Join(sealed, wrapped.File), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	cannotStart(t, "a damaged file", encrypted(sealed, kmsURI), wrapped.ErrFile, wrapped.File)
	var found []check.Finding
	key := func() (secret.Key, error) { return ReadNodeKey(t.Context(), kmsURI, sealed) }
	if _, err := check.Directory(t.Context(), sealed, key, func(f check.Finding) { found = append(found, f) }); !errors.Is(err, check.ErrEncrypted) || len(found) != 1 || found[0].File != wrapped.File {
		t.Errorf("check of a damaged file: %v, %v", found, err)
	}
}
