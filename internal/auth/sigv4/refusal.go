package sigv4

import "github.com/headrace/headrace/internal/wire/shape"

// Reason is why a request was refused, before it has a protocol's name.
type Reason uint8

const (
	// Missing means that the request is not signed.
	Missing Reason = iota
	// Incomplete means that the signature lacks a part, or has one that cannot be read.
	Incomplete
	// Invalid means that the signature is not the request's: computed otherwise, for another
	// service, at another time, or over another body.
	Invalid
	// UnknownKey means that there is no such access key, that it is disabled, or that the session
	// token is not its own. Callers are not told which.
	UnknownKey
	// Expired means that the key is temporary and its time is over.
	Expired
	// BadDigest means that the body is not what its trailing checksum says.
	BadDigest

	reasons
)

// Protocol is how a service words its errors.
type Protocol uint8

const (
	// JSON is awsJson 1.0 and 1.1, and CBOR.
	JSON Protocol = iota
	// RESTJSON is restJson1.
	RESTJSON
	// Query is awsQuery: its codes lack the suffix, and some have other names.
	Query

	protocols
)

// Refusal is an error that its client may see. For gives it a protocol's words.
type Refusal struct {
	// Reason is why.
	Reason Reason
	// Message is AWS's text, empty where it depends on the protocol.
	Message string
}

// mismatch is AWS's text for a signature that is another.
const mismatch = "The request signature we calculated does not match the signature you provided. " +
	"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

func refuse(reason Reason, message string) *Refusal {
	return &Refusal{Reason: reason, Message: message}
}

// Error returns the text in the words of JSON.
func (r *Refusal) Error() string { return r.For(JSON).Error() }

// For returns the refusal as a service of that protocol sends it.
//
// The codes are those of AWS's common errors. Clients act on some of them: they correct their clock
// after InvalidSignatureException and SignatureDoesNotMatch, and fetch new credentials after
// ExpiredTokenException and ExpiredToken.
func (r *Refusal) For(p Protocol) *shape.Error {
	as := words[r.Reason][p]
	if r.Message != "" {
		as.Message = r.Message
	}
	return &as
}

// words are AWS's, with its statuses: services that speak JSON to one address answer 400, the others
// 403.
var words = [reasons][protocols]shape.Error{
	Missing: {
		JSON:     {Code: "MissingAuthenticationTokenException", Message: "Missing Authentication Token"},
		RESTJSON: {Code: "MissingAuthenticationTokenException", Message: "Missing Authentication Token", Status: 403},
		Query:    {Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token", Status: 403},
	},
	Incomplete: {
		JSON:     {Code: "IncompleteSignatureException"},
		RESTJSON: {Code: "IncompleteSignatureException", Status: 403},
		Query:    {Code: "IncompleteSignature"},
	},
	Invalid: {
		JSON:     {Code: "InvalidSignatureException", Message: mismatch},
		RESTJSON: {Code: "InvalidSignatureException", Message: mismatch, Status: 403},
		Query:    {Code: "SignatureDoesNotMatch", Message: mismatch, Status: 403},
	},
	UnknownKey: {
		JSON:     {Code: "UnrecognizedClientException", Message: "The security token included in the request is invalid."},
		RESTJSON: {Code: "UnrecognizedClientException", Message: "The security token included in the request is invalid.", Status: 403},
		Query:    {Code: "InvalidClientTokenId", Message: "The security token included in the request is invalid.", Status: 403},
	},
	Expired: {
		JSON:     {Code: "ExpiredTokenException", Message: "The security token included in the request is expired"},
		RESTJSON: {Code: "ExpiredTokenException", Message: "The security token included in the request is expired", Status: 403},
		Query:    {Code: "ExpiredToken", Message: "The security token included in the request is expired", Status: 403},
	},
	BadDigest: {
		JSON:     {Code: "BadDigest"},
		RESTJSON: {Code: "BadDigest"},
		Query:    {Code: "BadDigest"},
	},
}
