package keyring

import (
	"errors"
	"fmt"
)

// Kind is what sort of refusal an Error is; each stands for one of AWS's codes.
type Kind uint8

const (
	// NotFound is NoSuchEntity: what was named does not exist.
	NotFound Kind = iota + 1
	// Exists is EntityAlreadyExists.
	Exists
	// LimitExceeded is a cap that would be exceeded.
	LimitExceeded
	// Conflict is DeleteConflict: something must go first.
	Conflict
	// Invalid is ValidationError: a name or value that cannot be.
	Invalid
	// MalformedPolicy is MalformedPolicyDocument.
	MalformedPolicy
	// NoRoom is Throttling: the storage takes nothing now, and will again.
	NoRoom
)

// Error is a refusal with AWS's words for it.
type Error struct {
	Kind    Kind
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func refuse(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// IsKind reports whether err is an Error of that kind.
func IsKind(err error, k Kind) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == k
}

// The words of AWS's IAM.

func noSuch(what, name string) error {
	return refuse(NotFound, "The %s with name %s cannot be found.", what, name)
}

func already(what, name string) error {
	return refuse(Exists, "%s with name %s already exists.", what, name)
}

func overQuota(what string, most int) error {
	return refuse(LimitExceeded, "Cannot exceed quota for %s: %d", what, most)
}

// Why a credential is not accepted. To a caller the first three look the same.
var (
	// ErrUnknownKey says that there is no such access key, or not any more.
	ErrUnknownKey = errors.New("keyring: unknown access key")
	// ErrInactiveKey says that the access key has been disabled.
	ErrInactiveKey = errors.New("keyring: access key is not active")
	// ErrToken says that the session token is missing, is not one of ours, belongs to another key, or
	// that the principal it stands for is gone.
	ErrToken = errors.New("keyring: session token is not valid")
	// ErrExpired says that the session's time is over.
	ErrExpired = errors.New("keyring: session has expired")
)
