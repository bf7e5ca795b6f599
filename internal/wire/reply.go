package wire

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/wire/shape"
)

// markup is an answer of AWS's front door, which knows no protocol yet and speaks XML.
type markup struct {
	status     int
	code, body string
}

var (
	accessDenied = markup{http.StatusForbidden, "AccessDeniedException",
		"<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n</AccessDeniedException>\n"}
	unknownOperation = markup{http.StatusNotFound, "UnknownOperationException", "<UnknownOperationException/>\n"}
)

func (x *exchange) sendMarkup(m markup) {
	x.event.ErrorCode = m.code
	x.w.Header()["x-amzn-ErrorType"] = []string{m.code}
	x.send(m.status, 0, []byte(m.body))
}

// answer sends err: AWS's errors as they are, all others as a failure without
// details, which only the observer learns.
func (x *exchange) answer(err error) {
	e, member := x.public(err)
	status := e.HTTPStatus()
	if x.content == plainJSON && e == errUnknownOperation {
		status = http.StatusNotFound
	}
	x.enc.Reset(documentOf(x.content), x.h.buffers.get(minBuffer))
	switch x.content {
	case Query:
		e = queryError(err, e)
		status = e.HTTPStatus()
		encodeQueryError(&x.enc, e, x.namespace, x.event.RequestID)
	case plainJSON:
		encodeEnvelope(&x.enc, e)
	default:
		encodeError(&x.enc, e, member)
	}
	x.event.ErrorCode, x.event.ErrorMessage = e.Code, e.Message
	if x.content != Query {
		x.w.Header()["x-amzn-ErrorType"] = []string{e.Code}
	}
	x.sendEncoded(status)
}

// public returns the error that the client gets for err, and the name of the member its text goes
// into. A request whose client or server gave up is not answered as done, and not as a fault either.
func (x *exchange) public(err error) (e *shape.Error, member string) {
	if s, ok := errors.AsType[*shape.SerializationError](err); ok {
		return &shape.Error{Code: "SerializationException", Message: s.Message}, "Message"
	}
	if e, ok := errors.AsType[*shape.Error](err); ok {
		return e, "message"
	}
	if r, ok := errors.AsType[*sigv4.Refusal](err); ok {
		if x.content == Query {
			return r.For(sigv4.Query), "message"
		}
		return r.For(sigv4.JSON), "message"
	}
	if x.r.Context().Err() != nil || errors.Is(err, context.Canceled) {
		return &shape.Error{Code: "ServiceUnavailableException", Message: "The request was abandoned.", Status: http.StatusServiceUnavailable, Fault: true}, "message"
	}
	x.failed(err, nil)
	return errInternal, "message"
}

func encodeError(enc *shape.Encoder, e *shape.Error, member string) {
	enc.BeginStruct()
	enc.Member("__type")
	enc.String(e.Code)
	if e.Message != "" {
		enc.Member(member)
		enc.String(e.Message)
	}
	enc.EndStruct()
}

// encodeEnvelope is how AWS answers application/json.
func encodeEnvelope(enc *shape.Encoder, e *shape.Error) {
	enc.BeginStruct()
	enc.Member("Output")
	enc.BeginStruct()
	enc.Member("__type")
	enc.String("com.amazon.coral.service#" + e.Code)
	enc.EndStruct()
	enc.Member("Version")
	enc.String("1.0")
	enc.EndStruct()
}

// sendOutput sends the output of a call; without one the body is empty.
func (x *exchange) sendOutput(op *operation, out shape.Shape) {
	if out == nil && x.content != Query {
		x.releaseBody()
		x.send(http.StatusOK, x.content, nil)
		return
	}
	size := x.call.Expected()
	if !op.spec.Reserves {
		size = op.lastSize.Load()
	}
	x.enc.Reset(documentOf(x.content), x.h.buffers.get(size))
	if x.content == Query {
		encodeResult(&x.enc, op, out, x.namespace, x.event.RequestID)
	} else {
		out.Encode(&x.enc)
	}
	op.lastSize.Store(int64(len(x.enc.Bytes())))
	x.finishCall() // however slowly the client takes the answer, nothing else is held
	x.sendEncoded(http.StatusOK)
}

// sendEncoded sends what the encoder holds and keeps its buffer. From here on the request's body is
// not needed any more, and the response counts in its place for as long as the client takes to
// fetch it.
func (x *exchange) sendEncoded(status int) {
	buf := x.enc.Bytes()
	held := int64(cap(buf))
	x.h.budget.charge(held) // before the request's share goes back, which may admit another
	defer x.h.budget.release(held)
	x.releaseBody()
	if x.send(status, x.content, buf) {
		x.h.buffers.put(buf)
	}
}

// send writes the response. It reports whether all of it was written: net/http's HTTP/2 server returns
// from a write to a stream that broke while it may still read what it was given, so a body of which
// that cannot be said is never to be used again.
func (x *exchange) send(status int, content Formats, body []byte) bool {
	h := x.w.Header()
	if content == 0 {
		h["Content-Type"] = nil // AWS sends none, and net/http must not guess one
	} else {
		h["Content-Type"] = []string{contentTypeOf(content)}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.event.Status, x.event.BytesIn, x.event.BytesOut = status, x.src.n, int64(len(body))
	x.replied = true
	whole := deadlineIn(x.h.cfg.WriteTimeout + time.Duration(len(body))*time.Second/minRate)
	if len(body) == 0 { // else every part of it begins with that
		x.allow(whole)
	}
	x.w.WriteHeader(status)
	for len(body) > 0 {
		part := body[:min(len(body), 4*minRate)]
		x.allow(whole)
		if _, err := x.w.Write(part); err != nil {
			return false // the client is gone: nobody to tell
		}
		body = body[len(part):]
	}
	return true
}

// allow gives the client WriteTimeout to take the next part of the response, so that one that stalls
// is cut at once, and until whole to take all of it, so that one that trickles is cut in the end.
func (x *exchange) allow(whole time.Time) {
	part := deadlineIn(x.h.cfg.WriteTimeout)
	if part.After(whole) {
		part = whole
	}
	_ = x.control.SetWriteDeadline(part) // a transport without deadlines has none to set
}
