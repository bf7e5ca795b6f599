package kms

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/secret/kms/kmstest"
	"github.com/headrace/headrace/internal/secret/wrapped"
)

const awsURI = "aws-kms://" + kmstest.ARN

// reach starts a service that this process reaches by its environment, and returns the URIs of keys of both
// kinds.
func reach(t *testing.T) (s *kmstest.Server, vaultURI string) {
	t.Helper()
	s = kmstest.Start(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range s.Environ(ca) {
		t.Setenv(name, value)
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1") // Headrace's own, in a shell that uses it
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	for _, name := range []string{"VAULT_ADDR", "VAULT_AGENT_ADDR", "VAULT_NAMESPACE", "VAULT_SKIP_VERIFY", "AWS_CA_BUNDLE", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	return s, "hcvault://" + s.Vault + "/" + kmstest.Transit
}

// TestWrap wraps and unwraps with the services' own clients: it takes one call to unwrap, and what is
// wrapped is bound to its use.
func TestWrap(t *testing.T) {
	s, vaultURI := reach(t)
	for uri, calls := range map[string][]string{awsURI: {"Encrypt", "Decrypt"}, vaultURI: {"encrypt", "decrypt"}} {
		key := secret.NewKey()
		w, err := Wrap(t.Context(), uri, key)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Calls(); !slices.Equal(got, calls) {
			t.Errorf("%s: wrapping made the calls %v, want %v", uri, got, calls)
		}
		if w.ID != key.ID() || w.URI != uri || strings.Contains(string(w.Wrapping), string(key.Bytes())) {
			t.Errorf("%s: wrapped as %+v", uri, w)
		}
		again, err := wrapped.Parse([]byte(w.Text()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unwrap(t.Context(), uri, again)
		if err != nil || string(got.Bytes()) != string(key.Bytes()) {
			t.Errorf("%s: unwrapped to %v, %v", uri, got.ID(), err)
		}
		if got := s.Calls(); !slices.Equal(got, calls[1:]) {
			t.Errorf("%s: unwrapping made the calls %v, want %v", uri, got, calls[1:])
		}
		moved := w
		moved.ID = secret.NewKey().ID()
		if _, err := Unwrap(t.Context(), uri, moved); !errors.Is(err, ErrKey) {
			t.Errorf("%s: under another id: %v, want ErrKey", uri, err)
		}
		s.Calls()
	}
}

// TestRefusals asks services that refuse, are gone or do not answer: each is told apart, says what to do,
// and shows no credentials.
func TestRefusals(t *testing.T) {
	s, vaultURI := reach(t)
	awsOther, vaultOther := "aws-kms://"+kmstest.Elsewhere, strings.Replace(vaultURI, "/headrace", "/other", 1)
	s.MakeKey("transit/keys/other")
	key := secret.NewKey()
	f := func(what, uri string, w wrapped.Key, want error, says string) {
		t.Helper()
		_, err := Unwrap(t.Context(), uri, w)
		if !errors.Is(err, want) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), uri) {
			t.Errorf("%s: %s: got %v\nwant %v saying %q", what, uri, err, want, says)
		}
		for _, word := range []string{kmstest.SecretKey, kmstest.Token, string(key.Bytes())} {
			if strings.Contains(err.Error(), word) {
				t.Errorf("%s: %s: the error shows a secret: %v", what, uri, err)
			}
		}
	}
	for uri, other := range map[string]string{awsURI: awsOther, vaultURI: vaultOther} {
		w, err := Wrap(t.Context(), uri, key)
		if err != nil {
			t.Fatal(err)
		}
		f("another key", other, w, ErrKey, "it was wrapped with "+uri)
		f("no such key", uri+"z", w, ErrKey, "it was wrapped with "+uri)
		s.Deny(true)
		f("denied", uri, w, ErrDenied, "credentials")
		if _, err := Wrap(t.Context(), uri, key); !errors.Is(err, ErrDenied) {
			t.Errorf("Wrap() = %v, want ErrDenied", err)
		}
		s.Deny(false)
	}
	w := wrapped.Key{ID: key.ID(), URI: awsURI, Wrapping: []byte("x")}
	t.Run("no credentials", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		t.Setenv("VAULT_TOKEN", "")
		f("no credentials", awsURI, w, ErrDenied, "credentials")
		f("no credentials", vaultURI, w, ErrDenied, "credentials")
	})
	t.Run("nobody there", func(t *testing.T) {
		t.Setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")
		f("nobody there", awsURI, w, ErrUnreachable, "reaches it")
		f("nobody there", "hcvault://127.0.0.1:1/transit/keys/a", w, ErrUnreachable, "reaches it")
	})
	t.Run("not to be trusted", func(t *testing.T) {
		t.Setenv("VAULT_CACERT", "")
		f("an unknown authority", vaultURI, w, ErrUnreachable, "certificate")
		t.Setenv("VAULT_SKIP_VERIFY", "true")
		f("nobody looks", vaultURI, w, errUnverified, "VAULT_CACERT")
		t.Setenv("VAULT_SKIP_VERIFY", "")
		t.Setenv("VAULT_AGENT_ADDR", "http://agent.example:8100")
		f("in cleartext", vaultURI, w, errCleartext, "VAULT_AGENT_ADDR")
		t.Setenv("AWS_ENDPOINT_URL_KMS", "http://kms.example")
		f("in cleartext", awsURI, w, errCleartext, "AWS_ENDPOINT_URL_KMS")
	})
}

// TestDeadline ends with its context, whether or not the service's client takes one.
func TestDeadline(t *testing.T) {
	s, vaultURI := reach(t)
	s.Stall()
	for _, uri := range []string{awsURI, vaultURI} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := Unwrap(ctx, uri, wrapped.Key{ID: "0123456789abcdef", URI: uri, Wrapping: []byte("x")})
		cancel()
		if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want ErrUnreachable for the deadline", uri, err)
		}
	}
}

func TestCheck(t *testing.T) {
	f := func(uri, says string) {
		t.Helper()
		err := Check(uri)
		if says == "" && err != nil || says != "" && (!errors.Is(err, ErrURI) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: got %v, want %q", uri, err, says)
		}
	}
	f(awsURI, "")
	f("aws-kms://arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/a/b_c-d", "")
	f("aws-kms://arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd", "")
	f("aws-kms://alias/headrace", "arn:aws:kms:REGION")
	f("aws-kms://arn:aws:s3:eu-west-1:111122223333:key/a", "arn:aws:kms:REGION")
	f("aws-kms://arn:aws:kms:eu.example.com/:111122223333:key/a", "arn:aws:kms:REGION")
	f("aws-kms://arn:aws:kms:eu-west-1:111122223333:key/", "arn:aws:kms:REGION")
	f("aws-kms://user:hunter2@arn:aws:kms:eu-west-1:111122223333:key/a", "environment")
	f("hcvault://vault.example:8200/transit/keys/headrace", "")
	f("hcvault://[::1]:8200/team/transit/keys/headrace", "")
	f("hcvault://root:hunter2@vault.example/transit/keys/headrace", "environment")
	f("hcvault://vault.example/transit/keys/headrace?token=hunter2", "environment")
	f("hcvault://vault.example/transit/headrace", "/keys/NAME")
	f("hcvault://vault.example/transit/keys/", "/keys/NAME")
	f("hcvault:///transit/keys/a", "/keys/NAME")
	f("gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k", "aws-kms:// or hcvault://")
	f("AWS-KMS://"+kmstest.ARN, "aws-kms:// or hcvault://")
	f("://", "aws-kms:// or hcvault://")
	f("aws-kms://a b", "environment")
}
