package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/auth/policy"
)

// errDenied makes simulate fail when the request is denied.
var errDenied = errors.New("denied")

// inlinePolicySize is the most characters that a role's inline policies may have, the largest of the limits
// on identity-based policies: a file does not say which of them is meant.
const inlinePolicySize = 10240

// policy is the group of commands about permissions.
func (a *App) policy() *cobra.Command {
	cmd := a.group("policy", "Try out IAM policies",
		`Try out IAM policies, in AWS's policy language, before anybody depends on them.`)
	cmd.AddCommand(a.policySimulate())
	return cmd
}

// simulateOptions are the flags of `policy simulate`.
type simulateOptions struct {
	identity, session         []string // files
	boundary, resource, trust string
	principal, action         string
	resources, context        []string
	out                       *output
}

// simulation is what simulate prints as JSON.
type simulation struct {
	Principal, Action string
	Allowed           bool
	Resources         []simulatedResource
}

// simulatedResource is the decision on one resource.
type simulatedResource struct {
	Resource string
	policy.Explanation
	// Message is what a denied caller is told.
	Message string `json:",omitempty"`
}

// policySimulate is the command that decides a request from files.
func (a *App) policySimulate() *cobra.Command {
	o := simulateOptions{out: &output{}}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Decide a request from policy files and explain the decision",
		Long: `Decide whether a principal may do an action on a resource, from policies in files, and say of
every statement of every policy whether it applies, and if not, what it fails on. No server is
asked and nothing is changed.

The principal is the ARN of a user, role, role session, federated user or root user, an account
(its root user), a service such as firehose.amazonaws.com, or '*' for a caller without credentials.
A role stands for a session of it. --policy, --permissions-boundary and --session-policy are the
principal's policies, --resource-policy is the resource's. To try out who may assume a role, give
--trust-policy in its place, sts:AssumeRole as the action and the role's ARN as the resource. With
several resources, each must be allowed.

What else the request is made of are condition keys: --context aws:SourceIp=10.1.2.3. A key given
twice has two values. Unless given, aws:CurrentTime is now, aws:RequestedRegion the resource's
region, aws:SecureTransport true, and what the principal's ARN tells is filled in; every other key
is absent.

The exit code is 0 if the request is allowed, 1 if it is denied, and 2 if it cannot be decided, such
as for a file that is no policy.`,
		Example: `  headrace policy simulate --policy writers.json --principal arn:aws:iam::111122223333:user/alice \
    --action kinesis:PutRecord --resource arn:aws:kinesis:us-east-1:111122223333:stream/orders
  headrace policy simulate --resource-policy orders.json --principal arn:aws:iam::444455556666:role/reader \
    --policy reader.json --action kinesis:GetRecords --context aws:SourceIp=10.1.2.3 \
    --resource arn:aws:kinesis:us-east-1:111122223333:stream/orders`,
		Args: arguments(),
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.identity, "policy", nil, "`file` with an identity-based policy of the principal (repeatable)")
	f.StringVar(&o.boundary, "permissions-boundary", "", "`file` with the principal's permissions boundary")
	f.StringArrayVar(&o.session, "session-policy", nil, "`file` with a policy that the session was made with (repeatable)")
	f.StringVar(&o.resource, "resource-policy", "", "`file` with the policy of the resource")
	f.StringVar(&o.trust, "trust-policy", "", "`file` with the trust policy of the role that is the resource")
	f.StringVar(&o.principal, "principal", "", "`ARN` of the caller")
	f.StringVar(&o.action, "action", "", "`action`, such as kinesis:PutRecord")
	f.StringArrayVar(&o.resources, "resource", nil, "`ARN` of the resource, '*' for actions that have none (repeatable)")
	f.StringArrayVar(&o.context, "context", nil, "condition `key=value` of the request (repeatable)")
	o.out.flag(cmd, formatTable, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.simulate(cmd, &o) }
	return cmd
}

func (a *App) simulate(cmd *cobra.Command, o *simulateOptions) error {
	request, err := a.simulatedRequest(cmd, o)
	if err != nil {
		return err
	}
	policies, err := o.policies()
	if err != nil {
		return err
	}
	s := simulation{Principal: o.principal, Action: o.action, Allowed: true}
	var denied error
	for _, resource := range o.resources {
		r := *request
		r.Resource, r.Region = resource, region(resource)
		x := policies.Explain(&r)
		result := simulatedResource{Resource: resource, Explanation: x}
		if !x.Decision.Allowed() {
			s.Allowed = false
			result.Message = x.Decision.Message(&r)
			if denied == nil {
				denied = fmt.Errorf("%w: %s", errDenied, result.Message)
			}
		}
		s.Resources = append(s.Resources, result)
	}
	if err := s.print(a, o.out); err != nil {
		return err
	}
	return denied
}

func (s *simulation) print(a *App, out *output) error {
	if out.format == formatJSON {
		return out.object(a.Out, s)
	}
	for i, r := range s.Resources {
		separator := "\n"
		if i == 0 {
			separator = ""
		}
		if _, err := fmt.Fprintf(a.Out, "%s%s on %s is %s", separator, s.Action, r.Resource, r.Explanation); err != nil {
			return err
		}
	}
	return nil
}

// simulatedRequest is the request that the flags describe, without its resource.
func (a *App) simulatedRequest(cmd *cobra.Command, o *simulateOptions) (*policy.Request, error) {
	switch {
	case o.principal == "":
		return nil, usagef(cmd, "missing flag --principal")
	case o.action == "":
		return nil, usagef(cmd, "missing flag --action")
	case len(o.resources) == 0:
		return nil, usagef(cmd, "missing flag --resource")
	case o.resource != "" && o.trust != "":
		return nil, usagef(cmd, "--resource-policy and --trust-policy exclude each other")
	case strings.Count(o.action, ":") != 1 || strings.ContainsAny(o.action, "*?"):
		return nil, usagef(cmd, "--action: %q is no action such as kinesis:PutRecord", o.action)
	}
	for _, r := range o.resources {
		if r != "*" && (strings.Count(r, ":") < 5 || !strings.HasPrefix(r, "arn:")) {
			return nil, usagef(cmd, "--resource: %q is neither an ARN nor *", r)
		}
	}
	p, err := policy.ParsePrincipal(o.principal)
	if err != nil {
		return nil, usagef(cmd, "--principal: %q names no principal", o.principal)
	}
	r := &policy.Request{Principal: p, Action: o.action, Time: a.Clock.Now(), SecureTransport: true}
	for _, c := range o.context {
		name, value, ok := strings.Cut(c, "=")
		if !ok || !strings.Contains(name, ":") {
			return nil, usagef(cmd, "--context: %q is no service:key=value", c)
		}
		r.Keys = addKey(r.Keys, name, value)
	}
	return r, nil
}

// addKey adds a value to the key of that name.
func addKey(keys []policy.Key, name, value string) []policy.Key {
	for i := range keys {
		if strings.EqualFold(keys[i].Name, name) {
			keys[i].Values = append(keys[i].Values, value)
			return keys
		}
	}
	return append(keys, policy.Key{Name: name, Values: []string{value}})
}

// region is the one that an ARN names, "" if none.
func region(resource string) string {
	fields := strings.SplitN(resource, ":", 5)
	if len(fields) < 5 {
		return ""
	}
	return fields[3]
}

// policies reads the files.
func (o *simulateOptions) policies() (*policy.Policies, error) {
	var p policy.Policies
	var err error
	read := func(kind policy.Kind, file string) *policy.Policy {
		if file == "" || err != nil {
			return nil
		}
		var out *policy.Policy
		out, err = readPolicy(kind, file)
		return out
	}
	for _, file := range o.identity {
		p.Identity = append(p.Identity, read(policy.Identity, file))
	}
	for _, file := range o.session {
		p.Session = append(p.Session, read(policy.Session, file))
	}
	p.Boundary = read(policy.Boundary, o.boundary)
	p.Resource = read(policy.Resource, o.resource)
	if o.trust != "" {
		p.Resource = read(policy.Trust, o.trust)
	}
	return &p, err
}

func readPolicy(kind policy.Kind, file string) (*policy.Policy, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("read policy: %w", err)}
	}
	options := policy.Options{Name: file}
	if kind == policy.Identity {
		options.MaxSize = inlinePolicySize
	}
	p, err := policy.Parse(kind, text, options)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("read policy %s: %w", file, err)}
	}
	return p, nil
}
