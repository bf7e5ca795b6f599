package sigv4

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Keys finds access keys. It is called once for every signed request, so it must be fast, and it must
// be safe for concurrent use.
type Keys interface {
	// Lookup returns the key with that id, and ErrNoKey when there is none. Any other error is a
	// fault of the server.
	Lookup(ctx context.Context, accessKeyID string) (Key, error)
}

// ErrNoKey says that no access key has that id.
var ErrNoKey = errors.New("no such access key")

// Key is an access key and whose it is.
type Key struct {
	// Secret is the secret access key.
	Secret Secret
	// Account is the 12-digit id of the account that the key acts for, Principal the ARN of who
	// holds it.
	Account, Principal string
	// Token is the session token that must come with a temporary key. The zero Secret means that
	// the key is not temporary, and that a request with a token is refused.
	Token Secret
	// Expires is when a temporary key ends; zero means never.
	Expires time.Time
	// Active is false for a key that was disabled: to its caller it does not exist.
	Active bool
}

// Secret is a text that does not print: whatever formats, logs or encodes it, or a structure that
// holds it, gets a placeholder. Only Reveal returns it. The zero Secret is empty.
type Secret struct {
	text *string // behind a pointer: package fmt calls no methods of unexported fields
}

const redacted = "[secret]"

// NewSecret returns text as a Secret.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == nil || *s.text == "" }

// String returns a placeholder.
func (Secret) String() string { return redacted }

// GoString returns a placeholder.
func (Secret) GoString() string { return redacted }

// Format writes a placeholder, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) } // as package fmt itself

// MarshalText returns a placeholder, in JSON and elsewhere.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns a placeholder.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
