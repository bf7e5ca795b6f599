package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"time"
)

// Rules are what a service asks of signatures.
type Rules struct {
	// Service is the signing name that credentials must be scoped to; empty takes any.
	Service string
	// Skew is how far a request's time may lie from ours; 0 means 5 minutes. AWS's STS takes 15.
	Skew time.Duration
	// Payloads are the kinds of body that the service takes beside one whose hash is signed. Most
	// of AWS's services take none of them.
	Payloads Payloads
	// PlainPath says that the path is signed as it is and encoded once, as S3 does. For all others
	// its dot segments and empty segments are removed and it is encoded twice, so they must route
	// on the path without them.
	PlainPath bool
}

// Payloads is a set of kinds of body.
type Payloads uint8

const (
	// Unsigned is UNSIGNED-PAYLOAD: the signature says nothing about the body.
	Unsigned Payloads = 1 << iota
	// Chunked is aws-chunked: a body whose chunks are signed, or end with a checksum, or both.
	Chunked
	// Endless is the body of PutMedia, which has no end to wait for. Its signature is over the
	// hash of nothing, or over the name of signed chunks that it does not have.
	Endless
)

// defaultSkew is Rules.Skew's.
const defaultSkew = 5 * time.Minute

// payload is how a request's body takes part in its signature.
type payload uint8

const (
	hashed   payload = iota // its hash is computed and signed, but not sent
	declared                // its hash is sent, signed and has to be computed
	chunked                 // its chunks are checked as they are read
	ignored                 // nobody looks at it
)

// Check is the judgement of one request. The zero Check is ready for an authenticator's Begin. It may
// serve one request after another, with Reset between them, and then needs no new memory. It belongs
// to one goroutine at a time.
type Check struct {
	judgement

	// What follows is memory that serves the next request too.

	canonical canonicalizer
	known     derived   // the last signature's, which is often the next one's
	mac       hash.Hash // with the signing key of the last signature
	macOf     signingKey
	sum       hash.Hash // of the body so far; nil until one was needed
	chunks    *chunks   // nil until one was needed
}

// judgement is what a Check knows of one request.
type judgement struct {
	begun    bool      // Begin succeeded
	verifier *Verifier // nil: the form was enough
	r        *http.Request
	rules    Rules
	now      time.Time

	credential Credential
	names      names // the credential's SignedHeaders
	identity   Identity
	key        Key
	token      string   // the session token, as sent
	stamp      [16]byte // the signing time, in ISO 8601's basic format
	payload    payload
	hash       string // the payload's line of the canonical request; empty: the body's hash

	signing signingKey
	digest  [sha256.Size]byte
	hex     [2 * sha256.Size]byte
	body    io.Reader
}

// Reset forgets the request and keeps the memory. What Body returned must not be used any more.
func (c *Check) Reset() {
	c.judgement = judgement{}
	if c.chunks != nil {
		c.chunks.reset()
	}
}

// begin starts over with another request.
func (c *Check) begin(r *http.Request) {
	if c.r != nil {
		c.Reset()
	}
	c.r, c.payload = r, ignored
}

// Body returns the reader that the body on the connection must be read through, to its end: it hands
// on the content, and learns what Finish has to know. Content-Encodings other than aws-chunked are
// the caller's to undo.
//
// A *Refusal from its Read says that the body is not what was signed. What was read before is not
// good either: only Finish says that it is.
func (c *Check) Body(r io.Reader) io.Reader {
	switch c.payload {
	case hashed, declared:
		c.body = r
		if c.sum == nil {
			c.sum = sha256.New()
		}
		c.sum.Reset()
		return (*hashing)(c)
	case chunked:
		c.chunks.in.Reset(r)
		return c.chunks
	}
	return r
}

// Chunked reports whether the body has a framing that Body takes off, so that its length is not the
// content's.
func (c *Check) Chunked() bool { return c.begun && c.payload == chunked }

// hashing is Check as the reader of a body whose hash is signed.
type hashing Check

// Read implements io.Reader.
func (c *hashing) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	_, _ = c.sum.Write(p[:n]) // never fails
	return n, err
}

// Finish returns the caller. It must come after the body was read, unless there is none or the service
// takes Endless bodies. Errors are *Refusal.
func (c *Check) Finish() (Identity, error) {
	if !c.begun {
		return Identity{}, refuse(Missing, "")
	}
	if c.verifier == nil {
		return c.identity, nil
	}
	if err := c.finishBody(); err != nil {
		return Identity{}, err
	}
	if err := c.checkToken(); err != nil {
		return Identity{}, err
	}
	return c.identity, nil
}

// finishBody compares the body with what was signed.
func (c *Check) finishBody() error {
	switch c.payload {
	case chunked:
		if !c.chunks.done {
			return refuse(Invalid, "")
		}
	case hashed:
		return c.verify(c.bodyHash())
	case declared:
		if string(c.bodyHash()) != c.hash {
			return refuse(Invalid, "")
		}
	}
	return nil
}

// bodyHash returns the hash of the body, in hex, in memory that lives until the next call.
func (c *Check) bodyHash() []byte {
	if c.body == nil {
		copy(c.hex[:], emptyHash)
	} else {
		hex.Encode(c.hex[:], c.sum.Sum(c.digest[:0]))
	}
	return c.hex[:]
}
