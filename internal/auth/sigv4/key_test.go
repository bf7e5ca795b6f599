package sigv4_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/secret"
)

// Whatever one does to print a key, its secrets stay where they are.
func TestSecretsDoNotPrint(t *testing.T) {
	const text = "hunter2"
	key := sigv4.Key{Secret: secret.NewText(text), Token: secret.NewText(text), Account: account}
	hidden := struct{ key sigv4.Key }{key} // package fmt sees it, but calls no methods
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%c", "%20s"} {
		fmt.Fprintf(&out, verb+"\n", key.Secret)
		fmt.Fprintf(&out, verb+"\n", &key.Secret)
		fmt.Fprintf(&out, verb+"\n", key)
		fmt.Fprintf(&out, verb+"\n", &key)
		fmt.Fprintf(&out, verb+"\n", hidden)
	}
	for _, log := range []*slog.Logger{
		slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil)),
	} {
		log.Info("x", "secret", key.Secret, "key", key, "hidden", hidden, "pointer", &key)
	}
	if err := json.NewEncoder(&out).Encode(map[string]any{"key": key, "secret": key.Secret, "hidden": hidden}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(&out, fmt.Errorf("use %v: %w", key, sigv4.ErrNoKey))
	if got := out.String(); strings.Contains(got, text) || strings.Contains(got, fmt.Sprintf("%x", text)) || !strings.Contains(got, "[secret]") {
		t.Errorf("a secret was printed, or nothing at all:\n%s", got)
	}
	if got := key.Secret.Reveal(); got != text {
		t.Errorf("revealed %q", got)
	}
	if zero := (secret.Text{}); zero.Reveal() != "" || fmt.Sprint(zero) != "[secret]" {
		t.Error("the zero Secret is not empty")
	}
}

// Each refusal has the words of its protocol.
func TestRefusalWords(t *testing.T) {
	f := func(reason sigv4.Reason, p sigv4.Protocol, status int, code, message string) {
		t.Helper()
		e := (&sigv4.Refusal{Reason: reason}).For(p)
		if e.HTTPStatus() != status || e.Code != code || e.Message != message {
			t.Errorf("got %d %s %q, want %d %s %q", e.HTTPStatus(), e.Code, e.Message, status, code, message)
		}
		if e := (&sigv4.Refusal{Reason: reason, Message: "m"}).For(p); e.Code != code || e.Message != "m" {
			t.Errorf("%s has %q in place of its own message", code, e.Message)
		}
	}
	const (
		other   = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
		invalid = "The security token included in the request is invalid."
		expired = "The security token included in the request is expired"
	)
	f(sigv4.Missing, sigv4.JSON, 400, "MissingAuthenticationTokenException", "Missing Authentication Token")
	f(sigv4.Missing, sigv4.RESTJSON, 403, "MissingAuthenticationTokenException", "Missing Authentication Token")
	f(sigv4.Missing, sigv4.Query, 403, "MissingAuthenticationToken", "Request is missing Authentication Token")
	f(sigv4.Incomplete, sigv4.JSON, 400, "IncompleteSignatureException", "")
	f(sigv4.Incomplete, sigv4.RESTJSON, 403, "IncompleteSignatureException", "")
	f(sigv4.Incomplete, sigv4.Query, 400, "IncompleteSignature", "")
	f(sigv4.Invalid, sigv4.JSON, 400, "InvalidSignatureException", other)
	f(sigv4.Invalid, sigv4.RESTJSON, 403, "InvalidSignatureException", other)
	f(sigv4.Invalid, sigv4.Query, 403, "SignatureDoesNotMatch", other)
	f(sigv4.UnknownKey, sigv4.JSON, 400, "UnrecognizedClientException", invalid)
	f(sigv4.UnknownKey, sigv4.RESTJSON, 403, "UnrecognizedClientException", invalid)
	f(sigv4.UnknownKey, sigv4.Query, 403, "InvalidClientTokenId", invalid)
	f(sigv4.Expired, sigv4.JSON, 400, "ExpiredTokenException", expired)
	f(sigv4.Expired, sigv4.RESTJSON, 403, "ExpiredTokenException", expired)
	f(sigv4.Expired, sigv4.Query, 403, "ExpiredToken", expired)
	f(sigv4.BadDigest, sigv4.Query, 400, "BadDigest", "")
}
