// Package sigv4 says who signed a request with AWS Signature Version 4, and whether what arrived is
// what was signed. It accepts both places a signature may stand in, the Authorization header and the
// query string of a presigned URL, and refuses with AWS's own errors.
//
// A request is judged in two steps, because most clients sign their body's hash without sending it:
// an authenticator's Begin reads headers and URL, the body is read through Check.Body, and
// Check.Finish decides. FormOnly and Verifier are the two authenticators: the first believes every
// signature of the right form, the second computes it again with the key's secret.
//
// It decides nothing about permission, and it keeps no keys: Keys finds them.
//
//	var c sigv4.Check
//	defer c.Reset()
//	if err := verifier.Begin(&c, r, sigv4.Rules{Service: "kinesis"}); err != nil { ... }
//	body, err := io.ReadAll(c.Body(r.Body))
//	identity, err := c.Finish()
//
// # The order of checks
//
// It is AWS's, as far as others have observed it: two signatures or none; the signature's parts; the
// time; that the host is signed; the algorithm; the credential's five elements, then what they say, all
// of it in one message; the access key; the signature; the session token. What a bad body costs its
// caller comes with the signature.
package sigv4

import (
	"net/http"
	"net/url"
	"strings"
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
	// SessionToken is X-Amz-Security-Token, "" if there is none.
	SessionToken string
	// Time is the signing time as sent: X-Amz-Date, or the Date header when that is absent.
	Time string
	// Presigned says that the signature came in the query string. Expires is then
	// X-Amz-Expires as sent, in seconds.
	Presigned bool
	Expires   string
}

// Parse returns the signature of r. It does not look at the body and does not verify anything.
//
// Errors are *Refusal: Missing when there is no signature, Invalid when there are two or the scope is
// wrong, and Incomplete when parts are missing.
func Parse(r *http.Request) (Credential, error) {
	c, scope, _, err := read(r)
	if err != nil {
		return Credential{}, err
	}
	if err := c.setScope(scope, "", ""); err != nil {
		return Credential{}, err
	}
	return c, nil
}

// read finds the signature's parts without judging what they say: the scope is not taken apart. query
// is the URL's, nil when it has none.
func read(r *http.Request) (c Credential, scope string, query url.Values, err error) {
	header := first(r.Header, "Authorization")
	if r.URL.RawQuery != "" {
		query = r.URL.Query()
	}
	presigned := query.Has("X-Amz-Algorithm")
	switch {
	case header != "" && presigned:
		err = refuse(Invalid, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
	case header != "":
		scope, err = c.readHeader(header, r.Header)
	case presigned:
		scope, err = c.readQuery(query)
	default:
		err = refuse(Missing, "")
	}
	return c, scope, query, err
}

// readHeader reads "ALGORITHM Credential=..., SignedHeaders=..., Signature=...". AWS takes the
// parameters in any order, separated by commas, spaces or both, and names every missing one.
func (c *Credential) readHeader(header string, h http.Header) (scope string, err error) {
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
	c.Time = first(h, "X-Amz-Date")
	if c.Time == "" {
		c.Time = first(h, "Date")
	}
	c.SessionToken = first(h, "X-Amz-Security-Token")

	var m missing
	m.parameter(scope, "Authorization header requires 'Credential' parameter. ")
	m.parameter(c.Signature, "Authorization header requires 'Signature' parameter. ")
	m.parameter(c.SignedHeaders, "Authorization header requires 'SignedHeaders' parameter. ")
	m.parameter(c.Time, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	if m.text != "" {
		return "", refuse(Incomplete, m.text+"Authorization="+header)
	}
	return scope, nil
}

// cutParameter returns the text before the first comma or space and what follows the separators.
func cutParameter(s string) (parameter, rest string) {
	end := strings.IndexByte(s, ',')
	if end < 0 {
		end = len(s)
	}
	if space := strings.IndexByte(s[:end], ' '); space >= 0 {
		end = space
	}
	next := end
	for next < len(s) && (s[next] == ',' || s[next] == ' ') {
		next++
	}
	return s[:end], s[next:]
}

// first is h.Get for a key that is spelled as net/http spells it.
func first(h http.Header, key string) string {
	if values := h[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// readQuery reads the five parameters every presigned URL has.
func (c *Credential) readQuery(q url.Values) (scope string, err error) {
	*c = Credential{
		Algorithm:     q.Get("X-Amz-Algorithm"),
		SignedHeaders: q.Get("X-Amz-SignedHeaders"),
		Signature:     q.Get("X-Amz-Signature"),
		Time:          q.Get("X-Amz-Date"),
		SessionToken:  q.Get("X-Amz-Security-Token"),
		Presigned:     true,
		Expires:       q.Get("X-Amz-Expires"),
	}
	scope = q.Get("X-Amz-Credential")

	var m missing
	m.parameter(c.Algorithm, "AWS query-string parameters must include 'X-Amz-Algorithm'. ")
	m.parameter(scope, "AWS query-string parameters must include 'X-Amz-Credential'. ")
	m.parameter(c.Signature, "AWS query-string parameters must include 'X-Amz-Signature'. ")
	m.parameter(c.SignedHeaders, "AWS query-string parameters must include 'X-Amz-SignedHeaders'. ")
	m.parameter(c.Time, "AWS query-string parameters must include 'X-Amz-Date'. ")
	if m.text != "" {
		return "", refuse(Incomplete, m.text+"Re-examine the query-string parameters.")
	}
	return scope, nil
}

// setScope takes the scope apart. An access key may itself contain slashes, so it is read from the
// right. service is the signing name it must have and stamp the signing time whose day it must be of;
// either is not checked when empty.
func (c *Credential) setScope(scope, service, stamp string) error {
	if c.Algorithm != Algorithm {
		return refuse(Incomplete, "Unsupported AWS 'algorithm': '"+c.Algorithm+"'.")
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
		return refuse(Incomplete,
			"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '"+scope+"'")
	}
	var wrong []string
	if !validRegion(c.Region) {
		wrong = append(wrong, "Credential should be scoped to a valid region, not '"+c.Region+"'.")
	}
	if service != "" && c.Service != service {
		wrong = append(wrong, "Credential should be scoped to correct service: '"+service+"'.")
	}
	if end != terminator {
		wrong = append(wrong, "Credential should be scoped with a valid terminator: '"+terminator+"', not '"+end+"'.")
	}
	if stamp != "" && c.Date != stamp[:len("20060102")] {
		wrong = append(wrong, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+
			c.Date+"' != '"+stamp[:len("20060102")]+"', from '"+stamp+"'.")
	}
	if wrong != nil {
		return refuse(Invalid, strings.Join(wrong, " "))
	}
	return nil
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
