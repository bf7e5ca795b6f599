package sigv4_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/secret"
)

const (
	keyID   = "AKIDEXAMPLE"
	hidden  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	tempID  = "ASIAEXAMPLE"
	token   = "IQoJb3JpZ2luX2VjEXAMPLE/token+with==signs"
	account = "123456789012"
)

// noon is when the tests take place.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// keyTable is all keys there are.
type keyTable map[string]sigv4.Key

// Lookup implements sigv4.Keys.
func (k keyTable) Lookup(_ context.Context, id, _ string) (sigv4.Key, error) {
	key, ok := k[id]
	if !ok {
		return sigv4.Key{}, sigv4.ErrNoKey
	}
	return key, nil
}

// newKeys returns a permanent key, a temporary one that ends in an hour, and one that is disabled.
func newKeys() keyTable {
	key := sigv4.Key{Secret: secret.NewText(hidden), Account: account, Principal: "arn:aws:iam::" + account + ":user/ann", Active: true}
	temporary := key
	temporary.Token, temporary.Expires = secret.NewText(token), noon.Add(time.Hour)
	disabled := key
	disabled.Active = false
	return keyTable{keyID: key, tempID: temporary, "AKIDDISABLED": disabled}
}

func newVerifier() *sigv4.Verifier { return sigv4.NewVerifier(newKeys(), clock.NewManual(noon)) }

// verify judges a request and returns its caller and its content.
func verify(v *sigv4.Verifier, r *http.Request, body []byte, rules sigv4.Rules) (sigv4.Identity, []byte, error) {
	var c sigv4.Check
	if err := v.Begin(&c, r, rules); err != nil {
		return sigv4.Identity{}, nil, err
	}
	content, err := io.ReadAll(c.Body(bytes.NewReader(body)))
	if err != nil {
		return sigv4.Identity{}, nil, err
	}
	identity, err := c.Finish()
	return identity, content, err
}

// received returns r as a server gets it.
func received(t testing.TB, r *http.Request, body []byte) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	r.Body, r.ContentLength = http.NoBody, int64(len(body))
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// expectRefusal checks that err is a refusal for that reason whose text begins so.
func expectRefusal(t *testing.T, name string, err error, reason sigv4.Reason, text string) {
	t.Helper()
	var refusal *sigv4.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("%s: got %v, want a refusal", name, err)
		return
	}
	if message := refusal.For(sigv4.JSON).Message; refusal.Reason != reason || !strings.HasPrefix(message, text) {
		t.Errorf("%s: got reason %d, %q, want reason %d, %q...", name, refusal.Reason, message, reason, text)
	}
}
