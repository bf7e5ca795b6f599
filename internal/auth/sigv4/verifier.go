package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/clock"
)

const (
	// basicFormat is ISO 8601's basic format, the only one that X-Amz-Date has.
	basicFormat = "20060102T150405Z"
	// maxExpires is the longest that a presigned URL may be valid, in seconds: a week.
	maxExpires = 604800

	unsignedPayload         = "UNSIGNED-PAYLOAD"
	signedChunks            = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	signedChunksTrailer     = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	unsignedChunksTrailer   = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	emptyHash               = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	hostMustBeSigned        = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
	targetMustBeSigned      = "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."
	trailerIsRequired       = "The request requires an 'X-Amz-Trailer' header."
	decodedLengthIsRequired = "The request requires an 'X-Amz-Decoded-Content-Length' header."
)

// Verifier verifies signatures. It is safe for concurrent use.
type Verifier struct {
	keys    Keys
	clock   clock.Clock
	derived *signingKeys
}

// NewVerifier returns a verifier of the signatures of keys, at the time of now.
func NewVerifier(keys Keys, now clock.Clock) *Verifier {
	return &Verifier{keys: keys, clock: now, derived: newSigningKeys()}
}

// Begin verifies what the headers and the URL of r allow: everything, but for a body that has to be
// read first. Errors are *Refusal, or those of the keys; c then serves for another Begin only.
func (v *Verifier) Begin(c *Check, r *http.Request, rules Rules) error {
	c.begin(r)
	c.verifier, c.rules, c.now = v, rules, v.clock.Now()
	query, err := c.readCredential()
	if err != nil {
		return err
	}
	if c.token = first(r.Header, "X-Amz-Security-Token"); c.token == "" {
		c.token = query.Get("X-Amz-Security-Token")
	}
	c.key, err = v.keys.Lookup(r.Context(), c.credential.AccessKeyID, c.token)
	switch {
	case errors.Is(err, ErrNoKey) || err == nil && !c.key.Active:
		return refuse(UnknownKey, "")
	case errors.Is(err, ErrExpired):
		return refuse(Expired, "")
	case err != nil:
		return fmt.Errorf("look up access key: %w", err)
	}
	c.identity = Identity{
		Account: c.key.Account, Region: c.credential.Region,
		AccessKeyID: c.credential.AccessKeyID, Principal: c.key.Principal, SessionToken: c.token,
	}
	if err := c.setPayload(query); err != nil {
		return err
	}
	if c.hash != "" {
		if err := c.verify([]byte(c.hash)); err != nil {
			return err
		}
	}
	if c.payload == chunked {
		if err := c.beginChunks(); err != nil {
			return err
		}
	}
	c.begun = true
	return nil
}

// readCredential reads the credential and judges all of it but the signature. It returns the URL's
// query.
func (c *Check) readCredential() (url.Values, error) {
	credential, scope, query, err := read(c.r)
	if err != nil {
		return nil, err
	}
	c.credential = credential
	if err := c.setTime(); err != nil {
		return nil, err
	}
	c.names = readNames(credential.SignedHeaders)
	if !c.names.host {
		return nil, refuse(Invalid, hostMustBeSigned)
	}
	// The target is what the request does. All clients sign it, and AWS says that they must.
	if !c.names.target && c.r.Header["X-Amz-Target"] != nil {
		return nil, refuse(Invalid, targetMustBeSigned)
	}
	return query, c.credential.setScope(scope, c.rules.Service, string(c.stamp[:]))
}

// names is what matters of a list of signed headers.
type names struct {
	host, target bool // they are among them
	// malformed says that they could not be names of headers in lower case. A header cannot carry
	// much else, but a query can carry what would end lines of the canonical request.
	malformed bool
}

func readNames(list string) (n names) {
	start := 0
	for i := range len(list) + 1 {
		if i < len(list) && list[i] != ';' {
			c := list[i]
			n.malformed = n.malformed || c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z'
			continue
		}
		switch list[start:i] {
		case "host", ":authority":
			n.host = true
		case "x-amz-target":
			n.target = true
		}
		start = i + 1
	}
	return n
}

// setTime reads the signing time and compares it with now. A presigned URL is valid for as long as it
// says from then on, everything else for the skew. AWS has one text for both.
func (c *Check) setTime() error {
	signed, ok := c.readTime(c.credential.Time)
	if !ok {
		return refuse(Incomplete, "Date must be in ISO-8601 'basic format'. Got '"+c.credential.Time+
			"'. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	skew := c.rules.Skew
	if skew == 0 {
		skew = defaultSkew
	}
	life := skew
	if c.credential.Expires != "" {
		seconds, err := strconv.Atoi(c.credential.Expires)
		switch {
		case err != nil:
			return refuse(Incomplete, "X-Amz-Expires should be a number")
		case seconds < 1:
			return refuse(Incomplete, "X-Amz-Expires must be positive")
		case seconds > maxExpires:
			return refuse(Incomplete, "X-Amz-Expires must be less than a week (in seconds); "+
				"that is, the given X-Amz-Expires must be less than 604800 seconds")
		}
		life = time.Duration(seconds) * time.Second
	}
	now := c.now.UTC()
	if earliest := now.Add(-life); signed.Before(earliest) {
		return refuse(Invalid, "Signature expired: "+string(c.stamp[:])+" is now earlier than "+
			earliest.Format(basicFormat)+" ("+now.Format(basicFormat)+" - "+inWords(life)+")")
	}
	if latest := now.Add(skew); signed.After(latest) {
		return refuse(Invalid, "Signature not yet current: "+string(c.stamp[:])+" is still later than "+
			latest.Format(basicFormat)+" ("+now.Format(basicFormat)+" + "+inWords(skew)+")")
	}
	return nil
}

// readTime reads a signing time and sets the stamp. That of a Date header may be HTTP's.
func (c *Check) readTime(s string) (time.Time, bool) {
	if t, ok := parseBasic(s); ok {
		copy(c.stamp[:], s)
		return t, true
	}
	t, err := http.ParseTime(s)
	if err != nil || t.Year() > 9999 {
		return time.Time{}, false
	}
	t = t.UTC()
	t.AppendFormat(c.stamp[:0], basicFormat)
	return t, true
}

// parseBasic reads a time in basicFormat, as time.Parse does in five times as long; every request has one.
func parseBasic(s string) (t time.Time, ok bool) {
	if len(s) != len(basicFormat) || s[8] != 'T' || s[15] != 'Z' {
		return t, false
	}
	number := func(from, to int) (n int) {
		for _, c := range []byte(s[from:to]) {
			if c < '0' || c > '9' {
				return -1
			}
			n = 10*n + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(4, 6), number(6, 8)
	hour, minute, second := number(9, 11), number(11, 13), number(13, 15)
	t = time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	// Date takes the 30th of February for the 2nd of March; no such time comes back as it was.
	return t, year >= 0 && second >= 0 && second < 60 && minute >= 0 && minute < 60 && hour >= 0 && hour < 24 &&
		day > 0 && t.Day() == day && month > 0 && int(t.Month()) == month
}

// inWords returns d as AWS writes it, such as "5 min.".
func inWords(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + " min."
	}
	return strconv.Itoa(int(d/time.Second)) + " sec."
}

// setPayload finds out how the body takes part. What the service does not take is refused as AWS's
// services do that know nothing of it: they compute the body's hash, and the signature is another.
func (c *Check) setPayload(query url.Values) error {
	c.hash = first(c.r.Header, "X-Amz-Content-Sha256")
	if c.hash == "" && c.credential.Presigned {
		c.hash = query.Get("X-Amz-Content-Sha256")
	}
	may := func(p Payloads) bool { return c.rules.Payloads&p != 0 }
	switch c.hash {
	case "":
		switch {
		case may(Endless):
			c.payload, c.hash = ignored, emptyHash
		case may(Unsigned) && c.credential.Presigned:
			c.payload, c.hash = ignored, unsignedPayload
		default:
			c.payload = hashed
		}
		return nil
	case unsignedPayload:
		if may(Unsigned) {
			c.payload = ignored
			return nil
		}
	case signedChunks, signedChunksTrailer, unsignedChunksTrailer:
		if may(Chunked) {
			c.payload = chunked
			return nil
		}
		if may(Endless) && c.hash == signedChunks {
			c.payload = ignored
			return nil
		}
	case emptyHash:
		c.payload = declared
		if may(Endless) {
			c.payload = ignored
		}
		return nil
	default:
		if len(c.hash) == len(emptyHash) { // it is compared with the body's, which is in hex
			c.payload = declared
			return nil
		}
	}
	return refuse(Invalid, "")
}

// verify compares the signature with the one that the request should have, given the hash of its
// payload.
func (c *Check) verify(payload []byte) error {
	if c.names.malformed {
		return refuse(Invalid, "")
	}
	cached := c.verifier.derived.get(&c.credential, c.key.Secret, &c.known)
	if c.signing = c.known.key; !cached {
		c.signing = derive(&c.credential, c.key.Secret)
	}
	way := reading{host: c.r.Host, path: c.r.URL.Path, plain: c.rules.PlainPath}
	if !way.plain && way.path != "/" {
		way.path = c.r.URL.EscapedPath()
	}
	bare := withoutPort(c.r.Host)
	for {
		if c.matches(way, payload) {
			break
		}
		switch {
		case way.host != bare:
			way.host = bare
		case !way.plain && !isNormal(way.path):
			way.host, way.plain = c.r.Host, true
		default:
			return refuse(Invalid, "")
		}
	}
	if !cached {
		c.verifier.derived.put(&c.credential, c.key.Secret, &c.signing)
	}
	return nil
}

// matches reports whether the signature is that of the request, read in one of the ways there are.
func (c *Check) matches(way reading, payload []byte) bool {
	z := &c.canonical
	if !z.request(c.r, &c.credential, way) {
		return false
	}
	z.buf = append(z.buf, payload...)
	c.digest = sha256.Sum256(z.buf)

	b := append(z.buf[:0], Algorithm...)
	b = c.appendScope(append(b, '\n'))
	b = append(b, '\n')
	z.buf = hex.AppendEncode(b, c.digest[:])
	return c.isSignature(z.buf, c.credential.Signature)
}

// appendScope writes the two lines that every string to sign has: the time and the credential scope.
func (c *Check) appendScope(b []byte) []byte {
	b = append(b, c.stamp[:]...)
	b = append(b, '\n')
	for _, part := range []string{c.credential.Date, c.credential.Region, c.credential.Service} {
		b = append(b, part...)
		b = append(b, '/')
	}
	return append(b, terminator...)
}

// isSignature reports whether signature, in lower-case hex, is that of text. It takes as long for a
// wrong one as for the right one.
func (c *Check) isSignature(text []byte, signature string) bool {
	if c.mac == nil || c.macOf != c.signing {
		c.mac, c.macOf = hmac.New(sha256.New, c.signing[:]), c.signing
	}
	c.mac.Reset()
	_, _ = c.mac.Write(text) // never fails
	var right [2 * sha256.Size]byte
	hex.Encode(right[:], c.mac.Sum(c.digest[:0]))
	return subtle.ConstantTimeCompare(right[:], []byte(signature)) == 1
}

// checkToken compares the session token with the key's, and the time with the key's end.
func (c *Check) checkToken() error {
	if !sameText(c.token, c.key.Token.Reveal()) {
		return refuse(UnknownKey, "")
	}
	if !c.key.Expires.IsZero() && !c.now.Before(c.key.Expires) {
		return refuse(Expired, "")
	}
	return nil
}

// withoutPort returns host without the port, if it has one.
func withoutPort(host string) string {
	if !strings.Contains(host, ":") {
		return host
	}
	bare, _, err := net.SplitHostPort(host)
	if err != nil {
		return host
	}
	if strings.HasPrefix(host, "[") {
		return host[:len(bare)+2]
	}
	return bare
}
