package keyring

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// model is what the keyring must be: accounts, users and keys in maps.
type model struct {
	users map[string]map[string]bool // names of users that exist, with their keys, true for active
	// secrets are those of every key that was ever returned.
	secrets map[string]string
	owner   map[string]string
	roles   map[string]string // trust
	// doubt is set once an operation has failed for a reason of the disk: what it was about may be
	// either way.
	doubt string
}

func newModel() *model {
	return &model{users: map[string]map[string]bool{}, secrets: map[string]string{}, owner: map[string]string{}, roles: map[string]string{}}
}

// clone copies what touched compares.
func (m *model) clone() *model {
	c := &model{users: map[string]map[string]bool{}, roles: maps.Clone(m.roles)}
	for name, keys := range m.users {
		c.users[name] = maps.Clone(keys)
	}
	return c
}

// step does one random operation on both. It returns an error that is not a refusal.
func (m *model) step(t *testing.T, w *world, rng *rand.Rand) error {
	ctx := t.Context()
	name := fmt.Sprint("u", rng.IntN(4))
	keys, exists := m.users[name]
	whose := Whose{acct, name}
	expect := func(err error, ok bool, kind Kind) error {
		t.Helper()
		if ok && IsKind(err, kindOf(err)) || !ok && err == nil || !ok && kindOf(err) != 0 && kindOf(err) != kind {
			t.Fatalf("user %s: got %v, want success %v or kind %v", name, err, ok, kind)
		}
		if err != nil && kindOf(err) == 0 {
			m.doubt = name
			return err
		}
		return nil
	}
	pick := func() string {
		if ids := slices.Sorted(maps.Keys(keys)); len(ids) > 0 {
			return ids[rng.IntN(len(ids))]
		}
		return "AKIANONE"
	}
	switch rng.IntN(9) {
	case 0, 1:
		_, err := w.CreateUser(ctx, acct, name)
		if err == nil {
			m.users[name] = map[string]bool{}
		}
		return expect(err, !exists, Exists)
	case 2:
		err := w.DeleteUser(ctx, acct, name)
		if err == nil {
			delete(m.users, name)
		}
		kind := NotFound
		if exists {
			kind = Conflict
		}
		return expect(err, exists && len(keys) == 0, kind)
	case 3, 4:
		room := exists && len(keys) < KeysPerPrincipal
		made, err := w.CreateAccessKey(ctx, whose)
		kind := NotFound
		if exists {
			kind = LimitExceeded
		}
		if err == nil {
			m.made(made, name)
		}
		return expect(err, room, kind)
	case 5:
		id, active := pick(), rng.IntN(2) == 0
		err := w.SetAccessKeyActive(ctx, whose, id, active)
		if _, has := keys[id]; err == nil && has {
			keys[id] = active
		}
		return expect(err, keys != nil && len(keys) > 0, NotFound)
	case 6:
		id := pick()
		err := w.DeleteAccessKey(ctx, whose, id)
		had := len(keys) > 0
		if err == nil {
			delete(keys, id)
		}
		return expect(err, had, NotFound)
	case 7:
		return m.rotate(t, w, name, expect)
	default:
		document := fmt.Sprintf(`{"n":%d}`, rng.Uint32())
		_, known := m.roles[name]
		if rng.IntN(3) == 0 {
			err := w.DeleteRole(ctx, acct, name)
			if err == nil {
				delete(m.roles, name)
			}
			return expect(err, known, NotFound)
		}
		var err error
		if known {
			err = w.UpdateRole(ctx, acct, name, RoleSpec{Trust: document})
		} else {
			_, err = w.CreateRole(ctx, acct, name, RoleSpec{Trust: document})
		}
		if err == nil {
			m.roles[name] = document
		}
		return expect(err, true, 0)
	}
}

func (m *model) rotate(t *testing.T, w *world, name string, expect func(error, bool, Kind) error) error {
	keys, exists := m.users[name]
	made, replaced, err := w.RotateAccessKey(t.Context(), Whose{acct, name})
	room := len(keys) < KeysPerPrincipal
	for _, active := range keys {
		room = room || !active
	}
	kind := NotFound
	if exists {
		kind = LimitExceeded
	}
	if err == nil {
		if active, had := keys[replaced]; replaced != "" && (!had || active || len(keys) < KeysPerPrincipal) {
			t.Fatalf("%s was replaced among %v", replaced, keys)
		}
		delete(keys, replaced)
		m.made(made, name)
	}
	return expect(err, exists && room, kind)
}

func (m *model) made(k *NewKey, name string) {
	m.users[name][k.ID] = true
	m.secrets[k.ID], m.owner[k.ID] = k.Secret.Reveal(), name
}

func kindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return 0
}

// check compares the keyring with the model, but for what is in doubt.
func (m *model) check(t *testing.T, w *world) error {
	for id, secret := range m.secrets {
		name := m.owner[id]
		if name == m.doubt {
			continue
		}
		active, exists := m.users[name][id]
		c, err := w.Lookup(id, "")
		switch {
		case !exists && !errors.Is(err, ErrUnknownKey):
			return fmt.Errorf("key %s is gone, but: %w", id, err)
		case exists && !active && !errors.Is(err, ErrInactiveKey):
			return fmt.Errorf("key %s is disabled, but: %w", id, err)
		case exists && active && (err != nil || c.Secret.Reveal() != secret || c.Caller.Name != name):
			return fmt.Errorf("key %s of %s: %w", id, name, err)
		}
	}
	for _, n := range []string{"u0", "u1", "u2", "u3"} {
		if n == m.doubt {
			continue
		}
		u, err := w.User(acct, n)
		if _, exists := m.users[n]; exists != (err == nil) {
			return fmt.Errorf("user %s exists: %v, but: %w", n, exists, err)
		}
		if err == nil && len(u.Keys) != len(m.users[n]) {
			return fmt.Errorf("user %s has %d keys, want %d", n, len(u.Keys), len(m.users[n]))
		}
		r, err := w.Role(acct, n)
		if trust, exists := m.roles[n]; exists != (err == nil) || exists && r.Trust != trust {
			return fmt.Errorf("role %s: %v, %w; want %q", n, r, err, trust)
		}
	}
	return nil
}

// TestModel does random operations on a keyring and on a model, and opens it anew now and then.
func TestModel(t *testing.T) {
	onEngines(t, func(t *testing.T, e engine) {
		for seed := range uint64(30) {
			rng := rand.New(rand.NewPCG(seed, 3))
			m := newModel()
			fresh := e
			if d, ok := e.(*onDisk); ok {
				fresh = &onDisk{fs: memfs.New(), rng: d.rng}
			} else {
				fresh = &inMemory{}
			}
			w := newWorld(t, fresh.open(t))
			if _, err := w.Bootstrap(t.Context(), acct, ""); err != nil {
				t.Fatal(err)
			}
			for range 150 {
				if err := m.step(t, w, rng); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if rng.IntN(40) == 0 {
					w.Close()
					fresh.stop(t)
					w = newWorld(t, fresh.open(t))
				}
				if err := m.check(t, w); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			w.Close()
			fresh.stop(t)
		}
	})
}

// TestPowerCuts cuts the power before any call to the disk: every key and role that was answered for is
// there again, with its secret.
func TestPowerCuts(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) { powerCut(t, seed) })
	}
}

func powerCut(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 4))
	disk := memfs.New()
	errCut := errors.New("power cut")
	cut := 60 + rng.IntN(600)
	var mu sync.Mutex
	var after *memfs.FS
	isCut := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return after != nil
	}
	d := &onDisk{rng: rng, fs: errfs.New(disk, func(errfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if cut--; cut == 0 {
			after = disk.CrashClone(rng)
		}
		if cut <= 0 {
			return errCut
		}
		return nil
	})}
	m := newModel()
	open := func() (*world, error) {
		if err := d.start(t); err != nil {
			return nil, err
		}
		k, err := Open(t.Context(), Config{Coordinator: d.rows, Key: testKey(t), Clock: clock.System{}})
		if err != nil {
			return nil, err
		}
		w := &world{Keyring: k, t: t}
		_, err = w.Bootstrap(t.Context(), acct, "")
		return w, err
	}
	w, err := open()
	for err == nil && !isCut() {
		before := m.clone()
		err = m.step(t, w, rng)
		if err == nil && isCut() {
			// Answered or not when the power went: of this one operation nobody may rely on either.
			m.doubt = touched(before, m)
		}
		synctest.Wait()
	}
	if w != nil && w.Keyring != nil {
		w.Close()
	}
	d.stop(t)
	if after == nil {
		t.Fatalf("seed %d: %v before the power was cut", seed, err)
	}
	d.fs = vfs.FS(after)
	if w, err = open(); err != nil {
		t.Fatalf("seed %d: after the power cut: %v", seed, err)
	}
	if err := m.check(t, w); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	w.Close()
	d.stop(t)
}

// touched is the one user or role that the last operation may have been about.
func touched(before, after *model) string {
	for _, n := range []string{"u0", "u1", "u2", "u3"} {
		_, was := before.users[n]
		_, is := after.users[n]
		if was != is || before.roles[n] != after.roles[n] || !maps.Equal(before.users[n], after.users[n]) {
			return n
		}
	}
	return "nobody"
}
