package sts_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	client "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/go-jose/go-jose/v4"

	"github.com/headrace/headrace/internal/api/sts"
	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/auth/webidentity"
	"github.com/headrace/headrace/internal/clock"
	coordinatormem "github.com/headrace/headrace/internal/coordinator/mem"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/wire"
)

const (
	acct   = "111122223333"
	other  = "444455556666"
	trust  = `{"Version":"2012-10-17","Statement":[]}`
	policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kinesis:GetRecords","Resource":"*"}]}`
	role   = "arn:aws:iam::" + acct + ":role/reader"
	issuer = "https://idp.example"
)

// judge is package policy in a test: it answers as it was told, and remembers what it was asked.
type judge struct {
	mu     sync.Mutex
	deny   map[string]bool // by action
	broken error
	asked  []sts.Question
}

func (j *judge) Allows(_ context.Context, q sts.Question) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, q)
	return !j.deny[q.Action], j.broken
}

// last returns the question about an action that was asked last.
func (j *judge) last(t *testing.T, action string) sts.Question {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := len(j.asked) - 1; i >= 0; i-- {
		if j.asked[i].Action == action {
			return j.asked[i]
		}
	}
	t.Fatalf("nobody asked about %s", action)
	return sts.Question{}
}

// world is the service behind a port.
type world struct {
	t           *testing.T
	clock       *clock.Manual
	keys        *keyring.Keyring
	judge       *judge
	url         string
	alice, root *keyring.NewKey
	idp         *ecdsa.PrivateKey
}

func newWorld(t *testing.T, change ...func(*sts.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(time.Date(2026, 11, 23, 10, 11, 12, 0, time.UTC)), judge: &judge{deny: map[string]bool{}}}
	cfg := sts.Config{Policies: w.judge}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	w.keys, err = keyring.Open(t.Context(), keyring.Config{Coordinator: coordinatormem.New(), Key: secret.NewKey(), Clock: w.clock, AcceptUnverified: cfg.AnyCredentials})
	w.ok(err)
	t.Cleanup(func() { w.keys.Close() })
	w.root, err = w.keys.Bootstrap(t.Context(), acct, "main")
	w.ok(err)
	_, err = w.keys.CreateUser(t.Context(), acct, "alice")
	w.ok(err)
	w.alice, err = w.keys.CreateAccessKey(t.Context(), keyring.Whose{Account: acct, User: "alice"})
	w.ok(err)
	_, err = w.keys.CreateRole(t.Context(), acct, "reader", keyring.RoleSpec{Trust: trust, MaxSession: 2 * time.Hour})
	w.ok(err)

	cfg.Keys = w.keys
	cfg.Tokens = webidentity.New(webidentity.Config{Clock: w.clock, Fetch: func(context.Context, string) ([]byte, error) { return nil, errors.New("no network") }})
	handler := wire.NewHandler(wire.Config{
		Services: []wire.Service{sts.New(cfg).Wire()}, Authenticate: w.authenticate(cfg.AnyCredentials), Clock: w.clock,
		Observer: wire.Observer{Failed: func(_ wire.Event, err error, _ []byte) { t.Logf("failed: %v", err) }},
	})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// authenticate accepts the keys there are, whatever the signature, as a verifier would if it were right.
func (w *world) authenticate(anybody bool) sigv4.FormOnly {
	if anybody {
		return sigv4.FormOnly{}
	}
	return sigv4.FormOnly{Known: func(id sigv4.Identity) (sigv4.Identity, error) {
		cred, err := w.keys.Lookup(id.AccessKeyID, id.SessionToken)
		switch {
		case errors.Is(err, keyring.ErrExpired):
			return id, &sigv4.Refusal{Reason: sigv4.Expired}
		case err != nil:
			return id, &sigv4.Refusal{Reason: sigv4.UnknownKey}
		}
		id.Account = cred.Caller.Account
		return id, nil
	}}
}

// as returns a client with credentials.
func (w *world) as(id, secret, token string) *client.Client {
	return client.New(client.Options{
		Region: "eu-west-1", BaseEndpoint: &w.url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, token),
	})
}

func (w *world) asUser() *client.Client { return w.as(w.alice.ID, w.alice.Secret.Reveal(), "") }
func (w *world) asRoot() *client.Client { return w.as(w.root.ID, w.root.Secret.Reveal(), "") }

func (w *world) anonymous() *client.Client {
	return client.New(client.Options{Region: "eu-west-1", BaseEndpoint: &w.url, Credentials: aws.AnonymousCredentials{}, RetryMaxAttempts: 1})
}

// refused checks an error's status, code and text.
func (w *world) refused(err error, status int, code, text string) {
	w.t.Helper()
	var api smithy.APIError
	var response interface{ HTTPStatusCode() int }
	if !errors.As(err, &api) || !errors.As(err, &response) {
		w.t.Errorf("got %v, want %s", err, code)
		return
	}
	if api.ErrorCode() != code || api.ErrorMessage() != text || response.HTTPStatusCode() != status {
		w.t.Errorf("got %d %s: %s\nwant %d %s: %s", response.HTTPStatusCode(), api.ErrorCode(), api.ErrorMessage(), status, code, text)
	}
}

// whoami returns the ARN of credentials, as the server sees them.
func (w *world) whoami(c *client.Client) string {
	w.t.Helper()
	out, err := c.GetCallerIdentity(w.t.Context(), nil)
	w.ok(err)
	return *out.Arn
}

// assume is the least request for the test's role, with changes.
func assume(change ...func(*client.AssumeRoleInput)) *client.AssumeRoleInput {
	in := &client.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("shift")}
	for _, f := range change {
		f(in)
	}
	return in
}

// trustProvider makes a provider whose tokens are accepted, and returns what signs them.
func (w *world) trustProvider() {
	w.t.Helper()
	var err error
	w.idp, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.ok(err)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: w.idp.Public(), KeyID: "k"}}})
	w.ok(err)
	w.ok(w.keys.PutProvider(w.t.Context(), keyring.Provider{Account: acct, URL: issuer, Audiences: []string{"app"}, Keys: string(set)}))
}

// token signs claims as the provider.
func (w *world) token(changes map[string]any) string {
	w.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: w.idp, KeyID: "k"}}, nil)
	w.ok(err)
	claims := map[string]any{"iss": issuer, "sub": "repo:o/r", "aud": "app", "exp": w.clock.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, changes)
	text, err := json.Marshal(claims)
	w.ok(err)
	signed, err := signer.Sign(text)
	w.ok(err)
	token, err := signed.CompactSerialize()
	w.ok(err)
	return token
}

// long returns a text of n letters.
func long(n int) string { return strings.Repeat("x", n) }
