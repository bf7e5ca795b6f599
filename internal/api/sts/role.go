package sts

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/awsapi/sts"
	"github.com/headrace/headrace/internal/wire/shape"
)

// request is what both ways of becoming a role have in common.
type request struct {
	service  *Service
	action   string
	arn      string
	session  string
	duration shape.Opt[int32]
	minToken int
	// caller is nil for a web identity.
	caller   *keyring.Caller
	provider string
	// conditions are those of the way, beside the common ones.
	conditions map[string][]string
	// carries is what the session is to have.
	carries keyring.Session
	// tags and transitive are those that the request sets, beside what it inherits.
	tags       map[string]string
	transitive []string
	// sets says that the request sets a source identity.
	sets bool
}

// splitRoleARN returns the account and name of a role.
func splitRoleARN(arn string) (account, name string, err error) {
	rest, ok := strings.CutPrefix(arn, "arn:aws:iam::")
	if ok {
		account, name, ok = strings.Cut(rest, ":role/")
	}
	if !ok || !keyring.IsAccount(account) || name == "" {
		return "", "", invalid(arn + " is invalid")
	}
	return account, name, nil
}

// become makes a session of a role for whoever asks, if policies allow it. denied is what a refusal
// answers: AWS says no more to strangers than to those who may not.
func (r *request) become(ctx context.Context, denied func(action string) error) (*keyring.Role, *keyring.Issued, error) {
	role, err := r.role()
	if err != nil {
		return nil, nil, err
	}
	if role == nil {
		return nil, nil, denied(r.action)
	}
	if err := r.allowed(ctx, role, denied); err != nil {
		return nil, nil, err
	}
	lifetime, err := r.lifetime(role)
	if err != nil {
		return nil, nil, err
	}
	r.carries.Unverified = r.service.cfg.AnyCredentials
	issued, err := r.service.cfg.Keys.Issue(keyring.Grant{
		Principal: role.ID, Kind: keyring.RoleCaller, Account: role.Account, Name: role.Name,
		SessionName: r.session, Lifetime: lifetime, Session: r.carries, MinToken: r.minToken,
	})
	if err != nil {
		return nil, nil, answer(err)
	}
	return role, issued, nil
}

// role returns the role that the request names, nil if there is none.
func (r *request) role() (*keyring.Role, error) {
	account, name, err := splitRoleARN(r.arn)
	if err != nil {
		return nil, err
	}
	role, err := r.service.cfg.Keys.Role(account, name)
	switch {
	case err == nil && role.ARN() == r.arn:
		return role, nil
	case r.service.cfg.AnyCredentials:
		return madeUp(account, name), nil
	}
	return nil, nil
}

// madeUp is a role that nobody has made, for `headrace dev`: the same ARN has the same id every time.
func madeUp(account, name string) *keyring.Role {
	sum := sha256.Sum256([]byte(keyring.RoleARN(account, name)))
	return &keyring.Role{
		Account: account, Name: name[strings.LastIndexByte(name, '/')+1:],
		ID: "AROA" + base32.StdEncoding.EncodeToString(sum[:])[:17], MaxSession: 12 * time.Hour,
	}
}

// allowed asks the policies for everything that the request takes.
func (r *request) allowed(ctx context.Context, role *keyring.Role, denied func(action string) error) error {
	if r.service.cfg.AnyCredentials {
		return nil
	}
	actions := []string{r.action}
	if len(r.tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if r.sets {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	for _, action := range actions {
		if r.service.cfg.Policies == nil {
			return denied(action)
		}
		ok, err := r.service.cfg.Policies.Allows(ctx, Question{
			Action: action, Caller: r.caller, Provider: r.provider, Role: role, Conditions: r.asked(),
		})
		if err != nil {
			return err
		}
		if !ok {
			return denied(action)
		}
	}
	return nil
}

// asked returns the values for condition keys.
func (r *request) asked() map[string][]string {
	c := map[string][]string{"sts:RoleSessionName": {r.session}}
	maps.Copy(c, r.conditions)
	if r.carries.SourceIdentity != "" {
		c["sts:SourceIdentity"] = []string{r.carries.SourceIdentity}
	}
	if len(r.tags) > 0 {
		c["aws:TagKeys"] = slices.Sorted(maps.Keys(r.tags))
		for key, value := range r.tags {
			c["aws:RequestTag/"+key] = []string{value}
		}
	}
	if len(r.transitive) > 0 {
		c["sts:TransitiveTagKeys"] = r.transitive
	}
	return c
}

const (
	// roleDefault is how long a role's session lasts unless the request says otherwise.
	roleDefault = time.Hour
	// chainMost is how long one lasts at most that another session asked for.
	chainMost = time.Hour
)

func (r *request) lifetime(role *keyring.Role) (time.Duration, error) {
	if !r.duration.Set {
		return roleDefault, nil
	}
	asked := time.Duration(r.duration.Value) * time.Second
	if asked > chainMost && r.caller != nil && r.caller.Kind == keyring.RoleCaller {
		return 0, invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	if asked > role.MaxSession {
		return 0, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return asked, nil
}

// maxSessionPolicy is the most characters of a session policy, white space and all, as on AWS.
const maxSessionPolicy = 2048

// narrow takes a session policy. Managed ones do not exist here, and leaving one out would let the
// session do more than was asked for.
func (r *request) narrow(policy shape.Opt[string], arns []sts.PolicyDescriptorType) error {
	if len(arns) > 0 {
		return invalid("PolicyArns is not supported: there are no managed policies")
	}
	if !policy.Set {
		return nil
	}
	if n := len(policy.Value); n > maxSessionPolicy {
		return tooLarge(n * 100 / maxSessionPolicy)
	}
	if err := r.service.cfg.Keys.CheckPolicy(keyring.SessionPolicy, policy.Value); err != nil {
		return answer(err)
	}
	r.carries.Policy = policy.Value
	return nil
}

// assumed is the role's session as it is answered.
func (r *request) assumed(role *keyring.Role) *sts.AssumedRoleUser {
	return &sts.AssumedRoleUser{AssumedRoleId: role.ID + ":" + r.session, Arn: keyring.SessionARN(role.Account, role.Name, r.session)}
}

// packed says how much of its space a session with a policy or tags takes; AWS does not say it of others.
func (r *request) packed(i *keyring.Issued) (o shape.Opt[int32]) {
	if r.carries.Policy == "" && len(r.carries.Tags) == 0 {
		return o
	}
	return shape.Some(int32(i.Percent))
}
