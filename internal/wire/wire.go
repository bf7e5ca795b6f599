// Package wire speaks AWS's request-response protocols over HTTP: awsJson 1.0 and 1.1, the CBOR that
// AWS's SDKs for Java use with Kinesis, and awsQuery. A Handler takes requests from any AWS client,
// finds the operation by the X-Amz-Target header or the Action of a form, and turns the body into the
// operation's input and its output or error into the response, byte for byte as AWS does.
//
// It is not a router for anything else on the port (the console, metrics and REST protocols have
// their own handlers), it knows no service by name, and it does not itself verify signatures or
// permissions: it shows Config.Authenticate the headers and the body.
//
// An operation may answer with an event stream (package eventstream frames it): what is wrong with the call
// is an answer like any other, then comes the initial response, for which clients wait, and at last what
// the operation pushes, each event at once. An error from then on is the last message. Streams have memory
// and numbers of their own, so that neither they nor requests are in the others' way; only time limits them.
//
//	h := wire.NewHandler(wire.Config{
//		Services:     []wire.Service{{TargetPrefix: "Kinesis_20131202", SigningName: "kinesis", ...}},
//		Authenticate: sigv4.FormOnly{},
//	})
//
// # The order of checks
//
// Clients depend on which error wins when several apply, so the order is part of the protocol. It is
// AWS's, as far as others have observed it:
//
//  1. Every response has x-amzn-RequestId. With an Origin header it allows every origin, and an
//     OPTIONS request ends here. All other responses have x-amz-id-2.
//  2. A method other than POST is 403 AccessDeniedException, in XML.
//  3. The body is read. Admission, number of requests, time, size and compression limits apply here (see Config).
//  4. An empty body is SerializationException for an operation that exists, else
//     UnknownOperationException: in JSON if the content type says so, else in CBOR.
//  5. An unknown content type is 404 UnknownOperationException, or 403 AccessDeniedException when the
//     target does not even look like one, both in XML.
//  6. A body that is not well-formed, or not a structure, is SerializationException without message.
//  7. The content type application/json gets this far only: 404 UnknownOperationException in an
//     envelope of its own.
//  8. An unknown target, or an operation that is not built, is UnknownOperationException.
//  9. Authentication: first what is wrong with the signature, in the order that package sigv4 gives, or
//     with the body that it is over.
//  10. A value of the wrong type is SerializationException whose text is called Message, not message.
//  11. The model's constraints: ValidationException.
//  12. Permissions.
//  13. The operation.
//
// A caller whom headers and URL alone give away (no signature, no such key, a signature over another
// body than the one announced) keeps his place in this order, but gets no more memory than 64 KiB: the
// rest of a larger body is read and thrown away, and the sixth check is left out.
//
// What a signature is over is what came over the network: the hash is that of the compressed body.
//
// A form, or a GET whose URL has an Action, is awsQuery if a service speaks it. Its order is shorter:
// the body is read (4 to 6 do not exist); without Action it is MissingAction; an Action that no service
// has in that Version, or that the service of the signature has not, is InvalidAction; a form with a
// wrong escape is MalformedQueryString before either; then authentication, except for operations that
// need none; a value of the wrong type is MalformedInput; the model's constraints are ValidationError.
package wire

import (
	"net/http"
	"time"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/wire/shape"
)

// Formats is a set of content types that a service accepts. A response has its request's.
type Formats uint8

const (
	// AWSJSON11 is application/x-amz-json-1.1.
	AWSJSON11 Formats = 1 << iota
	// AWSJSON10 is application/x-amz-json-1.0.
	AWSJSON10
	// CBOR11 is application/x-amz-cbor-1.1.
	CBOR11
	// Query is awsQuery: application/x-www-form-urlencoded, or parameters in the URL of a GET, answered
	// in XML.
	Query

	// plainJSON is application/json: known to AWS, served by none of its operations.
	plainJSON
)

// Service is one AWS API.
type Service struct {
	// TargetPrefix is what stands before the dot in X-Amz-Target, such as Kinesis_20131202. It is
	// the only thing requests are routed by, but for Query. A service that speaks only that has none.
	TargetPrefix string
	// Version is the version of the API that Query names, such as 2011-06-15, and Namespace that of the
	// elements in its answers. Only Query needs them.
	Version, Namespace string
	// SigningName is the service's name in credential scopes, such as kinesis. Events carry it.
	SigningName string
	// Formats are the content types the service accepts; 0 means AWSJSON11.
	Formats Formats
	// Signatures are the service's rules for them; their Service is SigningName.
	Signatures sigv4.Rules
	// Operations are the operations that are built.
	Operations []shape.Operation
	// Known names all operations of the model. Those not built answer UnknownOperationException
	// but are named in events.
	Known []string
}

// Config says what a Handler serves and how much it spends on it. Only Authenticate is required.
type Config struct {
	Services []Service
	// Authenticate says who sent a request, or refuses it.
	Authenticate Authenticator
	// Admit says whether to take a request at all, before its body is read and anybody knows who
	// sent it; false throttles it. Nil takes all.
	Admit func(*http.Request) bool
	// Allow says whether a caller who has been authenticated may make one more request; false
	// throttles it. Nil lets all.
	Allow func(sigv4.Identity) bool
	// Authorize says whether a call that was decoded and found valid may have what it needs: nil,
	// or the error to answer, a *shape.Error. It may change the call's account to that of the
	// resource. Nil lets everybody do everything.
	Authorize func(r *http.Request, call *shape.Call, a *shape.Access) error
	// Clock measures requests for events; nil means clock.System. Socket deadlines always follow
	// the machine's clock.
	Clock clock.Clock
	// Observer hears about every request.
	Observer Observer

	// MaxBody is the largest body in bytes, before and after decompression; 0 means 14 MiB, which
	// holds 10 MiB of records in base64. Larger ones get 413.
	MaxBody int64
	// MaxRatio is how many times larger than its compressed form a body over 1 MiB may be; 0 means
	// 100.
	MaxRatio int64
	// Memory is how many bytes of request bodies and unsent responses may be held at a time;
	// 0 means 256 MiB, and less than 1 MiB is 1 MiB. A request waits for its share before its body is
	// read, and again before its operation, or while that runs if it says so itself, when the response
	// is likely to be larger. Shares to 64 KiB together take a quarter of it at most.
	Memory int64
	// Events is how many bytes of events that were not sent yet all event streams may hold at a time; 0
	// means a quarter of Memory.
	Events int64
	// IdleBuffers is how many bytes of buffers are kept between requests; 0 means 48 MiB.
	IdleBuffers int64
	// Requests is how many requests may be in hand at a time; 0 means 8192. What is beyond is
	// throttled at once: each holds its headers, and one HTTP/2 connection may carry a thousand. Beside
	// them there may be as many event streams.
	Requests int64
	// AdmitTimeout is how long a request waits for memory before it is throttled; 0 means 5 s.
	AdmitTimeout time.Duration
	// BodyTimeout is how long a body may take to arrive, and WriteTimeout how long a client may
	// take to fetch a response, each plus one second for every 64 KiB: slow clients are served. A
	// client that takes nothing of a response, or of an event stream, for WriteTimeout is cut. 0 means 20 s and 30 s.
	BodyTimeout, WriteTimeout time.Duration
}

// Authenticator says who sends requests: a sigv4.Verifier, or sigv4.FormOnly, which believes them. It
// is safe for concurrent use.
type Authenticator interface {
	// Begin judges the headers and the URL of r by a service's rules and prepares c for the rest:
	// the body is read through c, then c.Finish names the caller. It leaves the body alone. A
	// *sigv4.Refusal reaches the client; any other error is the server's fault.
	Begin(c *sigv4.Check, r *http.Request, rules sigv4.Rules) error
}

// withDefaults returns c with its zero values filled in.
func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	defaultTo(&c.MaxBody, 14<<20)
	defaultTo(&c.MaxRatio, 100)
	defaultTo(&c.Memory, 256<<20)
	c.Memory = max(c.Memory, leastMemory)
	defaultTo(&c.Events, c.Memory/4)
	defaultTo(&c.IdleBuffers, 48<<20)
	defaultTo(&c.Requests, 8<<10)
	defaultTo(&c.AdmitTimeout, 5*time.Second)
	defaultTo(&c.BodyTimeout, 20*time.Second)
	defaultTo(&c.WriteTimeout, 30*time.Second)
	return c
}

func defaultTo[T int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// Event is one finished request.
type Event struct {
	RequestID string
	// Service is the signing name and Operation the model's name. Both are empty unless the
	// model has them: what clients invent never becomes a metric's label.
	Service, Operation string
	// Account and Region are the caller's, and AccessKeyID is its key; empty unless authenticated.
	// Principal is who the caller is, as an ARN; empty as well when nobody looked that up.
	Account, Region, AccessKeyID, Principal string
	// Status is the HTTP status. ErrorCode is the AWS error code, empty on success, and ErrorMessage
	// the text that the client got with it.
	Status                  int
	ErrorCode, ErrorMessage string
	// Duration is the time from the request's headers to the response's last byte, or to the beginning of an
	// event stream.
	Duration time.Duration
	// BytesIn is the request body as it came over the network, BytesOut the response body.
	BytesIn, BytesOut int64
	// Request is the request, without its body. It must not be kept.
	Request *http.Request
	// Note is what Observer.Called made of the call.
	Note any
}

// Observer is told about requests, for metrics and logs. Nil functions are skipped. They are called
// by the request's goroutine and must be safe for concurrent use.
type Observer struct {
	// Done is called once for every request, after its response.
	Done func(Event)
	// Called is called for an operation whose input was read, once it has ended with err, and before
	// the response: in, and out, which is nil for an operation without output, serve other requests
	// after it. What it returns is the event's Note; it must hold nothing of either.
	Called func(e *Event, in, out shape.Shape, err error) any
	// Failed is called when a request failed for a reason that clients do not get to see: an
	// error that is not AWS's, or a panic, which has a stack. It comes before Done.
	Failed func(e Event, err error, stack []byte)
}
