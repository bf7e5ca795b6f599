package sts

// Compatible: the account's root, users, and sessions of roles, users and roots.
// Differs: nothing known. In `headrace dev` whoever has no key here is the root of the account that the
// access key names.
// Test: TestGetCallerIdentity, TestAnyCredentials, e2e/testdata/sts.txtar

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/sts"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) getCallerIdentity(_ context.Context, call *shape.Call, _ *sts.GetCallerIdentityRequest, out *sts.GetCallerIdentityResponse) error {
	caller, err := s.caller(call)
	if err != nil {
		return err
	}
	out.Account, out.Arn, out.UserId = shape.Some(caller.Account), shape.Some(caller.ARN), shape.Some(caller.UserID)
	return nil
}
