package sts

// Compatible: RoleArn, RoleSessionName, WebIdentityToken, Policy, DurationSeconds and
// MinimumSessionTokenSize; ID tokens of the OpenID Connect providers of the role's account, signed with
// RS256, RS384, RS512, ES256, ES384 or ES512, whose keys come from the provider's discovery document, a
// URL or a file; AWS's errors for tokens that are none, expired, for another audience or of a provider
// that is not there.
// Differs: OAuth access tokens and so ProviderId are refused, and PolicyArns is, as there are no managed
// policies; tokens set neither tags nor a source identity; AWS's words for a wrong signature are not
// known. In `headrace dev` a token of a provider that is not configured is believed unseen.
// Test: TestAssumeRoleWithWebIdentity, TestWebIdentityRefusals, TestAnyWebIdentity

import (
	"context"
	"errors"

	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/auth/webidentity"
	"github.com/headrace/headrace/internal/awsapi/sts"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) assumeRoleWithWebIdentity(ctx context.Context, _ *shape.Call, in *sts.AssumeRoleWithWebIdentityRequest, out *sts.AssumeRoleWithWebIdentityResponse) error {
	if in.ProviderId.Set {
		return invalid("ProviderId is not supported: it is for OAuth access tokens, and only ID tokens of OpenID Connect are taken")
	}
	account, _, err := splitRoleARN(in.RoleArn)
	if err != nil {
		return err
	}
	id, err := s.webIdentity(ctx, account, in.WebIdentityToken)
	if err != nil {
		return err
	}
	r := &request{
		service: s, action: "sts:AssumeRoleWithWebIdentity", arn: in.RoleArn, session: in.RoleSessionName, duration: in.DurationSeconds,
		minToken: int(in.MinimumSessionTokenSize.Value), provider: keyring.ProviderARN(account, id.Issuer), conditions: id.Conditions,
	}
	r.carries.Provider, r.carries.Subject, r.carries.Audience = r.provider, id.Subject, id.Audience
	if err := r.narrow(in.Policy, in.PolicyArns); err != nil {
		return err
	}
	role, issued, err := r.become(ctx, func(action string) error { return accessDenied("Not authorized to perform " + action) })
	if err != nil {
		return err
	}
	out.Credentials, out.AssumedRoleUser, out.PackedPolicySize = credentials(issued), r.assumed(role), r.packed(issued)
	out.SubjectFromWebIdentityToken, out.Audience, out.Provider = shape.Some(id.Subject), shape.Some(id.Audience), shape.Some(r.provider)
	out.SessionTokenSize, out.SessionTokenUtilization = shape.Some(int32(issued.Size)), shape.Some(int32(issued.Percent))
	return nil
}

// webIdentity verifies a token against the providers of an account.
func (s *Service) webIdentity(ctx context.Context, account, token string) (*webidentity.Identity, error) {
	unknown := false
	id, err := s.cfg.Tokens.Verify(ctx, token, func(issuer string) (webidentity.Provider, bool) {
		p, err := s.cfg.Keys.Provider(account, issuer)
		if unknown = err != nil; unknown {
			return webidentity.Provider{}, false
		}
		return webidentity.Provider{URL: p.URL, Audiences: p.Audiences, KeysURL: p.KeysURL, Keys: p.Keys}, true
	})
	if unknown && s.cfg.AnyCredentials {
		id, err = webidentity.Unverified(token)
	}
	var e *webidentity.Error
	if !errors.As(err, &e) {
		return id, err
	}
	switch e.Kind {
	case webidentity.Expired:
		return nil, sts.ExpiredTokenException("%s", e.Message)
	case webidentity.Unreachable:
		return nil, sts.IDPCommunicationErrorException("%s", e.Message)
	}
	return nil, sts.InvalidIdentityTokenException("%s", e.Message)
}
