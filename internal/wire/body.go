package wire

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/wire/shape"
)

const (
	// firstStep is the most memory a request gets before that much of its body has arrived.
	firstStep = 64 << 10
	// growth is how many times larger each next buffer is.
	growth = 4
	// minRate is the bytes per second a slow client must manage once its grace is used up.
	minRate = 64 << 10
	// slack is how many bytes more than the largest body may come for it: the frames of chunks.
	slack = 1 << 20
	// ratioFloor is the size up to which a compressed body may have any ratio.
	ratioFloor = 1 << 20
)

// source reads a request's body off the connection. It counts, and it keeps the connection's read
// deadline ahead of a client that makes progress: whoever sends minRate bytes a second is never cut,
// who stalls holds a connection for BodyTimeout.
type source struct {
	body    io.Reader
	control *http.ResponseController
	n       int64     // bytes read
	most    int64     // how many there may be, compressed or not
	next    int64     // n at which the deadline moves
	limit   time.Time // the deadline for n == 0
	err     error     // what ended the body, when it was not its end
}

// errTooMany says that more bytes came than any body may have.
var errTooMany = errors.New("the body has too many bytes")

// begin starts the client's time.
func (s *source) begin(grace time.Duration) {
	s.limit = deadlineIn(grace)
	s.advance()
}

func (s *source) advance() {
	s.next = s.n + 4*minRate
	earned := time.Duration(s.n) * time.Second / minRate
	_ = s.control.SetReadDeadline(s.limit.Add(earned)) // a transport without deadlines has none to set
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.n += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	if s.n > s.most { // what is compressed may go on without ever becoming content
		return n, errTooMany
	}
	if err == nil && s.n >= s.next {
		s.advance()
	}
	return n, err
}

// deadlineIn returns the machine's time d from now: sockets do not follow an injected clock.
func deadlineIn(d time.Duration) time.Time { return clock.System{}.Now().Add(d) }

// readBody reads the whole body into x.body, decompressed. Memory is taken from the budget first, in
// three steps, the classes of budget: the smallest buffer for whoever announces a body, firstStep for
// who fills that, and then all that was announced at once. So clients that announce much and send nothing leave the
// memory to others, and of those that do send, none waits for memory half way while it holds what
// others wait for. Bodies of unknown length take as much as the largest may have, until they have come. The
// buffer itself always grows with what has arrived, unless one of the right size lies idle anyway.
func (x *exchange) readBody() error {
	declared := x.r.ContentLength
	if declared == 0 {
		return nil
	}
	if declared > x.h.cfg.MaxBody {
		return x.tooLarge()
	}
	if err := x.openBody(); err != nil {
		return err
	}
	var from io.Reader = &x.src
	if x.refused == nil {
		from = x.check.Body(from)
	}
	encoded := gzipped(x.r.Header)
	if encoded || x.check.Chunked() {
		declared = -1
	}
	if encoded {
		z, err := x.h.unzipper(from)
		if err != nil {
			return x.readFailed(err)
		}
		defer x.h.unzippers.Put(z)
		from = z
	}
	return x.fill(from, declared)
}

// openBody reserves the first memory, finds the first buffer and starts the client's time.
func (x *exchange) openBody() error {
	if err := x.reserve(minBuffer); err != nil {
		return err
	}
	x.src.begin(x.h.cfg.BodyTimeout)
	x.body = x.h.buffers.get(minBuffer)
	return nil
}

// fill reads to the end of from, growing x.body as needed.
func (x *exchange) fill(from io.Reader, declared int64) error {
	for {
		room := x.body[len(x.body):cap(x.body)]
		if len(room) == 0 {
			if int64(len(x.body)) == declared {
				room = x.probe[:] // only the end is left
			} else if x.refused != nil && cap(x.body) >= firstStep {
				return x.discardBody()
			} else if err := x.growBody(declared); err != nil {
				return err
			} else {
				continue
			}
		}
		n, err := from.Read(room)
		if n > 0 && int64(len(x.body)) == declared {
			return x.tooLarge() // net/http does not let this happen
		}
		x.body = x.body[:len(x.body)+n]
		if size := int64(len(x.body)); size > x.h.cfg.MaxBody || size > ratioFloor && size/x.h.cfg.MaxRatio > x.src.n {
			return x.tooLarge()
		}
		if err == io.EOF {
			x.keep(int64(cap(x.body)))
			return nil
		}
		if err != nil {
			return x.readFailed(err)
		}
	}
}

// growBody moves the body to a larger buffer.
func (x *exchange) growBody(declared int64) error {
	most := bufferSize(x.h.cfg.MaxBody + 1)
	if declared > 0 {
		most = bufferSize(declared)
	}
	size := min(max(firstStep, growth*int64(cap(x.body))), most)
	share := size
	if int64(cap(x.body)) >= firstStep {
		share = most
	}
	if err := x.reserve(share); err != nil {
		return err
	}
	larger := x.h.buffers.borrow(share)
	if larger == nil {
		larger = x.h.buffers.get(size)
	}
	larger = larger[:len(x.body)]
	copy(larger, x.body)
	x.h.buffers.put(x.body)
	x.body = larger
	return nil
}

// reserve raises the request's share of the memory to one for n bytes.
func (x *exchange) reserve(n int64) error {
	to := x.h.budget.shareOf(n)
	if to.n <= x.share.n {
		return nil
	}
	switch err := x.h.budget.raise(x.r.Context(), x.share, to, x.h.cfg.AdmitTimeout); {
	case errors.Is(err, errNoMemory):
		x.hangUp()
		return errThrottled
	case err != nil:
		return err
	}
	x.share = to
	return nil
}

// keep lowers the request's share to one for n bytes, if it is larger.
func (x *exchange) keep(n int64) {
	if to := x.h.budget.shareOf(n); to.n < x.share.n {
		x.share = x.h.budget.lower(x.share, to)
	}
}

// releaseBody gives the body's memory back. The input must not be used any more.
func (x *exchange) releaseBody() {
	if x.body != nil {
		x.h.buffers.put(x.body)
		x.body = nil
	}
	if x.share.n > 0 || x.copied > 0 {
		x.h.budget.drop(x.share)
		x.h.budget.release(x.copied)
		x.share, x.copied = share{}, 0
	}
}

// discardBody gives up a body whose caller is refused, and reads what is left of it, so that the
// client gets to read its refusal.
func (x *exchange) discardBody() error {
	x.releaseBody()
	x.discarded = true
	left := x.h.cfg.MaxBody - x.src.n
	n, err := io.Copy(io.Discard, io.LimitReader(&x.src, left+1))
	switch {
	case err != nil:
		return x.readFailed(err)
	case n > left:
		return x.tooLarge()
	}
	return nil
}

// drain reads a body nobody wants, so that the client gets to read its refusal, and reports whether
// there was one.
func (x *exchange) drain() (some bool, err error) {
	if x.r.ContentLength > x.h.cfg.MaxBody {
		return true, x.tooLarge()
	}
	x.src.begin(x.h.cfg.BodyTimeout)
	n, err := io.Copy(io.Discard, io.LimitReader(&x.src, x.h.cfg.MaxBody+1))
	switch {
	case err != nil:
		return n > 0, x.readFailed(err)
	case n > x.h.cfg.MaxBody:
		return true, x.tooLarge()
	}
	return n > 0, nil
}

// readFailed returns the answer to a body that could not be read: late, broken off or not gzip.
func (x *exchange) readFailed(err error) error {
	if x.src.err != nil {
		x.hangUp()
	}
	if errors.Is(err, errTooMany) {
		return x.tooLarge()
	}
	if errors.Is(x.src.err, os.ErrDeadlineExceeded) {
		return &shape.Error{Code: "RequestTimeoutException", Message: "The request body did not arrive in time.", Status: http.StatusRequestTimeout}
	}
	if refusal, ok := errors.AsType[*sigv4.Refusal](err); ok {
		x.hangUp() // some of the body is left
		return refusal
	}
	return &shape.SerializationError{Detail: "read body: " + err.Error()}
}

func (x *exchange) tooLarge() error {
	x.hangUp()
	return &shape.Error{
		Code:    "RequestEntityTooLargeException",
		Message: "Request body is larger than the server accepts.",
		Status:  http.StatusRequestEntityTooLarge,
	}
}

// hangUp ends an HTTP/1 connection after the response: the rest of the body is not worth reading.
// net/http still reads a little of it, so that the client gets to see the response; the read
// deadline keeps that from taking for ever. Over HTTP/2 only the stream ends.
func (x *exchange) hangUp() {
	if x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close")
		if x.src.limit.IsZero() {
			x.src.begin(x.h.cfg.BodyTimeout)
		}
	}
}

// abandonBody is for responses that do not depend on the body: they go out at once, whether or not
// one arrives.
func (x *exchange) abandonBody() {
	if x.r.ContentLength != 0 {
		x.hangUp()
	}
}

// gzipped reports whether the body is compressed with gzip, and nothing else but in AWS's chunks,
// which are not this function's business: AWS ignores all other encodings.
func gzipped(h http.Header) bool {
	compressed := 0
	for e := range strings.SplitSeq(h.Get("Content-Encoding"), ",") {
		switch e = strings.TrimSpace(e); {
		case strings.EqualFold(e, "gzip") || strings.EqualFold(e, "x-gzip"):
			compressed++
		case !strings.EqualFold(e, "aws-chunked"):
			return false
		}
	}
	return compressed == 1
}

// unzipper returns a pooled decompressor that has read the header from r.
func (h *Handler) unzipper(r io.Reader) (*gzip.Reader, error) {
	if z, ok := h.unzippers.Get().(*gzip.Reader); ok {
		if err := z.Reset(r); err != nil {
			h.unzippers.Put(z)
			return nil, err
		}
		return z, nil
	}
	return gzip.NewReader(r)
}
