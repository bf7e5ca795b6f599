// Package secret holds what must not be shown and must not lie on a disk in clear: texts that print
// as [secret], the key of a node, and boxes that are sealed with keys derived from it.
//
// It is not a key management service and not a password store. Its ciphers are the standard library's
// (AES-256-GCM, HKDF with SHA-256); there is no format here but a version, a key's id and what the
// cipher makes. docs/format/secrets.md draws it.
//
//	key, err := secret.ReadFile(fs, "node.key")
//	box := key.Box("access keys")
//	row := box.Seal([]byte(text.Reveal()), []byte("auth/user/…"))
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// shown is what a secret looks like wherever it is printed.
const shown = "[secret]"

// Text is a text that must not be shown. Every way of printing it, as part of another value too, shows
// [secret] or nothing of it; only Reveal gives it out. The zero Text is empty. It is immutable.
//
// It holds a pointer, because package fmt does not ask unexported fields of other structs how they
// want to be printed: of a pointer it shows the address.
type Text struct{ text *string }

// NewText returns s as a secret.
func NewText(s string) Text { return Text{&s} }

// Reveal returns the text itself. Its callers sign, seal or hand it to the one person it is for.
func (t Text) Reveal() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

// Same reports whether both are the same text, and takes as long for a wrong one as for the right one.
func (t Text) Same(o Text) bool {
	return t.text == o.text || subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(o.Reveal())) == 1
}

// String returns [secret].
func (t Text) String() string { return shown }

// Format prints [secret] for every verb.
func (t Text) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, shown) } // a printer has no errors

// MarshalText returns [secret]: no encoder gets to see the text.
func (t Text) MarshalText() ([]byte, error) { return []byte(shown), nil }

// LogValue implements slog.LogValuer.
func (t Text) LogValue() slog.Value { return slog.StringValue(shown) }
