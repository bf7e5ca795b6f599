package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/shardlog"
)

// create puts a row that must not exist yet, else it returns exists.
func (k *Keyring) create(ctx context.Context, key string, row any, exists error) error {
	value := encodeRow(row)
	version, err := k.cfg.Coordinator.Put(ctx, key, value, 0)
	switch {
	case errors.Is(err, coordinator.ErrConflict):
		return exists
	case err != nil:
		return notWritten(key, err)
	}
	return k.wrote(key, value, version)
}

// notWritten is the error of a change that was not made.
func notWritten(key string, err error) error {
	switch {
	case errors.Is(err, coordinator.ErrTooLarge):
		return refuse(LimitExceeded, "The policies together are too large")
	case errors.Is(err, shardlog.ErrFull):
		return refuse(NoRoom, "Rate exceeded: there is no room to store the change")
	}
	return fmt.Errorf("write row %s: %w", key, err)
}

// change reads a row, has edit change it, and puts it back, again from the start whenever somebody else
// was faster. missing is returned for a row that is not there.
func change[R any](ctx context.Context, k *Keyring, key string, missing error, edit func(*R) error) error {
	return rewrite(ctx, k, key, missing, edit, func(row *R, read coordinator.Version) error {
		value := encodeRow(row)
		version, err := k.cfg.Coordinator.Put(ctx, key, value, read)
		if err != nil {
			return notWritten(key, err)
		}
		return k.wrote(key, value, version)
	})
}

// remove deletes a row if allowed says so of its content.
func remove[R any](ctx context.Context, k *Keyring, key string, missing error, allowed func(*R) error) error {
	return rewrite(ctx, k, key, missing, allowed, func(_ *R, read coordinator.Version) error {
		if err := k.cfg.Coordinator.Delete(ctx, key, read); err != nil {
			return notWritten(key, err)
		}
		k.deleted(key, read)
		return nil
	})
}

// rewrite reads a row, shows it to edit, and has write do with the version that was read what is to be
// done, again from the start for as long as that conflicts.
func rewrite[R any](ctx context.Context, k *Keyring, key string, missing error, edit func(*R) error, write func(*R, coordinator.Version) error) error {
	for {
		e, err := k.cfg.Coordinator.Get(ctx, key)
		switch {
		case errors.Is(err, coordinator.ErrNotFound):
			return missing
		case err != nil:
			return fmt.Errorf("read row %s: %w", key, err)
		}
		row := new(R)
		if err := decodeRow(e, row); err != nil {
			return err
		}
		if err := edit(row); err != nil {
			return err
		}
		if err := write(row, e.Version); !errors.Is(err, coordinator.ErrConflict) {
			return err
		}
	}
}

// reserve takes one of what an account may have most of, until the returned function gives it back; the
// row that was made meanwhile counts for itself. field picks the count.
func (k *Keyring) reserve(account string, field func(*count) *int, what string, most int) (release func(), err error) {
	k.view.Lock()
	defer k.view.Unlock()
	n := field(k.view.count(account))
	if *n >= most {
		return nil, overQuota(what, most)
	}
	*n++
	return func() {
		k.view.Lock()
		defer k.view.Unlock()
		*field(k.view.count(account))--
	}, nil
}

// accountExists returns an error unless the account does.
func (k *Keyring) accountExists(account string) error {
	if err := checkAccount(account); err != nil {
		return err
	}
	if row[accountRow](&k.view, accountKey(account)) == nil {
		return noSuch("account", account)
	}
	return nil
}
