package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Explanation is a decision with its reasons.
type Explanation struct {
	// Decision is the same that Decide gives.
	Decision Decision `json:"-"`
	// Outcome is the decision's in words, Reason a sentence that says why.
	Outcome, Reason string
	// Policies are all that were asked, in the order of Policies.
	Policies []PolicyExplanation
}

// PolicyExplanation is what one policy says about a request.
type PolicyExplanation struct {
	// Kind is the kind of policy as AWS names it, Name what it was given when it was parsed.
	Kind, Name string
	// Verdict is "allows", "denies" or "says nothing".
	Verdict    string
	Statements []StatementExplanation
}

// StatementExplanation is what one statement says about a request.
type StatementExplanation struct {
	// Number counts the statements of a policy from 1. Line is where the statement begins.
	Number, Line int
	Sid          string
	Effect       string
	Applies      bool
	// Because has a line for everything that keeps the statement from applying. Of one that applies it
	// says how its conditions came to be true, and in a resource-based policy how closely it names
	// the caller.
	Because []string
}

// Explain decides a request and says why. It allocates.
func (p *Policies) Explain(r *Request) Explanation {
	e := p.evaluation(r)
	t := p.weigh(&e)
	x := Explanation{Decision: t.decide(), Policies: []PolicyExplanation{}}
	x.Outcome, x.Reason = x.Decision.Outcome.String(), t.reason(&e)
	for _, policy := range p.Identity {
		x.add(policy, Identity, &e)
	}
	if p.Boundary != nil {
		x.add(p.Boundary, Boundary, &e)
	}
	for _, policy := range p.Session {
		x.add(policy, Session, &e)
	}
	if p.Resource != nil {
		x.add(p.Resource, t.resourceKind, &e)
	}
	return x
}

func (x *Explanation) add(p *Policy, kind Kind, e *evaluation) {
	out := PolicyExplanation{Kind: kind.String(), Name: p.name, Verdict: "says nothing", Statements: []StatementExplanation{}}
	for i := range p.statements {
		s := p.statements[i].explain(kind, e)
		s.Number = i + 1
		switch {
		case s.Applies && s.Effect == "Deny":
			out.Verdict = "denies"
		case s.Applies && out.Verdict != "denies":
			out.Verdict = "allows"
		}
		out.Statements = append(out.Statements, s)
	}
	x.Policies = append(x.Policies, out)
}

// explain says whether the statement applies. It asks the same methods that a decision asks.
func (s *statement) explain(kind Kind, e *evaluation) StatementExplanation {
	x := StatementExplanation{Line: s.line, Sid: s.sid, Effect: "Allow", Because: []string{}}
	if s.deny {
		x.Effect = "Deny"
	}
	say := func(format string, args ...any) { x.Because = append(x.Because, fmt.Sprintf(format, args...)) }
	named := directly
	switch {
	case kind.hasPrincipals():
		named = s.names(e)
	case s.principals != nil:
		named = stranger
	}
	if named == stranger {
		s.sayPrincipal(say)
	}
	if !s.matchesAction(e) {
		say("%s: %s is %s %s", element("Action", s.notActions), e.request.Action, one(s.notActions), list(s.actions, func(p *pattern) string { return p.raw }))
	}
	if !s.matchesResource(e) {
		s.sayResource(e, say)
	}
	x.Applies = named != stranger && s.matches(e)
	if x.Applies && kind.hasPrincipals() {
		say("%s", [...]string{byAccount: "names the caller's account", byEntity: "names the role or user behind the session", directly: "names the caller"}[named])
	}
	for i := range s.conditions {
		if c := &s.conditions[i]; c.holds(e) == x.Applies {
			say("Condition: %s", c.explain(e))
		}
	}
	return x
}

// element is the name of an element or its opposite.
func element(name string, not bool) string {
	if not {
		return "Not" + name
	}
	return name
}

// one says on which side of a list something is that keeps a statement from applying.
func one(not bool) string {
	if not {
		return "one of"
	}
	return "none of"
}

// list joins what text makes of items.
func list[T any](items []T, text func(*T) string) string {
	out := make([]string, len(items))
	for i := range items {
		out[i] = text(&items[i])
	}
	return strings.Join(out, ", ")
}

// spell returns a text of a policy, and behind it what it is in this request if it has variables.
func spell(raw string, parts []pattern, separator string, e *evaluation) string {
	if raw == "" {
		return `""`
	}
	variables, resolved := false, true
	here := make([]string, len(parts))
	for i := range parts {
		variables, resolved = variables || parts[i].variables(), resolved && parts[i].resolved(e)
		here[i] = parts[i].text(e)
	}
	switch {
	case !variables:
		return raw
	case !resolved:
		return raw + " (a variable has no value in this request)"
	}
	return raw + " (here " + strings.Join(here, separator) + ")"
}

// text is the pattern with the values of its variables.
func (p *pattern) text(e *evaluation) string {
	var b strings.Builder
	for i, piece := range p.pieces {
		if i > 0 {
			b.WriteByte('*')
		}
		for j := range piece {
			if piece[j].kind == tokenAny {
				b.WriteByte('?')
				continue
			}
			s, _ := piece[j].value(e)
			b.WriteString(s)
		}
	}
	return b.String()
}

func (p *arnPattern) spell(e *evaluation) string {
	if p.whole != nil {
		return spell(p.raw, []pattern{newPattern(p.raw, p.whole)}, "", e)
	}
	return spell(p.raw, p.fields, ":", e)
}

func (v *operand) spell(op comparison, e *evaluation) string {
	switch op {
	case stringEquals, stringEqualsIgnoreCase, stringLike, boolEquals:
		return spell(v.raw, []pattern{v.pattern}, "", e)
	case arnLike:
		return v.arn.spell(e)
	}
	return v.raw
}

func (s *statement) sayPrincipal(say func(format string, args ...any)) {
	switch {
	case s.principals == nil:
		say("Principal: the statement names nobody")
	case s.notPrincipals:
		say("NotPrincipal: the caller is among %s", strings.Join(s.principals.texts, ", "))
	default:
		say("Principal: the caller is not among %s", strings.Join(s.principals.texts, ", "))
	}
}

func (s *statement) sayResource(e *evaluation, say func(format string, args ...any)) {
	fits := func(r arnPattern) bool { return r.all || e.isARN && matchFields(r.fields, &e.arn, e) }
	texts := list(s.resources, func(p *arnPattern) string { return p.spell(e) })
	if s.notResources && !slices.ContainsFunc(s.resources, fits) {
		say("NotResource: %s: the statement is not in effect", texts)
		return
	}
	say("%s: %s is %s %s", element("Resource", s.notResources), e.request.Resource, one(s.notResources), texts)
}

// explain says what a condition compares.
func (c *condition) explain(e *evaluation) string {
	a := e.lookup(c.key)
	wanted := list(c.values, func(v *operand) string { return v.spell(c.operator.comparison, e) })
	if wanted == "" {
		wanted = "none"
	}
	text := c.name + " " + c.key.name + ": "
	switch {
	case a.count == 0:
		text += "the request has none"
	case c.qualifier == noQualifier && a.count > 1 && c.operator.comparison != isNull:
		text += "the request has several, which match nothing without ForAnyValue or ForAllValues: " + values(&a)
	default:
		text += "the request has " + values(&a)
	}
	return text + "; the policy has " + wanted
}

// values spells out the values of a key.
func values(a *attribute) string {
	out := make([]string, a.count)
	for i := range out {
		s := a.at(i)
		out[i] = s.string()
		if out[i] == "" {
			out[i] = `""`
		}
	}
	return strings.Join(out, ", ")
}

// reason says in a sentence what the tally amounts to.
func (t *tally) reason(e *evaluation) string {
	d := t.decide()
	caller := e.request.Principal.Account
	switch {
	case d.Outcome == Explicit:
		return fmt.Sprintf("%s %s has a Deny statement that applies, and a Deny overrides every Allow", article(d.Kind), d.Kind)
	case t.accounts == noAccount && d.Allowed():
		return fmt.Sprintf("the %s allows it, and a caller without an account needs no more", t.resourceKind)
	case t.accounts == noAccount:
		return fmt.Sprintf("a caller without an account needs an Allow of the %s, and there is none", t.resourceKind)
	case t.accounts == crossAccount:
		return t.crossAccountReason(d, caller, e.account)
	}
	return t.sameAccountReason(d, caller)
}

func (t *tally) crossAccountReason(d Decision, caller, owner string) string {
	both := fmt.Sprintf("the caller is of account %s and the resource of account %s, so both must allow it", caller, owner)
	switch {
	case d.Allowed():
		return both + ", and both do"
	case d.Kind == t.resourceKind:
		return fmt.Sprintf("%s, and no %s of the resource does", both, d.Kind)
	}
	return fmt.Sprintf("%s, and no %s of the caller does", both, d.Kind)
}

func (t *tally) sameAccountReason(d Decision, account string) string {
	switch {
	case d.Allowed() && t.resource == directly:
		return fmt.Sprintf("the %s names the caller or everyone, which is enough within one account", t.resourceKind)
	case d.Allowed() && t.resource == byEntity:
		return fmt.Sprintf("the %s names the role or user behind the session, and no permissions boundary or session policy stands against it", t.resourceKind)
	case d.Allowed() && t.root:
		return fmt.Sprintf("the root user may do everything in account %s", account)
	case d.Allowed() && t.resourceKind == Trust:
		return fmt.Sprintf("the role trust policy names account %s, and an identity-based policy allows it", account)
	case d.Allowed():
		return "an identity-based policy allows it, and nothing stands against it"
	case d.Kind == Identity && t.resource == byAccount:
		return fmt.Sprintf("the %s names account %s, which leaves the decision to identity-based policies, and none allows it", t.resourceKind, account)
	case d.Kind == Session && t.accounts == sameAccount:
		return "no session policy allows it, and a session can do no more than they allow"
	case d.Kind == Boundary:
		return "the permissions boundary does not allow it"
	case d.Kind == Trust:
		return "a role can be assumed only by whom its trust policy names, and it does not name the caller"
	}
	return fmt.Sprintf("no %s allows it", d.Kind)
}

// article is the one that goes before the kind.
func article(k Kind) string {
	if k == Identity {
		return "an"
	}
	return "a"
}

// String returns the explanation as lines of text: the decision, its reason, and what each statement
// of each policy says.
func (x Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", x.Outcome, x.Reason)
	for _, p := range x.Policies {
		fmt.Fprintf(&b, "\n%s %s %s\n", p.Kind, p.Name, p.Verdict)
		for _, s := range p.Statements {
			applies := "applies"
			if !s.Applies {
				applies = "does not apply"
			}
			name := ""
			if s.Sid != "" {
				name = " " + s.Sid
			}
			fmt.Fprintf(&b, "  statement %d, line %d: %s%s %s\n", s.Number, s.Line, s.Effect, name, applies)
			for _, why := range s.Because {
				fmt.Fprintf(&b, "    %s\n", why)
			}
		}
	}
	return b.String()
}
