package sts

// Compatible: RoleArn, RoleSessionName, Policy, DurationSeconds, ExternalId, SourceIdentity, Tags and
// TransitiveTagKeys, role chaining with what it inherits and its hour, MinimumSessionTokenSize, and AWS's
// errors for them.
// Differs: there are no managed policies, so PolicyArns is refused, no multi-factor devices, so
// SerialNumber and TokenCode are, and no trusted context providers, so ProvidedContexts is. Roles have no
// path. A session token has 8192 characters at most, of which the sizes and utilizations are told. In
// `headrace dev` everybody may assume any role, whether or not it exists.
// Test: TestAssumeRole, TestAssumeRoleRefusals, TestRoleChaining, TestSessionsExpire, e2e/testdata/sts.txtar

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/awsapi/sts"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) assumeRole(ctx context.Context, call *shape.Call, in *sts.AssumeRoleRequest, out *sts.AssumeRoleResponse) error {
	if err := noFactor(in.SerialNumber, in.TokenCode); err != nil {
		return err
	}
	if len(in.ProvidedContexts) > 0 {
		return invalid("ProvidedContexts is not supported: there are no trusted context providers")
	}
	caller, err := s.caller(call)
	if err != nil {
		return err
	}
	if caller.Kind == keyring.Root && !s.cfg.AnyCredentials {
		return accessDenied("Roles may not be assumed by root accounts.")
	}
	r := &request{
		service: s, action: "sts:AssumeRole", arn: in.RoleArn, session: in.RoleSessionName, duration: in.DurationSeconds,
		minToken: int(in.MinimumSessionTokenSize.Value), caller: caller, conditions: map[string][]string{},
	}
	if in.ExternalId.Set {
		r.conditions["sts:ExternalId"] = []string{in.ExternalId.Value}
	}
	if err := r.narrow(in.Policy, in.PolicyArns); err != nil {
		return err
	}
	if err := r.tag(in.Tags, in.TransitiveTagKeys); err != nil {
		return err
	}
	if err := r.identifySource(in.SourceIdentity); err != nil {
		return err
	}
	role, issued, err := r.become(ctx, func(action string) error {
		return accessDenied("User: " + caller.ARN + " is not authorized to perform: " + action + " on resource: " + in.RoleArn)
	})
	if err != nil {
		return err
	}
	out.Credentials, out.AssumedRoleUser, out.PackedPolicySize = credentials(issued), r.assumed(role), r.packed(issued)
	out.SessionTokenSize, out.SessionTokenUtilization = shape.Some(int32(issued.Size)), shape.Some(int32(issued.Percent))
	if id := r.carries.SourceIdentity; id != "" {
		out.SourceIdentity = shape.Some(id)
	}
	return nil
}

// maxTags is how many tags a session has at most, inherited ones included.
const maxTags = 50

// tag takes the tags that the request sets, and those that the caller's session hands on.
func (r *request) tag(tags []sts.Tag, transitive []string) error {
	r.tags = map[string]string{}
	seen := map[string]bool{} // in lower case: keys that differ in case only are the same
	for _, t := range tags {
		lower := strings.ToLower(t.Key)
		if seen[lower] {
			return invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[lower], r.tags[t.Key] = true, t.Value
	}
	all, handed := map[string]string{}, map[string]bool{}
	if from := r.caller.Session; from != nil {
		for _, key := range from.Transitive {
			if seen[strings.ToLower(key)] {
				return invalid("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
			}
			all[key], handed[key] = from.Tags[key], true
		}
	}
	for _, key := range transitive {
		if !seen[strings.ToLower(key)] {
			return invalid("The specified transitive tag key must be included in the requested tags.")
		}
		handed[key] = true
	}
	r.transitive = slices.Clone(transitive)
	maps.Copy(all, r.tags)
	if len(all) > maxTags {
		return invalid("A session has at most 50 tags, those of the calling session included")
	}
	if len(all) > 0 {
		r.carries.Tags = all
	}
	r.carries.Transitive = keysOf(all, handed)
	return nil
}

// keysOf returns those keys of tags that are handed on, spelled as the tags are.
func keysOf(tags map[string]string, handed map[string]bool) []string {
	var keys []string
	for key := range tags {
		for h := range handed {
			if strings.EqualFold(key, h) {
				keys = append(keys, key)
				break
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// identifySource takes the source identity, which once set stays with all sessions made of a session.
func (r *request) identifySource(asked shape.Opt[string]) error {
	var inherited string
	if from := r.caller.Session; from != nil {
		inherited = from.SourceIdentity
	}
	if asked.Set && inherited != "" && asked.Value != inherited {
		return accessDenied("User: " + r.caller.ARN + " is not authorized to perform: sts:SetSourceIdentity on resource: " + r.arn)
	}
	r.sets = asked.Set
	r.carries.SourceIdentity = inherited
	if asked.Set {
		r.carries.SourceIdentity = asked.Value
	}
	return nil
}
