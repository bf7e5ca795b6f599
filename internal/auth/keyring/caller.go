package keyring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/secret"
)

// CallerKind is what sort of principal a caller is.
type CallerKind uint8

const (
	// Root is an account itself, which may do everything in it.
	Root CallerKind = iota + 1
	// UserCaller is a user.
	UserCaller
	// RoleCaller is a session of a role.
	RoleCaller
)

// Caller is who a credential speaks for. It is never changed.
type Caller struct {
	Kind    CallerKind
	Account string
	// ARN and UserID are what GetCallerIdentity answers.
	ARN, UserID string
	// Name is that of the user or role, and PrincipalID its unique id; of a root it is the account.
	Name, PrincipalID string
	// Session is what is special about a temporary credential, nil for others.
	Session *Session
}

// PrincipalARN returns the ARN of the user, role or root itself, without the session.
func (c *Caller) PrincipalARN() string {
	switch c.Kind {
	case UserCaller:
		return UserARN(c.Account, c.Name)
	case RoleCaller:
		return RoleARN(c.Account, c.Name)
	}
	return RootARN(c.Account)
}

// Credential is an access key with its secret and whom it speaks for. It is never changed.
type Credential struct {
	AccessKeyID string
	Secret      secret.Text
	Caller      *Caller
	// Expires is when a session ends; zero for a long-term key.
	Expires time.Time

	inactive bool
	use      *use
}

// RootARN, UserARN, RoleARN, SessionARN and ProviderARN are how AWS names principals.
func RootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// UserARN returns the ARN of a user.
func UserARN(account, name string) string { return "arn:aws:iam::" + account + ":user/" + name }

// RoleARN returns the ARN of a role.
func RoleARN(account, name string) string { return "arn:aws:iam::" + account + ":role/" + name }

// SessionARN returns the ARN of a role's session.
func SessionARN(account, role, session string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session
}

// ProviderARN returns the ARN of an identity provider, which is named by its URL without the scheme.
func ProviderARN(account, issuer string) string {
	return "arn:aws:iam::" + account + ":oidc-provider/" + issuer
}

func rootCaller(account string) *Caller {
	return &Caller{Kind: Root, Account: account, ARN: RootARN(account), UserID: account, PrincipalID: account}
}

func userCaller(r *userRow) *Caller {
	return &Caller{Kind: UserCaller, Account: r.Account, ARN: UserARN(r.Account, r.Name), UserID: r.ID, Name: r.Name, PrincipalID: r.ID}
}

// Lookup finds the credential that a request was signed with: its access key id, and the session token
// that came with it, "" for none. It reads memory only, and allocates nothing but the first time it
// sees a session. Errors: ErrUnknownKey, ErrInactiveKey, ErrToken, ErrExpired.
//
// What it returns is not yet proven: the caller verifies the signature, and then says Used.
func (k *Keyring) Lookup(accessKeyID, token string) (*Credential, error) {
	if IsSessionKey(accessKeyID) {
		return k.lookupSession(accessKeyID, token)
	}
	k.view.RLock()
	c := k.view.keys[accessKeyID]
	k.view.RUnlock()
	switch {
	case c == nil:
		return nil, ErrUnknownKey
	case token != "":
		return nil, ErrToken
	case c.inactive:
		return nil, ErrInactiveKey
	}
	return c, nil
}

// AccountOf returns the account of an access key that is not a session's, whatever its state, and
// whether there is such a key.
func (k *Keyring) AccountOf(accessKeyID string) (string, bool) {
	k.view.RLock()
	defer k.view.RUnlock()
	if c := k.view.keys[accessKeyID]; c != nil {
		return c.Caller.Account, true
	}
	return "", false
}

// Policies returns the inline policies of a caller's user or role as they are now, by name. The map must
// not be changed; a root has none.
func (k *Keyring) Policies(c *Caller) map[string]string {
	k.view.RLock()
	defer k.view.RUnlock()
	if p := k.view.principals[c.PrincipalID]; p != nil {
		return p.policies
	}
	return nil
}

// Used notes that a request signed with the credential was accepted at a time. It allocates nothing.
func (k *Keyring) Used(c *Credential, at time.Time) {
	if c.use != nil {
		c.use.raise(at.UnixMilli())
	}
}

// useResolution is how much later than what is stored a use must be to be written.
const useResolution = time.Hour

// FlushUse writes when keys were last used, those that were used since what is stored. Run does it now
// and then.
func (k *Keyring) FlushUse(ctx context.Context) error {
	k.used.Lock()
	defer k.used.Unlock()
	var errs []error
	for id, at := range k.usesToWrite() {
		if err := k.writeUse(ctx, id, at); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// usesToWrite returns the uses that are not stored yet, by access key.
func (k *Keyring) usesToWrite() map[string]millis {
	k.view.RLock()
	defer k.view.RUnlock()
	todo := map[string]millis{}
	for id, u := range k.view.uses {
		at, written := u.at.Load(), u.written.Load()
		if at > 0 && (written == 0 || at-written >= useResolution.Milliseconds()) && k.view.keys[id] != nil {
			todo[id] = millis(at)
		}
	}
	return todo
}

func (k *Keyring) writeUse(ctx context.Context, id string, at millis) error {
	key := useKey(id)
	var expect coordinator.Version
	e, err := k.cfg.Coordinator.Get(ctx, key)
	switch {
	case err == nil:
		expect = e.Version
	case !errors.Is(err, coordinator.ErrNotFound):
		return fmt.Errorf("read row %s: %w", key, err)
	}
	value := encodeRow(useRow{Layout: rowLayout, At: at})
	version, err := k.cfg.Coordinator.Put(ctx, key, value, expect)
	if errors.Is(err, coordinator.ErrConflict) {
		return nil // another process was first, at about the same time
	}
	if err != nil {
		return fmt.Errorf("write row %s: %w", key, err)
	}
	return k.wrote(key, value, version)
}

// cloned returns a map of the caller's own, never nil.
func cloned(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}
