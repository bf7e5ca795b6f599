package sts

// Compatible: DurationSeconds with AWS's bounds, defaults and the hour that a root gets at most.
// Differs: there are no multi-factor devices, so SerialNumber and TokenCode are refused; the session
// ends with the access key that it was asked for with, not only with the user.
// Test: TestGetSessionToken, TestSessionsExpire, e2e/testdata/sts.txtar

import (
	"context"
	"time"

	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/awsapi/sts"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) getSessionToken(_ context.Context, call *shape.Call, in *sts.GetSessionTokenRequest, out *sts.GetSessionTokenResponse) error {
	if err := noFactor(in.SerialNumber, in.TokenCode); err != nil {
		return err
	}
	caller, err := s.caller(call)
	if err != nil {
		return err
	}
	if caller.Session != nil {
		return accessDenied("Cannot call GetSessionToken with session credentials")
	}
	issued, err := s.cfg.Keys.Issue(keyring.Grant{
		Principal: caller.PrincipalID, Kind: caller.Kind, Account: caller.Account, Name: caller.Name,
		Lifetime: ownLifetime(caller.Kind, in.DurationSeconds),
		Session:  keyring.Session{Parent: call.AccessKeyID, Unverified: s.cfg.AnyCredentials},
	})
	if err != nil {
		return answer(err)
	}
	out.Credentials = credentials(issued)
	return nil
}

const (
	// ownDefault is how long a session of a user's own lasts unless they say otherwise.
	ownDefault = 12 * time.Hour
	// rootMost is how long one of a root's lasts at most; longer ones are made this long.
	rootMost = time.Hour
)

func ownLifetime(kind keyring.CallerKind, seconds shape.Opt[int32]) time.Duration {
	lifetime := ownDefault
	if seconds.Set {
		lifetime = time.Duration(seconds.Value) * time.Second
	}
	if kind == keyring.Root {
		lifetime = min(lifetime, rootMost)
	}
	return lifetime
}
