package webidentity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/headrace/headrace/internal/clock"
)

const issuer = "https://idp.example/tenant"

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// signer is a key of a provider.
type signer struct {
	id  string
	alg jose.SignatureAlgorithm
	key crypto.Signer
}

func newRSA(t testing.TB, id string, bits int) signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, jose.RS256, k}
}

func newEC(t testing.TB, id string, curve elliptic.Curve, alg jose.SignatureAlgorithm) signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, alg, k}
}

// token signs claims.
func (s signer) token(t testing.TB, claims map[string]any) string {
	t.Helper()
	return sign(t, jose.SigningKey{Algorithm: s.alg, Key: jose.JSONWebKey{Key: s.key, KeyID: s.id}}, claims)
}

func sign(t testing.TB, key jose.SigningKey, claims map[string]any) string {
	t.Helper()
	js, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := js.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// keySetOf returns the public halves as a JSON Web Key Set.
func keySetOf(t testing.TB, signers ...signer) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, s := range signers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.key.Public(), KeyID: s.id, Algorithm: string(s.alg), Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// good are the claims of a token that is accepted, with changes.
func good(changes ...any) map[string]any {
	c := map[string]any{
		"iss": issuer, "sub": "repo:o/r", "aud": "sts.amazonaws.com", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(c, changes[i].(string))
			continue
		}
		c[changes[i].(string)] = changes[i+1]
	}
	return c
}

// provider is a provider in a test, with what it publishes.
type provider struct {
	Provider
	documents map[string]string
	fetches   atomic.Int64
	down      atomic.Bool
}

func (p *provider) fetch(_ context.Context, url string) ([]byte, error) {
	p.fetches.Add(1)
	if text, ok := p.documents[url]; ok && !p.down.Load() {
		return []byte(text), nil
	}
	return nil, errors.New("no route to secret-host")
}

func (p *provider) find(url string) (Provider, bool) {
	return p.Provider, strings.TrimSuffix(url, "/") == issuer
}

func newProvider(keys string) *provider {
	return &provider{
		Provider: Provider{URL: issuer, Audiences: []string{"app", "sts.amazonaws.com"}},
		documents: map[string]string{
			issuer + "/.well-known/openid-configuration": `{"issuer":"` + issuer + `","jwks_uri":"https://idp.example/keys"}`,
			"https://idp.example/keys":                   keys,
		},
	}
}

func verify(t testing.TB, p *provider, token string) (*Identity, error) {
	t.Helper()
	return New(Config{Clock: clock.NewManual(now), Fetch: p.fetch}).Verify(t.Context(), token, p.find)
}

func TestAlgorithms(t *testing.T) {
	rs := newRSA(t, "rs", 2048)
	f := func(s signer) {
		t.Helper()
		id, err := verify(t, newProvider(keySetOf(t, s)), s.token(t, good()))
		if err != nil || id.Subject != "repo:o/r" || id.Audience != "sts.amazonaws.com" || id.Issuer != "idp.example/tenant" || !id.Expires.Equal(now.Add(time.Hour)) {
			t.Errorf("%s: got %+v, %v", s.alg, id, err)
		}
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512} {
		rs.alg = alg
		f(rs)
	}
	f(newEC(t, "a", elliptic.P256(), jose.ES256))
	f(newEC(t, "b", elliptic.P384(), jose.ES384))
	f(newEC(t, "c", elliptic.P521(), jose.ES512))
}

func TestRefusals(t *testing.T) {
	s, stranger := newEC(t, "k", elliptic.P256(), jose.ES256), newEC(t, "k", elliptic.P256(), jose.ES256)
	keys := keySetOf(t, s)
	f := func(token string, kind Kind, want string) {
		t.Helper()
		id, err := verify(t, newProvider(keys), token)
		var e *Error
		if !errors.As(err, &e) || e.Kind != kind || !strings.HasPrefix(e.Message, want) || id != nil {
			t.Errorf("got %v, %v; want kind %v, %q", id, err, kind, want)
		}
	}
	f("", Invalid, notAToken)
	f("opaque", Invalid, notAToken)
	f("a.b.c", Invalid, notAToken)
	f(strings.Repeat("A", 20000), Invalid, notAToken)

	// Without a signature, and with the public key taken for a shared secret.
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	claims, _ := json.Marshal(good())
	f(none+"."+base64.RawURLEncoding.EncodeToString(claims)+".", Invalid, notAToken)
	rs := newRSA(t, "k", 2048)
	shared := sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: rs.key.(*rsa.PrivateKey).N.Bytes(), KeyID: "k"}}, good())
	keys = keySetOf(t, rs)
	f(shared, Invalid, notAToken)
	keys = keySetOf(t, s)

	f(stranger.token(t, good()), Invalid, "The signature of the token is not valid")
	valid := s.token(t, good())
	head, rest, _ := strings.Cut(valid, ".")
	_, signature, _ := strings.Cut(rest, ".")
	forged, _ := json.Marshal(good("sub", "admin"))
	f(head+"."+base64.RawURLEncoding.EncodeToString(forged)+"."+signature, Invalid, "The signature of the token is not valid")
	f(signer{"other", s.alg, s.key}.token(t, good()), Invalid, "Couldn't retrieve verification key")
	f(signer{"k", jose.RS256, rs.key}.token(t, good()), Invalid, "The signature of the token is not valid")
	weak := newRSA(t, "weak", 1024)
	keys = keySetOf(t, weak)
	f(weak.token(t, good()), Invalid, "Couldn't retrieve verification key")
	keys = keySetOf(t, s)

	f(s.token(t, good("iss", "https://evil.example")), Invalid, "No OpenIDConnect provider found in your account for https://evil.example")
	f(s.token(t, good("iss", "http://idp.example/tenant")), Invalid, "No OpenIDConnect provider found in your account for http://idp.example/tenant")
	for _, name := range []string{"iss", "sub", "aud", "exp"} {
		f(s.token(t, good(name, nil)), Invalid, "Missing a required claim: "+name)
	}
	f(s.token(t, good("sub", strings.Repeat("x", 256))), Invalid, "The claim sub has more than 255 characters")
	f(s.token(t, good("exp", "tomorrow")), Invalid, notAToken)
	f(s.token(t, good("aud", 7)), Invalid, notAToken)
	f(s.token(t, good("exp", now.Unix())), Expired, "Token expired: current date/time 1795428000 must be before the expiration date/time 1795428000")
	f(s.token(t, good("nbf", now.Add(time.Hour).Unix())), Invalid, "The token is not valid before")
	f(s.token(t, good("iat", now.Add(time.Hour).Unix())), Invalid, "The token was issued at")
	f(s.token(t, good("aud", "else")), Invalid, "Incorrect token audience")
	f(s.token(t, good("azp", "else")), Invalid, "Incorrect token audience")
	f(stranger.token(t, good("exp", now.Unix())), Invalid, "The signature of the token is not valid")
}

func TestConditions(t *testing.T) {
	s := newEC(t, "k", elliptic.P256(), jose.ES256)
	id, err := verify(t, newProvider(keySetOf(t, s)), s.token(t, good(
		"iss", issuer+"/", "aud", []string{"x", "app"}, "amr", []string{"pwd", "mfa"}, "admin", true, "n", 7, "ref", "main",
		"nested", map[string]any{"a": 1}, "mixed", []any{"a", 1}, "azp", "sts.amazonaws.com")))
	if err != nil {
		t.Fatal(err)
	}
	const p = "idp.example/tenant:"
	want := map[string][]string{
		p + "iss": {issuer + "/"}, p + "sub": {"repo:o/r"}, p + "aud": {"sts.amazonaws.com"}, p + "oaud": {"x", "app"}, p + "azp": {"sts.amazonaws.com"},
		p + "exp": {"1795431600"}, p + "iat": {"1795428000"}, p + "amr": {"pwd", "mfa"}, p + "admin": {"true"}, p + "n": {"7"}, p + "ref": {"main"},
	}
	if !maps.EqualFunc(id.Conditions, want, slices.Equal) {
		t.Errorf("got %v, want %v", id.Conditions, want)
	}
}

// TestKeysGiven needs no network.
func TestKeysGiven(t *testing.T) {
	s, other := newEC(t, "", elliptic.P256(), jose.ES256), newRSA(t, "", 2048)
	p := newProvider("")
	p.Keys = strings.Replace(keySetOf(t, other, s), `{"keys":[`, `{"keys":[{"kty":"strange"},{"kty":"oct","k":"AAAA"},7,`, 1)
	if _, err := verify(t, p, s.token(t, good())); err != nil {
		t.Errorf("a key without an id, among others: %v", err)
	}
	if n := p.fetches.Load(); n != 0 {
		t.Errorf("%d documents were fetched", n)
	}
	if ids := KeyIDs(p.Keys); len(ids) != 2 {
		t.Errorf("got keys %q, want two", ids)
	}
}

// TestKeysChange follows a provider that changes its keys, goes away and comes back.
func TestKeysChange(t *testing.T) {
	a, b := newEC(t, "a", elliptic.P256(), jose.ES256), newEC(t, "b", elliptic.P256(), jose.ES256)
	p := newProvider(keySetOf(t, a))
	m := clock.NewManual(now)
	v := New(Config{Clock: m, Fetch: p.fetch})
	tokenA, tokenB := a.token(t, good("exp", now.Add(100*time.Hour).Unix())), b.token(t, good("exp", now.Add(100*time.Hour).Unix()))
	f := func(what, token string, fetches int64, kind Kind) {
		t.Helper()
		before := p.fetches.Load()
		_, err := v.Verify(t.Context(), token, p.find)
		var e *Error
		if kind == 0 && err != nil || kind != 0 && (!errors.As(err, &e) || e.Kind != kind) {
			t.Errorf("%s: got %v, want kind %v", what, err, kind)
		}
		if err != nil && strings.Contains(err.Error(), "secret-host") {
			t.Errorf("%s: the error says what only we should know: %v", what, err)
		}
		if got := p.fetches.Load() - before; got != fetches {
			t.Errorf("%s: %d documents were fetched, want %d", what, got, fetches)
		}
	}
	p.down.Store(true)
	f("down from the start", tokenA, 1, Unreachable)
	p.down.Store(false)
	f("up", tokenA, 2, 0)
	f("again", tokenA, 0, 0)
	f("an unknown key", tokenB, 0, Invalid)
	m.Advance(askAgain)
	p.documents["https://idp.example/keys"] = keySetOf(t, b)
	f("the new key", tokenB, 2, 0)
	f("the old key", tokenA, 0, Invalid)
	m.Advance(freshFor)
	p.down.Store(true)
	f("down, keys known", tokenB, 1, 0)
	m.Advance(staleFor)
	f("down for a day", tokenB, 1, Unreachable)
	p.down.Store(false)
	f("up again", tokenB, 2, 0)

	m.Advance(freshFor)
	p.documents[issuer+"/.well-known/openid-configuration"] = `{"issuer":"https://evil.example","jwks_uri":"https://idp.example/keys"}`
	f("another's document, keys known", tokenB, 1, 0)
	f2 := New(Config{Clock: m, Fetch: p.fetch})
	if _, err := f2.Verify(t.Context(), tokenB, p.find); err == nil || !strings.Contains(err.Error(), "another provider's") {
		t.Errorf("another's document: %v", err)
	}
}

// TestCrowd fetches once for many tokens at a time.
func TestCrowd(t *testing.T) {
	s := newEC(t, "k", elliptic.P256(), jose.ES256)
	p := newProvider(keySetOf(t, s))
	p.KeysURL = "https://idp.example/keys"
	v := New(Config{Clock: clock.NewManual(now), Fetch: p.fetch})
	token := s.token(t, good())
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), token, p.find); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

func TestFetcher(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxDocument+1)) })
	mux.HandleFunc("/gone", http.NotFound)
	fetch := Fetcher()
	f := func(url string, ok bool) {
		t.Helper()
		if text, err := fetch(t.Context(), url); (err == nil) != ok || ok && string(text) != "{}" {
			t.Errorf("%s: got %q, %v", url, text, err)
		}
	}
	f(srv.URL+"/ok", true)
	f(srv.URL+"/moved", true)
	f(srv.URL+"/loop", false)
	f(srv.URL+"/large", false)
	f(srv.URL+"/gone", false)
	f("file:///etc/hosts", false)
	f("::", false)
	secureMux := http.NewServeMux()
	secure := httptest.NewTLSServer(secureMux)
	defer secure.Close()
	secureMux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) })
	secureMux.Handle("/down", http.RedirectHandler(srv.URL+"/ok", http.StatusFound))
	secureMux.Handle("/moved", http.RedirectHandler(secure.URL+"/ok", http.StatusFound))
	fetch = fetcher(secure.Client().Transport)
	f(secure.URL+"/ok", true)
	f(secure.URL+"/moved", true)
	f(secure.URL+"/down", false) // from an encrypted place to one that is not
}

func TestUnverified(t *testing.T) {
	s := newEC(t, "k", elliptic.P256(), jose.ES256)
	id, err := Unverified(s.token(t, good("exp", now.Add(-time.Hour).Unix(), "aud", []string{"a", "b"})))
	if err != nil || id.Subject != "repo:o/r" || id.Audience != "a" {
		t.Errorf("got %+v, %v", id, err)
	}
	if _, err := Unverified("nonsense"); err == nil {
		t.Error("nonsense was believed")
	}
}

// FuzzVerify presents anything as a token: nothing but what the provider signed is accepted.
func FuzzVerify(f *testing.F) {
	s := newEC(f, "k", elliptic.P256(), jose.ES256)
	p := newProvider("")
	p.Keys = keySetOf(f, s)
	valid := s.token(f, good())
	f.Add(valid)
	f.Add("")
	f.Add("e30.e30.")
	f.Add(`{"payload":"e30","protected":"eyJhbGciOiJSUzI1NiJ9","signature":"AA"}`)
	f.Add(newEC(f, "k", elliptic.P256(), jose.ES256).token(f, good()))
	v := New(Config{Clock: clock.NewManual(now), Fetch: p.fetch})
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(t.Context(), token, p.find)
		if err == nil && strings.TrimSpace(token) != valid && id.Subject != "repo:o/r" {
			t.Fatalf("%q was accepted as %+v", token, id)
		}
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%q: %v is no refusal", token, err)
		}
		_, _ = Unverified(token)
	})
}

// FuzzKeys reads anything as a key set.
func FuzzKeys(f *testing.F) {
	f.Add(keySetOf(f, newEC(f, "k", elliptic.P256(), jose.ES256)))
	f.Add(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"}]}`)
	f.Add(`{"keys":[null,{}]}`)
	f.Fuzz(func(t *testing.T, text string) { KeyIDs(text) })
}
