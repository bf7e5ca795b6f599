package keyring

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/secret"
)

// Grant is what a session is made of.
type Grant struct {
	// Principal is the unique id of the user or role that the session is of; of a root its account.
	Principal string
	// Kind, Account and Name describe the principal.
	Kind    CallerKind
	Account string
	Name    string
	// SessionName is the name that a role's session was given.
	SessionName string
	// Lifetime is how long the session lasts.
	Lifetime time.Duration
	// Session holds the rest.
	Session Session
	// MinToken pads the token to at least so many characters.
	MinToken int
}

// Session is what a temporary credential carries with it. It is never changed.
type Session struct {
	// Issued is when, to the millisecond.
	Issued time.Time
	// Policy narrows what the session may do; "" is no such policy.
	Policy string
	// Tags are the session's tags, and Transitive the keys of those that sessions made of this one inherit.
	Tags       map[string]string
	Transitive []string
	// SourceIdentity stays with all sessions made of this one.
	SourceIdentity string
	// Parent is the access key that a user's or root's own session was made with: the session ends
	// with it.
	Parent string
	// Provider is the ARN of the identity provider that vouched, and Subject and Audience what it said;
	// empty for sessions made by principals.
	Provider, Subject, Audience string
	// Unverified says that nobody had verified who asked for the session.
	Unverified bool
}

// Issued is a new session's credentials.
type Issued struct {
	AccessKeyID string
	Secret      secret.Text
	Token       string
	Expires     time.Time
	// Size is the token's length in characters, and Percent how much of what a token may have it takes.
	Size, Percent int
}

// maxToken is the most characters of a session token. Requests carry it in a header, and servers take
// 16 KiB of headers.
const maxToken = 8 << 10

// TokenTooLargeError says that what a session should carry does not fit into its token.
type TokenTooLargeError struct{ Percent int }

// Error says by how much.
func (e *TokenTooLargeError) Error() string {
	return fmt.Sprintf("keyring: a session token would take %d%% of its space", e.Percent)
}

// sealedSession is what a token holds.
type sealedSession struct {
	Layout      int               `json:"v"`
	Key         string            `json:"k"`
	Kind        CallerKind        `json:"c"`
	Account     string            `json:"a"`
	Principal   string            `json:"p"`
	Name        string            `json:"n,omitempty"`
	SessionName string            `json:"s,omitempty"`
	Issued      millis            `json:"i"`
	Expires     millis            `json:"e"`
	Policy      string            `json:"policy,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Transitive  []string          `json:"transitive,omitempty"`
	Source      string            `json:"source,omitempty"`
	Parent      string            `json:"parent,omitempty"`
	Provider    string            `json:"provider,omitempty"`
	Subject     string            `json:"sub,omitempty"`
	Audience    string            `json:"aud,omitempty"`
	Unverified  bool              `json:"unverified,omitempty"`
	Padding     string            `json:"pad,omitempty"`
}

const tokenLayout = 1

// sessions seals and opens session tokens. Nothing of a session is stored: whoever has the key, which
// lies with the coordinator, can open the token. Sessions that have been opened are kept, up to a
// number and a size, so that only a session's first request pays for it.
type sessions struct {
	key secret.Key
	box *secret.Box

	mu     sync.RWMutex
	opened map[string]*opened
	bytes  int
}

// opened is a session that was opened. It is never changed.
type opened struct {
	token string
	cred  *Credential
}

// The most sessions that are kept opened, and the most their tokens may take together.
const (
	maxOpened      = 4 << 10
	maxOpenedBytes = 8 << 20
)

func (s *sessions) init(key secret.Key) {
	s.key, s.box = key, key.Box("session token")
	s.opened = map[string]*opened{}
}

// Issue makes credentials. The token holds everything; nothing is stored. TokenTooLargeError if it
// would be too long.
func (k *Keyring) Issue(g Grant) (*Issued, error) {
	now := k.cfg.Clock.Now().UTC()
	out := &Issued{AccessKeyID: newID(sessionPrefix), Expires: now.Truncate(time.Second).Add(g.Lifetime)}
	s := sealedSession{
		Layout: tokenLayout, Key: out.AccessKeyID, Kind: g.Kind, Account: g.Account, Principal: g.Principal,
		Name: g.Name, SessionName: g.SessionName, Issued: millisOf(now), Expires: millisOf(out.Expires),
		Policy: g.Session.Policy, Tags: g.Session.Tags, Transitive: g.Session.Transitive,
		Source: g.Session.SourceIdentity, Parent: g.Session.Parent, Provider: g.Session.Provider,
		Subject: g.Session.Subject, Audience: g.Session.Audience, Unverified: g.Session.Unverified,
	}
	out.Token = k.session.seal(s)
	if missing := g.MinToken - len(out.Token); missing > 0 {
		s.Padding = padding(missing)
		out.Token = k.session.seal(s)
	}
	out.Size, out.Percent = len(out.Token), (len(out.Token)*100+maxToken-1)/maxToken
	if out.Size > maxToken {
		return nil, &TokenTooLargeError{Percent: out.Percent}
	}
	out.Secret = k.session.secretOf(out.AccessKeyID)
	return out, nil
}

func (s *sessions) seal(v sealedSession) string {
	return base64.StdEncoding.EncodeToString(s.box.Seal(encodeRow(v), []byte("session")))
}

// padding returns n random letters: what is not random would say that it is padding.
func padding(n int) string {
	random := make([]byte, n)
	rand.Read(random) // never fails
	return base64.StdEncoding.EncodeToString(random)[:n]
}

// secretOf returns the secret of a session's access key, which is derived and not kept.
func (s *sessions) secretOf(accessKeyID string) secret.Text {
	return secret.NewText(base64.StdEncoding.EncodeToString(s.key.Derive("session secret", accessKeyID, 30)))
}

// open returns the credential that a token is of, whoever presents it and whenever.
func (s *sessions) open(token string) (*Credential, error) {
	if len(token) > maxToken {
		return nil, ErrToken
	}
	sealed, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return nil, ErrToken
	}
	text, err := s.box.Open(sealed, []byte("session"))
	if err != nil {
		return nil, ErrToken
	}
	var v sealedSession
	if json.Unmarshal(text, &v) != nil || v.Layout != tokenLayout {
		return nil, ErrToken
	}
	return s.credential(&v), nil
}

func (s *sessions) credential(v *sealedSession) *Credential {
	c := &Caller{
		Kind: v.Kind, Account: v.Account, Name: v.Name, PrincipalID: v.Principal, UserID: v.Principal,
		Session: &Session{
			Issued: v.Issued.time(), Policy: v.Policy, Tags: v.Tags, Transitive: v.Transitive,
			SourceIdentity: v.Source, Parent: v.Parent, Provider: v.Provider, Subject: v.Subject, Audience: v.Audience,
			Unverified: v.Unverified,
		},
	}
	switch v.Kind {
	case RoleCaller:
		c.ARN, c.UserID = SessionARN(v.Account, v.Name, v.SessionName), v.Principal+":"+v.SessionName
	case UserCaller:
		c.ARN = UserARN(v.Account, v.Name)
	default:
		c.ARN = RootARN(v.Account)
	}
	return &Credential{AccessKeyID: v.Key, Secret: s.secretOf(v.Key), Caller: c, Expires: v.Expires.time()}
}

// lookupSession is Lookup for the access key of a session.
func (k *Keyring) lookupSession(accessKeyID, token string) (*Credential, error) {
	c := k.session.kept(accessKeyID, token)
	if c == nil {
		var err error
		if c, err = k.session.open(token); err != nil {
			return nil, err
		}
		if c.AccessKeyID != accessKeyID {
			return nil, ErrToken
		}
		if err := k.valid(c); err != nil {
			return nil, err
		}
		k.session.keep(token, c, k.cfg.Clock.Now())
		return c, nil
	}
	if err := k.valid(c); err != nil {
		return nil, err
	}
	return c, nil
}

// valid says whether a session that was opened holds now.
func (k *Keyring) valid(c *Credential) error {
	s := c.Caller.Session
	if s.Unverified && !k.cfg.AcceptUnverified {
		return ErrToken
	}
	if !k.cfg.Clock.Now().Before(c.Expires) {
		return ErrExpired
	}
	if s.Unverified {
		return nil // of a principal that need not exist
	}
	k.view.RLock()
	defer k.view.RUnlock()
	p := k.view.principals[c.Caller.PrincipalID]
	if p == nil || p.kind != c.Caller.Kind || !p.sessionsFrom.IsZero() && !s.Issued.After(p.sessionsFrom) {
		return ErrToken
	}
	if s.Parent != "" {
		if parent := k.view.keys[s.Parent]; parent == nil || parent.inactive {
			return ErrToken
		}
	}
	return nil
}

// kept returns a session that was opened before, nil if there is none for this very token.
func (s *sessions) kept(accessKeyID, token string) *Credential {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o := s.opened[accessKeyID]; o != nil && o.token == token {
		return o.cred
	}
	return nil
}

// keep remembers an opened session, and forgets others if there are too many: first those whose time is
// over, then any.
func (s *sessions) keep(token string, c *Credential, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(c.AccessKeyID)
	if s.full(token) {
		for id, o := range s.opened {
			if !now.Before(o.cred.Expires) {
				s.forget(id)
			}
		}
	}
	for id := range s.opened {
		if !s.full(token) {
			break
		}
		s.forget(id)
	}
	kept := &opened{token: strings.Clone(token), cred: c} // the header it stood in may be much longer
	s.opened[c.AccessKeyID] = kept
	s.bytes += len(token)
}

// full reports whether there is no room for a token. REQUIRES: s.mu held.
func (s *sessions) full(token string) bool {
	return len(s.opened) >= maxOpened || s.bytes+len(token) > maxOpenedBytes
}

// forget drops a session. REQUIRES: s.mu held.
func (s *sessions) forget(accessKeyID string) {
	if o := s.opened[accessKeyID]; o != nil {
		s.bytes -= len(o.token)
		delete(s.opened, accessKeyID)
	}
}
