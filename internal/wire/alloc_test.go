package wire

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/wire/shape"
)

// sink is a ResponseWriter that forgets.
type sink struct {
	header http.Header
	status int
}

func (w *sink) Header() http.Header         { return w.header }
func (w *sink) WriteHeader(status int)      { w.status = status }
func (w *sink) Write(p []byte) (int, error) { return len(p), nil }

func (w *sink) SetReadDeadline(time.Time) error  { return nil }
func (w *sink) SetWriteDeadline(time.Time) error { return nil }

// round is one call that can be made again and again.
type round struct {
	h    *Handler
	r    *http.Request
	body *bytes.Reader
	w    sink
}

// newRound returns a call of a handler that believes signatures, or of one that verifies them.
func newRound(t testing.TB, format shape.Format, records int, verified bool) *round {
	in := &echo{name: "records"}
	for range records {
		in.items = append(in.items, item{key: "partition-key", data: bytes.Repeat([]byte{7}, 1024)})
	}
	contentType := typeJSON11
	if format == shape.CBOR {
		contentType = typeCBOR11
	}
	document := encoded(format, in)
	c := fakeConfig()
	if verified {
		c, _ = verifiedConfig()
	}
	rd := &round{h: NewHandler(c), body: bytes.NewReader(document), w: sink{header: make(http.Header)}}
	rd.r = newCall(t, "http://h/", "Echo", contentType, document)
	if verified {
		resign(t, rd.r, "AKID", "")
	}
	rd.r.Body = io.NopCloser(rd.body)
	return rd
}

func (rd *round) call(t testing.TB) {
	rd.body.Seek(0, io.SeekStart)
	clear(rd.w.header)
	rd.h.ServeHTTP(&rd.w, rd.r)
	if rd.w.status != 200 {
		t.Fatalf("got status %d", rd.w.status)
	}
}

// A call's allocations do not depend on its records. A handful are the price of a request: its ids,
// its headers; its signature costs nothing.
func TestAllocations(t *testing.T) {
	const limit = 8
	f := func(format shape.Format, records int, chunked, verified bool) {
		t.Helper()
		rd := newRound(t, format, records, verified)
		if chunked {
			rd.r.ContentLength = -1
		}
		rd.call(t)
		if got := alloctest.Count(t, 50, func() { rd.call(t) }); got > limit {
			t.Errorf("%v call with %d records, chunked %v, verified %v, makes %v allocations, want at most %d", format, records, chunked, verified, got, limit)
		}
	}
	for _, format := range []shape.Format{shape.JSON, shape.CBOR} {
		for _, verified := range []bool{false, true} {
			f(format, 1, false, verified)
			f(format, 500, false, verified)
			f(format, 500, true, verified)
		}
	}
}

func BenchmarkEcho500x1KiB(b *testing.B) {
	for _, format := range []shape.Format{shape.JSON, shape.CBOR} {
		for _, verified := range []bool{false, true} {
			b.Run(fmt.Sprintf("%v/verified=%v", format, verified), func(b *testing.B) {
				rd := newRound(b, format, 500, verified)
				b.SetBytes(int64(rd.body.Len()))
				b.ReportAllocs()
				for b.Loop() {
					rd.call(b)
				}
			})
		}
	}
}
