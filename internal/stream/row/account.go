package row

import (
	"fmt"

	"github.com/headrace/headrace/internal/stream/commitment"
)

// Account is the row of an account's settings in a region.
type Account struct {
	Layout  int    `json:"v"`
	Account string `json:"account"`
	Region  string `json:"region"`
	commitment.Terms
}

// NewAccount returns the row of an account without settings.
func NewAccount(account, region string) *Account {
	return &Account{Layout: Version, Account: account, Region: region}
}

// Key returns the key of the row.
func (r *Account) Key() string { return AccountPrefix + r.Account + "/" + r.Region }

// DecodeAccount reads the row of an account. One of a layout that is not known here is an error, and so is
// one that lies at another account's key.
func DecodeAccount(key string, value []byte) (*Account, error) {
	r := new(Account)
	if err := decode(key, value, r); err != nil {
		return nil, err
	}
	if r.Layout != Version || r.Key() != key {
		return nil, fmt.Errorf("read row %s: layout %d of %s is not known here", key, r.Layout, r.Key())
	}
	return r, nil
}
