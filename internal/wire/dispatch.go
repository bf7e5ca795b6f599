package wire

import (
	"bytes"
	"net/http"

	"github.com/headrace/headrace/internal/wire/shape"
)

var (
	errUnparsable       = &shape.SerializationError{}
	errUnknownOperation = &shape.Error{Code: "UnknownOperationException"}
	errThrottled        = &shape.Error{Code: "ThrottlingException", Message: "Rate exceeded"}
	errInternal         = &shape.Error{Code: "InternalFailureException", Message: "Internal service failure.", Fault: true}
)

// serve takes a request through the checks in the order that the package comment gives, and answers
// it.
func (x *exchange) serve() {
	if x.shareOrigin() {
		x.abandonBody()
		x.send(http.StatusOK, 0, nil)
		return
	}
	if x.h.routes.isQuery(x.r) {
		x.serveQuery()
		return
	}
	if x.r.Method != http.MethodPost {
		x.abandonBody()
		x.sendMarkup(accessDenied)
		return
	}
	rt := x.h.routes.find(x.r.Header)
	x.name(&rt)
	x.content = rt.fallback
	if !x.admitted() {
		x.abandonBody()
		x.answer(errThrottled)
		return
	}
	if rt.content == 0 {
		x.refuseContent(&rt)
		return
	}
	x.refused = x.h.cfg.Authenticate.Begin(&x.check, x.r, rt.signatures())
	if err := x.readBody(); err != nil {
		x.answer(err)
		return
	}
	if len(x.body) == 0 && !x.discarded {
		x.answer(emptyBody(&rt))
		return
	}
	x.content = rt.content
	x.dispatch(&rt)
}

// admitted says whether the request is taken at all.
func (x *exchange) admitted() bool {
	return x.h.inHand.Load() <= x.h.cfg.Requests && (x.h.cfg.Admit == nil || x.h.cfg.Admit(x.r))
}

// shareOrigin lets browsers of every origin read the response. It reports whether the request only
// asked for that.
func (x *exchange) shareOrigin() (preflight bool) {
	if x.r.Header.Get("Origin") == "" {
		return false
	}
	h := x.w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if x.r.Method != http.MethodOptions {
		h.Set("Access-Control-Expose-Headers", "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date")
		return false
	}
	if asked := x.r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	if asked := x.r.Header.Get("Access-Control-Request-Method"); asked != "" {
		h.Set("Access-Control-Allow-Methods", asked)
	}
	h.Set("Access-Control-Max-Age", "172800")
	return true
}

// name puts the route's names into the event.
func (x *exchange) name(rt *route) {
	if rt.service != nil {
		x.event.Service = rt.service.name
	}
	if rt.operation != nil {
		x.event.Operation = rt.operation.spec.Name
	}
}

// refuseContent answers a request in a format that the service does not speak.
func (x *exchange) refuseContent(rt *route) {
	some, err := x.drain()
	switch {
	case err != nil:
		x.answer(err)
	case !some:
		x.answer(emptyBody(rt))
	case rt.named:
		x.sendMarkup(unknownOperation)
	default:
		x.sendMarkup(accessDenied)
	}
}

func emptyBody(rt *route) error {
	if rt.built() {
		return errUnparsable
	}
	return errUnknownOperation
}

// dispatch takes a request that has a body in a known format through authentication to its
// operation.
//
// The body of a request that will be refused is only checked for being well-formed, never decoded:
// an unauthenticated client gets to spend no more than that.
func (x *exchange) dispatch(rt *route) {
	refused := x.authenticate()
	if !rt.built() || refused != nil || rt.content == plainJSON {
		switch {
		case !x.discarded && !shape.Wellformed(documentOf(rt.content), x.body):
			x.answer(errUnparsable)
		case rt.content == plainJSON || !rt.built():
			x.answer(errUnknownOperation)
		default:
			x.answer(refused)
		}
		return
	}
	x.run(rt.operation)
}

// authenticate finds out who calls, once the body has been read, and puts that into the event and the
// call.
func (x *exchange) authenticate() error {
	if x.refused != nil {
		return x.refused
	}
	id, err := x.check.Finish()
	if err != nil {
		return err
	}
	x.event.Account, x.event.Region, x.event.AccessKeyID, x.event.Principal = id.Account, id.Region, id.AccessKeyID, id.Principal
	x.call.Account, x.call.Region = id.Account, id.Region
	x.call.AccessKeyID, x.call.SessionToken = id.AccessKeyID, id.SessionToken
	if x.h.cfg.Allow != nil && !x.h.cfg.Allow(id) {
		return errThrottled
	}
	return nil
}

// run decodes the input, calls the operation and sends its output or its error.
func (x *exchange) run(op *operation) {
	if op.spec.Streaming {
		leave, err := x.h.streams.enter(x)
		if err != nil {
			x.answer(err)
			return
		}
		defer leave()
	}
	in, out := op.input(), op.output()
	err := x.perform(op, documentOf(x.content), in, out)
	if called := x.h.cfg.Observer.Called; called != nil {
		x.event.Note = called(&x.event, in, out, err)
	}
	switch {
	case err != nil:
		x.answer(err)
	case op.spec.Streaming:
		x.sendStream(out)
	default:
		x.sendOutput(op, out)
	}
	if !x.spoiled { // after a panic someone may still hold them
		op.recycle(in, out)
	}
}

// perform does everything between the request's body and the response's. A response as large as the
// operation's last one must have its memory before the operation has an effect, unless that asks for it:
// small requests for large answers would otherwise all be admitted before the first answer counts.
func (x *exchange) perform(op *operation, format shape.Format, in, out shape.Shape) error {
	document := x.body
	if !op.spec.Transient {
		document = x.privateCopy(document)
	}
	x.dec.Reset(format, document)
	in.Decode(&x.dec)
	if err := x.dec.Finish(); err != nil {
		return err
	}
	x.val.Reset()
	in.Validate(&x.val)
	if err := x.val.Err(); err != nil {
		return err
	}
	if x.h.cfg.Authorize != nil {
		if err := op.spec.Needs(&x.call, in, x.ask); err != nil {
			return err
		}
	}
	if !op.spec.Reserves {
		if err := x.reserve(bufferSize(op.lastSize.Load())); err != nil {
			return err
		}
	}
	return op.spec.Handle(x.r.Context(), &x.call, in, out)
}

// roomFor waits for the memory of an answer of n bytes.
func (x *exchange) roomFor(n int64) error { return x.reserve(bufferSize(n)) }

// mayHave asks for one permission.
func (x *exchange) mayHave(a *shape.Access) error { return x.h.cfg.Authorize(x.r, &x.call, a) }

// privateCopy returns a copy of the document for an operation that keeps parts of its input. It
// counts as the request's memory for as long as the body does.
func (x *exchange) privateCopy(document []byte) []byte {
	n := int64(len(document))
	x.h.budget.charge(n)
	x.copied += n
	return bytes.Clone(document)
}
