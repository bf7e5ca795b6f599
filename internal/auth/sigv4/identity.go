package sigv4

import "net/http"

// Identity is who a request acts for, as far as the rest of the server cares.
type Identity struct {
	// Account is the 12-digit account id.
	Account string
	// Region is the region of the credential scope: accounts and regions are separate name
	// spaces.
	Region string
	// AccessKeyID is the key that signed the request.
	AccessKeyID string
	// Principal is the ARN of who holds the key: the account's root, a user or a role's session.
	// It is empty when nobody looked the key up.
	Principal string
	// SessionToken is the token that belongs to a temporary key, as sent.
	SessionToken string
}

// DefaultAccount is the account of keys that do not name one.
const DefaultAccount = "000000000000"

// FormOnly identifies callers without verifying them: any credentials will do as long as their form
// is right, which is what `headrace dev` promises. An access key id of 12 digits is the account's
// id, so that one server can play many accounts; every other key acts for Account.
type FormOnly struct {
	// Account is used for keys that are not an account id; empty means DefaultAccount.
	Account string
	// Known, if set, says more of a caller, or refuses one; the error should be a *Refusal.
	Known func(Identity) (Identity, error)
}

// Begin prepares c to identify the caller of r, or returns Parse's error. The body may be anything,
// so of the rules none applies.
func (f FormOnly) Begin(c *Check, r *http.Request, _ Rules) error {
	c.begin(r)
	identity, err := f.Identify(r)
	if err == nil && f.Known != nil {
		identity, err = f.Known(identity)
	}
	if err != nil {
		return err
	}
	c.begun, c.identity = true, identity
	return nil
}

// Identify returns the caller of r, or Parse's error.
func (f FormOnly) Identify(r *http.Request) (Identity, error) {
	c, err := Parse(r)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{Account: f.Account, Region: c.Region, AccessKeyID: c.AccessKeyID, SessionToken: c.SessionToken}
	switch {
	case isAccount(c.AccessKeyID):
		id.Account = c.AccessKeyID
	case id.Account == "":
		id.Account = DefaultAccount
	}
	return id, nil
}

func isAccount(key string) bool {
	if len(key) != 12 {
		return false
	}
	for i := range len(key) {
		if key[i] < '0' || key[i] > '9' {
			return false
		}
	}
	return true
}
