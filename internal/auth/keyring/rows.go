package keyring

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
)

// The rows, all below one prefix. A name is in lower case in its key, for names that differ in case
// only are the same to AWS; the row has it as it was given.
const (
	rowPrefix      = "auth/"
	accountPrefix  = rowPrefix + "account/"  // + account
	userPrefix     = rowPrefix + "user/"     // + account / name
	rolePrefix     = rowPrefix + "role/"     // + account / name
	providerPrefix = rowPrefix + "provider/" // + account / issuer without its scheme
	usePrefix      = rowPrefix + "use/"      // + access key id
	proofKey       = rowPrefix + "node-key"
	sessionKeyKey  = rowPrefix + "session-key"
)

// rowLayout is the version of all rows' layouts.
const rowLayout = 1

// millis is a time in milliseconds since the epoch; 0 is none.
type millis int64

func millisOf(t time.Time) millis { return millis(t.UnixMilli()) }

func (m millis) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// sealedRow holds one sealed value.
type sealedRow struct {
	Layout int    `json:"v"`
	Sealed []byte `json:"sealed"`
}

// keyRow is an access key inside the row of whom it belongs to.
type keyRow struct {
	ID      string `json:"id"`
	Active  bool   `json:"active"`
	Created millis `json:"created"`
	// Sealed is the secret, sealed for the row's key and the access key's id.
	Sealed []byte `json:"sealed"`
}

// principalRow is what the rows of accounts, users and roles have in common.
type principalRow struct {
	Layout  int    `json:"v"`
	Account string `json:"account"`
	Name    string `json:"name"`
	Created millis `json:"created"`
	// SessionsFrom ends all sessions that were issued before.
	SessionsFrom millis `json:"sessionsFrom,omitempty"`
}

// accountRow is an account, whose name is for people; its keys are the root's.
type accountRow struct {
	principalRow
	// Operator marks the account whose root may act for all others: the first one.
	Operator bool     `json:"operator,omitempty"`
	Keys     []keyRow `json:"keys,omitempty"`
}

type userRow struct {
	principalRow
	ID       string            `json:"id"`
	Keys     []keyRow          `json:"keys,omitempty"`
	Policies map[string]string `json:"policies,omitempty"`
}

type roleRow struct {
	principalRow
	ID          string            `json:"id"`
	Description string            `json:"description,omitempty"`
	Trust       string            `json:"trust"`
	MaxSeconds  int               `json:"maxSeconds"`
	Policies    map[string]string `json:"policies,omitempty"`
}

type providerRow struct {
	Layout  int    `json:"v"`
	Account string `json:"account"`
	URL     string `json:"url"`
	Created millis `json:"created"`
	// Audiences are the client ids whose tokens are accepted.
	Audiences []string `json:"audiences"`
	// KeysURL is where the signing keys are fetched; Keys are the keys themselves, a JWK set. At most
	// one is set; with neither the issuer's discovery document says where they are.
	KeysURL string `json:"keysUrl,omitempty"`
	Keys    string `json:"keys,omitempty"`
}

// useRow is when an access key was last used. It is no part of the user's row, so that using a key and
// changing it do not get in each other's way.
type useRow struct {
	Layout int    `json:"v"`
	At     millis `json:"at"`
}

func accountKey(account string) string    { return accountPrefix + account }
func userKey(account, name string) string { return userPrefix + account + "/" + strings.ToLower(name) }
func roleKey(account, name string) string { return rolePrefix + account + "/" + strings.ToLower(name) }
func useKey(accessKeyID string) string    { return usePrefix + accessKeyID }

func providerKey(account, issuer string) string { return providerPrefix + account + "/" + issuer }

func encodeRow(row any) []byte {
	value, err := json.Marshal(row)
	if err != nil {
		panic(err) // rows hold nothing that JSON lacks
	}
	return value
}

// layout is the part of every row that says how to read the rest.
type layout struct {
	Layout int `json:"v"`
}

// decodeRow reads a row into a pointer. Its errors name the row's key and never its content.
func decodeRow(e coordinator.Entry, into any) error {
	var l layout
	if err := json.Unmarshal(e.Value, &l); err != nil {
		return fmt.Errorf("read row %s: not JSON", e.Key)
	}
	if l.Layout != rowLayout {
		return fmt.Errorf("read row %s: layout %d is not known here", e.Key, l.Layout)
	}
	if err := json.Unmarshal(e.Value, into); err != nil {
		return fmt.Errorf("read row %s: its fields are of other types", e.Key)
	}
	return nil
}

// check refuses a row that lies under another's key.
func checkRow(e coordinator.Entry, key string) error {
	if e.Key != key {
		return fmt.Errorf("read row %s: it describes %s", e.Key, key)
	}
	return nil
}
