package sigv4

import (
	"context"
	"errors"
	"time"

	"github.com/headrace/headrace/internal/secret"
)

// Keys finds access keys. It is called once for every signed request, so it must be fast, and it must
// be safe for concurrent use.
type Keys interface {
	// Lookup returns the key with that id, given the session token that came with the request, ""
	// for none: temporary keys may be known by their token alone. It returns ErrNoKey when there
	// is none, and may return ErrExpired for a temporary key whose time is over. Any other error
	// is a fault of the server.
	Lookup(ctx context.Context, accessKeyID, token string) (Key, error)
}

var (
	// ErrNoKey says that no access key has that id.
	ErrNoKey = errors.New("no such access key")
	// ErrExpired says that the access key was temporary and has ended.
	ErrExpired = errors.New("the access key has expired")
)

// Key is an access key and whose it is.
type Key struct {
	// Secret is the secret access key.
	Secret secret.Text
	// Account is the 12-digit id of the account that the key acts for, Principal the ARN of who
	// holds it.
	Account, Principal string
	// Token is the session token that must come with a temporary key. An empty one means that
	// the key is not temporary, and that a request with a token is refused.
	Token secret.Text
	// Expires is when a temporary key ends; zero means never.
	Expires time.Time
	// Active is false for a key that was disabled: to its caller it does not exist.
	Active bool
}
