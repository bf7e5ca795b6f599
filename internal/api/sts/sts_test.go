package sts_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	client "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/headrace/headrace/internal/api/sts"
	"github.com/headrace/headrace/internal/auth/keyring"
)

func TestGetCallerIdentity(t *testing.T) {
	w := newWorld(t)
	f := func(c *client.Client, arn, userID string) {
		t.Helper()
		out, err := c.GetCallerIdentity(t.Context(), nil)
		w.ok(err)
		if *out.Account != acct || *out.Arn != arn || !regexp.MustCompile("^"+userID+"$").MatchString(*out.UserId) {
			t.Errorf("got %s %s %s, want %s %s", *out.Account, *out.Arn, *out.UserId, arn, userID)
		}
	}
	f(w.asRoot(), "arn:aws:iam::"+acct+":root", acct)
	f(w.asUser(), "arn:aws:iam::"+acct+":user/alice", "AIDA[A-Z2-7]{17}")
	own, err := w.asUser().GetSessionToken(t.Context(), nil)
	w.ok(err)
	f(w.session(own.Credentials), "arn:aws:iam::"+acct+":user/alice", "AIDA[A-Z2-7]{17}")
	assumed, err := w.asUser().AssumeRole(t.Context(), assume())
	w.ok(err)
	f(w.session(assumed.Credentials), "arn:aws:sts::"+acct+":assumed-role/reader/shift", "AROA[A-Z2-7]{17}:shift")

	_, err = w.as("AKIAUNKNOWN", "x", "").GetCallerIdentity(t.Context(), nil)
	w.refused(err, 403, "InvalidClientTokenId", "The security token included in the request is invalid.")
	_, err = w.anonymous().GetCallerIdentity(t.Context(), nil)
	w.refused(err, 403, "MissingAuthenticationToken", "Request is missing Authentication Token")
}

// session returns a client of temporary credentials.
func (w *world) session(c *types.Credentials) *client.Client {
	return w.as(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

func TestGetSessionToken(t *testing.T) {
	w := newWorld(t)
	f := func(c *client.Client, seconds *int32, want time.Duration) {
		t.Helper()
		out, err := c.GetSessionToken(t.Context(), &client.GetSessionTokenInput{DurationSeconds: seconds})
		w.ok(err)
		if got := out.Credentials.Expiration.Sub(w.clock.Now()); got != want {
			t.Errorf("the session lasts %v, want %v", got, want)
		}
		if !strings.HasPrefix(*out.Credentials.AccessKeyId, "ASIA") || len(*out.Credentials.SecretAccessKey) != 40 {
			t.Errorf("got %s and a secret of %d", *out.Credentials.AccessKeyId, len(*out.Credentials.SecretAccessKey))
		}
	}
	f(w.asUser(), nil, 12*time.Hour)
	f(w.asUser(), aws.Int32(900), 15*time.Minute)
	f(w.asUser(), aws.Int32(129600), 36*time.Hour)
	f(w.asRoot(), nil, time.Hour)
	f(w.asRoot(), aws.Int32(1800), 30*time.Minute)
	f(w.asRoot(), aws.Int32(7200), time.Hour)

	g := func(in *client.GetSessionTokenInput, status int, code, text string) {
		t.Helper()
		_, err := w.asUser().GetSessionToken(t.Context(), in)
		w.refused(err, status, code, text)
	}
	g(&client.GetSessionTokenInput{DurationSeconds: aws.Int32(899)}, 400, "ValidationError", "1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900")
	g(&client.GetSessionTokenInput{SerialNumber: aws.String("arn:aws:iam::" + acct + ":mfa/alice"), TokenCode: aws.String("123456")}, 403, "AccessDenied",
		"MultiFactorAuthentication failed, unable to validate MFA code. Please verify your MFA serial number is valid and associated with this user.")
	out, err := w.asUser().GetSessionToken(t.Context(), nil)
	w.ok(err)
	_, err = w.session(out.Credentials).GetSessionToken(t.Context(), nil)
	w.refused(err, 403, "AccessDenied", "Cannot call GetSessionToken with session credentials")
}

func TestAssumeRole(t *testing.T) {
	w := newWorld(t)
	out, err := w.asUser().AssumeRole(t.Context(), assume(func(in *client.AssumeRoleInput) {
		in.Policy, in.ExternalId, in.SourceIdentity = aws.String(policy), aws.String("ext"), aws.String("alice")
		in.Tags = []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}, {Key: aws.String("Stage"), Value: aws.String("")}}
		in.TransitiveTagKeys = []string{"TEAM"}
		in.DurationSeconds, in.MinimumSessionTokenSize = aws.Int32(7200), aws.Int32(2000)
	}))
	w.ok(err)
	if got := out.Credentials.Expiration.Sub(w.clock.Now()); got != 2*time.Hour {
		t.Errorf("the session lasts %v", got)
	}
	reader, err := w.keys.Role(acct, "reader")
	w.ok(err)
	if *out.AssumedRoleUser.Arn != "arn:aws:sts::"+acct+":assumed-role/reader/shift" || *out.AssumedRoleUser.AssumedRoleId != reader.ID+":shift" {
		t.Errorf("got %s %s", *out.AssumedRoleUser.Arn, *out.AssumedRoleUser.AssumedRoleId)
	}
	if size := len(*out.Credentials.SessionToken); int(*out.SessionTokenSize) != size || size < 2000 || *out.SessionTokenUtilization < 1 || *out.PackedPolicySize < 1 || *out.SourceIdentity != "alice" {
		t.Errorf("a token of %d: size %d, utilization %d, packed %d", size, *out.SessionTokenSize, *out.SessionTokenUtilization, *out.PackedPolicySize)
	}
	cred, err := w.keys.Lookup(*out.Credentials.AccessKeyId, *out.Credentials.SessionToken)
	w.ok(err)
	s := cred.Caller.Session
	if s.Policy != policy || !maps.Equal(s.Tags, map[string]string{"team": "blue", "Stage": ""}) || !slices.Equal(s.Transitive, []string{"team"}) || s.SourceIdentity != "alice" || s.Unverified {
		t.Errorf("the session carries %+v", s)
	}
	if cred.Secret.Reveal() != *out.Credentials.SecretAccessKey {
		t.Error("the secret is another one than was answered")
	}

	q := w.judge.last(t, "sts:AssumeRole")
	want := map[string][]string{
		"sts:RoleSessionName": {"shift"}, "sts:ExternalId": {"ext"}, "sts:SourceIdentity": {"alice"}, "sts:TransitiveTagKeys": {"TEAM"},
		"aws:TagKeys": {"Stage", "team"}, "aws:RequestTag/team": {"blue"}, "aws:RequestTag/Stage": {""},
	}
	if !maps.EqualFunc(q.Conditions, want, slices.Equal) || q.Role.Trust != trust || q.Caller.ARN != "arn:aws:iam::"+acct+":user/alice" || q.Provider != "" {
		t.Errorf("policies were asked %+v", q)
	}
	w.judge.last(t, "sts:TagSession")
	w.judge.last(t, "sts:SetSourceIdentity")

	plain, err := w.asUser().AssumeRole(t.Context(), assume())
	w.ok(err)
	if plain.PackedPolicySize != nil || plain.SourceIdentity != nil || plain.Credentials.Expiration.Sub(w.clock.Now()) != time.Hour {
		t.Errorf("a plain session: %+v", plain)
	}
}

func TestAssumeRoleRefusals(t *testing.T) {
	w := newWorld(t)
	f := func(change func(*client.AssumeRoleInput), status int, code, text string) {
		t.Helper()
		_, err := w.asUser().AssumeRole(t.Context(), assume(change))
		w.refused(err, status, code, text)
	}
	user := "User: arn:aws:iam::" + acct + ":user/alice is not authorized to perform: "
	f(func(in *client.AssumeRoleInput) { in.RoleArn = aws.String(role + "s") }, 403, "AccessDenied", user+"sts:AssumeRole on resource: "+role+"s")
	f(func(in *client.AssumeRoleInput) { in.RoleArn = aws.String("arn:aws:iam::" + acct + ":role/Reader") }, 403, "AccessDenied", user+"sts:AssumeRole on resource: arn:aws:iam::"+acct+":role/Reader")
	for _, arn := range []string{long(20), "arn:aws:iam::" + acct + ":user/reader", "arn:aws:iam::12345:role/reader", "arn:aws:iam::" + acct + ":role/"} {
		f(func(in *client.AssumeRoleInput) { in.RoleArn = &arn }, 400, "ValidationError", arn+" is invalid")
	}
	f(func(in *client.AssumeRoleInput) { in.RoleArn = aws.String("not-an-arn") }, 400, "ValidationError", "1 validation error detected: Value 'not-an-arn' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20")
	f(func(in *client.AssumeRoleInput) { in.RoleSessionName = aws.String("bad/name") }, 400, "ValidationError", `1 validation error detected: Value 'bad/name' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`)
	f(func(in *client.AssumeRoleInput) { in.RoleSessionName = aws.String("a") }, 400, "ValidationError", "1 validation error detected: Value 'a' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2")
	f(func(in *client.AssumeRoleInput) { in.RoleArn = aws.String("") }, 400, "ValidationError", `2 validation errors detected: Value '' at 'roleArn' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+; Value '' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20`)
	f(func(in *client.AssumeRoleInput) { in.DurationSeconds = aws.Int32(43201) }, 400, "ValidationError", "1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200")
	f(func(in *client.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7201) }, 400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	f(func(in *client.AssumeRoleInput) { in.Policy = aws.String("{") }, 400, "MalformedPolicyDocument", "Syntax errors in policy.")
	f(func(in *client.AssumeRoleInput) { in.Policy = aws.String(`{"a":"` + long(2052) + `"}`) }, 400, "PackedPolicyTooLarge", "Packed policy consumes 100% of allotted space, please use smaller policy.")
	f(func(in *client.AssumeRoleInput) { in.Policy = aws.String(long(9000)) }, 400, "PackedPolicyTooLarge", "Packed policy consumes 439% of allotted space, please use smaller policy.")
	f(func(in *client.AssumeRoleInput) {
		in.PolicyArns = []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")}}
	}, 400, "ValidationError", "PolicyArns is not supported: there are no managed policies")
	f(func(in *client.AssumeRoleInput) {
		in.ProvidedContexts = []types.ProvidedContext{{ProviderArn: aws.String(role)}}
	}, 400, "ValidationError", "ProvidedContexts is not supported: there are no trusted context providers")
	f(func(in *client.AssumeRoleInput) {
		in.SerialNumber, in.TokenCode = aws.String("GAHT12345678"), aws.String("123456")
	}, 403, "AccessDenied", "MultiFactorAuthentication failed, unable to validate MFA code. Please verify your MFA serial number is valid and associated with this user.")
	tags := func(keys ...string) (all []types.Tag) {
		for _, k := range keys {
			all = append(all, types.Tag{Key: aws.String(k), Value: aws.String("v")})
		}
		return all
	}
	f(func(in *client.AssumeRoleInput) { in.Tags = tags("a", "A") }, 400, "ValidationError", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
	f(func(in *client.AssumeRoleInput) { in.Tags, in.TransitiveTagKeys = tags("a"), []string{"b"} }, 400, "ValidationError", "The specified transitive tag key must be included in the requested tags.")

	for _, action := range []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"} {
		w.judge.deny = map[string]bool{action: true}
		f(func(in *client.AssumeRoleInput) { in.Tags, in.SourceIdentity = tags("a"), aws.String("alice") }, 403, "AccessDenied", user+action+" on resource: "+role)
	}
	w.judge.deny, w.judge.broken = nil, errors.New("no decision")
	f(func(*client.AssumeRoleInput) {}, 500, "InternalFailure", "Internal service failure.")
	w.judge.broken = nil

	_, err := w.asRoot().AssumeRole(t.Context(), assume())
	w.refused(err, 403, "AccessDenied", "Roles may not be assumed by root accounts.")

	nobody := newWorld(t, func(c *sts.Config) { c.Policies = nil })
	_, err = nobody.asUser().AssumeRole(t.Context(), assume())
	nobody.refused(err, 403, "AccessDenied", user+"sts:AssumeRole on resource: "+role)
}

func TestRoleChaining(t *testing.T) {
	w := newWorld(t)
	first, err := w.asUser().AssumeRole(t.Context(), assume(func(in *client.AssumeRoleInput) {
		in.SourceIdentity = aws.String("alice")
		in.Tags = []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}, {Key: aws.String("shift"), Value: aws.String("late")}}
		in.TransitiveTagKeys = []string{"team"}
	}))
	w.ok(err)
	c := w.session(first.Credentials)
	second, err := c.AssumeRole(t.Context(), assume(func(in *client.AssumeRoleInput) {
		in.RoleSessionName = aws.String("next")
		in.Tags = []types.Tag{{Key: aws.String("own"), Value: aws.String("1")}}
	}))
	w.ok(err)
	cred, err := w.keys.Lookup(*second.Credentials.AccessKeyId, *second.Credentials.SessionToken)
	w.ok(err)
	if s := cred.Caller.Session; s.SourceIdentity != "alice" || !maps.Equal(s.Tags, map[string]string{"team": "blue", "own": "1"}) || !slices.Equal(s.Transitive, []string{"team"}) {
		t.Errorf("the second session carries %+v", s)
	}
	if q := w.judge.last(t, "sts:AssumeRole"); q.Caller.ARN != "arn:aws:sts::"+acct+":assumed-role/reader/shift" || q.Conditions["aws:RequestTag/team"] != nil || q.Conditions["sts:SourceIdentity"][0] != "alice" {
		t.Errorf("policies were asked %+v", q)
	}
	f := func(change func(*client.AssumeRoleInput), status int, code, text string) {
		t.Helper()
		_, err := c.AssumeRole(t.Context(), assume(change))
		w.refused(err, status, code, text)
	}
	f(func(in *client.AssumeRoleInput) { in.DurationSeconds = aws.Int32(3601) }, 400, "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	f(func(in *client.AssumeRoleInput) { in.SourceIdentity = aws.String("mallory") }, 403, "AccessDenied", "User: arn:aws:sts::"+acct+":assumed-role/reader/shift is not authorized to perform: sts:SetSourceIdentity on resource: "+role)
	f(func(in *client.AssumeRoleInput) {
		in.Tags = []types.Tag{{Key: aws.String("TEAM"), Value: aws.String("red")}}
	}, 400, "ValidationError", "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
	f(func(in *client.AssumeRoleInput) {
		for i := range 50 {
			in.Tags = append(in.Tags, types.Tag{Key: aws.String(fmt.Sprint("t", i)), Value: aws.String("")})
		}
	}, 400, "ValidationError", "A session has at most 50 tags, those of the calling session included")

	// A session of a user's own is no link of a chain.
	own, err := w.asUser().GetSessionToken(t.Context(), nil)
	w.ok(err)
	_, err = w.session(own.Credentials).AssumeRole(t.Context(), assume(func(in *client.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7200) }))
	w.ok(err)
}

func TestSessionsExpire(t *testing.T) {
	w := newWorld(t)
	w.trustProvider()
	own, err := w.asUser().GetSessionToken(t.Context(), &client.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
	w.ok(err)
	assumed, err := w.asUser().AssumeRole(t.Context(), assume(func(in *client.AssumeRoleInput) { in.DurationSeconds = aws.Int32(900) }))
	w.ok(err)
	federated, err := w.anonymous().AssumeRoleWithWebIdentity(t.Context(), &client.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(role), RoleSessionName: aws.String("web"), WebIdentityToken: aws.String(w.token(nil)), DurationSeconds: aws.Int32(900),
	})
	w.ok(err)
	all := []*types.Credentials{own.Credentials, assumed.Credentials, federated.Credentials}
	w.clock.Advance(15*time.Minute - time.Nanosecond)
	for _, c := range all {
		w.whoami(w.session(c))
	}
	w.clock.Advance(time.Nanosecond)
	for _, c := range all {
		_, err := w.session(c).GetCallerIdentity(t.Context(), nil)
		w.refused(err, 403, "ExpiredToken", "The security token included in the request is expired")
	}
	_, err = w.session(assumed.Credentials).AssumeRole(t.Context(), assume())
	w.refused(err, 403, "ExpiredToken", "The security token included in the request is expired")

	again, err := w.asUser().AssumeRole(t.Context(), assume())
	w.ok(err)
	w.ok(w.keys.DeleteRole(t.Context(), acct, "reader"))
	_, err = w.session(again.Credentials).GetCallerIdentity(t.Context(), nil)
	w.refused(err, 403, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	w := newWorld(t)
	w.trustProvider()
	out, err := w.anonymous().AssumeRoleWithWebIdentity(t.Context(), &client.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(role), RoleSessionName: aws.String("web"), Policy: aws.String(policy),
		WebIdentityToken: aws.String(w.token(map[string]any{"amr": []string{"pwd", "mfa"}})), DurationSeconds: aws.Int32(7200),
	})
	w.ok(err)
	provider := "arn:aws:iam::" + acct + ":oidc-provider/idp.example"
	if *out.SubjectFromWebIdentityToken != "repo:o/r" || *out.Audience != "app" || *out.Provider != provider || *out.AssumedRoleUser.Arn != "arn:aws:sts::"+acct+":assumed-role/reader/web" {
		t.Errorf("got %s %s %s %s", *out.SubjectFromWebIdentityToken, *out.Audience, *out.Provider, *out.AssumedRoleUser.Arn)
	}
	if arn := w.whoami(w.session(out.Credentials)); arn != "arn:aws:sts::"+acct+":assumed-role/reader/web" {
		t.Errorf("the session is %s", arn)
	}
	q := w.judge.last(t, "sts:AssumeRoleWithWebIdentity")
	if q.Caller != nil || q.Provider != provider || q.Conditions["idp.example:sub"][0] != "repo:o/r" || q.Conditions["idp.example:aud"][0] != "app" ||
		!slices.Equal(q.Conditions["idp.example:amr"], []string{"pwd", "mfa"}) || q.Conditions["sts:RoleSessionName"][0] != "web" {
		t.Errorf("policies were asked %+v", q)
	}
	cred, err := w.keys.Lookup(*out.Credentials.AccessKeyId, *out.Credentials.SessionToken)
	w.ok(err)
	if s := cred.Caller.Session; s.Provider != provider || s.Subject != "repo:o/r" || s.Audience != "app" || s.Policy != policy {
		t.Errorf("the session carries %+v", s)
	}
}

func TestWebIdentityRefusals(t *testing.T) {
	w := newWorld(t)
	w.trustProvider()
	f := func(change func(*client.AssumeRoleWithWebIdentityInput), status int, code, text string) {
		t.Helper()
		in := &client.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(role), RoleSessionName: aws.String("web"), WebIdentityToken: aws.String(w.token(nil))}
		change(in)
		_, err := w.anonymous().AssumeRoleWithWebIdentity(t.Context(), in)
		w.refused(err, status, code, text)
	}
	with := func(claims map[string]any) func(in *client.AssumeRoleWithWebIdentityInput) {
		return func(in *client.AssumeRoleWithWebIdentityInput) { in.WebIdentityToken = aws.String(w.token(claims)) }
	}
	now := w.clock.Now().Unix()
	f(with(map[string]any{"exp": now}), 400, "ExpiredTokenException", fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", now, now))
	f(with(map[string]any{"aud": "else"}), 400, "InvalidIdentityToken", "Incorrect token audience")
	f(with(map[string]any{"iss": "https://other.example"}), 400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://other.example")
	f(func(in *client.AssumeRoleWithWebIdentityInput) { in.WebIdentityToken = aws.String("opaque") }, 400, "InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	f(func(in *client.AssumeRoleWithWebIdentityInput) { in.WebIdentityToken = aws.String("abc") }, 400, "ValidationError", "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4")
	f(func(in *client.AssumeRoleWithWebIdentityInput) { in.WebIdentityToken = aws.String(long(20001)) }, 400, "ValidationError", "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length less than or equal to 20000")
	f(func(in *client.AssumeRoleWithWebIdentityInput) { in.RoleArn = aws.String(role + "s") }, 403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	f(func(in *client.AssumeRoleWithWebIdentityInput) {
		in.RoleArn = aws.String("arn:aws:iam::" + other + ":role/x")
	}, 400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://idp.example")
	f(func(in *client.AssumeRoleWithWebIdentityInput) { in.Policy = aws.String("[]") }, 400, "MalformedPolicyDocument", "Syntax errors in policy.")
	f(func(in *client.AssumeRoleWithWebIdentityInput) { in.ProviderId = aws.String("graph.facebook.com") }, 400, "ValidationError", "ProviderId is not supported: it is for OAuth access tokens, and only ID tokens of OpenID Connect are taken")
	f(func(in *client.AssumeRoleWithWebIdentityInput) { in.DurationSeconds = aws.Int32(7201) }, 400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	w.judge.deny = map[string]bool{"sts:AssumeRoleWithWebIdentity": true}
	f(func(*client.AssumeRoleWithWebIdentityInput) {}, 403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	w.judge.deny = nil

	stranger := w.idp
	w.trustProvider()
	w.idp, stranger = stranger, w.idp
	f(func(in *client.AssumeRoleWithWebIdentityInput) { in.WebIdentityToken = aws.String(w.token(nil)) }, 400, "InvalidIdentityToken", "The signature of the token is not valid")
	w.ok(w.keys.PutProvider(t.Context(), keyring.Provider{Account: acct, URL: issuer, Audiences: []string{"app"}}))
	f(func(*client.AssumeRoleWithWebIdentityInput) {}, 400, "IDPCommunicationError", "The identity provider could not be reached to get the keys that it signs with")
	_ = stranger
}

// TestAnyCredentials is what headrace dev does: anybody is somebody, and any role can be had.
func TestAnyCredentials(t *testing.T) {
	w := newWorld(t, func(c *sts.Config) { c.AnyCredentials, c.Policies = true, nil })
	if arn := w.whoami(w.as("test", "test", "")); arn != "arn:aws:iam::000000000000:root" {
		t.Errorf("test/test is %s", arn)
	}
	if arn := w.whoami(w.as(other, "test", "")); arn != "arn:aws:iam::"+other+":root" {
		t.Errorf("an account id is %s", arn)
	}
	if arn := w.whoami(w.as("ASIAWHATEVER", "test", "a token of AWS's own")); arn != "arn:aws:iam::000000000000:root" {
		t.Errorf("credentials of AWS's own are %s", arn)
	}
	if arn := w.whoami(w.asUser()); arn != "arn:aws:iam::"+acct+":user/alice" {
		t.Errorf("a key that exists is %s", arn)
	}
	far := "arn:aws:iam::" + other + ":role/path/of/deployer"
	var ids []string
	for range 2 {
		out, err := w.as("test", "test", "").AssumeRole(t.Context(), assume(func(in *client.AssumeRoleInput) {
			in.RoleArn, in.DurationSeconds = &far, aws.Int32(43200)
		}))
		w.ok(err)
		ids = append(ids, *out.AssumedRoleUser.AssumedRoleId)
		if arn := w.whoami(w.session(out.Credentials)); arn != "arn:aws:sts::"+other+":assumed-role/deployer/shift" {
			t.Errorf("the session is %s", arn)
		}
		cred, err := w.keys.Lookup(*out.Credentials.AccessKeyId, *out.Credentials.SessionToken)
		w.ok(err)
		if !cred.Caller.Session.Unverified {
			t.Error("the session does not say that nobody was verified")
		}
	}
	if ids[0] != ids[1] || !regexp.MustCompile("^AROA[A-Z2-7]{17}:shift$").MatchString(ids[0]) {
		t.Errorf("the role is %q", ids)
	}
	out, err := w.as("test", "test", "").GetSessionToken(t.Context(), nil)
	w.ok(err)
	w.whoami(w.session(out.Credentials))
	w.clock.Advance(time.Hour)
	_, err = w.session(out.Credentials).GetCallerIdentity(t.Context(), nil)
	w.refused(err, 403, "ExpiredToken", "The security token included in the request is expired")
}

func TestAnyWebIdentity(t *testing.T) {
	w := newWorld(t, func(c *sts.Config) { c.AnyCredentials, c.Policies = true, nil })
	w.trustProvider()
	f := func(arn string, claims map[string]any) (*client.AssumeRoleWithWebIdentityOutput, error) {
		return w.anonymous().AssumeRoleWithWebIdentity(t.Context(), &client.AssumeRoleWithWebIdentityInput{
			RoleArn: &arn, RoleSessionName: aws.String("web"), WebIdentityToken: aws.String(w.token(claims)),
		})
	}
	out, err := f("arn:aws:iam::"+other+":role/any", map[string]any{"iss": "https://anything.example/x", "exp": 1})
	w.ok(err)
	if *out.Provider != "arn:aws:iam::"+other+":oidc-provider/anything.example/x" {
		t.Errorf("got %s", *out.Provider)
	}
	_, err = f(role, map[string]any{"aud": "else"}) // of a provider that is configured
	w.refused(err, 400, "InvalidIdentityToken", "Incorrect token audience")
}

// TestProviders has the client's own providers of credentials refresh a session.
func TestProviders(t *testing.T) {
	w := newWorld(t)
	p := stscreds.NewAssumeRoleProvider(w.asUser(), role, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "auto" })
	creds, err := p.Retrieve(t.Context())
	w.ok(err)
	c := client.New(client.Options{Region: "eu-west-1", BaseEndpoint: &w.url, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil })})
	if arn := w.whoami(c); arn != "arn:aws:sts::"+acct+":assumed-role/reader/auto" {
		t.Errorf("got %s", arn)
	}
}
