// Package kms has a key management service (KMS) wrap the node's key and unwrap it again: AWS's, or the
// transit engine of HashiCorp Vault, by the integrations of Tink. The service's key never leaves it, and
// the node's key goes to it over TLS alone. It keeps nothing: package wrapped is the file.
//
//	w, err := kms.Wrap(ctx, "aws-kms://arn:aws:kms:…", key)   // once
//	key, err := kms.Unwrap(ctx, "aws-kms://arn:aws:kms:…", w) // at every start, one call
//
// Credentials are those of the environment, as the services' own tools find them; no URI holds any.
package kms

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/secret/wrapped"
)

// Patience is how long a service may take in all, with what it takes to find credentials.
const Patience = 15 * time.Second

// purpose begins what the wrapping is bound to; the id of the node's key follows.
const purpose = "headrace node key "

var (
	// ErrURI says that a URI names no key of a service that is served here.
	ErrURI = errors.New("not the URI of a KMS's key")
	// ErrUnreachable says that the service could not be asked, or could not answer.
	ErrUnreachable = errors.New("the KMS gave no answer: see that this machine reaches it, then try again")
	// ErrDenied says that the service refused: what this process shows it is not enough.
	ErrDenied = errors.New("the KMS refuses: give this process credentials that may encrypt and decrypt with that key")
	// ErrKey says that the service's key cannot do it: it is gone or disabled, or another one wrapped.
	ErrKey = errors.New("the KMS cannot do it with that key")
)

// IsURI says whether a name is meant to be a URI, whether or not it is a good one.
func IsURI(name string) bool { return strings.Contains(name, "://") }

// service is a key of a service, and what that service's errors mean.
type service struct {
	key tink.AEADWithContext
	// kind returns which of the errors of this package one is.
	kind func(error) error
}

// Wrap has the service's key wrap the node's, and unwrap it once to see that it can. The error is ErrURI,
// ErrUnreachable, ErrDenied or ErrKey.
func Wrap(ctx context.Context, uri string, key secret.Key) (wrapped.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	s, err := open(ctx, uri)
	if err != nil {
		return wrapped.Key{}, fmt.Errorf("wrap node key with %s: %w", uri, err)
	}
	w := wrapped.Key{ID: key.ID(), URI: uri}
	if w.Wrapping, err = s.key.EncryptWithContext(ctx, key.Bytes(), bound(w.ID)); err != nil {
		return wrapped.Key{}, fmt.Errorf("wrap node key with %s: %w: %w", uri, s.kind(err), err)
	}
	if _, err := s.unwrap(ctx, w); err != nil {
		return wrapped.Key{}, fmt.Errorf("unwrap node key with %s, to see that it can be: %w", uri, err)
	}
	return w, nil
}

// Unwrap returns the node's key. The service's key may have another name than the one it wrapped under.
// The error is ErrURI, ErrUnreachable, ErrDenied or ErrKey.
func Unwrap(ctx context.Context, uri string, w wrapped.Key) (secret.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	s, err := open(ctx, uri)
	key := secret.Key{}
	if err == nil {
		key, err = s.unwrap(ctx, w)
	}
	switch {
	case err == nil:
		return key, nil
	case uri != w.URI && (errors.Is(err, ErrKey) || errors.Is(err, ErrDenied)):
		return secret.Key{}, fmt.Errorf("unwrap node key with %s: it was wrapped with %s: name that one with --node-key, or move it from there with headrace node-key wrap: %w", uri, w.URI, err)
	}
	return secret.Key{}, fmt.Errorf("unwrap node key with %s: %w", uri, err)
}

func (s service) unwrap(ctx context.Context, w wrapped.Key) (secret.Key, error) {
	root, err := s.key.DecryptWithContext(ctx, w.Wrapping, bound(w.ID))
	if err != nil {
		return secret.Key{}, fmt.Errorf("%w: %w", s.kind(err), err)
	}
	key, err := secret.KeyOf(root)
	if err != nil || key.ID() != w.ID {
		return secret.Key{}, fmt.Errorf("%w: what it returns is not the node key with the id %s", ErrKey, w.ID)
	}
	return key, nil
}

// bound returns what is authenticated beside a node's key: what it is for, and which one it is.
func bound(id string) []byte { return []byte(purpose + id) }

// open returns the key that a URI names. Nothing is asked of the service yet.
func open(ctx context.Context, uri string) (service, error) {
	if err := Check(uri); err != nil {
		return service{}, err
	}
	if strings.HasPrefix(uri, awsPrefix) {
		return openAWS(ctx, uri)
	}
	return openVault(ctx, uri)
}

// Check returns ErrURI, with what is wrong, for what is not the URI of a key. It repeats no part of a URI
// that might be a secret.
func Check(uri string) error {
	scheme, rest, _ := strings.Cut(uri, "://")
	unprintable := func(c rune) bool { return c <= ' ' || c > '~' }
	switch {
	case strings.ContainsAny(rest, "@?#") || strings.ContainsFunc(rest, unprintable):
		return fmt.Errorf("%w: credentials belong in the environment, and nothing but the key's name in the URI", ErrURI)
	case scheme+"://" == awsPrefix && arnRegion(rest) != "", scheme+"://" == vaultPrefix && vaultForm(rest):
		return nil
	case scheme+"://" == awsPrefix:
		return fmt.Errorf("%w: want aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID, or alias/NAME", ErrURI)
	case scheme+"://" == vaultPrefix:
		return fmt.Errorf("%w: want hcvault://HOST[:PORT]/transit/keys/NAME", ErrURI)
	}
	return fmt.Errorf("%w: want aws-kms:// or hcvault://", ErrURI)
}

// errCleartext says that the node's key would go over a network for everybody to read.
var errCleartext = errors.New("the endpoint has no TLS, and is not on this machine")

// confidential returns errCleartext for an endpoint that others could read along with. "" is the
// service's own.
func confidential(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return errors.New("the endpoint is not a URL")
	}
	ip := net.ParseIP(u.Hostname())
	if endpoint == "" || u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errCleartext
}
