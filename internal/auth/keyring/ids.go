package keyring

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"

	"github.com/headrace/headrace/internal/secret"
)

// What ids begin with, as on AWS.
const (
	longTermPrefix = "AKIA"
	sessionPrefix  = "ASIA"
	userIDPrefix   = "AIDA"
	roleIDPrefix   = "AROA"
)

// newID returns the prefix and 16 letters and digits, 80 bits of them random: AWS's form for access
// keys. Users and roles have one more.
func newID(prefix string) string {
	var random [10]byte
	rand.Read(random[:]) // never fails
	return prefix + base32.StdEncoding.EncodeToString(random[:])
}

// newPrincipalID returns the id of a user or role: 17 letters and digits after the prefix.
func newPrincipalID(prefix string) string {
	id := newID(prefix)
	return id + newID("")[:1]
}

// newSecret returns a secret access key: 40 characters of base64, 240 bits.
func newSecret() secret.Text {
	var random [30]byte
	rand.Read(random[:]) // never fails
	return secret.NewText(base64.StdEncoding.EncodeToString(random[:]))
}

// IsSessionKey reports whether an access key id is that of a session.
func IsSessionKey(accessKeyID string) bool {
	return len(accessKeyID) > len(sessionPrefix) && accessKeyID[:len(sessionPrefix)] == sessionPrefix
}

// IsAccount reports whether s is an account id: twelve digits.
func IsAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
