package policy

// Policies are the policies that concern a request. Which ones they are is for the caller to know.
// A policy in a field for another kind grants nothing there.
type Policies struct {
	// Identity are the caller's: a user's own and those of the user's groups, or those of the role
	// behind a session.
	Identity []*Policy
	// Boundary is the permissions boundary of the user or role, nil if it has none.
	Boundary *Policy
	// Session are the policies that the session was made with. With none, a role's session can
	// do what the role can, a federated user nothing.
	Session []*Policy
	// Resource is the policy of the resource, or when a role is assumed, its trust policy; nil if
	// there is none.
	Resource *Policy
}

// Outcome is how a decision went.
type Outcome uint8

// The outcomes.
const (
	// Implicit: nothing denies the request, and what would have to allow it does not.
	Implicit Outcome = iota
	// Explicit: a Deny statement applies.
	Explicit
	// Allow: the request may go on.
	Allow
)

// String returns the outcome in words.
func (o Outcome) String() string {
	return [...]string{"implicitly denied", "explicitly denied", "allowed"}[o]
}

// Decision is the answer to a request. The zero value denies.
type Decision struct {
	Outcome Outcome
	// Kind is the kind of policy that decided: one that denies, one that would have to allow and
	// does not, or one that allows. If several kinds deny, it is one of them. For the root
	// user, who needs no policy to be allowed, it is Identity.
	Kind Kind
}

// Allowed reports whether the request may go on.
func (d Decision) Allowed() bool { return d.Outcome == Allow }

// Message is what AWS tells a caller whose request was denied.
func (d Decision) Message(r *Request) string {
	text := "User: " + r.Principal.ARN + " is not authorized to perform: " + r.Action
	if r.Principal.Type == Anonymous {
		text = "User: anonymous is not authorized to perform: " + r.Action
	}
	if r.Resource != "*" && r.Resource != "" {
		text += " on resource: " + r.Resource
	}
	switch {
	case d.Outcome == Implicit:
		return text + " because no " + d.Kind.String() + " allows the " + r.Action + " action"
	case d.Kind == Trust:
		return text + " with an explicit deny in the role trust policy"
	case d.Kind == Identity:
		return text + " with an explicit deny in an identity-based policy"
	}
	return text + " with an explicit deny in a " + d.Kind.String()
}

// Decide decides a request, as the package's comment says. It does not allocate, but for policies
// that compare a time or an address as a text, or that have an ARN pattern whose fields a
// variable makes up. It is safe for concurrent use.
func (p *Policies) Decide(r *Request) Decision {
	e := p.evaluation(r)
	t := p.weigh(&e)
	return t.decide()
}

func (p *Policies) evaluation(r *Request) evaluation {
	e := evaluation{request: r, account: r.ResourceAccount, boundary: p.Boundary != nil}
	e.arn, e.isARN = splitARN(r.Resource)
	if e.account == "" {
		e.account = e.arn[arnAccount]
	}
	if e.account == "" {
		e.account = r.Principal.Account
	}
	return e
}

// tally is what the policies say, before it is decided what that amounts to.
type tally struct {
	denied   bool
	deniedBy Kind

	// What the caller's side says. The limits are true if there are none.
	root                        bool
	identity, boundary, session bool

	// What the resource's side says: the closest that an Allow names the caller.
	resource     grade
	resourceKind Kind

	accounts relation
}

// relation is that of the caller's account to the resource's.
type relation uint8

const (
	sameAccount relation = iota
	crossAccount
	noAccount // the caller has none
)

// weigh asks every policy. It goes through all of them even if one denies, since a Deny may come last.
func (p *Policies) weigh(e *evaluation) tally {
	caller := &e.request.Principal
	t := tally{root: caller.Type == Root, resourceKind: Resource, accounts: sameAccount}
	switch {
	case caller.Type == Anonymous, caller.Type == Service, caller.Type == WebIdentity:
		t.accounts = noAccount
	case caller.Account == "" || caller.Account != e.account:
		t.accounts = crossAccount
	}
	for _, policy := range p.Identity {
		t.identity = t.ask(policy, Identity, e) || t.identity
	}
	t.boundary = p.Boundary == nil || t.ask(p.Boundary, Boundary, e)
	t.session = len(p.Session) == 0 && caller.Type != FederatedUser
	for _, policy := range p.Session {
		t.session = t.ask(policy, Session, e) || t.session
	}
	if p.Resource != nil {
		t.askResource(p.Resource, e)
	}
	return t
}

// ask reports whether a policy of the caller's side allows the request, and notes a Deny.
func (t *tally) ask(p *Policy, kind Kind, e *evaluation) bool {
	allows := false
	for i := range p.statements {
		s := &p.statements[i]
		if s.principals != nil || allows && !s.deny || !s.matches(e) {
			continue
		}
		if s.deny {
			t.deny(kind)
			continue
		}
		allows = true
	}
	return allows
}

// askResource notes what the resource's side says.
func (t *tally) askResource(p *Policy, e *evaluation) {
	if !p.kind.hasPrincipals() {
		return
	}
	t.resourceKind = p.kind
	for i := range p.statements {
		s := &p.statements[i]
		named := s.names(e)
		if named == stranger || !s.deny && named <= t.resource || !s.matches(e) {
			continue
		}
		if s.deny {
			t.deny(p.kind)
			continue
		}
		t.resource = named
	}
}

func (t *tally) deny(kind Kind) {
	if !t.denied {
		t.denied, t.deniedBy = true, kind
	}
}

// decide says what the tally amounts to.
func (t *tally) decide() Decision {
	switch {
	case t.denied:
		return Decision{Explicit, t.deniedBy}
	case t.accounts == noAccount:
		return t.byResource()
	case t.accounts == crossAccount:
		if d := t.byCaller(); !d.Allowed() {
			return d
		}
		return t.byResource()
	case t.resource == directly:
		return Decision{Allow, t.resourceKind}
	case t.resource == byEntity:
		if d := t.limits(); !d.Allowed() {
			return d
		}
		return Decision{Allow, t.resourceKind}
	case t.resourceKind == Trust && t.resource == stranger:
		return Decision{Implicit, Trust}
	}
	return t.byCaller()
}

// byResource is the decision of the resource's side.
func (t *tally) byResource() Decision {
	if t.resource == stranger {
		return Decision{Implicit, t.resourceKind}
	}
	return Decision{Allow, t.resourceKind}
}

// byCaller is the decision of the caller's side.
func (t *tally) byCaller() Decision {
	if !t.root && !t.identity {
		return Decision{Implicit, Identity}
	}
	return t.limits()
}

// limits is the decision of the permissions boundary and the session policies.
func (t *tally) limits() Decision {
	switch {
	case !t.boundary:
		return Decision{Implicit, Boundary}
	case !t.session:
		return Decision{Implicit, Session}
	}
	return Decision{Allow, Identity}
}
