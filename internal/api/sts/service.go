// Package sts is the API of the Security Token Service: one file an operation, each of which turns the
// model's input into a session of the keyring, or into who is calling.
//
// Keys, roles and sessions are the keyring's, policies are decided by Policies, tokens of identity
// providers are verified by webidentity; here are AWS's rules of who may ask for which session. The
// header of an operation's file says what is supported, how it differs from AWS and what proves it;
// COMPATIBILITY.md is made of those headers.
package sts

import (
	"context"
	"errors"

	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/auth/webidentity"
	"github.com/headrace/headrace/internal/awsapi/sts"
	"github.com/headrace/headrace/internal/wire"
	"github.com/headrace/headrace/internal/wire/shape"
)

// Question is what policies are asked before somebody becomes a role.
type Question struct {
	// Action is sts:AssumeRole or sts:AssumeRoleWithWebIdentity, and besides it sts:TagSession and
	// sts:SetSourceIdentity if the session is to have tags or a source identity.
	Action string
	// Caller is who asks, nil for somebody whom only an identity provider knows.
	Caller *keyring.Caller
	// Provider is the ARN of that identity provider.
	Provider string
	// Role is the role, with its trust policy.
	Role *keyring.Role
	// Conditions are the values that the request has for condition keys: sts:ExternalId,
	// sts:RoleSessionName, sts:SourceIdentity, sts:TransitiveTagKeys, aws:TagKeys, aws:RequestTag/KEY, and
	// what a web identity's token says, such as idp.example.com:sub.
	Conditions map[string][]string
}

// Policies decides by the role's trust policy, and by the caller's own policies where those count. It is
// safe for concurrent use.
type Policies interface {
	// Allows returns the decision. An error means that none could be made, and is a fault.
	Allows(ctx context.Context, q Question) (bool, error)
}

// Config says what the service stands on. Keys and Tokens are required.
type Config struct {
	Keys   *keyring.Keyring
	Tokens *webidentity.Verifier
	// Policies decides who may become a role. Without it nobody may.
	Policies Policies
	// AnyCredentials is what `headrace dev` promises: callers are whoever they say, everybody may become
	// any role, and roles need not exist. Sessions then carry that nobody was verified.
	AnyCredentials bool
}

// Service answers the operations. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns the API.
func New(cfg Config) *Service { return &Service{cfg: cfg} }

// Wire describes the service to the wire layer.
func (s *Service) Wire() wire.Service {
	return wire.Service{
		SigningName: sts.SigningName,
		Version:     sts.APIVersion,
		Namespace:   sts.XMLNamespace,
		Formats:     wire.Query,
		Operations:  s.operations(),
		Known:       sts.OperationNames(),
	}
}

// operations binds every operation that is built. Those that policies are asked about may keep parts of
// their input.
func (s *Service) operations() []shape.Operation {
	all := []shape.Operation{
		sts.AssumeRole(s.assumeRole),
		sts.AssumeRoleWithWebIdentity(s.assumeRoleWithWebIdentity),
		sts.GetCallerIdentity(s.getCallerIdentity).AsTransient(),
		sts.GetSessionToken(s.getSessionToken).AsTransient(),
	}
	for i := range all {
		all[i].Needs = shape.NeedsNothing // Policies is asked about roles, the rest is everybody's
	}
	return all
}

// caller returns who signed the call. Whoever verified the signature has found the same.
func (s *Service) caller(call *shape.Call) (*keyring.Caller, error) {
	cred, err := s.cfg.Keys.Lookup(call.AccessKeyID, call.SessionToken)
	switch {
	case err == nil:
		return cred.Caller, nil
	case errors.Is(err, keyring.ErrExpired):
		return nil, refuse(forbidden, "ExpiredToken", "The security token included in the request is expired")
	case s.cfg.AnyCredentials:
		return &keyring.Caller{
			Kind: keyring.Root, Account: call.Account, ARN: keyring.RootARN(call.Account),
			UserID: call.Account, PrincipalID: call.Account,
		}, nil
	}
	return nil, refuse(forbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

// The HTTP statuses of refusals that the model does not have.
const (
	badRequest = 400
	forbidden  = 403
)

func refuse(status int, code, message string) error {
	return &shape.Error{Code: code, Message: message, Status: status}
}

func accessDenied(message string) error {
	return refuse(forbidden, "AccessDenied", message)
}

func invalid(message string) error {
	return refuse(badRequest, "ValidationError", message)
}

// answer gives the keyring's refusals AWS's names. Other errors go through as they are: the wire layer
// reports them and answers InternalFailure.
func answer(err error) error {
	var large *keyring.TokenTooLargeError
	if errors.As(err, &large) {
		return tooLarge(large.Percent)
	}
	var e *keyring.Error
	if errors.As(err, &e) && e.Kind == keyring.MalformedPolicy {
		return sts.MalformedPolicyDocumentException("%s", e.Message)
	}
	return err
}

// tooLarge refuses a session that should carry more than one can.
func tooLarge(percent int) error {
	return sts.PackedPolicyTooLargeException("Packed policy consumes %d%% of allotted space, please use smaller policy.", percent)
}

// noFactor refuses a call that names a device: there are none here.
func noFactor(serial, code shape.Opt[string]) error {
	if !serial.Set && !code.Set {
		return nil
	}
	return accessDenied("MultiFactorAuthentication failed, unable to validate MFA code. Please verify your MFA serial number is valid and associated with this user.")
}

// credentials is a session as it is answered.
func credentials(i *keyring.Issued) *sts.Credentials {
	return &sts.Credentials{
		AccessKeyId:     i.AccessKeyID,
		SecretAccessKey: i.Secret.Reveal(),
		SessionToken:    i.Token,
		Expiration:      shape.TimestampOf(i.Expires),
	}
}
