// Package keyring is who may call: accounts, their root keys, users, access keys, roles, the identity
// providers that roles trust, and the temporary credentials made of them. It keeps them as rows of the
// coordinator, secrets sealed with the node's key, and a view of all rows in memory, so that finding
// the secret of an access key is a map read that allocates nothing.
//
// It does not verify signatures (sigv4 does, with the secrets it finds here), does not decide what a
// caller may do (policy does), and speaks no protocol. Policies are documents that are kept as they
// were given; Config.CheckPolicy says which of them are fit to keep.
//
//	k, err := keyring.Open(ctx, keyring.Config{Coordinator: rows, Key: nodeKey, Clock: c})
//	go k.Run(ctx)
//	cred, err := k.Lookup(accessKeyID, sessionToken)
//
// # One row, one decision
//
// The coordinator changes one key at a time. So an access key lies in the row of its user, or of its
// account if it is the root's: that a user has at most two of them is decided by one conditional write.
// What spans rows (the number of users of an account) is counted in memory with a reservation, exact in
// one process; several processes can overshoot such a cap by what they do at the same instant.
//
// docs/format/auth.md lists the rows.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/secret"
)

// Config says what a keyring stands on. Coordinator, Key and Clock are required.
type Config struct {
	Coordinator coordinator.Coordinator
	// Key is the node's key: secrets in rows are sealed with keys derived from it.
	Key   secret.Key
	Clock clock.Clock
	// CheckPolicy returns what is wrong with a document, in words for the caller, or nil. Without it any
	// JSON object is a policy.
	CheckPolicy func(kind PolicyKind, document string) error
	// Limits bound what can be created; zero fields have AWS's quotas.
	Limits Limits
	// AcceptUnverified takes sessions that were issued to callers nobody had verified. Without it such
	// tokens are worth nothing.
	AcceptUnverified bool
}

// Limits are hard caps.
type Limits struct {
	// Accounts is the most accounts; 0 means 1000.
	Accounts int
	// Users, Roles and Providers are the most of each in an account; 0 means 5000, 1000 and 100.
	Users, Roles, Providers int
}

// KeysPerPrincipal is the most access keys a user or an account's root has, as on AWS.
const KeysPerPrincipal = 2

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		def   int
	}{{&l.Accounts, 1000}, {&l.Users, 5000}, {&l.Roles, 1000}, {&l.Providers, 100}} {
		if *f.field == 0 {
			*f.field = f.def
		}
	}
	return l
}

// Keyring is safe for concurrent use.
type Keyring struct {
	cfg     Config
	box     *secret.Box // of secrets in rows
	watcher coordinator.Watcher
	view    view
	session sessions

	// used guards flushing: one at a time.
	used sync.Mutex
}

// Open reads all rows, and makes those that a new installation lacks. A row that the node's key does
// not open is secret.ErrOtherKey or secret.ErrSealed: nothing works without that key, so nothing
// starts. Close it, or call Run, which closes it at its end.
func Open(ctx context.Context, cfg Config) (*Keyring, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	k := &Keyring{cfg: cfg, box: cfg.Key.Box("access")}
	k.view.init()
	if err := k.proveKey(ctx); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	key, err := k.sessionKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	k.session.init(key)
	if k.watcher, err = cfg.Coordinator.Watch(ctx, rowPrefix); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if err := k.catchUp(ctx); err != nil {
		return nil, fmt.Errorf("open keyring: %w", errors.Join(err, k.watcher.Close()))
	}
	return k, nil
}

// Close ends the watch of the rows. What is known stays known.
func (k *Keyring) Close() error { return k.watcher.Close() }

// patience is how long catchUp waits for a report before it looks at the rows again.
const patience = 100 * time.Millisecond

// catchUp takes in what the watch reports until it has reported every row there is. Rows that go
// meanwhile need not be reported, so the rows are listed again whenever nothing comes.
func (k *Keyring) catchUp(ctx context.Context) error {
	for {
		behind, err := k.behind(ctx)
		if err != nil || !behind {
			return err
		}
		waiting, cancel := context.WithTimeout(ctx, patience)
		err = k.follow(waiting)
		cancel()
		if err != nil && !(errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil) {
			return err
		}
	}
}

// behind reports whether there is a row that the view does not have.
func (k *Keyring) behind(ctx context.Context) (bool, error) {
	const page = 500
	for after := ""; ; {
		rows, err := k.cfg.Coordinator.List(ctx, rowPrefix, after, page)
		if err != nil {
			return false, fmt.Errorf("list rows: %w", err)
		}
		for _, e := range rows {
			if k.view.version(e.Key) < e.Version {
				return true, nil
			}
			after = e.Key
		}
		if len(rows) < page {
			return false, nil
		}
	}
}

// follow takes in one report of the watch.
func (k *Keyring) follow(ctx context.Context) error {
	entries, err := k.watcher.Next(ctx)
	if err != nil {
		return fmt.Errorf("watch rows: %w", err)
	}
	return k.reported(entries)
}

// flushEvery is how often the last uses of keys are written.
const flushEvery = 10 * time.Minute

// Run follows the rows, other processes' changes among them, and writes when keys were last used. It
// returns nil when ctx is done, and an error when it can no longer follow: then this process must not
// go on verifying callers by what it knew. Only one Run may be under way.
func (k *Keyring) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		k.flushNowAndThen(ctx)
	}()
	var err error
	for err == nil {
		err = k.follow(ctx)
	}
	asked := ctx.Err() != nil
	cancel()
	<-flushed
	if closed := k.watcher.Close(); asked {
		return closed
	}
	return err
}

// flushNowAndThen writes last uses until ctx is done, and once more then.
func (k *Keyring) flushNowAndThen(ctx context.Context) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = k.FlushUse(ctx) // what could not be written is written next time
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = k.FlushUse(last) // the uses of the last minutes are not worth a failed stop
			return
		}
	}
}

// proofText is what the proof row holds, sealed.
const proofText = "headrace"

// proveKey checks that the rows were sealed with this node's key, or notes that they are.
func (k *Keyring) proveKey(ctx context.Context) error {
	_, err := k.sealedRow(ctx, proofKey, func() []byte { return []byte(proofText) })
	switch {
	case errors.Is(err, secret.ErrOtherKey):
		return fmt.Errorf("the secrets here need another node key than the given one, whose id is %s: %w", k.cfg.Key.ID(), err)
	case err != nil:
		return err
	}
	return nil
}

// sessionKey returns the key that session tokens are sealed with.
func (k *Keyring) sessionKey(ctx context.Context) (secret.Key, error) {
	root, err := k.sealedRow(ctx, sessionKeyKey, func() []byte { return secret.NewKey().Bytes() })
	if err != nil {
		return secret.Key{}, err
	}
	return secret.KeyOf(root)
}

// sealedRow returns the value of a row that holds one sealed value, making it if it is not there.
func (k *Keyring) sealedRow(ctx context.Context, key string, value func() []byte) ([]byte, error) {
	for {
		e, err := k.cfg.Coordinator.Get(ctx, key)
		if err == nil {
			var row sealedRow
			if err := decodeRow(e, &row); err != nil {
				return nil, err
			}
			opened, err := k.box.Open(row.Sealed, []byte(key))
			if err != nil {
				return nil, fmt.Errorf("read row %s: %w", key, err)
			}
			return opened, nil
		}
		if !errors.Is(err, coordinator.ErrNotFound) {
			return nil, fmt.Errorf("read row %s: %w", key, err)
		}
		row := sealedRow{Layout: rowLayout, Sealed: k.box.Seal(value(), []byte(key))}
		if _, err := k.cfg.Coordinator.Put(ctx, key, encodeRow(row), 0); err != nil && !errors.Is(err, coordinator.ErrConflict) {
			return nil, fmt.Errorf("write row %s: %w", key, err)
		}
	}
}

// Used reports whether rows of this package are in the coordinator: then only the key they were sealed
// with will do.
func Used(ctx context.Context, c coordinator.Coordinator) (bool, error) {
	rows, err := c.List(ctx, rowPrefix, "", 1)
	if err != nil {
		return false, fmt.Errorf("list rows: %w", err)
	}
	return len(rows) > 0, nil
}
