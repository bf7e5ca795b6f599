package webidentity

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// freshFor is how long fetched keys are used without asking again, and staleFor how long they are used
	// when asking fails: a provider that is down for an hour keeps nobody from working.
	freshFor = 10 * time.Minute
	staleFor = 24 * time.Hour
	// askAgain is how long must pass before a token that names an unknown key makes us ask again: anybody
	// can send such tokens.
	askAgain = 30 * time.Second
	// maxKeys bounds how many keys of a provider are tried.
	maxKeys = 100
	// maxSets bounds how many providers' keys are kept.
	maxSets = 1000
	// minRSA is the least length of an RSA key in bits.
	minRSA = 2048
)

// cache keeps the keys of providers by where they come from.
type cache struct {
	mu   sync.Mutex
	sets map[string]*keySet
}

// keySet is the keys from one place. turn is held while they are fetched, so that a crowd of tokens is
// one request to the provider.
type keySet struct {
	turn chan struct{}

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when they were fetched, zero for never
	asked   time.Time // when they were last asked for
}

func (c *cache) init() { c.sets = map[string]*keySet{} }

// set returns the set of a place, which may be empty still.
func (c *cache) set(place string) *keySet {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sets[place]
	if s == nil {
		if len(c.sets) >= maxSets {
			clear(c.sets) // they are fetched again
		}
		s = &keySet{turn: make(chan struct{}, 1)}
		c.sets[place] = s
	}
	return s
}

// keysOf returns the keys of a provider that a token may be signed with: those of the id it names, or
// all if it names none.
func (v *Verifier) keysOf(ctx context.Context, p Provider, id string) ([]jose.JSONWebKey, error) {
	if p.Keys != "" {
		return named(parseKeys([]byte(p.Keys)), id), nil
	}
	place := "keys " + p.KeysURL
	if p.KeysURL == "" {
		place = "discovery " + p.URL
	}
	s := v.keys.set(place)
	if keys, ok := s.known(id, v.cfg.Clock.Now()); ok {
		return keys, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if keys, ok := s.known(id, v.cfg.Clock.Now()); ok { // somebody else has fetched them meanwhile
		return keys, nil
	}
	keys, err := v.fetchKeys(ctx, p)
	return s.took(keys, err, id, v.cfg.Clock.Now())
}

// known returns the keys if there is no reason to fetch them.
func (s *keySet) known(id string, now time.Time) (keys []jose.JSONWebKey, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := !s.fetched.IsZero() && now.Sub(s.fetched) < freshFor
	keys = named(s.keys, id)
	justAsked := !s.asked.IsZero() && now.Sub(s.asked) < askAgain
	return keys, fresh && (len(keys) > 0 || justAsked)
}

// took takes in what fetching gave, and returns the keys to use now.
func (s *keySet) took(keys []jose.JSONWebKey, err error, id string, now time.Time) ([]jose.JSONWebKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = now
	if err == nil {
		s.keys, s.fetched = keys, now
	} else if s.fetched.IsZero() || now.Sub(s.fetched) >= staleFor {
		return nil, err
	}
	return named(s.keys, id), nil
}

// named returns the keys of an id, or all for no id.
func named(keys []jose.JSONWebKey, id string) []jose.JSONWebKey {
	if id == "" {
		return keys
	}
	var found []jose.JSONWebKey
	for _, k := range keys {
		if k.KeyID == id {
			found = append(found, k)
		}
	}
	return found
}

// fetchKeys gets a provider's keys over the network.
func (v *Verifier) fetchKeys(ctx context.Context, p Provider) ([]jose.JSONWebKey, error) {
	const unreachable = "The identity provider could not be reached to get the keys that it signs with"
	from := p.KeysURL
	if from == "" {
		document, err := v.cfg.Fetch(ctx, strings.TrimSuffix(p.URL, "/")+"/.well-known/openid-configuration")
		if err != nil {
			return nil, refuse(Unreachable, unreachable)
		}
		var discovered struct {
			Issuer  string `json:"issuer"`
			KeysURL string `json:"jwks_uri"`
		}
		if json.Unmarshal(document, &discovered) != nil || bare(discovered.Issuer) != bare(p.URL) || discovered.KeysURL == "" {
			return nil, refuse(Invalid, "The discovery document of the identity provider is not one, or another provider's")
		}
		from = discovered.KeysURL
	}
	text, err := v.cfg.Fetch(ctx, from)
	if err != nil {
		return nil, refuse(Unreachable, unreachable)
	}
	return parseKeys(text), nil
}

// parseKeys returns the keys of a JSON Web Key Set that can verify a signature. Others, which providers
// have for other uses or of kinds not known here, are passed over.
func parseKeys(text []byte) []jose.JSONWebKey {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil {
		return nil
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if len(keys) == maxKeys || json.Unmarshal(raw, &k) != nil || k.Use != "" && k.Use != "sig" {
			continue
		}
		switch public := k.Key.(type) {
		case *rsa.PublicKey:
			if public.N.BitLen() >= minRSA {
				keys = append(keys, k)
			}
		case *ecdsa.PublicKey:
			keys = append(keys, k)
		}
	}
	return keys
}

// KeyIDs returns the ids of the keys in a JSON Web Key Set that tokens can be verified with: what an
// operator is shown of it.
func KeyIDs(set string) []string {
	var ids []string
	for _, k := range parseKeys([]byte(set)) {
		ids = append(ids, k.KeyID)
	}
	return ids
}
