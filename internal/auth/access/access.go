// Package access decides whether a caller whose signature was verified may do what a call asks: it finds
// who the caller is and what policies there are in the keyring, the policy of the resource at its owner,
// and lets package policy decide.
//
// It verifies nothing and stores nothing but policies that it has read before. Which permissions an
// operation needs is said by package api; how a refusal looks on the wire is said by package wire.
//
//	d := access.New(access.Config{Keys: keys, Governed: streams.Governed, Clock: c})
//	owner, err := d.Decide(&access.Request{AccessKeyID: id, Action: "kinesis:PutRecord", Resource: arn})
package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/auth/policy"
	"github.com/headrace/headrace/internal/clock"
)

// Config says what decisions stand on. All fields are required.
type Config struct {
	Keys *keyring.Keyring
	// Governed returns the policy that is attached to the resource with an ARN, "" if none is, and the
	// resource's tags.
	Governed func(arn string) (policy string, tags map[string]string)
	Clock    clock.Clock
}

// Decider decides. It is safe for concurrent use.
type Decider struct {
	cfg       Config
	documents documents
	scratch   sync.Pool
}

// New returns a decider.
func New(cfg Config) *Decider {
	return &Decider{cfg: cfg, scratch: sync.Pool{New: func() any { return new(scratch) }}}
}

// Request is one permission that a caller asks for, and what is known of the request.
type Request struct {
	// AccessKeyID and SessionToken are the verified caller's.
	AccessKeyID, SessionToken string
	// Action, Resource, Creates, Tags and TagKeys are those of shape.Access.
	Action, Resource string
	Creates          bool
	Tags             map[string]string
	TagKeys          []string
	// Region is the one that the call is for.
	Region string
	// Address is where the call comes from, Secure whether over TLS, Agent what the client calls itself.
	Address netip.Addr
	Secure  bool
	Agent   string
}

// DeniedError is a refusal. Its text is AWS's.
type DeniedError struct{ Message string }

// Error returns AWS's text.
func (e *DeniedError) Error() string { return e.Message }

// errGone says that a key was verified and is not there any more.
var errGone = &DeniedError{Message: "The security token included in the request is invalid."}

// maxAgent bounds what conditions get to see of a user agent: a match costs pattern times value.
const maxAgent = 256

// Decide returns the account that owns the resource, "" if the resource has none, or a *DeniedError.
// Another error is a fault: a policy that is stored cannot be read.
func (d *Decider) Decide(q *Request) (owner string, err error) {
	cred, err := d.cfg.Keys.Lookup(q.AccessKeyID, q.SessionToken)
	if err != nil {
		return "", errGone
	}
	caller := cred.Caller
	owner = accountOf(q.Resource)
	document, resourceTags := d.governed(q)
	s := d.scratch.Get().(*scratch)
	defer d.scratch.Put(s)
	s.request = policy.Request{
		Principal: principalOf(caller), Action: q.Action, Resource: q.Resource, ResourceAccount: owner,
		Time: d.cfg.Clock.Now(), SourceIP: q.Address, SecureTransport: q.Secure, UserAgent: q.Agent[:min(len(q.Agent), maxAgent)],
		Region: q.Region, RequestTags: tags(q.Tags), TagKeys: q.TagKeys, ResourceTags: tags(resourceTags),
	}
	s.policies = policy.Policies{Identity: s.policies.Identity[:0], Session: s.policies.Session[:0]}
	if err := d.addPolicies(&s.policies, caller); err != nil {
		return "", err
	}
	if !d.ownsPolicy(caller, q, owner) {
		if s.policies.Resource, err = d.documents.read(policy.Resource, document); err != nil {
			return "", err
		}
	}
	if decision := s.policies.Decide(&s.request); !decision.Allowed() {
		return "", &DeniedError{Message: decision.Message(&s.request)}
	}
	d.cfg.Keys.Used(cred, s.request.Time)
	return owner, nil
}

// scratch is what a decision stands on, used again for the next.
type scratch struct {
	request  policy.Request
	policies policy.Policies
}

// ownsPolicy says that the caller is the root of the account that owns the resource and wants to see or
// change the resource's policy: then the policy has no say, or it could lock out its owner for good.
func (d *Decider) ownsPolicy(caller *keyring.Caller, q *Request, owner string) bool {
	return caller.Kind == keyring.Root && caller.Account == owner && strings.HasSuffix(q.Action, "ResourcePolicy")
}

// governed returns the policy and the tags of the resource that a request is about.
func (d *Decider) governed(q *Request) (document string, tags map[string]string) {
	if q.Creates || q.Resource == "*" {
		return "", nil
	}
	return d.cfg.Governed(q.Resource)
}

// addPolicies adds the caller's own.
func (d *Decider) addPolicies(p *policy.Policies, caller *keyring.Caller) error {
	for name, document := range d.cfg.Keys.Policies(caller) {
		one, err := d.documents.read(policy.Identity, document)
		if err != nil {
			return fmt.Errorf("policy %s of %s: %w", name, caller.PrincipalARN(), err)
		}
		p.Identity = append(p.Identity, one)
	}
	if caller.Session != nil && caller.Session.Policy != "" {
		one, err := d.documents.read(policy.Session, caller.Session.Policy)
		if err != nil {
			return fmt.Errorf("session policy of %s: %w", caller.ARN, err)
		}
		p.Session = append(p.Session, one)
	}
	return nil
}

// Assume is somebody who wants to become a role.
type Assume struct {
	// Caller is who asks, nil for somebody whom only an identity provider knows; Provider is then its ARN.
	Caller   *keyring.Caller
	Provider string
	Role     *keyring.Role
	Action   string
	// Conditions are the values that the request has for condition keys.
	Conditions map[string][]string
}

// MayAssume decides by the role's trust policy, and by the caller's own policies where those count. An
// error is a fault. A root user becomes no role, as on AWS.
func (d *Decider) MayAssume(q *Assume) (bool, error) {
	r := policy.Request{Action: q.Action, Resource: q.Role.ARN(), ResourceAccount: q.Role.Account, Time: d.cfg.Clock.Now()}
	var policies policy.Policies
	var err error
	switch {
	case q.Caller == nil:
		r.Principal = policy.Principal{Type: policy.WebIdentity, ARN: q.Provider}
	case q.Caller.Kind == keyring.Root:
		return false, nil
	default:
		r.Principal = principalOf(q.Caller)
		if err = d.addPolicies(&policies, q.Caller); err != nil {
			return false, err
		}
	}
	if policies.Resource, err = d.documents.read(policy.Trust, q.Role.Trust); err != nil {
		return false, fmt.Errorf("trust policy of %s: %w", q.Role.ARN(), err)
	}
	const requestTag = "aws:RequestTag/"
	for name, values := range q.Conditions {
		key, isTag := strings.CutPrefix(name, requestTag)
		switch {
		case isTag && len(values) == 1:
			r.RequestTags = append(r.RequestTags, policy.Tag{Key: key, Value: values[0]})
		case name == "aws:TagKeys":
			r.TagKeys = values
		default:
			r.Keys = append(r.Keys, policy.Key{Name: name, Values: values})
		}
	}
	return policies.Decide(&r).Allowed(), nil
}

// principalOf returns the caller in the terms of policies.
func principalOf(c *keyring.Caller) policy.Principal {
	p := policy.Principal{ARN: c.ARN, Account: c.Account, ID: c.UserID}
	switch c.Kind {
	case keyring.Root:
		p.Type = policy.Root
	case keyring.UserCaller:
		p.Type, p.Name = policy.User, c.Name
	case keyring.RoleCaller:
		p.Type, p.Entity = policy.RoleSession, c.PrincipalARN()
	}
	if s := c.Session; s != nil {
		p.Issued, p.Provider, p.SourceIdentity, p.Tags = s.Issued, s.Provider, s.SourceIdentity, tags(s.Tags)
	}
	return p
}

// tags returns tags as policies have them, nil for none.
func tags(m map[string]string) []policy.Tag {
	if len(m) == 0 {
		return nil
	}
	out := make([]policy.Tag, 0, len(m))
	for k, v := range m {
		out = append(out, policy.Tag{Key: k, Value: v})
	}
	slices.SortFunc(out, func(a, b policy.Tag) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// accountOf returns the account in an ARN, "" if there is none.
func accountOf(arn string) string {
	rest, ok := strings.CutPrefix(arn, "arn:")
	for range 3 { // partition, service and region
		if ok {
			_, rest, ok = strings.Cut(rest, ":")
		}
	}
	account, _, more := strings.Cut(rest, ":")
	if !ok || !more || !keyring.IsAccount(account) {
		return ""
	}
	return account
}

// Check returns what is wrong with a document of a kind, in AWS's words, or nil. Only of a resource's
// policy it says that it is too large: of the others whoever keeps them does, who knows what counts with
// them (a role may have five times the policies of a user) and which error that is.
func Check(kind policy.Kind, document string) error {
	var o policy.Options
	if kind != policy.Resource {
		o.MaxSize = max(1, len(document))
	}
	_, err := policy.Parse(kind, []byte(document), o)
	var e *policy.Error
	if errors.As(err, &e) {
		return errors.New(e.Message)
	}
	return err
}

// maxDocuments is how many policies are kept taken apart.
const maxDocuments = 4096

// documents are policies that have been taken apart. A policy is found by its text: what is written is
// seen at once, and the same text is read once, wherever it stands.
type documents struct {
	mu     sync.RWMutex
	parsed map[document]*policy.Policy
}

type document struct {
	kind policy.Kind
	text string
}

// read returns a policy, nil for no text.
func (d *documents) read(kind policy.Kind, text string) (*policy.Policy, error) {
	if text == "" {
		return nil, nil
	}
	key := document{kind, text}
	d.mu.RLock()
	p := d.parsed[key]
	d.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := policy.Parse(kind, []byte(text), policy.Options{MaxSize: len(text)})
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.parsed == nil || len(d.parsed) >= maxDocuments {
		d.parsed = make(map[document]*policy.Policy)
	}
	d.parsed[document{kind, strings.Clone(text)}] = p
	return p, nil
}
