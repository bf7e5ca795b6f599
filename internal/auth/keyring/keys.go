package keyring

import (
	"context"
	"slices"
	"time"

	"github.com/headrace/headrace/internal/secret"
)

// AccessKey is an access key as it is listed: without its secret.
type AccessKey struct {
	ID      string
	Active  bool
	Created time.Time
	// LastUsed is when a request signed with it was last accepted, zero for never. It may be some minutes
	// behind after a crash.
	LastUsed time.Time
}

// NewKey is an access key that was just made. Its secret is not given out again.
type NewKey struct {
	ID      string
	Secret  secret.Text
	Created time.Time
}

// Whose names the principal that access keys belong to: a user of an account, or with no User the
// account's root.
type Whose struct{ Account, User string }

// newKey returns a new access key, and as it lies in the row of that key.
func (k *Keyring) newKey(key string) (*NewKey, keyRow) {
	made := &NewKey{ID: newID(longTermPrefix), Secret: newSecret(), Created: k.cfg.Clock.Now().UTC().Truncate(time.Millisecond)}
	sealed := k.box.Seal([]byte(made.Secret.Reveal()), sealContext(key, made.ID))
	return made, keyRow{ID: made.ID, Active: true, Created: millisOf(made.Created), Sealed: sealed}
}

// edit changes the access keys of a user or root.
func (k *Keyring) editKeys(ctx context.Context, w Whose, edit func(key string, keys []keyRow) ([]keyRow, error)) error {
	if w.User == "" {
		key := accountKey(w.Account)
		return change(ctx, k, key, noSuch("account", w.Account), func(r *accountRow) (err error) {
			r.Keys, err = edit(key, r.Keys)
			return err
		})
	}
	key := userKey(w.Account, w.User)
	return change(ctx, k, key, noSuch("user", w.User), func(r *userRow) (err error) {
		r.Keys, err = edit(key, r.Keys)
		return err
	})
}

// CreateAccessKey makes an access key. LimitExceeded if there are two already.
func (k *Keyring) CreateAccessKey(ctx context.Context, w Whose) (*NewKey, error) {
	var made *NewKey
	err := k.editKeys(ctx, w, func(key string, keys []keyRow) ([]keyRow, error) {
		if len(keys) >= KeysPerPrincipal {
			return nil, overQuota("AccessKeysPerUser", KeysPerPrincipal)
		}
		var sealed keyRow
		made, sealed = k.newKey(key)
		return append(keys, sealed), nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// RotateAccessKey makes another access key beside the one that is in use, in the place of one that has
// been disabled if there are two: clients move to the new one, and then the old one is disabled and at
// the next rotation goes. LimitExceeded if two are active.
func (k *Keyring) RotateAccessKey(ctx context.Context, w Whose) (made *NewKey, replaced string, err error) {
	err = k.editKeys(ctx, w, func(key string, keys []keyRow) ([]keyRow, error) {
		replaced = ""
		if len(keys) >= KeysPerPrincipal {
			i := slices.IndexFunc(keys, func(r keyRow) bool { return !r.Active })
			if i < 0 {
				return nil, overQuota("AccessKeysPerUser", KeysPerPrincipal)
			}
			replaced = keys[i].ID
			keys = slices.Delete(keys, i, i+1)
		}
		var sealed keyRow
		made, sealed = k.newKey(key)
		return append(keys, sealed), nil
	})
	if err != nil {
		return nil, "", err
	}
	if replaced != "" {
		k.forgetUse(ctx, replaced)
	}
	return made, replaced, nil
}

// ReplaceRootKeys makes a root key in the place of all there are: the way back in for whoever owns the
// machine and has lost the key.
func (k *Keyring) ReplaceRootKeys(ctx context.Context, account string) (*NewKey, error) {
	var made *NewKey
	err := k.editKeys(ctx, Whose{Account: account}, func(key string, _ []keyRow) ([]keyRow, error) {
		var sealed keyRow
		made, sealed = k.newKey(key)
		return []keyRow{sealed}, nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// SetAccessKeyActive enables or disables an access key.
func (k *Keyring) SetAccessKeyActive(ctx context.Context, w Whose, accessKeyID string, active bool) error {
	return k.editKeys(ctx, w, func(_ string, keys []keyRow) ([]keyRow, error) {
		i := indexOf(keys, accessKeyID)
		if i < 0 {
			return nil, noSuchKey(accessKeyID)
		}
		keys[i].Active = active
		return keys, nil
	})
}

// DeleteAccessKey deletes an access key.
func (k *Keyring) DeleteAccessKey(ctx context.Context, w Whose, accessKeyID string) error {
	err := k.editKeys(ctx, w, func(_ string, keys []keyRow) ([]keyRow, error) {
		i := indexOf(keys, accessKeyID)
		if i < 0 {
			return nil, noSuchKey(accessKeyID)
		}
		return slices.Delete(keys, i, i+1), nil
	})
	if err == nil {
		k.forgetUse(ctx, accessKeyID)
	}
	return err
}

func noSuchKey(id string) error {
	return refuse(NotFound, "The Access Key with id %s cannot be found.", id)
}

func indexOf(keys []keyRow, id string) int {
	return slices.IndexFunc(keys, func(r keyRow) bool { return r.ID == id })
}

// forgetUse deletes what is stored of a key's use. A row that stays behind is in nobody's way.
func (k *Keyring) forgetUse(ctx context.Context, accessKeyID string) {
	_ = remove(ctx, k, useKey(accessKeyID), nil, func(*useRow) error { return nil })
}

// Owner returns whose an access key is. Errors: ErrUnknownKey.
func (k *Keyring) Owner(accessKeyID string) (Whose, error) {
	k.view.RLock()
	defer k.view.RUnlock()
	c := k.view.keys[accessKeyID]
	if c == nil {
		return Whose{}, ErrUnknownKey
	}
	return Whose{Account: c.Caller.Account, User: c.Caller.Name}, nil
}

// AccessKeys lists the access keys of a user or root, the oldest first.
func (k *Keyring) AccessKeys(w Whose) ([]AccessKey, error) {
	if w.User == "" {
		a, err := k.Account(w.Account)
		if err != nil {
			return nil, err
		}
		return a.Keys, nil
	}
	u, err := k.User(w.Account, w.User)
	if err != nil {
		return nil, err
	}
	return u.Keys, nil
}

// accessKeys returns the access keys of a row as they are listed.
func (k *Keyring) accessKeys(rows []keyRow) []AccessKey {
	k.view.RLock()
	defer k.view.RUnlock()
	keys := make([]AccessKey, len(rows))
	for i, r := range rows {
		keys[i] = AccessKey{ID: r.ID, Active: r.Active, Created: r.Created.time()}
		if u := k.view.uses[r.ID]; u != nil {
			keys[i].LastUsed = millis(u.at.Load()).time()
		}
	}
	return keys
}
