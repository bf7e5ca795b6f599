package keyring

import (
	"encoding/json"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The most characters of names and texts, as on AWS.
const (
	maxName        = 64
	maxPolicyName  = 128
	maxDescription = 1000
	maxDisplayName = 100
	maxTrust       = 2048
	maxUserPolicy  = 2048
	maxRolePolicy  = 10240
	maxIssuer      = 255
	maxAudiences   = 100
	maxKeySet      = 64 << 10
)

// checkName refuses what cannot be a name of a user, role or policy.
func checkName(member, name string, most int) error {
	switch {
	case name == "":
		return refuse(Invalid, "1 validation error detected: Value '' at '%s' failed to satisfy constraint: Member must have length greater than or equal to 1", member)
	case utf8.RuneCountInString(name) > most:
		return refuse(Invalid, "1 validation error detected: Value '%.200s' at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", name, member, most)
	case strings.Trim(name, nameLetters) != "":
		return refuse(Invalid, "The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", member)
	}
	return nil
}

// nameLetters are what names are made of. (Trimming all of them from both ends leaves nothing only if
// there is nothing else.)
const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@_-"

func checkAccount(account string) error {
	if !IsAccount(account) {
		return refuse(Invalid, "An account is twelve digits, not '%.40s'", account)
	}
	return nil
}

// checkText refuses a text for people that is too long or holds control characters.
func checkText(member, text string, most int) error {
	if utf8.RuneCountInString(text) > most {
		return refuse(Invalid, "1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", member, most)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return refuse(Invalid, "The specified value for %s is invalid. It must not contain control characters.", member)
	}
	return nil
}

// PolicyKind is what a policy document is for.
type PolicyKind uint8

const (
	// IdentityPolicy says what a user or role may do.
	IdentityPolicy PolicyKind = iota
	// TrustPolicy says who may assume a role.
	TrustPolicy
	// SessionPolicy narrows what a session may do.
	SessionPolicy
)

// CheckPolicy returns a MalformedPolicy error if the document is not one of its kind.
func (k *Keyring) CheckPolicy(kind PolicyKind, document string) error {
	if check := k.cfg.CheckPolicy; check != nil {
		if err := check(kind, document); err != nil {
			return refuse(MalformedPolicy, "%v", err)
		}
		return nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(document), &object) != nil || object == nil {
		return refuse(MalformedPolicy, "Syntax errors in policy.")
	}
	return nil
}

// size is how many characters of a document count: white space does not.
func size(document string) int {
	n := 0
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// slack is how many times longer than what counts a document may be: white space is free, but not
// without end.
const slack = 8

// checkSizes refuses policies that are larger together than their owner may have.
func checkSizes(what, name string, policies map[string]string, most int) error {
	total, raw := 0, 0
	for _, document := range policies {
		total += size(document)
		raw += len(document)
	}
	if total > most || raw > slack*most {
		return refuse(LimitExceeded, "Maximum policy size of %d bytes exceeded for %s %s", most, what, name)
	}
	return nil
}

// issuerOf returns an issuer's URL without its scheme, which is its name in ARNs and condition keys.
func issuerOf(issuer string) (string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(issuer) > maxIssuer {
		return "", refuse(Invalid, "Invalid Open ID Connect Provider URL: '%.300s'", issuer)
	}
	return strings.TrimSuffix(u.Host+u.Path, "/"), nil
}
