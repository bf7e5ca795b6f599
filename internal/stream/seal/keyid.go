package seal

import (
	"errors"
	"strings"
)

var (
	// ErrNoKey says that a text names no key that a stream may have.
	ErrNoKey = errors.New("seal: no such key")
	// ErrForeignKey says that a text names the key that AWS manages for another service.
	ErrForeignKey = errors.New("seal: a key for another service")
)

// Named returns what a KeyId names, so that texts for the same key become the same: an id, or alias/ and
// a name, with account and region in front if they are not the given ones. It knows the forms of AWS's
// Key Management Service, and there is none to ask: every key that can be named is there.
func Named(text, account, region string) (string, error) {
	name, prefix := text, ""
	if rest, ok := strings.CutPrefix(text, "arn:"); ok {
		parts := strings.SplitN(rest, ":", 5) // partition, service, region, account, resource
		if len(parts) != 5 || !strings.HasPrefix(parts[0], "aws") || parts[1] != "kms" || parts[2] != region || !isAccount(parts[3]) {
			return "", ErrNoKey
		}
		if parts[3] != account {
			prefix = parts[3] + ":"
		}
		name = parts[4]
		if id, ok := strings.CutPrefix(name, "key/"); ok {
			name = id
		} else if !strings.HasPrefix(name, "alias/") {
			return "", ErrNoKey
		}
	}
	alias, ok := strings.CutPrefix(name, "alias/")
	switch {
	case !ok && !isID(name), ok && !isAlias(alias):
		return "", ErrNoKey
	case strings.HasPrefix(alias, "aws/") && alias != "aws/kinesis":
		return "", ErrForeignKey
	}
	return prefix + name, nil
}

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// isID reports whether s is the id of a key: a UUID, or that of a key of many regions.
func isID(s string) bool {
	const digits = "0123456789abcdefABCDEF"
	if rest, ok := strings.CutPrefix(s, "mrk-"); ok {
		return len(rest) == 32 && strings.Trim(rest, digits) == ""
	}
	parts := strings.Split(s, "-")
	if len(parts) != 5 {
		return false
	}
	for i, n := range []int{8, 4, 4, 4, 12} {
		if len(parts[i]) != n || strings.Trim(parts[i], digits) != "" {
			return false
		}
	}
	return true
}

// isAlias reports whether s is the name of an alias.
func isAlias(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("/_-", c) && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= 250
}
