package kms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go-hcvault/v2/integration/hcvault"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const vaultPrefix = "hcvault://"

// errUnverified says that nobody would know who gets the node's key.
var errUnverified = errors.New("VAULT_SKIP_VERIFY is set: whoever is on the way would get the node key; name the authority with VAULT_CACERT instead")

// vaultForm says whether rest, which follows the prefix, is a host and the path of a key.
func vaultForm(rest string) bool {
	u, err := url.Parse("https://" + rest)
	if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.User != nil {
		return false
	}
	parts := strings.Split(u.EscapedPath(), "/")
	return len(parts) >= 4 && parts[len(parts)-2] == "keys" && !slices.Contains(parts[1:], "")
}

// openVault returns a key of a transit engine. VAULT_TOKEN, VAULT_CACERT, VAULT_NAMESPACE and the other
// variables of Vault's own client hold, but for the address, which is the URI's; VAULT_AGENT_ADDR is asked
// in its place.
func openVault(ctx context.Context, uri string) (service, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return service{}, fmt.Errorf("%w: %w", ErrURI, err)
	}
	cfg := api.DefaultConfig()
	if cfg.Error != nil {
		return service{}, fmt.Errorf("read VAULT_ variables: %w", cfg.Error)
	}
	cfg.Address, cfg.MaxRetries = "https://"+u.Host, 0
	transport := cfg.HttpClient.Transport.(*http.Transport) // as its documentation promises
	if transport.TLSClientConfig.InsecureSkipVerify {
		return service{}, errUnverified
	}
	if err := confidential(cfg.AgentAddress); err != nil {
		return service{}, fmt.Errorf("VAULT_AGENT_ADDR: %w", err)
	}
	transport.DisableKeepAlives = true
	cfg.HttpClient.Transport = within(ctx, transport)
	client, err := api.NewClient(cfg)
	if err != nil {
		return service{}, fmt.Errorf("make client of Vault: %w", err)
	}
	key, err := hcvault.NewAEAD(u.EscapedPath(), client.Logical())
	if err != nil {
		return service{}, fmt.Errorf("%w: %w", ErrURI, err)
	}
	return service{vaultKey{key}, vaultKind}, nil
}

// vaultKey is a key whose calls end with the context that it was opened with.
type vaultKey struct{ tink.AEAD }

// EncryptWithContext implements tink.AEADWithContext.
func (k vaultKey) EncryptWithContext(_ context.Context, plaintext, associated []byte) ([]byte, error) {
	return k.Encrypt(plaintext, associated)
}

// DecryptWithContext implements tink.AEADWithContext.
func (k vaultKey) DecryptWithContext(_ context.Context, ciphertext, associated []byte) ([]byte, error) {
	return k.Decrypt(ciphertext, associated)
}

// within returns what sends requests until ctx ends: Tink's calls take none.
func within(ctx context.Context, next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) { return next.RoundTrip(r.WithContext(ctx)) })
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// vaultKind says what an error of a transit engine means. It has one status for all that a key cannot do.
func vaultKind(err error) error {
	answer, answered := errors.AsType[*api.ResponseError](err)
	switch {
	case !answered, answer.StatusCode >= http.StatusInternalServerError, answer.StatusCode == http.StatusTooManyRequests:
		return ErrUnreachable
	case answer.StatusCode == http.StatusForbidden, answer.StatusCode == http.StatusUnauthorized:
		return ErrDenied
	}
	return ErrKey
}
