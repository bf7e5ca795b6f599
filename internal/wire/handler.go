package wire

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/wire/shape"
)

// Handler serves AWS calls. Make one with NewHandler. It is safe for concurrent use and owns no
// goroutines: what it holds is memory between requests.
//
// It never compares anything with the Host header, and it bounds everything a client can make it
// hold except header sizes and the time until headers are complete, which are http.Server's
// (MaxHeaderBytes, ReadHeaderTimeout).
type Handler struct {
	cfg       Config
	routes    routes
	budget    *budget
	events    *budget // of event streams
	streams   streams
	buffers   buffers
	inHand    atomic.Int64 // requests between begin and end
	exchanges sync.Pool    // of *exchange
	unzippers sync.Pool    // of *gzip.Reader
}

// NewHandler returns a handler for c's services. It panics when Authenticate is missing, the services
// contradict each other, or there is Authorize and an operation without Needs.
func NewHandler(c Config) *Handler {
	if c.Authenticate == nil {
		panic("wire: Config.Authenticate is missing")
	}
	for _, s := range c.Services {
		for _, o := range s.Operations {
			if c.Authorize != nil && o.Needs == nil {
				panic("wire: operation " + o.Name + " does not say what it needs")
			}
		}
	}
	c = c.withDefaults()
	return &Handler{
		cfg:     c,
		routes:  newRoutes(c.Services),
		budget:  newBudget(c.Memory),
		events:  newBudget(c.Events),
		streams: streams{most: c.Requests},
		buffers: buffers{limit: c.IdleBuffers},
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r)
	defer h.end(x)
	x.serve()
}

// exchange is one request on its way to its response. It is pooled: together with what it holds it
// makes the number of allocations of a call independent of what is in it.
type exchange struct {
	h     *Handler
	w     http.ResponseWriter
	r     *http.Request
	start time.Time
	event Event
	call  shape.Call
	// content is the content type to answer in, as far as the request has shown one.
	content Formats
	// namespace is that of an answer in XML.
	namespace string

	control http.ResponseController
	src     source
	body    []byte // the request body, from buffers; nil when released
	share   share  // of the budget
	copied  int64  // bytes of the private copy, charged to it

	ask     func(*shape.Access) error // mayHave, bound once
	room    func(int64) error         // roomFor, bound once
	check   sigv4.Check
	refused error // what is wrong with the caller as far as headers and URL show
	// discarded says that the body was longer than what a refused caller gets memory for.
	discarded bool

	probe  [1]byte
	random [16 + 72]byte

	dec shape.Decoder
	val shape.Validator
	enc shape.Encoder

	replied bool // headers are on their way
	brisk   bool // the client took the last part of its events briskly
	spoiled bool // a panic may have left references behind: recycle nothing
}

func (h *Handler) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x, ok := h.exchanges.Get().(*exchange)
	if !ok {
		x = &exchange{h: h}
		x.ask, x.room = x.mayHave, x.roomFor
	}
	h.inHand.Add(1)
	x.w, x.r, x.start = w, r, h.cfg.Clock.Now()
	x.control = *http.NewResponseController(w)
	x.src = source{body: r.Body, control: &x.control, most: h.cfg.MaxBody + slack}
	x.content = AWSJSON11
	x.event = Event{RequestID: x.setIDs(), Request: r}
	x.call.Reset()
	x.call.RequestID = x.event.RequestID
	x.call.Room = x.room
	return x
}

// setIDs makes the two ids that AWS gives every response and returns the first. The header names
// are spelled as AWS spells them.
func (x *exchange) setIDs() string {
	rand.Read(x.random[:]) // never fails
	id := x.random[:16]
	id[6] = id[6]&0x0f | 0x40 // UUID version 4
	id[8] = id[8]&0x3f | 0x80 // RFC 9562 variant
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'

	var text2 [96]byte
	base64.StdEncoding.Encode(text2[:], x.random[16:])

	header := x.w.Header()
	requestID := string(text[:])
	header["x-amzn-RequestId"] = []string{requestID}
	if x.r.Method != http.MethodOptions || x.r.Header.Get("Origin") == "" {
		header["x-amz-id-2"] = []string{string(text2[:])}
	}
	return requestID
}

// end is deferred around a request: whatever happened, the client gets an answer, what the request
// held is released and the observer hears of it. A panic of a handler is answered like any other
// fault and leaves the connection usable; only a panic in the middle of a response aborts it.
func (h *Handler) end(x *exchange) {
	abort := false
	if p := recover(); p != nil {
		x.spoiled, x.body = true, nil
		abort = x.replied || p == http.ErrAbortHandler
		if p != http.ErrAbortHandler {
			x.failed(fmt.Errorf("handle request: panic: %v", p), debug.Stack())
		}
		if !abort {
			x.answer(errInternal)
		}
	}
	x.finishCall()
	x.releaseBody()
	h.inHand.Add(-1)
	if x.event.Duration == 0 { // not of a stream, whose answer began long ago
		x.event.Duration = h.cfg.Clock.Now().Sub(x.start)
	}
	if h.cfg.Observer.Done != nil {
		h.cfg.Observer.Done(x.event)
	}
	if abort {
		panic(http.ErrAbortHandler)
	}
	h.recycle(x)
}

// recycle keeps x for another request, without what it knew of this one.
func (h *Handler) recycle(x *exchange) {
	if x.spoiled {
		return
	}
	x.w, x.r, x.src, x.control, x.event = nil, nil, source{}, http.ResponseController{}, Event{}
	x.dec.Reset(shape.JSON, nil)
	x.enc.Reset(shape.JSON, nil)
	x.val.Reset()
	x.check.Reset()
	x.refused, x.discarded, x.replied, x.brisk = nil, false, false, false
	h.exchanges.Put(x)
}

// finishCall runs the functions the operation left to run after its response.
func (x *exchange) finishCall() {
	defer func() {
		if p := recover(); p != nil {
			x.spoiled = true
			x.failed(fmt.Errorf("finish call: panic: %v", p), debug.Stack())
		}
	}()
	x.call.Done()
}

// failed reports a fault that the client does not get to see.
func (x *exchange) failed(err error, stack []byte) {
	if x.h.cfg.Observer.Failed != nil {
		x.h.cfg.Observer.Failed(x.event, err, stack)
	}
}
