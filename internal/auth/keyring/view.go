package keyring

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/secret"
)

// view is what this process knows of the rows. Its lock is held to read and change memory, never
// across I/O.
//
// Rows become known twice, from this process's own writes and from the watch, in any order, and a
// deletion has no version for the one who deletes. Two rules keep the past from coming back:
//
//   - What the watch has reported up to is known (reported): an own write that old says nothing that
//     the watch has not said or will not say.
//   - A row that this process deleted, and whose version the watch has not reached yet, is a ghost: a
//     report of it is old. Once the watch is past that version no such report can come.
type view struct {
	sync.RWMutex
	rows     map[string]known
	ghosts   map[string]coordinator.Version
	reported coordinator.Version

	// keys are the access keys that are not a session's, by id.
	keys map[string]*Credential
	// principals are the roots of accounts, users and roles by their unique ids; an account's is its own.
	principals map[string]*principal
	// uses are when access keys were last used. An entry lives as long as its key.
	uses map[string]*use
	// counts are what each account has, reservations included.
	counts   map[string]*count
	accounts int
}

// known is a row as it was read last: an *accountRow, *userRow, *roleRow, *providerRow or *useRow,
// never changed.
type known struct {
	row     any
	version coordinator.Version
}

// count is how many rows of each sort an account has.
type count struct{ users, roles, providers int }

// use is when a key was last used, in milliseconds, and when that was last written.
type use struct{ at, written atomic.Int64 }

// principal is somebody that policies belong to and sessions are made of.
type principal struct {
	kind         CallerKind
	account      string
	name         string
	id           string
	policies     map[string]string
	sessionsFrom time.Time
}

func (v *view) init() {
	v.rows = map[string]known{}
	v.ghosts = map[string]coordinator.Version{}
	v.keys = map[string]*Credential{}
	v.principals = map[string]*principal{}
	v.uses = map[string]*use{}
	v.counts = map[string]*count{}
}

// version returns the version of a row as it is known; rows that the view does not keep are known
// always.
func (v *view) version(key string) coordinator.Version {
	if sort := sortOf(key); sort == noSort {
		return ^coordinator.Version(0)
	}
	v.RLock()
	defer v.RUnlock()
	return v.rows[key].version
}

// rowSort is what a row is about.
type rowSort uint8

const (
	noSort rowSort = iota
	accountSort
	userSort
	roleSort
	providerSort
	useSort
)

func sortOf(key string) rowSort {
	for _, s := range []struct {
		prefix string
		sort   rowSort
	}{{accountPrefix, accountSort}, {userPrefix, userSort}, {rolePrefix, roleSort}, {providerPrefix, providerSort}, {usePrefix, useSort}} {
		if strings.HasPrefix(key, s.prefix) {
			return s.sort
		}
	}
	return noSort
}

// decode reads a row of any sort.
func decode(e coordinator.Entry) (row any, err error) {
	var own string
	switch sortOf(e.Key) {
	case accountSort:
		r := new(accountRow)
		err = decodeRow(e, r)
		row, own = r, accountKey(r.Account)
	case userSort:
		r := new(userRow)
		err = decodeRow(e, r)
		row, own = r, userKey(r.Account, r.Name)
	case roleSort:
		r := new(roleRow)
		err = decodeRow(e, r)
		row, own = r, roleKey(r.Account, r.Name)
	case providerSort:
		r := new(providerRow)
		if err = decodeRow(e, r); err == nil {
			var issuer string
			if issuer, err = issuerOf(r.URL); err != nil {
				return nil, fmt.Errorf("read row %s: %w", e.Key, err)
			}
			own = providerKey(r.Account, issuer)
		}
		row = r
	case useSort:
		r := new(useRow)
		err = decodeRow(e, r)
		row, own = r, e.Key
	}
	if err == nil {
		err = checkRow(e, own)
	}
	return row, err
}

// reported takes in what the watch said.
func (k *Keyring) reported(entries []coordinator.Entry) error {
	for _, e := range entries {
		var change *learned
		if e.Value != nil && sortOf(e.Key) != noSort {
			var err error
			if change, err = k.read(e); err != nil {
				return err
			}
		}
		k.view.Lock()
		k.view.reported = max(k.view.reported, e.Version)
		switch {
		case change != nil && k.view.ghosts[e.Key] < e.Version:
			k.view.know(change)
		case e.Value == nil && k.view.rows[e.Key].version < e.Version:
			k.view.forget(e.Key)
		}
		k.view.exorcise()
		k.view.Unlock()
	}
	return nil
}

// wrote takes in a row that this process has put.
func (k *Keyring) wrote(key string, value []byte, version coordinator.Version) error {
	change, err := k.read(coordinator.Entry{Key: key, Value: value, Version: version})
	if err != nil {
		return err
	}
	k.view.Lock()
	defer k.view.Unlock()
	if k.view.reported < version && k.view.ghosts[key] < version {
		k.view.know(change)
	}
	return nil
}

// deleted takes in that this process has deleted a row of that version.
func (k *Keyring) deleted(key string, version coordinator.Version) {
	k.view.Lock()
	defer k.view.Unlock()
	if k.view.rows[key].version <= version {
		k.view.forget(key)
	}
	if k.view.reported < version {
		k.view.ghosts[key] = version
	}
}

// exorcise forgets ghosts of which no report can come any more. REQUIRES: v held.
func (v *view) exorcise() {
	for key, version := range v.ghosts {
		if version < v.reported {
			delete(v.ghosts, key)
		}
	}
}

// learned is a row with its secrets opened, ready to be known.
type learned struct {
	key   string
	known known
	keys  []*Credential
}

// read decodes a row and opens its secrets, without the lock.
func (k *Keyring) read(e coordinator.Entry) (*learned, error) {
	row, err := decode(e)
	if err != nil {
		return nil, err
	}
	l := &learned{key: e.Key, known: known{row: row, version: e.Version}}
	switch r := row.(type) {
	case *accountRow:
		l.keys, err = k.credentials(e.Key, r.Keys, rootCaller(r.Account))
	case *userRow:
		l.keys, err = k.credentials(e.Key, r.Keys, userCaller(r))
	}
	return l, err
}

// credentials opens the secrets of the access keys in a row.
func (k *Keyring) credentials(key string, rows []keyRow, c *Caller) ([]*Credential, error) {
	var all []*Credential
	for _, r := range rows {
		text, err := k.box.Open(r.Sealed, sealContext(key, r.ID))
		if err != nil {
			return nil, fmt.Errorf("read row %s: secret of access key %s: %w", key, r.ID, err)
		}
		all = append(all, &Credential{AccessKeyID: r.ID, Secret: secret.NewText(string(text)), Caller: c, inactive: !r.Active})
	}
	return all, nil
}

// sealContext binds a secret to its access key and to the row that holds it.
func sealContext(key, accessKeyID string) []byte { return []byte(key + "/" + accessKeyID) }

// know replaces what is known of a row, unless something newer is. REQUIRES: v held.
func (v *view) know(l *learned) {
	old, had := v.rows[l.key]
	if had && old.version >= l.known.version {
		return
	}
	if had {
		v.unlist(l.key, old.row)
		defer v.tidy(old.row)
	}
	v.rows[l.key] = l.known
	for _, c := range l.keys {
		u := v.uses[c.AccessKeyID]
		if u == nil {
			u = new(use)
			v.uses[c.AccessKeyID] = u
		}
		c.use = u
		v.keys[c.AccessKeyID] = c
	}
	switch r := l.known.row.(type) {
	case *accountRow:
		v.accounts++
		v.principals[r.Account] = &principal{kind: Root, account: r.Account, id: r.Account, sessionsFrom: r.SessionsFrom.time()}
	case *userRow:
		v.count(r.Account).users++
		v.principals[r.ID] = &principal{kind: UserCaller, account: r.Account, name: r.Name, id: r.ID, policies: r.Policies, sessionsFrom: r.SessionsFrom.time()}
	case *roleRow:
		v.count(r.Account).roles++
		v.principals[r.ID] = &principal{kind: RoleCaller, account: r.Account, name: r.Name, id: r.ID, policies: r.Policies, sessionsFrom: r.SessionsFrom.time()}
	case *providerRow:
		v.count(r.Account).providers++
	case *useRow:
		u := v.uses[strings.TrimPrefix(l.key, usePrefix)]
		if u == nil {
			u = new(use)
			v.uses[strings.TrimPrefix(l.key, usePrefix)] = u
		}
		u.written.Store(int64(r.At))
		u.raise(int64(r.At))
	}
}

// forget takes in that a row is gone. REQUIRES: v held.
func (v *view) forget(key string) {
	old, had := v.rows[key]
	if !had {
		return
	}
	delete(v.rows, key)
	v.unlist(key, old.row)
	v.tidy(old.row)
}

// unlist undoes what know did for a row's content. REQUIRES: v held.
func (v *view) unlist(key string, row any) {
	switch r := row.(type) {
	case *accountRow:
		v.accounts--
		delete(v.principals, r.Account)
		v.drop(r.Keys)
	case *userRow:
		v.count(r.Account).users--
		delete(v.principals, r.ID)
		v.drop(r.Keys)
	case *roleRow:
		v.count(r.Account).roles--
		delete(v.principals, r.ID)
	case *providerRow:
		v.count(r.Account).providers--
	case *useRow:
		if id := strings.TrimPrefix(key, usePrefix); v.keys[id] == nil {
			delete(v.uses, id)
		}
	}
}

// drop forgets access keys. REQUIRES: v held.
func (v *view) drop(rows []keyRow) {
	for _, r := range rows {
		delete(v.keys, r.ID)
	}
}

// tidy forgets when the access keys in a row that is no more were used, unless they are still there.
// REQUIRES: v held.
func (v *view) tidy(row any) {
	var rows []keyRow
	switch r := row.(type) {
	case *accountRow:
		rows = r.Keys
	case *userRow:
		rows = r.Keys
	}
	for _, r := range rows {
		if _, stored := v.rows[useKey(r.ID)]; v.keys[r.ID] == nil && !stored {
			delete(v.uses, r.ID)
		}
	}
}

// count returns an account's counts. REQUIRES: v held.
func (v *view) count(account string) *count {
	c := v.counts[account]
	if c == nil {
		c = new(count)
		v.counts[account] = c
	}
	return c
}

// raise moves the time forward.
func (u *use) raise(at int64) {
	for {
		old := u.at.Load()
		if old >= at || u.at.CompareAndSwap(old, at) {
			return
		}
	}
}

// all returns the rows of one sort whose keys begin with prefix, in order of their keys.
func all[R any](v *view, prefix string) []*R {
	v.RLock()
	defer v.RUnlock()
	var keys []string
	for key := range v.rows {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	rows := make([]*R, 0, len(keys))
	for _, key := range keys {
		if r, ok := v.rows[key].row.(*R); ok {
			rows = append(rows, r)
		}
	}
	return rows
}

// row returns a row as it is known, nil if there is none.
func row[R any](v *view, key string) *R {
	v.RLock()
	defer v.RUnlock()
	r, _ := v.rows[key].row.(*R)
	return r
}
