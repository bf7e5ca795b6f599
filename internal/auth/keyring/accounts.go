package keyring

import (
	"context"
	"time"
)

// Account is an account as it is listed.
type Account struct {
	ID, Name string
	// Operator says that its root may act for all accounts.
	Operator     bool
	Created      time.Time
	SessionsFrom time.Time
	// Keys are the root's.
	Keys []AccessKey
}

// CreateAccount makes an account. It has no root key until CreateRootKey.
func (k *Keyring) CreateAccount(ctx context.Context, id, name string) error {
	return k.createAccount(ctx, accountRow{principalRow: k.newRow(id, name)})
}

func (k *Keyring) newRow(account, name string) principalRow {
	return principalRow{Layout: rowLayout, Account: account, Name: name, Created: millisOf(k.cfg.Clock.Now())}
}

func (k *Keyring) createAccount(ctx context.Context, row accountRow) error {
	if err := checkAccount(row.Account); err != nil {
		return err
	}
	if err := checkText("accountName", row.Name, maxDisplayName); err != nil {
		return err
	}
	k.view.Lock()
	if k.view.accounts >= k.cfg.Limits.Accounts {
		k.view.Unlock()
		return overQuota("Accounts", k.cfg.Limits.Accounts)
	}
	k.view.accounts++ // reserved until the row counts for itself
	k.view.Unlock()
	defer func() {
		k.view.Lock()
		k.view.accounts--
		k.view.Unlock()
	}()
	return k.create(ctx, accountKey(row.Account), row, already("Account", row.Account))
}

// RenameAccount changes the name for people.
func (k *Keyring) RenameAccount(ctx context.Context, id, name string) error {
	if err := checkText("accountName", name, maxDisplayName); err != nil {
		return err
	}
	return change(ctx, k, accountKey(id), noSuch("account", id), func(r *accountRow) error {
		r.Name = name
		return nil
	})
}

// Bootstrap makes the first account of an installation and a root key for it, and returns the key. It
// returns nil if there is an account already: the key was shown when that was made, and is not shown
// again.
func (k *Keyring) Bootstrap(ctx context.Context, id, name string) (*NewKey, error) {
	if len(all[accountRow](&k.view, accountPrefix)) > 0 {
		return nil, nil
	}
	row := accountRow{principalRow: k.newRow(id, name), Operator: true}
	made, sealed := k.newKey(accountKey(id))
	row.Keys = []keyRow{sealed}
	err := k.createAccount(ctx, row)
	if IsKind(err, Exists) {
		return nil, nil // another process was first, and shows its key
	}
	if err != nil {
		return nil, err
	}
	return made, nil
}

// Operator returns the account whose root may act for all accounts, "" if there is none yet.
func (k *Keyring) Operator() string {
	for _, r := range all[accountRow](&k.view, accountPrefix) {
		if r.Operator {
			return r.Account
		}
	}
	return ""
}

// Account returns one account.
func (k *Keyring) Account(id string) (*Account, error) {
	r := row[accountRow](&k.view, accountKey(id))
	if r == nil {
		return nil, noSuch("account", id)
	}
	a := k.accountOf(r)
	return &a, nil
}

// Accounts returns all accounts in order of their ids.
func (k *Keyring) Accounts() []Account {
	rows := all[accountRow](&k.view, accountPrefix)
	accounts := make([]Account, len(rows))
	for i, r := range rows {
		accounts[i] = k.accountOf(r)
	}
	return accounts
}

func (k *Keyring) accountOf(r *accountRow) Account {
	return Account{ID: r.Account, Name: r.Name, Operator: r.Operator, Created: r.Created.time(), SessionsFrom: r.SessionsFrom.time(), Keys: k.accessKeys(r.Keys)}
}

// EndRootSessions ends all sessions of an account's root that exist now.
func (k *Keyring) EndRootSessions(ctx context.Context, id string) error {
	return change(ctx, k, accountKey(id), noSuch("account", id), func(r *accountRow) error {
		r.SessionsFrom = millisOf(k.cfg.Clock.Now())
		return nil
	})
}
