// Package webidentity verifies the tokens of OpenID Connect providers: that the provider signed one,
// that it is for us, and that its time has not passed. What the token says can then be asked of policies.
//
// It does not decide which providers are trusted nor what their users may do, it keeps no sessions, and
// it is no client of a login. Signatures are checked by go-jose.
//
//	v := webidentity.New(webidentity.Config{Clock: c, Fetch: webidentity.Fetcher()})
//	id, err := v.Verify(ctx, token, func(issuer string) (webidentity.Provider, bool) { … })
package webidentity

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/headrace/headrace/internal/clock"
)

// Provider is an OpenID Connect provider that is trusted.
type Provider struct {
	// URL is the issuer, as tokens name it.
	URL string
	// Audiences are the client ids whose tokens are accepted.
	Audiences []string
	// KeysURL is where its signing keys are fetched, and Keys are the keys themselves, a JSON Web Key Set;
	// with neither, the provider's discovery document says where they are.
	KeysURL, Keys string
}

// Identity is who a token is about.
type Identity struct {
	// Issuer is the token's iss without scheme and final slash, the form in which ARNs and conditions name
	// the provider.
	Issuer string
	// Subject is the token's sub, Audience the client id that it was accepted for.
	Subject, Audience string
	// Expires is when the token's time is over.
	Expires time.Time
	// Conditions are the values that policies may ask for, by key: the issuer, a colon and the claim's
	// name. As on AWS, aud is the client id that was accepted and oaud what the token itself has.
	Conditions map[string][]string
}

// Kind is why a token is refused.
type Kind uint8

const (
	// Invalid is InvalidIdentityToken.
	Invalid Kind = iota + 1
	// Expired is ExpiredTokenException.
	Expired
	// Unreachable is IDPCommunicationError: the provider's keys could not be fetched.
	Unreachable
)

// Error is a refusal with AWS's words for it, where they are known.
type Error struct {
	Kind    Kind
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func refuse(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// notAToken is what AWS says of anything that is no signed token.
const notAToken = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"

// algorithms are those that AWS accepts. Symmetric ones and none at all are not among them.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}
}

// Config says what a verifier stands on. Both fields are required.
type Config struct {
	Clock clock.Clock
	// Fetch gets what lies at a URL, for keys and discovery documents.
	Fetch func(ctx context.Context, url string) ([]byte, error)
}

// Verifier is safe for concurrent use. It keeps the keys that it has fetched.
type Verifier struct {
	cfg  Config
	keys cache
}

// New returns a verifier that has no keys yet.
func New(cfg Config) *Verifier {
	v := &Verifier{cfg: cfg}
	v.keys.init()
	return v
}

// claims are what every token must say.
type claims struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  jwt.Audience     `json:"aud"`
	Party     string           `json:"azp"`
	Expiry    *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
}

const (
	// leeway is how far ahead of ours a provider's clock may be.
	leeway = 5 * time.Minute
	// maxSubject is the longest subject, as on AWS.
	maxSubject = 255
)

// Verify returns who the token is about. find returns the provider that a token names as its issuer.
// Every refusal is an *Error.
func (v *Verifier) Verify(ctx context.Context, token string, find func(issuer string) (Provider, bool)) (*Identity, error) {
	parsed, c, err := parse(token)
	if err != nil {
		return nil, err
	}
	p, ok := find(c.Issuer)
	if !ok || strings.TrimSuffix(p.URL, "/") != strings.TrimSuffix(c.Issuer, "/") {
		return nil, refuse(Invalid, "No OpenIDConnect provider found in your account for %.300s", c.Issuer)
	}
	all, err := v.verified(ctx, p, parsed)
	if err != nil {
		return nil, err
	}
	if err := checkTimes(c, v.cfg.Clock.Now()); err != nil {
		return nil, err
	}
	return identity(c, p.Audiences, all)
}

// Unverified returns who a token says it is about. Nothing of it is checked but its form: this is for
// `headrace dev`, which believes everybody.
func Unverified(token string) (*Identity, error) {
	parsed, c, err := parse(token)
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := parsed.UnsafeClaimsWithoutVerification(&all); err != nil {
		return nil, refuse(Invalid, notAToken)
	}
	audiences := slices.Clone(c.Audience)
	if c.Party != "" {
		audiences = append(audiences, c.Party)
	}
	return identity(c, audiences, all)
}

// parse reads a token without believing it.
func parse(token string) (*jwt.JSONWebToken, *claims, error) {
	parsed, err := jwt.ParseSigned(token, algorithms())
	if err != nil {
		return nil, nil, refuse(Invalid, notAToken)
	}
	c := new(claims)
	if err := parsed.UnsafeClaimsWithoutVerification(c); err != nil {
		return nil, nil, refuse(Invalid, notAToken)
	}
	for _, required := range []struct {
		name  string
		there bool
	}{{"iss", c.Issuer != ""}, {"sub", c.Subject != ""}, {"aud", len(c.Audience) > 0}, {"exp", c.Expiry != nil}} {
		if !required.there {
			return nil, nil, refuse(Invalid, "Missing a required claim: %s", required.name)
		}
	}
	if len(c.Subject) > maxSubject {
		return nil, nil, refuse(Invalid, "The claim sub has more than %d characters", maxSubject)
	}
	return parsed, c, nil
}

// verified returns the claims of a token that one of the provider's keys has signed.
func (v *Verifier) verified(ctx context.Context, p Provider, token *jwt.JSONWebToken) (map[string]any, error) {
	const noKey = "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements"
	id := token.Headers[0].KeyID
	keys, err := v.keysOf(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, refuse(Invalid, noKey)
	}
	for _, key := range keys {
		var all map[string]any
		if token.Claims(key.Key, &all) == nil {
			return all, nil
		}
	}
	return nil, refuse(Invalid, "The signature of the token is not valid")
}

func checkTimes(c *claims, now time.Time) error {
	if expires := c.Expiry.Time(); !now.Before(expires) {
		return refuse(Expired, "Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), expires.Unix())
	}
	if c.NotBefore != nil && c.NotBefore.Time().After(now.Add(leeway)) {
		return refuse(Invalid, "The token is not valid before %d, and the current date/time is %d", c.NotBefore.Time().Unix(), now.Unix())
	}
	if c.IssuedAt != nil && c.IssuedAt.Time().After(now.Add(leeway)) {
		return refuse(Invalid, "The token was issued at %d, and the current date/time is %d", c.IssuedAt.Time().Unix(), now.Unix())
	}
	return nil
}

// identity finds the client id that a token is for, and returns what else it says.
func identity(c *claims, audiences []string, all map[string]any) (*Identity, error) {
	audience := ""
	if c.Party != "" {
		if slices.Contains(audiences, c.Party) {
			audience = c.Party
		}
	} else {
		for _, a := range c.Audience {
			if audience == "" && slices.Contains(audiences, a) {
				audience = a
			}
		}
	}
	if audience == "" {
		return nil, refuse(Invalid, "Incorrect token audience")
	}
	id := &Identity{Issuer: bare(c.Issuer), Subject: c.Subject, Audience: audience, Expires: c.Expiry.Time(), Conditions: map[string][]string{}}
	for name, claim := range all {
		if texts := texts(claim); texts != nil {
			id.Conditions[id.Issuer+":"+name] = texts
		}
	}
	id.Conditions[id.Issuer+":oaud"] = slices.Clone(c.Audience)
	id.Conditions[id.Issuer+":aud"] = []string{audience}
	return id, nil
}

// bare returns a URL without scheme and final slash.
func bare(url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		rest = url
	}
	return strings.TrimSuffix(rest, "/")
}

// texts returns a claim as the values of a condition key: a text, a number, a boolean or a list of
// texts. Of anything else no policy can ask.
func texts(claim any) []string {
	switch c := claim.(type) {
	case string:
		return []string{c}
	case bool:
		return []string{strconv.FormatBool(c)}
	case float64:
		return []string{strconv.FormatFloat(c, 'f', -1, 64)}
	case []any:
		list := make([]string, 0, len(c))
		for _, x := range c {
			s, ok := x.(string)
			if !ok {
				return nil
			}
			list = append(list, s)
		}
		return list
	}
	return nil
}
