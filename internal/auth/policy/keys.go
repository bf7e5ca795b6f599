package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// keyID tells the condition keys apart that a Request has fields for.
type keyID uint8

const (
	keyOther keyID = iota
	keyCurrentTime
	keyEpochTime
	keyFederatedProvider
	keyMultiFactorAuthPresent
	keyPrincipalAccount
	keyPrincipalARN
	keyPrincipalIsAWSService
	keyPrincipalServiceName
	keyPrincipalTag
	keyPrincipalType
	keyRequestedRegion
	keyRequestTag
	keyResourceAccount
	keyResourceTag
	keySecureTransport
	keySourceIdentity
	keySourceIP
	keyTagKeys
	keyTokenIssueTime
	keyUserAgent
	keyUserID
	keyUserName
	keyViaAWSService
)

// keyIDs are the keys by their names in lower case: names of keys are not case-sensitive.
var keyIDs = map[string]keyID{
	"aws:currenttime":            keyCurrentTime,
	"aws:epochtime":              keyEpochTime,
	"aws:federatedprovider":      keyFederatedProvider,
	"aws:multifactorauthpresent": keyMultiFactorAuthPresent,
	"aws:principalaccount":       keyPrincipalAccount,
	"aws:principalarn":           keyPrincipalARN,
	"aws:principalisawsservice":  keyPrincipalIsAWSService,
	"aws:principalservicename":   keyPrincipalServiceName,
	"aws:principaltype":          keyPrincipalType,
	"aws:requestedregion":        keyRequestedRegion,
	"aws:resourceaccount":        keyResourceAccount,
	"aws:securetransport":        keySecureTransport,
	"aws:sourceidentity":         keySourceIdentity,
	"aws:sourceip":               keySourceIP,
	"aws:tagkeys":                keyTagKeys,
	"aws:tokenissuetime":         keyTokenIssueTime,
	"aws:useragent":              keyUserAgent,
	"aws:userid":                 keyUserID,
	"aws:username":               keyUserName,
	"aws:viaawsservice":          keyViaAWSService,
}

// tagKeyIDs are the keys that go on with the key of a tag.
var tagKeyIDs = map[string]keyID{
	"aws:principaltag": keyPrincipalTag,
	"aws:requesttag":   keyRequestTag,
	"aws:resourcetag":  keyResourceTag,
}

// contextKey is the name of a condition key, looked up once when the policy is parsed.
type contextKey struct {
	name string // as the policy has it
	id   keyID
	tag  string // the part behind the slash, of the keys that have one
}

func newContextKey(name string) contextKey {
	k := contextKey{name: name, id: keyIDs[strings.ToLower(name)]}
	if prefix, tag, ok := strings.Cut(name, "/"); ok {
		if id := tagKeyIDs[strings.ToLower(prefix)]; id != keyOther {
			k.id, k.tag = id, tag
		}
	}
	return k
}

// scalarKind says how a scalar is kept. Times and addresses stay what they are, so that comparing
// them neither formats nor parses.
type scalarKind uint8

const (
	scalarText scalarKind = iota
	scalarBool
	scalarTime
	scalarEpoch // a time, as the number of its second
	scalarAddr
)

// scalar is one value of a condition key.
type scalar struct {
	kind scalarKind
	text string
	flag bool
	time time.Time
	addr netip.Addr
}

// string returns the value as text. It allocates for times and addresses, which policies rarely
// compare as texts.
func (s *scalar) string() string {
	switch s.kind {
	case scalarBool:
		return strconv.FormatBool(s.flag)
	case scalarTime:
		return s.time.UTC().Format(time.RFC3339)
	case scalarEpoch:
		return strconv.FormatInt(s.time.Unix(), 10)
	case scalarAddr:
		return s.addr.String()
	}
	return s.text
}

// attribute is what the request has for a condition key. A key without values is absent.
type attribute struct {
	count int
	one   scalar
	list  []string // if not nil, the values
	tags  []Tag    // if not nil, the values are their keys
}

func (a *attribute) at(i int) scalar {
	switch {
	case a.list != nil:
		return scalar{text: a.list[i]}
	case a.tags != nil:
		return scalar{text: a.tags[i].Key}
	}
	return a.one
}

// null reports whether the key is absent or has nothing but empty values, which AWS takes for null.
func (a *attribute) null() bool {
	for i := range a.count {
		if s := a.at(i); s.kind != scalarText || s.text != "" {
			return false
		}
	}
	return true
}

// textOf is a key with one value, absent if that is empty.
func textOf(s string) attribute {
	if s == "" {
		return attribute{}
	}
	return attribute{count: 1, one: scalar{text: s}}
}

func boolOf(b bool) attribute {
	return attribute{count: 1, one: scalar{kind: scalarBool, flag: b}}
}

func timeOf(t time.Time, kind scalarKind) attribute {
	if t.IsZero() {
		return attribute{}
	}
	return attribute{count: 1, one: scalar{kind: kind, time: t}}
}

// tagOf is the value of a tag. Keys of tags are not case-sensitive here, as in AWS's policies; of several
// that fit, the one written in the same case is taken, else the first.
func tagOf(tags []Tag, key string) attribute {
	found := -1
	for i := range tags {
		if tags[i].Key == key {
			found = i
			break
		}
		if found < 0 && strings.EqualFold(tags[i].Key, key) {
			found = i
		}
	}
	if found < 0 {
		return attribute{}
	}
	return attribute{count: 1, one: scalar{text: tags[found].Value}} // which may be empty
}

// lookup returns what the request has for a key.
func (e *evaluation) lookup(k contextKey) attribute {
	r := e.request
	for i := range r.Keys {
		if strings.EqualFold(r.Keys[i].Name, k.name) {
			return attribute{count: len(r.Keys[i].Values), list: r.Keys[i].Values}
		}
	}
	switch k.id {
	case keyCurrentTime:
		return timeOf(r.Time, scalarTime)
	case keyEpochTime:
		return timeOf(r.Time, scalarEpoch)
	case keyRequestedRegion:
		return textOf(r.Region)
	case keyRequestTag:
		return tagOf(r.RequestTags, k.tag)
	case keyResourceAccount:
		return textOf(e.account)
	case keyResourceTag:
		return tagOf(r.ResourceTags, k.tag)
	case keySecureTransport:
		return boolOf(r.SecureTransport)
	case keySourceIP:
		if !r.SourceIP.IsValid() {
			return attribute{}
		}
		return attribute{count: 1, one: scalar{kind: scalarAddr, addr: r.SourceIP.Unmap().WithZone("")}}
	case keyTagKeys:
		if r.TagKeys != nil {
			return attribute{count: len(r.TagKeys), list: r.TagKeys}
		}
		return attribute{count: len(r.RequestTags), tags: r.RequestTags}
	case keyUserAgent:
		return textOf(r.UserAgent)
	case keyViaAWSService:
		return boolOf(false)
	case keyOther:
		return attribute{}
	}
	return r.Principal.lookup(k)
}

// lookup returns what is known of the principal for a key.
func (p *Principal) lookup(k contextKey) attribute {
	switch k.id {
	case keyFederatedProvider:
		return textOf(p.Provider)
	case keyMultiFactorAuthPresent:
		if p.Issued.IsZero() {
			return attribute{}
		}
		return boolOf(false) // nobody has a second factor here
	case keyPrincipalAccount:
		if p.Type == Anonymous {
			return textOf("anonymous")
		}
		return textOf(p.Account)
	case keyPrincipalARN:
		switch p.Type {
		case RoleSession:
			return textOf(p.Entity) // the role's ARN, not the session's
		case Root, User, FederatedUser:
			return textOf(p.ARN)
		}
	case keyPrincipalIsAWSService:
		if p.Type != Anonymous {
			return boolOf(p.Type == Service)
		}
	case keyPrincipalServiceName:
		if p.Type == Service {
			return textOf(p.ARN)
		}
	case keyPrincipalTag:
		return tagOf(p.Tags, k.tag)
	case keyPrincipalType:
		if p.Type < Service { // AWS has no words for the others
			return textOf(p.Type.String())
		}
	case keySourceIdentity:
		return textOf(p.SourceIdentity)
	case keyTokenIssueTime:
		return timeOf(p.Issued, scalarTime)
	case keyUserID:
		if p.Type == Anonymous {
			return textOf("anonymous")
		}
		return textOf(p.ID)
	case keyUserName:
		return textOf(p.Name)
	}
	return attribute{}
}
