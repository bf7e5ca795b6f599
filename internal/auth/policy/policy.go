// Package policy is AWS's policy language: it reads policy documents, decides whether a request is
// allowed, and explains the decision statement by statement.
//
// It is a library of pure functions. It stores nothing, knows no keys and no users, and does not
// know which actions exist: who calls, which policies concern the caller and what the request asks
// for are given to it. A Policy never changes once it is parsed, so one may serve any number of decisions at
// once.
//
//	p, err := policy.Parse(policy.Identity, document, policy.Options{Name: "writers"})
//	policies := policy.Policies{Identity: []*policy.Policy{p}}
//	d := policies.Decide(&request)
//	if !d.Allowed() {
//		return accessDenied(d.Message(&request))
//	}
//
// # How a request is decided
//
// The caller's side is what the caller's account grants: some identity-based policy allows the request, and
// so do the permissions boundary and the session policies, where there are any. The root user's side
// allows everything. The resource's side is what the policy attached to the resource grants.
//
// A Deny that applies, in any of the policies, ends it. Otherwise:
//
//   - If the resource belongs to another account than the caller, both sides must allow.
//   - If it is the same account, either side is enough. How much the resource's side overrides
//     depends on whom it names, as AWS documents it: the user or session itself, or everyone, and
//     nothing else is asked; the role behind a session (or the user who federated), and the permissions
//     boundary and the session policies must allow too; the account, and the decision is left to
//     the caller's side.
//   - A role trust policy must allow in any case. If it names the account, the caller's side must too. That
//     root users assume no roles is STS's rule, not one of policies.
//   - Callers without an account (services, identity providers, anonymous ones) need the resource's side alone.
//
// Of the policy types that AWS has, service and resource control policies of organizations, access control
// lists and VPC endpoint policies have no counterpart here.
package policy

// Kind is what a policy is attached to. It decides which elements the document may have and what
// the policy means.
type Kind uint8

// The kinds of policies.
const (
	// Identity is a policy of a user, group or role.
	Identity Kind = iota
	// Boundary is a permissions boundary: the most that identity-based policies can grant.
	Boundary
	// Session is a policy passed when a session was made: the most that the session can do.
	Session
	// Trust is a role trust policy: who may assume the role.
	Trust
	// Resource is a policy of a stream or a consumer: who may do what with it.
	Resource
)

// String returns the kind as AWS names it in messages: identity-based policy.
func (k Kind) String() string {
	return [...]string{"identity-based policy", "permissions boundary", "session policy", "role trust policy", "resource-based policy"}[k]
}

// MaxSize is how many characters AWS lets a policy of the kind have, white space not counted: a
// managed policy 6,144, a session policy and a trust policy 2,048, a resource-based policy 20,480.
// AWS's other limits are for the caller to set in Options: a role's inline policies have 10,240
// characters together, a group's 5,120, a user's 2,048.
func (k Kind) MaxSize() int {
	return [...]int{6144, 6144, 2048, 2048, 20480}[k]
}

// hasPrincipals reports whether policies of the kind say whom they are about.
func (k Kind) hasPrincipals() bool { return k == Trust || k == Resource }

// Options are what a document does not say itself. The zero value is fine.
type Options struct {
	// Name is how explanations call the policy: an ARN, a name, a file.
	Name string
	// MaxSize is the most characters that are not white space; 0 means the kind's MaxSize.
	MaxSize int
}

// Policy is a policy document taken apart. It is immutable and safe for concurrent use.
type Policy struct {
	kind       Kind
	name       string
	statements []statement
}

// Kind returns what the policy was parsed as.
func (p *Policy) Kind() Kind { return p.kind }

// Name returns the name it was given when it was parsed.
func (p *Policy) Name() string { return p.name }

// statement is one statement of a policy.
type statement struct {
	sid  string
	line int // of its first character, from 1
	deny bool

	principals    *principals // nil in kinds that have none
	notPrincipals bool

	actions    []pattern
	notActions bool

	// resources is nil where the document leaves the element out: the statement is then about the
	// resource that the policy is attached to.
	resources    []arnPattern
	notResources bool

	conditions []condition
}

// evaluation is a request on its way through policies, with what all statements need of it.
type evaluation struct {
	request  *Request
	account  string // that owns the resource
	arn      arn    // of the resource
	isARN    bool
	boundary bool // the caller has a permissions boundary
}

// matchesAction reports whether the statement is about the request's action.
func (s *statement) matchesAction(e *evaluation) bool {
	for i := range s.actions {
		if s.actions[i].match(e.request.Action, e, true) {
			return !s.notActions
		}
	}
	return s.notActions
}

// matchesResource reports whether the statement is about the request's resource.
//
// A variable without a value makes its pattern match nothing. AWS says that of NotResource too, but
// also that it may invalidate the statement: so of a NotResource with such a variable, a Deny
// applies and an Allow does not.
func (s *statement) matchesResource(e *evaluation) bool {
	if s.resources == nil {
		return true
	}
	for i := range s.resources {
		r := &s.resources[i]
		if r.all || e.isARN && matchFields(r.fields, &e.arn, e) {
			return !s.notResources
		}
		if s.notResources && !s.deny && !r.resolved(e) {
			return false
		}
	}
	return s.notResources
}

// names returns how closely the statement names the caller.
func (s *statement) names(e *evaluation) grade {
	p := &e.request.Principal
	switch {
	case s.principals == nil:
		return stranger
	case !s.notPrincipals:
		return s.principals.names(p)
	case s.principals.exempts(p, s.deny, e.boundary):
		return stranger
	}
	return directly
}

// holds reports whether all conditions of the statement are true.
func (s *statement) holds(e *evaluation) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(e) {
			return false
		}
	}
	return true
}

// matches reports whether the statement is about the request, whoever makes it.
func (s *statement) matches(e *evaluation) bool {
	return s.matchesAction(e) && s.matchesResource(e) && s.holds(e)
}
