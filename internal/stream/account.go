package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/commitment"
	"github.com/headrace/headrace/internal/stream/row"
)

// maxAccounts is how many accounts may have settings: where anybody may name an account, nothing else
// bounds them.
const maxAccounts = 10_000

// Commitment is an account's minimum throughput billing commitment in a region.
type Commitment = commitment.Commitment

// AccountSettings returns an account's commitment in a region; it is DISABLED where nobody has set it.
func (s *Streams) AccountSettings(ctx context.Context, sc Scope) (Commitment, error) {
	set, _, err := s.accountRow(ctx, sc)
	if err != nil {
		return Commitment{}, err
	}
	return set.At(s.now()), nil
}

// UpdateAccountSettings enables or disables an account's commitment in a region and returns what it is now.
// One that is disabled before a day has passed goes on until then; enabling it meanwhile takes that back.
func (s *Streams) UpdateAccountSettings(ctx context.Context, sc Scope, enable bool) (Commitment, error) {
	for range attempts {
		set, version, err := s.accountRow(ctx, sc)
		if err != nil {
			return Commitment{}, err
		}
		now := s.now()
		if !set.Change(enable, now) {
			return set.At(now), nil
		}
		if version == 0 {
			if err := s.roomForAccount(ctx, sc); err != nil {
				return Commitment{}, err
			}
		}
		_, err = s.cfg.Coordinator.Put(ctx, set.Key(), row.Encode(set), version)
		switch {
		case errors.Is(err, coordinator.ErrConflict):
			continue
		case errors.Is(err, shardlog.ErrFull):
			return Commitment{}, refuse(LimitExceeded, "Rate exceeded for account %s.", sc.Account)
		case err != nil:
			return Commitment{}, fmt.Errorf("write row %s: %w", set.Key(), err)
		}
		return set.At(now), nil
	}
	return Commitment{}, fmt.Errorf("update settings of account %s: %w", sc.Account, coordinator.ErrConflict)
}

// accountRow reads an account's row; one that is not there is empty and of version 0. Nothing that is
// called often asks for it, so that it is not kept in memory besides.
func (s *Streams) accountRow(ctx context.Context, sc Scope) (*row.Account, coordinator.Version, error) {
	none := row.NewAccount(sc.Account, sc.Region)
	e, err := s.cfg.Coordinator.Get(ctx, none.Key())
	switch {
	case errors.Is(err, coordinator.ErrNotFound):
		return none, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("read row %s: %w", none.Key(), err)
	}
	set, err := row.DecodeAccount(e.Key, e.Value)
	return set, e.Version, err
}

// roomForAccount refuses the settings of one account more than may have some.
func (s *Streams) roomForAccount(ctx context.Context, sc Scope) error {
	accounts := 0
	if err := s.list(ctx, row.AccountPrefix, func(page []coordinator.Entry) error {
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
