package policy

import (
	"errors"
	"net/netip"
	"strings"
	"time"
)

// PrincipalType says what kind of caller a principal is.
type PrincipalType uint8

// The types of principals.
const (
	// Anonymous is a caller who did not sign. It has no ARN and no account.
	Anonymous PrincipalType = iota
	// Root is the root user of an account: arn:aws:iam::111122223333:root.
	Root
	// User is an IAM user: arn:aws:iam::111122223333:user/path/name.
	User
	// RoleSession is somebody who has assumed a role: arn:aws:sts::111122223333:assumed-role/role/session.
	RoleSession
	// FederatedUser is a session that an IAM user gave away: arn:aws:sts::111122223333:federated-user/name.
	FederatedUser
	// Service is a service that acts for itself. Its name, such as firehose.amazonaws.com, is its ARN here.
	Service
	// WebIdentity is somebody with a token of an identity provider and no credentials yet, who
	// assumes a role. The provider, an ARN or a host name, is the ARN here.
	WebIdentity
)

// String returns the type as aws:PrincipalType has it, or for the two that AWS has no word for, ours.
func (t PrincipalType) String() string {
	return [...]string{"Anonymous", "Account", "User", "AssumedRole", "FederatedUser", "Service", "WebIdentity"}[t]
}

// Principal is who makes a request. Identity-based policies are not part of it: see Policies.
type Principal struct {
	Type PrincipalType
	// ARN is what GetCallerIdentity returns; a role's session has the session's ARN.
	ARN string
	// Account is the 12-digit account that the principal belongs to, "" for callers without one.
	Account string
	// ID is aws:userid: the unique id of a user, role id:session name for a session, the account
	// for its root user.
	ID string
	// Name is aws:username, which users alone have.
	Name string
	// Entity is the IAM entity behind a session, with its path: the role's ARN, or that of the
	// user who federated.
	Entity string
	// Tags are aws:PrincipalTag/..., a session's tags included.
	Tags []Tag
	// Issued is when temporary credentials were issued, aws:TokenIssueTime; zero for keys that
	// do not expire.
	Issued time.Time
	// Provider is aws:FederatedProvider, of sessions that began with a web identity.
	Provider string
	// SourceIdentity is aws:SourceIdentity, which a role's session may carry.
	SourceIdentity string
}

// Tag is a key with its value.
type Tag struct{ Key, Value string }

// Key is a condition key with its values, such as kinesis:FisActionId or sts:ExternalId. Most keys have one
// value; AWS calls the others multivalued.
type Key struct {
	Name   string
	Values []string
}

// Request is what a decision is about: one action on one resource. A call that needs several
// actions, or touches several resources, is several requests, each of which must be allowed.
//
// The strings are only read, and only during a call.
type Request struct {
	Principal Principal
	// Action is the service's prefix and the action: kinesis:PutRecord.
	Action string
	// Resource is the ARN of the resource, or "*" for actions that have none, such as ListStreams.
	Resource string
	// ResourceAccount is the account that owns the resource. "" means the one in the ARN, and if
	// that has none, the caller's.
	ResourceAccount string

	// Time is aws:CurrentTime and aws:EpochTime.
	Time time.Time
	// SourceIP is aws:SourceIp, absent if not valid.
	SourceIP netip.Addr
	// SecureTransport is aws:SecureTransport: the request came over TLS.
	SecureTransport bool
	// UserAgent is aws:UserAgent, absent if empty. Whoever calls chooses it.
	UserAgent string
	// Region is aws:RequestedRegion, absent if empty.
	Region string
	// RequestTags are aws:RequestTag/..., the tags that the request sets.
	RequestTags []Tag
	// TagKeys is aws:TagKeys, for requests that name tags without values. nil means the keys of
	// RequestTags.
	TagKeys []string
	// ResourceTags are aws:ResourceTag/..., the tags that the resource has already.
	ResourceTags []Tag
	// Keys are all other keys. One that is named here hides what the fields above say, which
	// `headrace policy simulate` uses; a server must not let callers choose the names. Kinesis
	// defines three keys, FisActionId, FisInjectPercentage and FisTargetArns, that are present in
	// experiments of AWS Fault Injection Service only, so here never.
	Keys []Key
}

// ErrPrincipal says that a text names no principal.
var ErrPrincipal = errors.New("policy: not the ARN of a principal")

// ParsePrincipal returns the principal that text names, as far as a name tells: the ARN of a root
// user, user, role, role session, federated user or identity provider, an account, a service such as
// firehose.amazonaws.com, or "*" for an anonymous caller.
//
// A role stands for a session of it. The ARN of a session does not say the path of its role, so
// Entity is that of a role without one. ID and tags are left empty. The error is ErrPrincipal.
func ParsePrincipal(text string) (Principal, error) {
	switch {
	case text == "*":
		return Principal{}, nil
	case isAccount(text):
		return root("aws", text), nil
	case isServiceName(text):
		return Principal{Type: Service, ARN: text}, nil
	}
	a, ok := splitARN(text)
	if !ok || !isPartition(a[arnPartition]) || !isAccount(a[arnAccount]) || a[3] != "" || strings.ContainsAny(text, "*?") {
		return Principal{}, ErrPrincipal
	}
	p := Principal{ARN: text, Account: a[arnAccount]}
	kind, name, _ := strings.Cut(a[arnResource], "/")
	last := name[strings.LastIndexByte(name, '/')+1:]
	iam, sts := "arn:"+a[arnPartition]+":iam::"+p.Account+":", "arn:"+a[arnPartition]+":sts::"+p.Account+":"
	switch service := a[arnService]; {
	case service == "iam" && a[arnResource] == "root":
		return root(a[arnPartition], p.Account), nil
	case last == "":
		return Principal{}, ErrPrincipal
	case service == "iam" && kind == "user":
		p.Type, p.Name = User, last
	case service == "iam" && kind == "role":
		p.Type, p.Entity, p.ARN = RoleSession, text, sts+"assumed-role/"+last+"/session"
	case service == "iam" && (kind == "oidc-provider" || kind == "saml-provider"):
		p.Type, p.Account = WebIdentity, ""
	case service == "sts" && kind == "assumed-role":
		role, session, ok := strings.Cut(name, "/")
		if !ok || role == "" || strings.Contains(session, "/") {
			return Principal{}, ErrPrincipal
		}
		p.Type, p.Entity = RoleSession, iam+"role/"+role
	case service == "sts" && kind == "federated-user":
		p.Type, p.Entity = FederatedUser, iam+"user/"+name
	default:
		return Principal{}, ErrPrincipal
	}
	return p, nil
}

func root(partition, account string) Principal {
	return Principal{Type: Root, ARN: "arn:" + partition + ":iam::" + account + ":root", Account: account, ID: account}
}

// isAccount reports whether s is an account id: 12 digits.
func isAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
