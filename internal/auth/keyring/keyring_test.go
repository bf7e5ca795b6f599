package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	coordinatormem "github.com/headrace/headrace/internal/coordinator/mem"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/testpoll"
	"github.com/headrace/headrace/internal/vfs"
)

func TestForms(t *testing.T) {
	f := func(s, pattern string) {
		t.Helper()
		if !regexp.MustCompile(pattern).MatchString(s) {
			t.Errorf("got %s, want the form %s", s, pattern)
		}
	}
	seen := map[string]bool{}
	for range 200 {
		f(newID(longTermPrefix), `^AKIA[A-Z2-7]{16}$`)
		f(newPrincipalID(userIDPrefix), `^AIDA[A-Z2-7]{17}$`)
		s := newSecret().Reveal()
		f(s, `^[A-Za-z0-9+/]{40}$`)
		if seen[s] {
			t.Fatal("a secret came twice")
		}
		seen[s] = true
	}
	for s, want := range map[string]bool{"123456789012": true, "12345678901": false, "1234567890123": false, "12345678901a": false, "": false} {
		if IsAccount(s) != want {
			t.Errorf("IsAccount(%q) is %v", s, !want)
		}
	}
}

// TestLife goes through what is done with users and keys, with the keyring opened anew in between.
func TestLife(t *testing.T) {
	onEngines(t, func(t *testing.T, e engine) {
		w := newWorld(t, e.open(t))
		key, root := w.populate()
		again := func() {
			t.Helper()
			w.Close()
			e.stop(t)
			w = newWorld(t, e.open(t))
		}
		defer func() { w.Close(); e.stop(t) }()

		again()
		c := w.lookup(key.ID, "")
		if c.Secret.Reveal() != key.Secret.Reveal() || c.Caller.ARN != "arn:aws:iam::"+acct+":user/alice" || !strings.HasPrefix(c.Caller.UserID, "AIDA") || c.Caller.Kind != UserCaller {
			t.Errorf("got %+v", c.Caller)
		}
		c = w.lookup(root.ID, "")
		if c.Secret.Reveal() != root.Secret.Reveal() || c.Caller.ARN != "arn:aws:iam::"+acct+":root" || c.Caller.UserID != acct || c.Caller.Kind != Root {
			t.Errorf("got %+v", c.Caller)
		}
		if w.Operator() != acct {
			t.Errorf("the operator is %q", w.Operator())
		}
		if shown, err := w.Bootstrap(t.Context(), acct, "main"); shown != nil || err != nil {
			t.Errorf("the root key was shown again: %v, %v", shown, err)
		}

		w.ok(w.SetAccessKeyActive(t.Context(), Whose{acct, "alice"}, key.ID, false))
		w.refused(key.ID, "", ErrInactiveKey)
		again()
		w.refused(key.ID, "", ErrInactiveKey)
		w.ok(w.SetAccessKeyActive(t.Context(), Whose{acct, "alice"}, key.ID, true))
		w.lookup(key.ID, "")
		w.refused(key.ID, "token", ErrToken)

		second, replaced, err := w.RotateAccessKey(t.Context(), Whose{acct, "alice"})
		w.ok(err)
		if replaced != "" {
			t.Errorf("%s went although there was room", replaced)
		}
		w.lookup(key.ID, "")
		w.lookup(second.ID, "")
		_, _, err = w.RotateAccessKey(t.Context(), Whose{acct, "alice"})
		w.says(err, LimitExceeded, "Cannot exceed quota for AccessKeysPerUser: 2")
		_, err = w.CreateAccessKey(t.Context(), Whose{acct, "alice"})
		w.says(err, LimitExceeded, "Cannot exceed quota for AccessKeysPerUser: 2")
		w.ok(w.SetAccessKeyActive(t.Context(), Whose{acct, "alice"}, key.ID, false))
		third, replaced, err := w.RotateAccessKey(t.Context(), Whose{acct, "alice"})
		w.ok(err)
		if replaced != key.ID {
			t.Errorf("%q went, want the disabled %s", replaced, key.ID)
		}
		w.refused(key.ID, "", ErrUnknownKey)
		again()
		w.refused(key.ID, "", ErrUnknownKey)
		if owner, err := w.Owner(third.ID); err != nil || owner != (Whose{acct, "alice"}) {
			t.Errorf("%s belongs to %v, %v", third.ID, owner, err)
		}

		w.says(w.DeleteUser(t.Context(), acct, "alice"), Conflict, "Cannot delete entity, must delete access keys first.")
		w.ok(w.DeleteAccessKey(t.Context(), Whose{acct, "alice"}, second.ID))
		w.ok(w.DeleteAccessKey(t.Context(), Whose{acct, "alice"}, third.ID))
		w.says(w.DeleteAccessKey(t.Context(), Whose{acct, "alice"}, third.ID), NotFound, "The Access Key with id "+third.ID+" cannot be found.")
		w.ok(w.PutUserPolicy(t.Context(), acct, "alice", "p", doc))
		w.says(w.DeleteUser(t.Context(), acct, "alice"), Conflict, "Cannot delete entity, must delete policies first.")
		w.ok(w.DeleteUserPolicy(t.Context(), acct, "alice", "p"))
		w.ok(w.DeleteUser(t.Context(), acct, "alice"))
		w.says(w.DeleteUser(t.Context(), acct, "alice"), NotFound, "The user with name alice cannot be found.")
		again()
		if users := w.Users(acct); len(users) != 0 {
			t.Errorf("there is still %v", users)
		}

		fresh, err := w.ReplaceRootKeys(t.Context(), acct)
		w.ok(err)
		w.refused(root.ID, "", ErrUnknownKey)
		w.lookup(fresh.ID, "")
	})
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, coordinatormem.New(), func(c *Config) { c.Limits = Limits{Accounts: 2, Users: 2, Roles: 1, Providers: 1} })
	ctx := t.Context()
	w.populate()
	_, err := w.CreateUser(ctx, acct, "ALICE")
	w.says(err, Exists, "User with name ALICE already exists.")
	_, err = w.CreateUser(ctx, acct, "a/b")
	w.says(err, Invalid, "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	_, err = w.CreateUser(ctx, acct, strings.Repeat("x", 65))
	w.says(err, Invalid, "1 validation error detected: Value '"+strings.Repeat("x", 65)+"' at 'userName' failed to satisfy constraint: Member must have length less than or equal to 64")
	_, err = w.CreateUser(ctx, acct, "")
	w.says(err, Invalid, "1 validation error detected: Value '' at 'userName' failed to satisfy constraint: Member must have length greater than or equal to 1")
	_, err = w.CreateUser(ctx, other, "bob")
	w.says(err, NotFound, "The account with name "+other+" cannot be found.")
	_, err = w.CreateUser(ctx, "12", "bob")
	w.says(err, Invalid, "An account is twelve digits, not '12'")
	_, err = w.CreateUser(ctx, acct, "bob")
	w.ok(err)
	_, err = w.CreateUser(ctx, acct, "carol")
	w.says(err, LimitExceeded, "Cannot exceed quota for UsersPerAccount: 2")
	w.ok(w.DeleteUser(ctx, acct, "bob"))
	_, err = w.CreateUser(ctx, acct, "carol")
	w.ok(err)

	w.says(w.PutUserPolicy(ctx, acct, "alice", "p", "{"), MalformedPolicy, "Syntax errors in policy.")
	w.says(w.PutUserPolicy(ctx, acct, "alice", "p", "null"), MalformedPolicy, "Syntax errors in policy.")
	w.says(w.PutUserPolicy(ctx, acct, "nobody", "p", doc), NotFound, "The user with name nobody cannot be found.")
	w.says(w.DeleteUserPolicy(ctx, acct, "alice", "p"), NotFound, "The user policy with name p cannot be found.")
	large := `{"a":"` + strings.Repeat("x", 1200) + `"}`
	w.ok(w.PutUserPolicy(ctx, acct, "alice", "one", large+strings.Repeat(" ", 5000)))
	w.says(w.PutUserPolicy(ctx, acct, "alice", "two", large), LimitExceeded, "Maximum policy size of 2048 bytes exceeded for user alice")
	w.says(w.PutUserPolicy(ctx, acct, "alice", "one", doc+strings.Repeat(" ", 20000)), LimitExceeded, "Maximum policy size of 2048 bytes exceeded for user alice")
	w.ok(w.PutUserPolicy(ctx, acct, "alice", "one", doc))

	w.ok(w.ReplaceUserPolicies(ctx, acct, "alice", map[string]string{"a": doc, "b": large}))
	w.says(w.ReplaceUserPolicies(ctx, acct, "alice", map[string]string{"a": large, "b": large}), LimitExceeded, "Maximum policy size of 2048 bytes exceeded for user alice")
	w.says(w.ReplaceUserPolicies(ctx, acct, "alice", map[string]string{"a": "[", "b": doc}), MalformedPolicy, "Syntax errors in policy.")
	if u, err := w.User(acct, "alice"); err != nil || len(u.Policies) != 2 || u.Policies["b"] != large {
		t.Errorf("after a refusal alice has %v, %v", u.Policies, err)
	}
	w.ok(w.ReplaceRolePolicies(ctx, acct, "reader", map[string]string{"a": doc}))
	w.says(w.ReplaceRolePolicies(ctx, acct, "reader", map[string]string{"a/b": doc}), Invalid, "The specified value for policyName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	w.ok(w.ReplaceRolePolicies(ctx, acct, "reader", nil))

	_, err = w.CreateRole(ctx, acct, "writer", RoleSpec{Trust: trust})
	w.says(err, LimitExceeded, "Cannot exceed quota for RolesPerAccount: 1")
	f := func(s RoleSpec, kind Kind, text string) {
		t.Helper()
		w.says(w.UpdateRole(ctx, acct, "reader", s), kind, text)
	}
	f(RoleSpec{Trust: trust, MaxSession: time.Minute}, Invalid, "1 validation error detected: Value '60' at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to 3600")
	f(RoleSpec{Trust: trust, MaxSession: 13 * time.Hour}, Invalid, "1 validation error detected: Value '46800' at 'maxSessionDuration' failed to satisfy constraint: Member must have value less than or equal to 43200")
	f(RoleSpec{Trust: "[]"}, MalformedPolicy, "Syntax errors in policy.")
	f(RoleSpec{Trust: large + large}, LimitExceeded, "Cannot exceed quota for ACLSizePerRole: 2048")
	f(RoleSpec{Trust: trust, Description: "a\x00b"}, Invalid, "The specified value for description is invalid. It must not contain control characters.")
	w.ok(w.PutRolePolicy(ctx, acct, "reader", "p", doc))
	w.says(w.DeleteRole(ctx, acct, "reader"), Conflict, "Cannot delete entity, must delete policies first.")
	w.says(w.DeleteRolePolicy(ctx, acct, "reader", "q"), NotFound, "The role policy with name q cannot be found.")

	w.says(w.CreateAccount(ctx, acct, ""), Exists, "Account with name "+acct+" already exists.")
	w.ok(w.CreateAccount(ctx, other, "second"))
	w.says(w.CreateAccount(ctx, "999999999999", ""), LimitExceeded, "Cannot exceed quota for Accounts: 2")
	w.says(w.RenameAccount(ctx, "999999999999", "x"), NotFound, "The account with name 999999999999 cannot be found.")
}

func TestProviders(t *testing.T) {
	w := newWorld(t, coordinatormem.New(), func(c *Config) { c.Limits.Providers = 1 })
	w.populate()
	p := Provider{Account: acct, URL: "https://idp.example/tenant/", Audiences: []string{"app"}, KeysURL: "https://idp.example/keys"}
	w.ok(w.PutProvider(t.Context(), p))
	got, err := w.Provider(acct, "https://idp.example/tenant")
	w.ok(err)
	if got.Issuer() != "idp.example/tenant" || got.ARN() != "arn:aws:iam::"+acct+":oidc-provider/idp.example/tenant" || got.KeysURL != p.KeysURL {
		t.Errorf("got %+v", got)
	}
	p.KeysURL, p.Keys = "", `{"keys":[]}`
	w.ok(w.PutProvider(t.Context(), p))
	if got, err := w.Provider(acct, p.URL); err != nil || got.Keys != p.Keys || got.KeysURL != "" {
		t.Errorf("after a change: %+v, %v", got, err)
	}
	f := func(change func(*Provider), kind Kind) {
		t.Helper()
		bad := Provider{Account: acct, URL: "https://other.example", Audiences: []string{"app"}}
		change(&bad)
		if err := w.PutProvider(t.Context(), bad); !IsKind(err, kind) {
			t.Errorf("%+v: got %v, want kind %v", bad, err, kind)
		}
	}
	f(func(p *Provider) {}, LimitExceeded)
	f(func(p *Provider) { p.URL = "ftp://x" }, Invalid)
	f(func(p *Provider) { p.URL = "https://user@x" }, Invalid)
	f(func(p *Provider) { p.URL = "https://x?q" }, Invalid)
	f(func(p *Provider) { p.URL = "https://" + strings.Repeat("x", 300) }, Invalid)
	f(func(p *Provider) { p.Audiences = nil }, Invalid)
	f(func(p *Provider) { p.Audiences = []string{""} }, Invalid)
	f(func(p *Provider) { p.Audiences = make([]string, 101) }, LimitExceeded)
	f(func(p *Provider) { p.Keys, p.KeysURL = "{}", "https://x" }, Invalid)
	f(func(p *Provider) { p.Keys = "{" }, Invalid)
	f(func(p *Provider) { p.Keys = strings.Repeat(" ", maxKeySet+1) }, LimitExceeded)
	f(func(p *Provider) { p.KeysURL = "file:///etc/passwd" }, Invalid)
	f(func(p *Provider) { p.Account = other }, NotFound)
	w.ok(w.DeleteProvider(t.Context(), acct, p.URL))
	if err := w.DeleteProvider(t.Context(), acct, p.URL); !IsKind(err, NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if all := w.Providers(acct); len(all) != 0 {
		t.Errorf("there is still %v", all)
	}
}

// fullAtTimes refuses writes while it is full, as a coordinator on a full disk does.
type fullAtTimes struct {
	coordinator.Coordinator
	full atomic.Bool
}

func (c *fullAtTimes) Put(ctx context.Context, key string, value []byte, expect coordinator.Version) (coordinator.Version, error) {
	if c.full.Load() {
		return 0, fmt.Errorf("append: %w", shardlog.ErrFull)
	}
	return c.Coordinator.Put(ctx, key, value, expect)
}

func (c *fullAtTimes) Delete(ctx context.Context, key string, expect coordinator.Version) error {
	if c.full.Load() {
		return fmt.Errorf("append: %w", shardlog.ErrFull)
	}
	return c.Coordinator.Delete(ctx, key, expect)
}

// TestFullDisk refuses changes while there is no room, and knows nothing of them then or later.
func TestFullDisk(t *testing.T) {
	rows := &fullAtTimes{Coordinator: coordinatormem.New()}
	k, err := Open(t.Context(), Config{Coordinator: rows, Key: secret.NewKey(), Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	root, err := k.Bootstrap(t.Context(), acct, "")
	if err != nil {
		t.Fatal(err)
	}
	change := func(want Kind) {
		t.Helper()
		_, create := k.CreateUser(t.Context(), acct, "alice")
		_, key := k.CreateAccessKey(t.Context(), Whose{Account: acct})
		gone := k.DeleteAccessKey(t.Context(), Whose{Account: acct}, root.ID)
		for what, err := range map[string]error{"create user": create, "create key": key, "delete key": gone} {
			if want == 0 && err != nil || want != 0 && !IsKind(err, want) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	rows.full.Store(true)
	change(NoRoom)
	if _, err := k.Lookup(root.ID, ""); err != nil || len(k.Users(acct)) != 0 {
		t.Errorf("something changed: %v, %v", err, k.Users(acct))
	}
	rows.full.Store(false)
	change(0)
	rows.full.Store(true)
	if err := k.DeleteUser(t.Context(), acct, "alice"); !IsKind(err, NoRoom) {
		t.Errorf("delete user: %v", err)
	}
}

// TestCapsUnderContention lets many callers want the last place.
func TestCapsUnderContention(t *testing.T) {
	onEngines(t, func(t *testing.T, e engine) {
		w := newWorld(t, e.open(t), func(c *Config) { c.Limits.Users = 5 })
		defer e.stop(t)
		defer w.Close()
		w.populate()
		var wg sync.WaitGroup
		var keys, users sync.Map
		for i := range 20 {
			wg.Go(func() {
				if made, err := w.CreateAccessKey(t.Context(), Whose{Account: acct}); err == nil {
					keys.Store(made.ID, true)
				} else if !IsKind(err, LimitExceeded) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if u, err := w.CreateUser(t.Context(), acct, fmt.Sprint("u", i)); err == nil {
					users.Store(u.Name, true)
				} else if !IsKind(err, LimitExceeded) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		count := func(m *sync.Map) (n int) {
			m.Range(func(any, any) bool { n++; return true })
			return n
		}
		if n := count(&keys); n != 1 {
			t.Errorf("%d keys were made beside one, want 1", n)
		}
		if n := count(&users); n != 4 || len(w.Users(acct)) != 5 {
			t.Errorf("%d users were made beside one, and %d are there; want 4 and 5", n, len(w.Users(acct)))
		}
	})
}

// TestFollowsOthers has two processes on the same rows.
func TestFollowsOthers(t *testing.T) {
	rows := coordinatormem.New()
	a, b := newWorld(t, rows), newWorld(t, rows)
	key, _ := a.populate()
	done := make(chan error, 1)
	go func() { done <- b.Run(t.Context()) }()
	testpoll.Until(t, 10*time.Second, func() bool {
		_, err := b.Lookup(key.ID, "")
		return err == nil
	}, "the other process knows the key")
	a.ok(a.DeleteAccessKey(t.Context(), Whose{acct, "alice"}, key.ID))
	testpoll.Until(t, 10*time.Second, func() bool {
		_, err := b.Lookup(key.ID, "")
		return errors.Is(err, ErrUnknownKey)
	}, "the other process has forgotten the key")
	if _, err := b.CreateUser(t.Context(), acct, "alice"); !IsKind(err, Exists) {
		t.Errorf("a user that another process made: %v", err)
	}
	rows.Close()
	if err := <-done; !errors.Is(err, coordinator.ErrClosed) {
		t.Errorf("Run ended with %v; want that it cannot follow any more", err)
	}
}

// TestOldReports checks the two rules of the view, with reports that come in every order the contract
// of the coordinator allows.
func TestOldReports(t *testing.T) {
	w := newWorld(t, coordinatormem.New())
	w.populate()
	value := func(name string) []byte {
		return encodeRow(userRow{principalRow: principalRow{Layout: rowLayout, Account: acct, Name: name}, ID: "AIDA" + name})
	}
	key := userKey(acct, "x")
	has := func(want bool) {
		t.Helper()
		if got := row[userRow](&w.view, key) != nil; got != want {
			t.Errorf("the row is known: %v, want %v", got, want)
		}
	}
	report := func(version coordinator.Version, v []byte) {
		t.Helper()
		w.ok(w.reported([]coordinator.Entry{{Key: key, Value: v, Version: version}}))
	}
	w.ok(w.wrote(key, value("x"), 100))
	has(true)
	w.deleted(key, 100)
	has(false)
	report(100, value("x")) // the report of what is deleted comes late
	has(false)
	report(101, nil)
	has(false)
	if len(w.view.ghosts) != 0 {
		t.Errorf("ghosts are left: %v", w.view.ghosts)
	}
	report(103, value("x"))
	has(true)
	report(104, nil)
	w.ok(w.wrote(key, value("x"), 103)) // the writer hears of its success last
	has(false)
	w.ok(w.wrote(key, value("x"), 105))
	report(106, value("x"))
	w.deleted(key, 106)
	has(false)
	w.ok(w.wrote(key, value("x"), 105))
	has(false)
	w.ok(w.wrote(key, value("x"), 110))
	w.deleted(key, 107) // of an older state
	has(true)
}

func TestWrongKey(t *testing.T) {
	rows := coordinatormem.New()
	w := newWorld(t, rows)
	w.populate()
	_, err := Open(t.Context(), Config{Coordinator: rows, Key: secret.NewKey(), Clock: w.clock})
	if !errors.Is(err, secret.ErrOtherKey) {
		t.Errorf("another node key: got %v, want ErrOtherKey", err)
	}
	used, err := Used(t.Context(), rows)
	if err != nil || !used {
		t.Errorf("rows are used: %v, %v", used, err)
	}
	if used, err := Used(t.Context(), coordinatormem.New()); err != nil || used {
		t.Errorf("no rows are used: %v, %v", used, err)
	}
	// A secret that is moved to another row opens nowhere.
	alice, err := rows.Get(t.Context(), userKey(acct, "alice"))
	w.ok(err)
	moved := bytes.ReplaceAll(alice.Value, []byte(`"alice"`), []byte(`"mallory"`))
	if _, err := rows.Put(t.Context(), userKey(acct, "mallory"), moved, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Coordinator: rows, Key: testKey(t), Clock: w.clock}); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("a moved secret: got %v, want ErrSealed", err)
	}
}

func TestBadRows(t *testing.T) {
	f := func(key, value, want string) {
		t.Helper()
		rows := coordinatormem.New()
		if _, err := rows.Put(t.Context(), key, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), Config{Coordinator: rows, Key: testKey(t), Clock: newWorld(t, coordinatormem.New()).clock})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error that says %q", value, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the row: %v", err)
		}
	}
	f(accountKey(acct), `hunter2`, "not JSON")
	f(accountKey(acct), `{"v":2,"x":"hunter2"}`, "layout 2 is not known")
	f(accountKey(acct), `{"v":1,"account":["hunter2"]}`, "other types")
	f(accountKey(acct), `{"v":1,"account":"`+other+`"}`, "it describes auth/account/"+other)
	f(userKey(acct, "a"), `{"v":1,"account":"`+acct+`","name":"b"}`, "it describes auth/user/")
	f(roleKey(acct, "a"), `{"v":1,"account":"`+acct+`","name":"b"}`, "it describes auth/role/")
	f(providerKey(acct, "a"), `{"v":1,"account":"`+acct+`","url":"https://b"}`, "it describes auth/provider/")
	f(providerKey(acct, "a"), `{"v":1,"account":"`+acct+`","url":"::"}`, "Invalid Open ID Connect")
	f(sessionKeyKey, `{"v":1,"sealed":"AAAA"}`, "cannot be opened")
	f(proofKey, `{"v":1}`, "cannot be opened")
}

// TestUse notes uses, writes them now and then, and has them after a restart.
func TestUse(t *testing.T) {
	onEngines(t, func(t *testing.T, e engine) {
		w := newWorld(t, e.open(t))
		key, _ := w.populate()
		used := func() time.Time {
			t.Helper()
			keys, err := w.AccessKeys(Whose{acct, "alice"})
			w.ok(err)
			return keys[0].LastUsed
		}
		if at := used(); !at.IsZero() {
			t.Errorf("used at %v before anybody did", at)
		}
		w.Used(w.lookup(key.ID, ""), w.clock.Now())
		first := w.clock.Now().Truncate(time.Millisecond)
		if at := used(); !at.Equal(first) {
			t.Errorf("used at %v, want %v", at, first)
		}
		w.ok(w.FlushUse(t.Context()))
		spare, err := w.CreateAccessKey(t.Context(), Whose{acct, "alice"})
		w.ok(err)
		w.ok(w.DeleteAccessKey(t.Context(), Whose{acct, "alice"}, spare.ID))
		if w.view.uses[spare.ID] != nil {
			t.Error("the use of a key that never was used is kept")
		}
		w.clock.Advance(time.Minute)
		w.Used(w.lookup(key.ID, ""), w.clock.Now())
		w.ok(w.FlushUse(t.Context())) // too soon to be written
		w.ok(w.SetAccessKeyActive(t.Context(), Whose{acct, "alice"}, key.ID, true))
		if at := used(); !at.Equal(first.Add(time.Minute)) {
			t.Errorf("a change of the key lost its use: %v", at)
		}
		w.Close()
		e.stop(t)
		w = newWorld(t, e.open(t))
		defer e.stop(t)
		defer w.Close()
		if at := used(); !at.Equal(first) {
			t.Errorf("after a restart used at %v, want %v", at, first)
		}
		w.clock.Advance(2 * time.Hour)
		w.Used(w.lookup(key.ID, ""), w.clock.Now())
		w.ok(w.FlushUse(t.Context()))
		w.ok(w.DeleteAccessKey(t.Context(), Whose{acct, "alice"}, key.ID))
		if w.view.uses[key.ID] != nil {
			t.Error("the use of a key that is gone is kept")
		}
	})
}

// TestRunWritesUse lets Run do it.
func TestRunWritesUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := coordinatormem.New()
		w := newWorld(t, rows)
		key, root := w.populate()
		stop := make(chan struct{})
		done := make(chan error, 1)
		ctx := contextUntil(t, stop)
		go func() { done <- w.Run(ctx) }()
		w.Used(w.lookup(key.ID, ""), w.clock.Now())
		time.Sleep(flushEvery + time.Second)
		if _, err := rows.Get(t.Context(), useKey(key.ID)); err != nil {
			t.Errorf("after %v: %v", flushEvery, err)
		}
		w.Used(w.lookup(root.ID, ""), w.clock.Now())
		close(stop)
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		if _, err := rows.Get(t.Context(), useKey(root.ID)); err != nil {
			t.Errorf("at the end: %v", err)
		}
	})
}

// TestNothingInClear looks for secrets in everything that is on the disk, and in what is printed.
func TestNothingInClear(t *testing.T) {
	d := newDisk()
	w := newWorld(t, d.open(t))
	key, root := w.populate()
	var printed strings.Builder
	for _, v := range []any{w.Keyring, w.lookup(key.ID, ""), *w.lookup(key.ID, ""), key, root, *key, w.cfg, w.Users(acct), w.Accounts()} {
		fmt.Fprintf(&printed, "%v %+v %#v %s\n", v, v, v, v)
	}
	sessionKey := w.session.key
	w.Close()
	d.stop(t)
	var disk bytes.Buffer
	collect(t, d.fs, ".", &disk)
	if disk.Len() < 1000 {
		t.Fatalf("only %d bytes were found on the disk", disk.Len())
	}
	if !bytes.Contains(disk.Bytes(), []byte(key.ID)) {
		t.Fatal("not even the key's id was found on the disk")
	}
	for _, s := range []string{key.Secret.Reveal(), root.Secret.Reveal(), string(sessionKey.Bytes()), string(testKey(t).Bytes())[:16]} {
		if strings.Contains(printed.String(), s) {
			t.Errorf("a secret was printed")
		}
		if s != string(testKey(t).Bytes())[:16] && bytes.Contains(disk.Bytes(), []byte(s)) {
			t.Errorf("a secret lies on the disk in clear")
		}
	}
}

// collect reads every file.
func collect(t *testing.T, fs vfs.FS, dir string, into io.Writer) {
	t.Helper()
	entries, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.TrimPrefix(dir+"/"+e.Name, "./")
		if e.Dir {
			collect(t, fs, name, into)
			continue
		}
		f, err := fs.Open(name, vfs.ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(into, io.NewSectionReader(f, 0, e.Size)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// TestLookupAllocations guards the hot path: a map read, and for a session that is known a second one.
func TestLookupAllocations(t *testing.T) {
	w := newWorld(t, coordinatormem.New())
	key, _ := w.populate()
	role, err := w.Role(acct, "reader")
	w.ok(err)
	s, err := w.Issue(Grant{Principal: role.ID, Kind: RoleCaller, Account: acct, Name: "reader", SessionName: "s", Lifetime: time.Hour})
	w.ok(err)
	f := func(id, token string) {
		t.Helper()
		if n := testing.AllocsPerRun(100, func() {
			c, err := w.Lookup(id, token)
			if err != nil || w.Policies(c.Caller) != nil {
				t.Fatal(err)
			}
			w.Used(c, w.clock.Now())
		}); n != 0 {
			t.Errorf("%s: %v allocations", id[:4], n)
		}
	}
	f(key.ID, "")
	f(s.AccessKeyID, s.Token)
}

func BenchmarkLookup(b *testing.B) {
	w := newWorld(b, coordinatormem.New())
	key, _ := w.populate()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Lookup(key.ID, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// TestListsAreCopies changes what was listed.
func TestListsAreCopies(t *testing.T) {
	w := newWorld(t, coordinatormem.New())
	w.populate()
	w.ok(w.PutUserPolicy(t.Context(), acct, "alice", "p", doc))
	before := w.Users(acct)
	u := w.Users(acct)[0]
	u.Policies["p"] = "changed"
	u.Keys[0].Active = false
	if after := w.Users(acct); !reflect.DeepEqual(after, before) {
		t.Errorf("got %v, want %v", after, before)
	}
}
