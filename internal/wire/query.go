package wire

import (
	"errors"
	"net/http"
	"strings"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/wire/shape"
)

// The query protocol has its own way through the handler, because nothing but the parameters says what
// is called: Action and Version stand where other protocols have a header.

// faultNamespace is the name space of errors that come before an API is known.
const faultNamespace = "http://webservices.amazon.com/AWSFault/2005-15-09"

// noVersion is what AWS says of a request that names no version of its API.
const noVersion = "NO_VERSION_SPECIFIED"

// isQuery reports whether a request speaks the query protocol: a form that is posted, or a URL with an
// Action, which is what presigned calls are. A target header names another protocol.
func (rs *routes) isQuery(r *http.Request) bool {
	if rs.formats&Query == 0 || r.Header.Get("X-Amz-Target") != "" {
		return false
	}
	if r.Method == http.MethodPost {
		return contentType(r.Header.Get("Content-Type")) == Query
	}
	return r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "Action=")
}

// querySignatures returns the rules of the service that the request's signature names, before its
// parameters have been read.
func (rs *routes) querySignatures(r *http.Request) sigv4.Rules {
	c, err := sigv4.Parse(r)
	if err != nil {
		return sigv4.Rules{}
	}
	for _, sv := range rs.versions {
		if sv.name == c.Service {
			return sv.signatures
		}
	}
	return sigv4.Rules{}
}

// serveQuery takes a request of the query protocol through the checks and answers it.
func (x *exchange) serveQuery() {
	x.content = Query
	x.namespace = faultNamespace
	if !x.admitted() {
		x.abandonBody()
		x.answer(errThrottled)
		return
	}
	x.refused = x.h.cfg.Authenticate.Begin(&x.check, x.r, x.h.routes.querySignatures(x.r))
	if err := x.readForm(); err != nil {
		x.answer(err)
		return
	}
	if x.discarded {
		x.answer(x.refused)
		return
	}
	op, err := x.findAction()
	if err == nil {
		err = x.identify(op)
	}
	if err != nil {
		if !shape.Wellformed(shape.Query, x.body) {
			err = errUnparsable
		}
		x.answer(err)
		return
	}
	x.run(op)
}

// readForm reads the parameters, from the URL of a GET.
func (x *exchange) readForm() error {
	if x.r.Method == http.MethodPost {
		return x.readBody()
	}
	x.abandonBody()
	query := x.r.URL.RawQuery
	if err := x.reserve(bufferSize(int64(len(query)))); err != nil {
		return err
	}
	x.body = append(x.h.buffers.get(int64(len(query))), query...)
	return nil
}

// findAction finds the operation that the parameters name, in the API that the signature names or,
// without one, that has the version.
func (x *exchange) findAction() (*operation, error) {
	action, named := shape.FormValue(x.body, "Action")
	if !named {
		return nil, &shape.Error{Code: "MissingAction", Message: "The request must contain the parameter Action"}
	}
	version, ok := shape.FormValue(x.body, "Version")
	if !ok {
		version = noVersion
	}
	sv := x.h.routes.versions[version]
	if c, err := sigv4.Parse(x.r); err == nil && (sv == nil || sv.name != c.Service) {
		sv = nil
	}
	var op *operation
	if sv != nil {
		x.event.Service = sv.name
		if op = sv.operations[action]; op != nil {
			x.event.Operation = op.spec.Name
		}
	}
	if op == nil || !op.built {
		return nil, &shape.Error{Code: "InvalidAction", Message: "Could not find operation " + action + " for version " + version}
	}
	x.namespace = sv.namespace
	return op, nil
}

// identify finds out who calls, unless the operation is for anybody.
func (x *exchange) identify(op *operation) error {
	if op.spec.Unsigned {
		return nil
	}
	return x.authenticate()
}

// queryError returns err, of which clients get to see e, as the query protocol has it.
func queryError(err error, e *shape.Error) *shape.Error {
	if s, ok := errors.AsType[*shape.SerializationError](err); ok {
		if s.Unparsable() {
			return &shape.Error{Code: "MalformedQueryString", Message: "The query string contains a syntax error", Status: http.StatusNotFound}
		}
		return &shape.Error{Code: "MalformedInput", Message: s.Message}
	}
	q := *e
	switch e.Code {
	case "ValidationException":
		q.Code = "ValidationError"
	case "ThrottlingException", "InternalFailureException", "ServiceUnavailableException",
		"RequestTimeoutException", "RequestEntityTooLargeException": // this package's own
		q.Code = strings.TrimSuffix(e.Code, "Exception")
	}
	if e.QueryCode != "" {
		q.Code = e.QueryCode
	}
	return &q
}

// encodeQueryError writes an error as XML.
func encodeQueryError(enc *shape.Encoder, e *shape.Error, namespace, requestID string) {
	enc.Root("ErrorResponse", namespace)
	enc.BeginStruct()
	enc.Member("Error")
	enc.BeginStruct()
	enc.Member("Type")
	if e.HTTPStatus() >= http.StatusInternalServerError {
		enc.String("Receiver")
	} else {
		enc.String("Sender")
	}
	enc.Member("Code")
	enc.String(e.Code)
	if e.Message != "" {
		enc.Member("Message")
		enc.String(e.Message)
	}
	enc.EndStruct()
	enc.Member("RequestId")
	enc.String(requestID)
	enc.EndStruct()
}

// encodeResult writes the output of an operation as XML. out is nil for one without output.
func encodeResult(enc *shape.Encoder, op *operation, out shape.Shape, namespace, requestID string) {
	enc.Root(op.response, namespace)
	enc.BeginStruct()
	if out != nil {
		enc.Member(op.result)
		out.Encode(enc)
	}
	enc.Member("ResponseMetadata")
	enc.BeginStruct()
	enc.Member("RequestId")
	enc.String(requestID)
	enc.EndStruct()
	enc.EndStruct()
}
