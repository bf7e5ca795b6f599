package wire

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/wire/eventstream"
	"github.com/headrace/headrace/internal/wire/shape"
)

// eventPart is how much of the events a client has WriteTimeout to take: any progress to speak of keeps a
// stream alive, for it may last as long as the operation likes. One that took such a part within briskly is
// given briskPart next, for each part is a chunk of HTTP/1.1 with system calls of its own; when it then
// becomes slow it has to take that much once.
const (
	eventPart = 64 << 10
	briskPart = 256 << 10
	briskly   = time.Second
)

// errStopping refuses streams while the server stops.
var errStopping = &shape.Error{Code: "ServiceUnavailableException", Message: "The server is stopping.", Status: http.StatusServiceUnavailable, Fault: true}

// streams is the event streams under way. It is safe for concurrent use.
type streams struct {
	mu      sync.Mutex
	most    int64
	ended   bool
	current map[*exchange]context.CancelFunc
}

// enter adds the stream of x, whose request's context ends with it or with all streams.
func (s *streams) enter(x *exchange) (leave func(), err error) {
	ctx, cancel := context.WithCancel(x.r.Context())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		err = errStopping
	case int64(len(s.current)) >= s.most:
		err = errThrottled
	}
	if err != nil {
		cancel()
		return nil, err
	}
	if s.current == nil {
		s.current = make(map[*exchange]context.CancelFunc)
	}
	s.current[x] = cancel
	x.r = x.r.WithContext(ctx)
	return func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.current, x)
	}, nil
}

// EndStreams ends all event streams, as streams end that have gone on for long enough, and refuses others
// from then on. A server that drains calls it, for nobody else ends them. It does not wait.
func (h *Handler) EndStreams() {
	h.streams.mu.Lock()
	defer h.streams.mu.Unlock()
	h.streams.ended = true
	for _, cancel := range h.streams.current {
		cancel()
	}
}

// sendStream answers with an event stream: out as the initial response, and then what the operation
// pushes. An error of the operation becomes the last message.
//
// A stream has no share of the requests in hand, nor of their memory: it may last, and others come and go.
func (x *exchange) sendStream(out shape.Shape) {
	push := x.call.Pusher()
	if push == nil {
		x.answer(errInternal)
		return
	}
	x.releaseBody()
	x.h.inHand.Add(-1)
	defer x.h.inHand.Add(1)
	_ = x.control.SetReadDeadline(time.Time{}) // the body's; over HTTP/1 it would end the request
	x.w.Header()["Content-Type"] = []string{eventstream.ContentType}
	x.event.Status, x.event.BytesIn = http.StatusOK, x.src.n
	x.event.Duration = x.h.cfg.Clock.Now().Sub(x.start)
	x.replied = true
	x.w.WriteHeader(http.StatusOK)
	e := events{x}
	buf := e.Encode(x.h.buffers.get(minBuffer), "initial-response", out)
	err := e.Send(buf)
	if err == nil {
		err = push(x.r.Context(), e)
	}
	gone := errors.Is(err, shape.ErrClientGone)
	if err != nil && !gone && x.r.Context().Err() == nil {
		buf = x.exception(buf[:0], err)
		gone = e.Send(buf) != nil // nobody to tell
	}
	if !gone { // else the HTTP/2 server may still read it
		x.h.buffers.put(buf)
	}
}

// exception appends the message that ends a stream with err.
func (x *exchange) exception(buf []byte, err error) []byte {
	e, _ := x.public(err)
	x.event.ErrorCode, x.event.ErrorMessage = e.Code, e.Message
	start := len(buf)
	x.enc.Reset(documentOf(x.content), eventstream.BeginException(buf, e.Code, contentTypeOf(x.content)))
	x.enc.BeginStruct()
	x.enc.Member("message")
	x.enc.String(e.Message)
	x.enc.EndStruct()
	return eventstream.Finish(x.enc.Bytes(), start)
}

// events is an exchange as an operation sees it that pushes events.
type events struct{ x *exchange }

// Format implements shape.Events.
func (e events) Format() shape.Format { return documentOf(e.x.content) }

// Encode implements shape.Events.
func (e events) Encode(dst []byte, name string, v shape.Shape) []byte {
	enc, start := &e.x.enc, len(dst)
	enc.Reset(e.Format(), eventstream.BeginEvent(dst, name, contentTypeOf(e.x.content)))
	v.Encode(enc)
	dst = eventstream.Finish(enc.Bytes(), start)
	enc.Reset(shape.JSON, nil) // dst is the caller's
	return dst
}

// Send implements shape.Events.
func (e events) Send(encoded []byte) error {
	for len(encoded) > 0 {
		most := eventPart
		if e.x.brisk {
			most = briskPart
		}
		part, begun := encoded[:min(len(encoded), most)], e.x.h.cfg.Clock.Now()
		_ = e.x.control.SetWriteDeadline(deadlineIn(e.x.h.cfg.WriteTimeout)) // a transport without deadlines has none to set
		n, err := e.x.w.Write(part)
		e.x.event.BytesOut += int64(n)
		if err != nil {
			return shape.ErrClientGone
		}
		encoded = encoded[len(part):]
		e.x.brisk = len(part) >= eventPart && e.x.h.cfg.Clock.Now().Sub(begun) < briskly
	}
	if err := e.x.control.Flush(); err != nil {
		return shape.ErrClientGone
	}
	return nil
}

// Reserve implements shape.Events.
func (e events) Reserve(ctx context.Context, n int64, patience time.Duration) bool {
	return e.x.h.events.raise(ctx, share{}, e.share(n), patience) == nil
}

// Release implements shape.Events.
func (e events) Release(n int64) { e.x.h.events.drop(e.share(n)) }

// share is what n bytes take of the memory for events: all of it, if they are more. Streams hold nothing
// while they wait, so shares have no classes.
func (e events) share(n int64) share { return share{large, min(n, e.x.h.events.total)} }
