package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	coordinatormem "github.com/headrace/headrace/internal/coordinator/mem"
)

// roleGrant asks for a session of the test's role.
func (w *world) roleGrant() Grant {
	w.t.Helper()
	role, err := w.Role(acct, "reader")
	w.ok(err)
	return Grant{Principal: role.ID, Kind: RoleCaller, Account: acct, Name: "reader", SessionName: "shift", Lifetime: time.Hour}
}

func (w *world) issue(g Grant) *Issued {
	w.t.Helper()
	s, err := w.Issue(g)
	w.ok(err)
	return s
}

func TestSession(t *testing.T) {
	onEngines(t, func(t *testing.T, e engine) {
		w := newWorld(t, e.open(t))
		w.populate()
		g := w.roleGrant()
		g.Session = Session{
			Policy: doc, Tags: map[string]string{"team": "blue", "é": "<>"}, Transitive: []string{"team"}, SourceIdentity: "alice",
			Provider: "arn:p", Subject: "s", Audience: "a",
		}
		s := w.issue(g)
		if !regexp.MustCompile(`^ASIA[A-Z2-7]{16}$`).MatchString(s.AccessKeyID) || len(s.Secret.Reveal()) != 40 || s.Size != len(s.Token) {
			t.Errorf("got %s with a secret of %d characters, token %d", s.AccessKeyID, len(s.Secret.Reveal()), s.Size)
		}
		if want := time.Date(2026, 11, 23, 11, 11, 12, 0, time.UTC); !s.Expires.Equal(want) {
			t.Errorf("expires %v, want %v", s.Expires, want)
		}
		check := func() {
			t.Helper()
			c := w.lookup(s.AccessKeyID, s.Token)
			want := g.Session
			want.Issued = w.clock.Now()
			if c.Secret.Reveal() != s.Secret.Reveal() || !reflect.DeepEqual(*c.Caller.Session, want) {
				t.Errorf("got %+v, want %+v", c.Caller.Session, want)
			}
			if c.Caller.ARN != "arn:aws:sts::"+acct+":assumed-role/reader/shift" || c.Caller.UserID != g.Principal+":shift" ||
				c.Caller.PrincipalARN() != "arn:aws:iam::"+acct+":role/reader" || !c.Expires.Equal(s.Expires) {
				t.Errorf("got %+v", c.Caller)
			}
		}
		check()
		check()
		w.Close()
		e.stop(t)
		w = newWorld(t, e.open(t))
		defer e.stop(t)
		defer w.Close()
		check()

		w.refused(s.AccessKeyID, "", ErrToken)
		w.refused("ASIAAAAAAAAAAAAAAAAA", s.Token, ErrToken)
		w.refused(s.AccessKeyID, s.Token[:len(s.Token)-4], ErrToken)
		w.refused(s.AccessKeyID, w.issue(g).Token, ErrToken)
		w.refused(s.AccessKeyID, strings.Repeat("A", maxToken+1), ErrToken)
		check()
	})
}

// TestTokenMutations changes a token in every place.
func TestTokenMutations(t *testing.T) {
	w := newWorld(t, coordinatormem.New())
	w.populate()
	s := w.issue(w.roleGrant())
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	sealed, err := base64.StdEncoding.DecodeString(s.Token)
	w.ok(err)
	for i := range s.Token {
		for _, c := range []byte{alphabet[(strings.IndexByte(alphabet, s.Token[i])+17)%64], '='} {
			changed := []byte(s.Token)
			changed[i] = c
			if got, err := base64.StdEncoding.DecodeString(string(changed)); err == nil && bytes.Equal(got, sealed) {
				continue // bits that base64 does not use
			}
			w.refused(s.AccessKeyID, string(changed), ErrToken)
		}
	}
	w.lookup(s.AccessKeyID, s.Token)
}

func TestSessionsEnd(t *testing.T) {
	f := func(name string, grant func(w *world, key, root *NewKey) Grant, end func(w *world, key, root *NewKey), want error) {
		t.Helper()
		w := newWorld(t, coordinatormem.New())
		key, root := w.populate()
		s := w.issue(grant(w, key, root))
		w.lookup(s.AccessKeyID, s.Token)
		unopened := w.issue(grant(w, key, root))
		end(w, key, root)
		w.refused(s.AccessKeyID, s.Token, want)
		w.refused(unopened.AccessKeyID, unopened.Token, want)
		_ = name
	}
	role := func(w *world, _, _ *NewKey) Grant { return w.roleGrant() }
	user := func(w *world, key, _ *NewKey) Grant {
		c := w.lookup(key.ID, "").Caller
		return Grant{Principal: c.PrincipalID, Kind: c.Kind, Account: acct, Name: c.Name, Lifetime: time.Hour, Session: Session{Parent: key.ID}}
	}
	rootOwn := func(w *world, _, root *NewKey) Grant {
		return Grant{Principal: acct, Kind: Root, Account: acct, Lifetime: time.Hour, Session: Session{Parent: root.ID}}
	}
	ctx := t.Context()
	f("time", role, func(w *world, _, _ *NewKey) { w.clock.Advance(time.Hour) }, ErrExpired)
	f("role deleted", role, func(w *world, _, _ *NewKey) { w.ok(w.DeleteRole(ctx, acct, "reader")) }, ErrToken)
	f("role made again", role, func(w *world, _, _ *NewKey) {
		w.ok(w.DeleteRole(ctx, acct, "reader"))
		_, err := w.CreateRole(ctx, acct, "reader", RoleSpec{Trust: trust})
		w.ok(err)
	}, ErrToken)
	f("role's sessions ended", role, func(w *world, _, _ *NewKey) {
		w.ok(w.EndRoleSessions(ctx, acct, "reader"))
		w.clock.Advance(time.Millisecond)
		later := w.issue(w.roleGrant())
		w.lookup(later.AccessKeyID, later.Token)
	}, ErrToken)
	f("user's sessions ended", user, func(w *world, _, _ *NewKey) { w.ok(w.EndUserSessions(ctx, acct, "alice")) }, ErrToken)
	f("root's sessions ended", rootOwn, func(w *world, _, _ *NewKey) { w.ok(w.EndRootSessions(ctx, acct)) }, ErrToken)
	f("key disabled", user, func(w *world, key, _ *NewKey) { w.ok(w.SetAccessKeyActive(ctx, Whose{acct, "alice"}, key.ID, false)) }, ErrToken)
	f("key deleted", user, func(w *world, key, _ *NewKey) { w.ok(w.DeleteAccessKey(ctx, Whose{acct, "alice"}, key.ID)) }, ErrToken)
	f("root key replaced", rootOwn, func(w *world, _, _ *NewKey) {
		_, err := w.ReplaceRootKeys(ctx, acct)
		w.ok(err)
	}, ErrToken)
	f("user deleted", user, func(w *world, key, _ *NewKey) {
		w.ok(w.DeleteAccessKey(ctx, Whose{acct, "alice"}, key.ID))
		w.ok(w.DeleteUser(ctx, acct, "alice"))
	}, ErrToken)
}

// TestExpiry lets the machine's time pass.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := Open(t.Context(), Config{Coordinator: coordinatormem.New(), Key: testKey(t), Clock: clock.System{}})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if _, err := k.Bootstrap(t.Context(), acct, ""); err != nil {
			t.Fatal(err)
		}
		s, err := k.Issue(Grant{Principal: acct, Kind: Root, Account: acct, Lifetime: 15 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(15*time.Minute - time.Nanosecond)
		if _, err := k.Lookup(s.AccessKeyID, s.Token); err != nil {
			t.Errorf("before its end: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := k.Lookup(s.AccessKeyID, s.Token); !errors.Is(err, ErrExpired) {
			t.Errorf("at its end: got %v, want ErrExpired", err)
		}
	})
}

// TestUnverified keeps sessions of a server that verified nobody from being worth anything on one that
// does.
func TestUnverified(t *testing.T) {
	rows := coordinatormem.New()
	lax := newWorld(t, rows, func(c *Config) { c.AcceptUnverified = true })
	lax.populate()
	g := lax.roleGrant()
	g.Session.Unverified = true
	s := lax.issue(g)
	lax.lookup(s.AccessKeyID, s.Token)
	strict := newWorld(t, rows)
	strict.refused(s.AccessKeyID, s.Token, ErrToken)
	g.Session.Unverified = false
	s = lax.issue(g)
	strict.lookup(s.AccessKeyID, s.Token)
}

func TestTokenSize(t *testing.T) {
	w := newWorld(t, coordinatormem.New())
	w.populate()
	g := w.roleGrant()
	plain := w.issue(g)
	g.MinToken = 4096
	padded := w.issue(g)
	if padded.Size < 4096 || padded.Size > 4096*3/2 || padded.Percent != (padded.Size*100+maxToken-1)/maxToken {
		t.Errorf("a token of at least 4096 has %d, %d%%", padded.Size, padded.Percent)
	}
	w.lookup(padded.AccessKeyID, padded.Token)
	g.MinToken = 1
	if small := w.issue(g); small.Size > plain.Size+8 {
		t.Errorf("a token that is long enough was padded from %d to %d", plain.Size, small.Size)
	}
	g.Session.Policy = strings.Repeat("x", maxToken)
	var large *TokenTooLargeError
	if _, err := w.Issue(g); !errors.As(err, &large) || large.Percent <= 100 {
		t.Errorf("a policy of %d: got %v", maxToken, err)
	}
}

// TestOpenedAreBounded opens more sessions than are kept.
func TestOpenedAreBounded(t *testing.T) {
	w := newWorld(t, coordinatormem.New())
	w.populate()
	g := w.roleGrant()
	first := w.issue(g)
	w.lookup(first.AccessKeyID, first.Token)
	for i := range maxOpened + 50 {
		if i == maxOpened/2 {
			w.clock.Advance(30 * time.Minute)
		}
		s := w.issue(g)
		w.lookup(s.AccessKeyID, s.Token)
	}
	if n := len(w.session.opened); n > maxOpened {
		t.Errorf("%d sessions are kept opened, want at most %d", n, maxOpened)
	}
	w.lookup(first.AccessKeyID, first.Token)
	w.clock.Advance(40 * time.Minute) // the first half has expired
	s := w.issue(g)
	w.lookup(s.AccessKeyID, s.Token)
	if n := len(w.session.opened); n > maxOpened/2+51 {
		t.Errorf("%d sessions are kept opened although half of them have expired", n)
	}

	g.Session.Policy = strings.Repeat("x", 5000)
	for range 2000 {
		s := w.issue(g)
		w.lookup(s.AccessKeyID, s.Token)
	}
	total := 0
	for _, o := range w.session.opened {
		total += len(o.token)
	}
	if total != w.session.bytes || total > maxOpenedBytes {
		t.Errorf("%d bytes of tokens are kept, counted %d, want at most %d", total, w.session.bytes, maxOpenedBytes)
	}
}

// FuzzToken presents anything as a session token. What is no token of ours is refused, and nothing of
// it is kept.
func FuzzToken(f *testing.F) {
	w := newWorld(f, coordinatormem.New())
	w.populate()
	s := w.issue(w.roleGrant())
	f.Add(s.AccessKeyID, s.Token)
	f.Add(s.AccessKeyID, "")
	f.Add("ASIA", "AAAA")
	for _, text := range []string{"", "{}", `{"v":1}`, `{"v":1,"k":"ASIAX","c":3,"a":"x","e":99999999999999,"i":1}`, "null", "[]", `{"v":1,"tags":null}`} {
		f.Add("ASIAX", base64.StdEncoding.EncodeToString(w.session.box.Seal([]byte(text), []byte("session"))))
	}
	f.Fuzz(func(t *testing.T, id, token string) {
		kept := len(w.session.opened)
		c, err := w.Lookup(id, token)
		switch {
		case err == nil && (id != s.AccessKeyID || c == nil):
			t.Fatalf("%q was accepted with %q: %v", id, token, c)
		case err != nil && (c != nil || len(w.session.opened) != kept):
			t.Fatalf("%q with %q: %v, but something of it was kept", id, token, err)
		}
		_ = fmt.Sprint(c)
	})
}

// FuzzRow reads anything as a row.
func FuzzRow(f *testing.F) {
	w := newWorld(f, coordinatormem.New())
	w.populate()
	rows, err := w.cfg.Coordinator.List(f.Context(), rowPrefix, "", 100)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range rows {
		f.Add(e.Key, e.Value)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		e := rows[0]
		e.Key, e.Value = rowPrefix+key, value
		if sortOf(e.Key) == noSort {
			return
		}
		if l, err := w.read(e); err == nil && l.known.row == nil {
			t.Fatalf("%s: %q was read as nothing", key, value)
		}
	})
}
