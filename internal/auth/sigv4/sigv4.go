// Package sigv4 reads AWS Signature Version 4 off a request: who signed it, for which region and
// service, and over what. It accepts both places a signature may stand in, the Authorization header
// and the query string of a presigned URL, and refuses what is incomplete with AWS's own errors.
//
// It checks form only. It knows no secret keys, does not compute signatures and decides nothing
// about permission: a Credential says who the caller claims to be.
package sigv4

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/headrace/headrace/internal/wire/shape"
)

const (
	// Algorithm is the one signing algorithm AWS's SDKs use for the services Headrace serves.
	Algorithm = "AWS4-HMAC-SHA256"
	// terminator ends every credential scope.
	terminator = "aws4_request"
	// maxRegion bounds a region's name: regions become part of names and keys further in.
	maxRegion = 64
)

// Credential is a signature as it stands in a request. Every string aliases the request's headers
// or URL.
type Credential struct {
	// Algorithm is the first word of the Authorization header, or X-Amz-Algorithm.
	Algorithm string
	// AccessKeyID, Date (YYYYMMDD), Region and Service are the credential scope.
	AccessKeyID, Date, Region, Service string
	// SignedHeaders names the signed headers as sent, separated by ';'. HTTP/2 clients may name
	// the pseudo-header :authority.
	SignedHeaders string
	// Signature is the signature as sent, normally 64 hex digits.
	Signature string
	// Time is the signing time as sent: X-Amz-Date, or the Date header when that is absent.
	Time string
	// Presigned says that the signature came in the query string. Expires is then
	// X-Amz-Expires as sent, in seconds.
	Presigned bool
	Expires   string
}

// Parse returns the signature of r. It does not look at the body and does not verify anything.
//
// Errors are *shape.Error with AWS's codes and texts: MissingAuthenticationTokenException when there
// is no signature, InvalidSignatureException when there are two or the scope is wrong, and
// IncompleteSignatureException when parts are missing.
func Parse(r *http.Request) (Credential, error) {
	header := r.Header.Get("Authorization")
	var query url.Values
	if r.URL.RawQuery != "" {
		query = r.URL.Query()
	}
	presigned := query.Has("X-Amz-Algorithm")
	switch {
	case header != "" && presigned:
		return Credential{}, refuse("InvalidSignatureException",
			"Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
	case header != "":
		return parseHeader(header, r.Header)
	case presigned:
		return parseQuery(query)
	}
	return Credential{}, refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
}

// parseHeader reads "ALGORITHM Credential=..., SignedHeaders=..., Signature=...". AWS takes the
// parameters in any order, separated by commas, spaces or both, and names every missing one.
func parseHeader(header string, h http.Header) (Credential, error) {
	var c Credential
	var scope string
	algorithm, rest := cutParameter(header)
	c.Algorithm = algorithm
	for rest != "" {
		var parameter string
		parameter, rest = cutParameter(rest)
		name, value, _ := strings.Cut(parameter, "=")
		switch name {
		case "Credential":
			scope = value
		case "SignedHeaders":
			c.SignedHeaders = value
		case "Signature":
			c.Signature = value
		}
	}
	c.Time = h.Get("X-Amz-Date")
	if c.Time == "" {
		c.Time = h.Get("Date")
	}

	var m missing
	m.parameter(scope, "Authorization header requires 'Credential' parameter. ")
	m.parameter(c.Signature, "Authorization header requires 'Signature' parameter. ")
	m.parameter(c.SignedHeaders, "Authorization header requires 'SignedHeaders' parameter. ")
	m.parameter(c.Time, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	if m.text != "" {
		return Credential{}, refuse("IncompleteSignatureException", m.text+"Authorization="+header)
	}
	return c.scoped(scope)
}

// cutParameter returns the text before the first comma or space and what follows the separators.
func cutParameter(s string) (parameter, rest string) {
	i := strings.IndexAny(s, ", ")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], ", ")
}

// parseQuery reads the five parameters every presigned URL has.
func parseQuery(q url.Values) (Credential, error) {
	c := Credential{
		Algorithm:     q.Get("X-Amz-Algorithm"),
		SignedHeaders: q.Get("X-Amz-SignedHeaders"),
		Signature:     q.Get("X-Amz-Signature"),
		Time:          q.Get("X-Amz-Date"),
		Presigned:     true,
		Expires:       q.Get("X-Amz-Expires"),
	}
	scope := q.Get("X-Amz-Credential")

	var m missing
	m.parameter(c.Algorithm, "AWS query-string parameters must include 'X-Amz-Algorithm'. ")
	m.parameter(scope, "AWS query-string parameters must include 'X-Amz-Credential'. ")
	m.parameter(c.Signature, "AWS query-string parameters must include 'X-Amz-Signature'. ")
	m.parameter(c.SignedHeaders, "AWS query-string parameters must include 'X-Amz-SignedHeaders'. ")
	m.parameter(c.Time, "AWS query-string parameters must include 'X-Amz-Date'. ")
	if m.text != "" {
		return Credential{}, refuse("IncompleteSignatureException", m.text+"Re-examine the query-string parameters.")
	}
	return c.scoped(scope)
}

// scoped returns c with its scope taken apart. An access key may itself contain slashes, so the
// scope is read from the right.
func (c Credential) scoped(scope string) (Credential, error) {
	if c.Algorithm != Algorithm {
		return Credential{}, refuse("IncompleteSignatureException", "Unsupported AWS 'algorithm': '"+c.Algorithm+"'.")
	}
	rest, end, ok := cutLast(scope)
	if ok {
		rest, c.Service, ok = cutLast(rest)
	}
	if ok {
		rest, c.Region, ok = cutLast(rest)
	}
	if ok {
		c.AccessKeyID, c.Date, ok = cutLast(rest)
	}
	if !ok || c.AccessKeyID == "" {
		return Credential{}, refuse("IncompleteSignatureException",
			"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '"+scope+"'")
	}
	if end != terminator {
		return Credential{}, refuse("InvalidSignatureException",
			"Credential should be scoped with a valid terminator: '"+terminator+"', not '"+end+"'.")
	}
	if !validRegion(c.Region) {
		return Credential{}, refuse("InvalidSignatureException",
			"Credential should be scoped to a valid region, not '"+c.Region+"'.")
	}
	return c, nil
}

// cutLast splits s around its last slash.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// validRegion reports whether s could be a region: letters, digits and hyphens. Names of regions
// that AWS does not have are fine.
func validRegion(s string) bool {
	if s == "" || len(s) > maxRegion {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && s[i] != '-' {
			return false
		}
	}
	return true
}

// missing collects AWS's sentences about absent parameters.
type missing struct{ text string }

func (m *missing) parameter(value, sentence string) {
	if value == "" {
		m.text += sentence
	}
}

func refuse(code, message string) error { return &shape.Error{Code: code, Message: message} }
