package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/commitment"
)

// maxAccounts is how many accounts may have settings: where anybody may name an account, nothing else
// bounds them.
const maxAccounts = 10_000

// Commitment is an account's minimum throughput billing commitment in a region.
type Commitment = commitment.Commitment

// accountRow is the row of an account's settings in a region.
type accountRow struct {
	Layout  int    `json:"v"`
	Account string `json:"account"`
	Region  string `json:"region"`
	commitment.Terms
}

func (r *accountRow) key() string { return accountPrefix + r.Account + "/" + r.Region }

// AccountSettings returns an account's commitment in a region; it is DISABLED where nobody has set it.
func (s *Streams) AccountSettings(ctx context.Context, sc Scope) (Commitment, error) {
	row, _, err := s.accountRow(ctx, sc)
	if err != nil {
		return Commitment{}, err
	}
	return row.At(s.now()), nil
}

// UpdateAccountSettings enables or disables an account's commitment in a region and returns what it is now.
// One that is disabled before a day has passed goes on until then; enabling it meanwhile takes that back.
func (s *Streams) UpdateAccountSettings(ctx context.Context, sc Scope, enable bool) (Commitment, error) {
	for range attempts {
		row, version, err := s.accountRow(ctx, sc)
		if err != nil {
			return Commitment{}, err
		}
		now := s.now()
		if !row.Change(enable, now) {
			return row.At(now), nil
		}
		if version == 0 {
			if err := s.roomForAccount(ctx, sc); err != nil {
				return Commitment{}, err
			}
		}
		_, err = s.cfg.Coordinator.Put(ctx, row.key(), encodeRow(row), version)
		switch {
		case errors.Is(err, coordinator.ErrConflict):
			continue
		case errors.Is(err, shardlog.ErrFull):
			return Commitment{}, refuse(LimitExceeded, "Rate exceeded for account %s.", sc.Account)
		case err != nil:
			return Commitment{}, fmt.Errorf("write row %s: %w", row.key(), err)
		}
		return row.At(now), nil
	}
	return Commitment{}, fmt.Errorf("update settings of account %s: %w", sc.Account, coordinator.ErrConflict)
}

// accountRow reads an account's row; one that is not there is empty and of version 0. Nothing that is
// called often asks for it, so that it is not kept in memory besides.
func (s *Streams) accountRow(ctx context.Context, sc Scope) (*accountRow, coordinator.Version, error) {
	row := &accountRow{Layout: rowVersion, Account: sc.Account, Region: sc.Region}
	key := row.key()
	e, err := s.cfg.Coordinator.Get(ctx, key)
	switch {
	case errors.Is(err, coordinator.ErrNotFound):
		return row, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("read row %s: %w", key, err)
	}
	if err := json.Unmarshal(e.Value, row); err != nil {
		return nil, 0, fmt.Errorf("read row %s: %w", key, err)
	}
	if row.Layout != rowVersion || row.key() != key {
		return nil, 0, fmt.Errorf("read row %s: layout %d of %s is not known here", key, row.Layout, row.key())
	}
	return row, e.Version, nil
}

// roomForAccount refuses the settings of one account more than may have some.
func (s *Streams) roomForAccount(ctx context.Context, sc Scope) error {
	accounts := 0
	if err := s.list(ctx, accountPrefix, func(page []coordinator.Entry) error {
		accounts += len(page)
		return nil
	}); err != nil {
		return err
	}
	if accounts >= maxAccounts {
		return refuse(LimitExceeded, "This request would exceed the limit of accounts with settings. "+
			"Account: %s. Limit: %d.", sc.Account, maxAccounts)
	}
	return nil
}
