package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Step is one call that brings what there is nearer to what is declared.
type Step struct {
	Operation string
	Call      Call
	// Change says what it does, as a line that begins with +, ~ or -.
	Change string
}

// Plan returns the calls that make of what there is what is declared, in an order that works. With prune
// users, roles and providers of the declared accounts that are not declared go, access keys with them.
// Inline policies that are not declared go always: a policy is part of its user or role, whose policies
// change all at once. Accounts never go. Nothing to do is no step.
func Plan(declared *Declared, there []Account, prune bool) []Step {
	var p plan
	for i := range declared.Accounts {
		p.account(&declared.Accounts[i], there, prune)
	}
	return p.steps
}

// plan gathers the steps for one account after the other.
type plan struct {
	id    string
	steps []Step
}

func (p *plan) add(operation string, c Call, format string, args ...any) {
	c.Account = p.id
	p.steps = append(p.steps, Step{operation, c, p.line(format, args...)})
}

// line puts the account behind the sign of a change.
func (p *plan) line(format string, args ...any) string {
	sign, rest, _ := strings.Cut(fmt.Sprintf(format, args...), " ")
	return sign + " " + p.id + " " + rest
}

func (p *plan) account(d *DeclaredAccount, there []Account, prune bool) {
	p.id = d.Account
	var now Account
	if i := slices.IndexFunc(there, func(a Account) bool { return a.Account == d.Account }); i >= 0 {
		now = there[i]
		if d.Named && now.AccountName != d.Name {
			p.add(UpdateAccount, Call{AccountName: d.Name}, "~ account: name")
		}
	} else {
		p.add(CreateAccount, Call{AccountName: d.Name}, "+ account")
	}
	for i := range d.Providers {
		p.provider(&d.Providers[i], now.Providers)
	}
	for i := range d.Users {
		p.user(&d.Users[i], now.Users)
	}
	for i := range d.Roles {
		p.role(&d.Roles[i], now.Roles)
	}
	if prune {
		p.prune(d, &now)
	}
}

func (p *plan) provider(d *DeclaredProvider, there []Provider) {
	c := Call{URL: d.URL, Audiences: d.Audiences, KeysURL: d.KeysURL, Keys: d.Keys}
	i := slices.IndexFunc(there, func(o Provider) bool { return sameURL(o.URL, d.URL) })
	if i < 0 {
		p.add(PutProvider, c, "+ provider %s", d.URL)
		return
	}
	var what []string
	o := &there[i]
	if o.URL != d.URL {
		what = append(what, "url")
	}
	if !slices.Equal(o.Audiences, d.Audiences) {
		what = append(what, "audiences")
	}
	if o.KeysURL != d.KeysURL || !sameJSON(o.Keys, d.Keys) {
		what = append(what, "keys")
	}
	if len(what) > 0 {
		p.add(PutProvider, c, "~ provider %s: %s", d.URL, strings.Join(what, ", "))
	}
}

// sameURL compares as the keyring names providers: without the scheme and a final slash.
func sameURL(a, b string) bool {
	bare := func(s string) string {
		_, rest, _ := strings.Cut(s, "://")
		return strings.TrimSuffix(rest, "/")
	}
	return bare(a) == bare(b)
}

func (p *plan) user(d *DeclaredUser, there []User) {
	var now map[string]string
	i := slices.IndexFunc(there, func(u User) bool { return strings.EqualFold(u.UserName, d.Name) })
	if i < 0 {
		p.add(CreateUser, Call{UserName: d.Name}, "+ user %s", d.Name)
	} else {
		now = there[i].Policies
	}
	p.policies(ReplaceUserPolicies, Call{UserName: d.Name, Policies: d.Policies}, now, "user "+d.Name)
}

func (p *plan) role(d *DeclaredRole, there []Role) {
	c := Call{RoleName: d.Name, TrustPolicy: d.Trust, Description: d.Description, MaxSessionDuration: int(d.MaxSession / time.Second)}
	var now map[string]string
	i := slices.IndexFunc(there, func(r Role) bool { return strings.EqualFold(r.RoleName, d.Name) })
	if i < 0 {
		p.add(CreateRole, c, "+ role %s", d.Name)
	} else {
		now = there[i].Policies
		if what := roleChanges(d, &there[i]); len(what) > 0 {
			p.add(UpdateRole, c, "~ role %s: %s", d.Name, strings.Join(what, ", "))
		}
	}
	p.policies(ReplaceRolePolicies, Call{RoleName: d.Name, Policies: d.Policies}, now, "role "+d.Name)
}

func roleChanges(d *DeclaredRole, r *Role) (what []string) {
	if !sameJSON(d.Trust, r.TrustPolicy) {
		what = append(what, "trust policy")
	}
	if d.Description != r.Description {
		what = append(what, "description")
	}
	if int(d.MaxSession/time.Second) != r.MaxSessionDuration {
		what = append(what, "max-session")
	}
	return what
}

// policies compares inline policies and says of each what becomes of it.
func (p *plan) policies(operation string, c Call, there map[string]string, owner string) {
	var what []string
	names := slices.Collect(maps.Keys(c.Policies))
	for name := range there {
		if _, declared := c.Policies[name]; !declared {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		now, exists := there[name]
		document, declared := c.Policies[name]
		switch {
		case !declared:
			what = append(what, "-"+name)
		case !exists:
			what = append(what, "+"+name)
		case !sameJSON(now, document):
			what = append(what, "~"+name)
		}
	}
	if len(what) > 0 {
		p.add(operation, c, "~ %s: policies %s", owner, strings.Join(what, " "))
	}
}

func (p *plan) prune(d *DeclaredAccount, now *Account) {
	for _, u := range now.Users {
		if slices.ContainsFunc(d.Users, func(w DeclaredUser) bool { return strings.EqualFold(w.Name, u.UserName) }) {
			continue
		}
		for _, k := range u.AccessKeys {
			p.add(DeleteAccessKey, Call{UserName: u.UserName, AccessKeyID: k.AccessKeyID}, "- user %s: access key %s", u.UserName, k.AccessKeyID)
		}
		p.policies(ReplaceUserPolicies, Call{UserName: u.UserName}, u.Policies, "user "+u.UserName)
		p.add(DeleteUser, Call{UserName: u.UserName}, "- user %s", u.UserName)
	}
	for _, r := range now.Roles {
		if slices.ContainsFunc(d.Roles, func(w DeclaredRole) bool { return strings.EqualFold(w.Name, r.RoleName) }) {
			continue
		}
		p.policies(ReplaceRolePolicies, Call{RoleName: r.RoleName}, r.Policies, "role "+r.RoleName)
		p.add(DeleteRole, Call{RoleName: r.RoleName}, "- role %s", r.RoleName)
	}
	for _, o := range now.Providers {
		if !slices.ContainsFunc(d.Providers, func(w DeclaredProvider) bool { return sameURL(w.URL, o.URL) }) {
			p.add(DeleteProvider, Call{URL: o.URL}, "- provider %s", o.URL)
		}
	}
}

// sameJSON reports whether two documents mean the same: white space and the order of members do not count.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}
