package eventstream_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	smithy "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/headrace/headrace/internal/wire/eventstream"
)

func event(dst []byte, payload string) []byte {
	start := len(dst)
	dst = eventstream.BeginEvent(dst, "SubscribeToShardEvent", "application/x-amz-json-1.1")
	return eventstream.Finish(append(dst, payload...), start)
}

// TestOthersReadIt has the SDK's own decoder read what is written here.
func TestOthersReadIt(t *testing.T) {
	buf := event(nil, `{"Records":[]}`)
	start := len(buf)
	buf = eventstream.Finish(append(eventstream.BeginException(buf, "ResourceInUseException", "application/x-amz-cbor-1.1"), 0xa0), start)
	buf = eventstream.AppendError(buf, "InternalFailure", "no")
	r := bytes.NewReader(buf)
	d := smithy.NewDecoder()
	f := func(payload string, headers map[string]string) {
		t.Helper()
		m, err := d.Decode(r, nil)
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		if string(m.Payload) != payload {
			t.Errorf("payload is %q, want %q", m.Payload, payload)
		}
		if len(m.Headers) != len(headers) {
			t.Errorf("headers are %v, want %v", m.Headers, headers)
		}
		for name, want := range headers {
			if v := m.Headers.Get(name); v == nil || v.String() != want {
				t.Errorf("header %s is %v, want %s", name, v, want)
			}
		}
	}
	f(`{"Records":[]}`, map[string]string{":message-type": "event", ":event-type": "SubscribeToShardEvent", ":content-type": "application/x-amz-json-1.1"})
	f("\xa0", map[string]string{":message-type": "exception", ":exception-type": "ResourceInUseException", ":content-type": "application/x-amz-cbor-1.1"})
	f("", map[string]string{":message-type": "error", ":error-code": "InternalFailure", ":error-message": "no"})
	if r.Len() != 0 {
		t.Errorf("%d bytes are left", r.Len())
	}
}

// TestReadsOthers reads what the SDK's own encoder writes, with every type of header.
func TestReadsOthers(t *testing.T) {
	var buf bytes.Buffer
	m := smithy.Message{Payload: bytes.Repeat([]byte("x"), 300_000)}
	m.Headers.Set("yes", smithy.BoolValue(true))
	m.Headers.Set("no", smithy.BoolValue(false))
	m.Headers.Set("byte", smithy.Int8Value(1))
	m.Headers.Set("short", smithy.Int16Value(1))
	m.Headers.Set("integer", smithy.Int32Value(1))
	m.Headers.Set("long", smithy.Int64Value(1))
	m.Headers.Set("bytes", smithy.BytesValue("123"))
	m.Headers.Set("time", smithy.TimestampValue{})
	m.Headers.Set("uuid", smithy.UUIDValue{1})
	m.Headers.Set(":event-type", smithy.StringValue("Last"))
	if err := smithy.NewEncoder().Encode(&buf, m); err != nil {
		t.Fatal(err)
	}
	d := eventstream.Decoder{From: &buf}
	got, err := d.Next()
	if err != nil || !bytes.Equal(got.Payload, m.Payload) || got.Header(":event-type") != "Last" || got.Header("short") != "" {
		t.Errorf("got %d bytes with headers, error %v", len(got.Payload), err)
	}
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestMalformed(t *testing.T) {
	good := event(nil, "payload")
	f := func(what string, want error, change func(b []byte) []byte) {
		t.Helper()
		d := eventstream.Decoder{From: bytes.NewReader(change(bytes.Clone(good)))}
		if _, err := d.Next(); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	for i := range good {
		f("a bit", eventstream.ErrMalformed, func(b []byte) []byte { b[i] ^= 1; return b })
		if i > 0 {
			f("an end", io.ErrUnexpectedEOF, func(b []byte) []byte { return b[:i] })
		}
	}
	d := eventstream.Decoder{From: bytes.NewReader(good), Max: len(good) - 1}
	if _, err := d.Next(); !errors.Is(err, eventstream.ErrMalformed) {
		t.Errorf("a message that is too large: %v", err)
	}
}

func TestAllocations(t *testing.T) {
	buf := make([]byte, 0, 1<<10)
	payload := []byte(strings.Repeat("p", 300))
	n := testing.AllocsPerRun(100, func() {
		buf = eventstream.BeginEvent(buf[:0], "SubscribeToShardEvent", "application/x-amz-json-1.1")
		buf = eventstream.Finish(append(buf, payload...), 0)
	})
	if n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

// FuzzDecoder reads any bytes: what is taken is what the SDK's decoder takes, and nothing else.
func FuzzDecoder(f *testing.F) {
	f.Add(event(nil, "payload"))
	f.Add(event(event(nil, ""), strings.Repeat("long", 100)))
	f.Add(eventstream.AppendError(nil, "code", "text"))
	f.Add([]byte{0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, r := eventstream.Decoder{From: bytes.NewReader(b)}, bytes.NewReader(b)
		theirs := smithy.NewDecoder()
		for {
			m, err := d.Next()
			if err != nil {
				return
			}
			want, err := theirs.Decode(r, nil)
			if err != nil {
				t.Fatalf("taken, and not by others: %v: %s", err, base64.StdEncoding.EncodeToString(b))
			}
			if !bytes.Equal(m.Payload, want.Payload) {
				t.Fatalf("payload %q, others read %q", m.Payload, want.Payload)
			}
			if v, ok := want.Headers.Get(":event-type").(smithy.StringValue); ok && string(v) != m.Header(":event-type") {
				t.Fatalf("header %q, others read %q", m.Header(":event-type"), v)
			}
		}
	})
}
