package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/headrace/headrace/internal/api/sts"
	"github.com/headrace/headrace/internal/auth/access"
	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/auth/policy"
	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/auth/webidentity"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/wire"
	"github.com/headrace/headrace/internal/wire/shape"
)

// Access says how callers are known.
type Access struct {
	// NodeKey names the node's key: a file, which is made if it does not exist, env: and the name of a
	// variable that holds the key, or the URI of a KMS's key, which wraps the one that lies in the data
	// directory. Empty is the file node.key in the data directory, or without one a key that is forgotten
	// with everything else.
	NodeKey string
	// AnyCredentials believes all callers, as `headrace dev` promises.
	AnyCredentials bool
	// ShowKey, if set, makes the first start create DefaultAccount with a root key and is given the key,
	// which nobody gets to see again.
	ShowKey func(account, accessKeyID, secretAccessKey string)
	// NewRootKey makes every start replace the root keys of DefaultAccount, and show the new one.
	NewRootKey bool
}

// openAccess opens the keyring and follows its rows until sys is closed.
func openAccess(ctx context.Context, cfg Config, sys *system, rows coordinator.Coordinator, key secret.Key, now clock.Clock, fail context.CancelCauseFunc) (*keyring.Keyring, error) {
	keys, err := keyring.Open(ctx, keyring.Config{Coordinator: rows, Key: key, Clock: now, CheckPolicy: checkPolicy, AcceptUnverified: cfg.Access.AnyCredentials})
	if err != nil {
		return nil, err
	}
	sys.run(ctx, keys.Run, func(err error) { fail(fmt.Errorf("keyring failed: %w", err)) })
	sys.keys = keys
	return keys, firstKey(ctx, cfg, keys)
}

// firstKey makes the first root key, or a new one if that was asked for, and shows it.
func firstKey(ctx context.Context, cfg Config, keys *keyring.Keyring) error {
	if cfg.Access.ShowKey == nil {
		return nil
	}
	made, err := keys.Bootstrap(ctx, cfg.DefaultAccount, "")
	if err == nil && made == nil && cfg.Access.NewRootKey {
		made, err = keys.ReplaceRootKeys(ctx, cfg.DefaultAccount)
	}
	if err != nil {
		return fmt.Errorf("make root key: %w", err)
	}
	if made != nil {
		cfg.Access.ShowKey(cfg.DefaultAccount, made.ID, made.Secret.Reveal())
	}
	return nil
}

// authenticator returns what says who calls.
func authenticator(cfg Config, keys *keyring.Keyring, now clock.Clock) wire.Authenticator {
	switch {
	case cfg.Keys != nil:
		return sigv4.NewVerifier(cfg.Keys, now)
	case cfg.Access.AnyCredentials:
		return sigv4.FormOnly{Account: cfg.DefaultAccount, Known: believed{keys, now}.known}
	}
	return sigv4.NewVerifier(ring{keys}, now)
}

// believed knows callers as long as nobody is verified: they are whoever they say. Keys and sessions
// that the keyring has act for their accounts, and a session whose time is over is refused, so that
// clients get to show that they renew theirs.
type believed struct {
	keys  *keyring.Keyring
	clock clock.Clock
}

func (b believed) known(id sigv4.Identity) (sigv4.Identity, error) {
	cred, err := b.keys.Lookup(id.AccessKeyID, id.SessionToken)
	switch {
	case err == nil:
		id.Account, id.Principal = cred.Caller.Account, cred.Caller.ARN
		b.keys.Used(cred, b.clock.Now())
	case errors.Is(err, keyring.ErrExpired):
		return sigv4.Identity{}, &sigv4.Refusal{Reason: sigv4.Expired}
	}
	return id, nil
}

// ring is the keyring as package sigv4 sees it.
type ring struct{ keys *keyring.Keyring }

// Lookup implements sigv4.Keys. The keyring has compared the token, and the time with its end.
func (r ring) Lookup(_ context.Context, accessKeyID, token string) (sigv4.Key, error) {
	cred, err := r.keys.Lookup(accessKeyID, token)
	switch {
	case errors.Is(err, keyring.ErrExpired):
		return sigv4.Key{}, sigv4.ErrExpired
	case err != nil:
		return sigv4.Key{}, sigv4.ErrNoKey
	}
	key := sigv4.Key{Secret: cred.Secret, Account: cred.Caller.Account, Principal: cred.Caller.ARN, Expires: cred.Expires, Active: true}
	if token != "" {
		key.Token = secret.NewText(token)
	}
	return key, nil
}

// authorizer returns what asks decider whether a call may be made, nil where all callers are believed.
func authorizer(cfg Config, decider *access.Decider) func(*http.Request, *shape.Call, *shape.Access) error {
	if cfg.Access.AnyCredentials || cfg.Keys != nil {
		return nil
	}
	return func(r *http.Request, call *shape.Call, a *shape.Access) error {
		q := requestOf(r, call.AccessKeyID, call.SessionToken, call.Region)
		q.Action, q.Resource, q.Creates, q.Tags, q.TagKeys = a.Action, a.Resource, a.Creates, a.Tags, a.TagKeys
		owner, err := decider.Decide(q)
		if denied, ok := errors.AsType[*access.DeniedError](err); ok {
			return &shape.Error{Code: "AccessDeniedException", Message: denied.Message}
		}
		if err == nil && owner != "" {
			call.Account = owner
		}
		return err
	}
}

// requestOf returns what policies may ask of a request, without the permission that it needs.
func requestOf(r *http.Request, accessKeyID, sessionToken, region string) *access.Request {
	return &access.Request{
		AccessKeyID: accessKeyID, SessionToken: sessionToken, Region: region,
		Address: addressOf(r), Secure: r.TLS != nil, Agent: r.UserAgent(),
	}
}

// checkResourcePolicy returns what is wrong with the policy of a resource.
func checkResourcePolicy(document string) error { return access.Check(policy.Resource, document) }

// checkPolicy returns what is wrong with a policy that the keyring is to keep.
func checkPolicy(kind keyring.PolicyKind, document string) error {
	switch kind {
	case keyring.TrustPolicy:
		return access.Check(policy.Trust, document)
	case keyring.SessionPolicy:
		return access.Check(policy.Session, document)
	}
	return access.Check(policy.Identity, document)
}

// roles answers the Security Token Service's questions.
type roles struct{ decider *access.Decider }

// Allows implements sts.Policies.
func (r roles) Allows(_ context.Context, q sts.Question) (bool, error) {
	return r.decider.MayAssume(&access.Assume{
		Caller: q.Caller, Provider: q.Provider, Role: q.Role, Action: q.Action, Conditions: q.Conditions,
	})
}

// tokenService is the Security Token Service on the keyring.
func tokenService(cfg Config, keys *keyring.Keyring, decider *access.Decider, now clock.Clock) *sts.Service {
	return sts.New(sts.Config{
		Keys:           keys,
		Tokens:         webidentity.New(webidentity.Config{Clock: now, Fetch: webidentity.Fetcher()}),
		Policies:       roles{decider},
		AnyCredentials: cfg.Access.AnyCredentials,
	})
}
