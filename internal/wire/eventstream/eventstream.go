// Package eventstream is the framing of AWS's event streams, application/vnd.amazon.eventstream: messages
// with headers, a payload and two checksums, one after the other on one HTTP response.
//
// It is not a protocol: which messages there are and what their payloads hold is for package wire and the
// operations to say. Signed messages, which only requests have, are not its business either.
//
// A message is appended in two steps, so that a payload is encoded where it stays:
//
//	start := len(buf)
//	buf = eventstream.BeginEvent(buf, "SubscribeToShardEvent", "application/x-amz-json-1.1")
//	buf = append(buf, payload...)
//	buf = eventstream.Finish(buf, start)
//
// # Layout
//
// All integers are big-endian, the checksums CRC-32 (IEEE).
//
//	message ┌───────┬──────────────┬──────────────────┬───────────┬───────────┬──────────────────────┐
//	        │ total │ headers size │ checksum of      │ headers … │ payload … │ checksum of all that │
//	        │ 4     │ 4            │ these 8 bytes: 4 │           │           │ stands before it: 4  │
//	        └───────┴──────────────┴──────────────────┴───────────┴───────────┴──────────────────────┘
//	header  ┌───────────┬────────┬──────┬────────────────────────────────┐
//	        │ name size │ name … │ type │ value: of a string (type 7)    │
//	        │ 1         │        │ 1    │ its size in 2 bytes and itself │
//	        └───────────┴────────┴──────┴────────────────────────────────┘
package eventstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ContentType is the content type of a response that is an event stream.
const ContentType = "application/vnd.amazon.eventstream"

// The headers that say what a message is, and the types of messages.
const (
	MessageType   = ":message-type"
	EventType     = ":event-type"
	ExceptionType = ":exception-type"
	ErrorCode     = ":error-code"
	ErrorMessage  = ":error-message"
	PayloadType   = ":content-type"

	Event     = "event"
	Exception = "exception"
	Error     = "error"
)

const (
	preludeSize  = 12
	checksumSize = 4
	overhead     = preludeSize + checksumSize
	// maxHeaders is the most bytes of headers that readers of AWS's take.
	maxHeaders = 128 << 10
	// MaxMessage is the largest message that Decoder takes unless told otherwise: what readers of AWS's
	// take, 16 MiB of payload, with its headers.
	MaxMessage = 16<<20 + maxHeaders + overhead
)

// ErrMalformed says that bytes are not a message: wrong sizes, a wrong checksum, or a broken header.
var ErrMalformed = errors.New("eventstream: malformed message")

// BeginEvent appends to dst the beginning of an event with a payload of a content type. The payload is
// appended next, and then comes Finish.
func BeginEvent(dst []byte, eventType, contentType string) []byte {
	return begin(dst, Event, EventType, eventType, contentType)
}

// BeginException is BeginEvent for an error that the service's model has; it ends the stream.
func BeginException(dst []byte, exceptionType, contentType string) []byte {
	return begin(dst, Exception, ExceptionType, exceptionType, contentType)
}

// AppendError appends an error that no model has, whole; it ends the stream.
func AppendError(dst []byte, code, message string) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, preludeSize)...)
	dst = appendHeader(dst, MessageType, Error)
	dst = appendHeader(dst, ErrorCode, code)
	dst = appendHeader(dst, ErrorMessage, message)
	return finish(dst, start, len(dst)-start-preludeSize)
}

func begin(dst []byte, messageType, kind, name, contentType string) []byte {
	start := len(dst)
	var prelude [preludeSize]byte
	dst = append(dst, prelude[:]...)
	dst = appendHeader(dst, kind, name)
	dst = appendHeader(dst, PayloadType, contentType)
	dst = appendHeader(dst, MessageType, messageType)
	binary.BigEndian.PutUint32(dst[start+4:], uint32(len(dst)-start-preludeSize))
	return dst
}

const typeString = 7

func appendHeader(dst []byte, name, value string) []byte {
	dst = append(dst, byte(len(name)))
	dst = append(dst, name...)
	dst = append(dst, typeString)
	value = value[:min(len(value), 1<<15-1)]
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(value)))
	return append(dst, value...)
}

// Finish completes the message that was begun when buf had start bytes and whose payload reaches to the end
// of buf: it writes the sizes and the checksums.
func Finish(buf []byte, start int) []byte {
	return finish(buf, start, int(binary.BigEndian.Uint32(buf[start+4:])))
}

func finish(buf []byte, start, headers int) []byte {
	m := buf[start:]
	binary.BigEndian.PutUint32(m, uint32(len(m)+checksumSize))
	binary.BigEndian.PutUint32(m[4:], uint32(headers))
	binary.BigEndian.PutUint32(m[8:], crc32.ChecksumIEEE(m[:8]))
	return binary.BigEndian.AppendUint32(buf, crc32.ChecksumIEEE(m))
}

// Message is one message of a stream. What it holds is valid until the decoder reads the next one.
type Message struct {
	Payload []byte
	headers []byte
}

// Header returns the value of a header that is a string, "" if there is none.
func (m *Message) Header(name string) string {
	for rest := m.headers; len(rest) > 0; {
		h, after, ok := cutHeader(rest)
		if !ok {
			return ""
		}
		if string(h.name) == name && h.kind == typeString {
			return string(h.value)
		}
		rest = after
	}
	return ""
}

type header struct {
	name, value []byte
	kind        byte
}

// cutHeader takes the first header off b.
func cutHeader(b []byte) (h header, rest []byte, ok bool) {
	n := int(b[0])
	if n == 0 || len(b) < 1+n+1 {
		return h, nil, false
	}
	h.name, h.kind, b = b[1:1+n], b[1+n], b[2+n:]
	size := 0
	switch h.kind {
	case 0, 1: // true, false
	case 2: // byte
		size = 1
	case 3: // short
		size = 2
	case 4: // integer
		size = 4
	case 5, 8: // long, timestamp
		size = 8
	case 9: // UUID
		size = 16
	case 6, typeString: // bytes, string
		if len(b) < 2 {
			return h, nil, false
		}
		size = int(binary.BigEndian.Uint16(b))
		b = b[2:]
	default:
		return h, nil, false
	}
	if len(b) < size {
		return h, nil, false
	}
	h.value = b[:size]
	return h, b[size:], true
}

// Decoder reads messages off a stream. The zero value of Max means MaxMessage. It keeps one buffer, which
// grows with what arrives. It is not safe for concurrent use.
type Decoder struct {
	// From is what the messages are read from.
	From io.Reader
	// Max is the largest message taken, in bytes.
	Max int

	buf []byte
}

// Next reads the next message. It returns io.EOF at the end of the stream, io.ErrUnexpectedEOF when that
// lies within a message, ErrMalformed for what is no message, and the reader's own errors.
func (d *Decoder) Next() (Message, error) {
	most := d.Max
	if most == 0 {
		most = MaxMessage
	}
	d.buf = append(d.buf[:0], make([]byte, preludeSize)...)
	if _, err := io.ReadFull(d.From, d.buf); err != nil {
		return Message{}, fmt.Errorf("read prelude: %w", err)
	}
	total, headers := int64(binary.BigEndian.Uint32(d.buf)), int64(binary.BigEndian.Uint32(d.buf[4:]))
	switch {
	case crc32.ChecksumIEEE(d.buf[:8]) != binary.BigEndian.Uint32(d.buf[8:]):
		return Message{}, fmt.Errorf("checksum of the prelude: %w", ErrMalformed)
	case headers > maxHeaders, total < headers+overhead, total > int64(most):
		return Message{}, fmt.Errorf("%d bytes with %d of headers: %w", total, headers, ErrMalformed)
	}
	if err := d.fill(int(total)); err != nil {
		return Message{}, fmt.Errorf("read message: %w", err)
	}
	end := len(d.buf) - checksumSize
	if crc32.ChecksumIEEE(d.buf[:end]) != binary.BigEndian.Uint32(d.buf[end:]) {
		return Message{}, fmt.Errorf("checksum of the message: %w", ErrMalformed)
	}
	m := Message{headers: d.buf[preludeSize:][:headers], Payload: d.buf[preludeSize+headers : end]}
	for rest := m.headers; len(rest) > 0; {
		var ok bool
		if _, rest, ok = cutHeader(rest); !ok {
			return Message{}, fmt.Errorf("header: %w", ErrMalformed)
		}
	}
	return m, nil
}

// step is how much room a message gets at a time: who announces much and sends little gets little.
const step = 64 << 10

// fill reads until the buffer holds total bytes.
func (d *Decoder) fill(total int) error {
	for len(d.buf) < total {
		at := len(d.buf)
		if room := min(cap(d.buf), total); room > at {
			d.buf = d.buf[:room]
		} else {
			d.buf = append(d.buf, make([]byte, min(total-at, max(step, at)))...)
		}
		n, err := io.ReadFull(d.From, d.buf[at:])
		if err != nil {
			d.buf = d.buf[:at+n]
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
