package wire

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/wire/shape"
)

// echo is the structure of the tests' service, input and output in one: what a generated structure
// looks like, with a required string, an optional number and a list of structures with blobs.
type echo struct {
	name    string
	hasName bool
	count   shape.Opt[int32]
	items   []item
}

type item struct {
	key  string
	data []byte
}

func newEcho() shape.Shape { return &echo{} }

func (e *echo) Reset() { *e = echo{items: e.items[:0]} }

func (e *echo) Decode(d *shape.Decoder) {
	for d.BeginStruct(); d.NextMember(); {
		switch string(d.Key()) {
		case "Name":
			if e.hasName = !d.Null(); e.hasName {
				e.name = d.String()
			}
		case "Count":
			e.count = d.OptInt32()
		case "Items":
			e.items = e.items[:0]
			for d.BeginList(); d.NextElement(); {
				e.items = append(e.items, item{})
				e.items[len(e.items)-1].decode(d)
			}
		default:
			d.Skip()
		}
	}
}

func (i *item) decode(d *shape.Decoder) {
	for d.BeginStruct(); d.NextMember(); {
		switch string(d.Key()) {
		case "Key":
			i.key = d.String()
		case "Data":
			i.data = d.Blob()
		default:
			d.Skip()
		}
	}
}

func (e *echo) Encode(enc *shape.Encoder) {
	enc.BeginStruct()
	enc.Member("Name")
	enc.String(e.name)
	if e.count.Set {
		enc.Member("Count")
		enc.Int32(e.count.Value)
	}
	if len(e.items) > 0 {
		enc.Member("Items")
		enc.BeginList(len(e.items))
		for _, i := range e.items {
			enc.BeginStruct()
			enc.Member("Key")
			enc.String(i.key)
			enc.Member("Data")
			enc.Blob(i.data)
			enc.EndStruct()
		}
		enc.EndList()
	}
	enc.EndStruct()
}

func (e *echo) Validate(v *shape.Validator) {
	if !e.hasName {
		v.Missing("Name")
	} else {
		v.Length("Name", e.name, 1, 128)
	}
}

// encoded returns e as a document.
func encoded(f shape.Format, e *echo) []byte {
	var enc shape.Encoder
	enc.Reset(f, nil)
	e.Encode(&enc)
	return bytes.Clone(enc.Bytes())
}

var errBroken = errors.New("disk on fire at /dev/secret")

// fakeService has one operation for every way an operation can end. Its functions may be replaced
// by a test.
func fakeService() Service {
	operation := func(name string, h func(context.Context, *shape.Call, *echo, *echo) error) shape.Operation {
		return shape.Operation{Name: name, NewInput: newEcho, NewOutput: newEcho, Transient: true,
			Handle: func(ctx context.Context, c *shape.Call, in, out shape.Shape) error {
				return h(ctx, c, in.(*echo), out.(*echo))
			}}
	}
	quiet := operation("Quiet", nil)
	quiet.NewOutput = nil
	quiet.Handle = func(context.Context, *shape.Call, shape.Shape, shape.Shape) error { return nil }
	anyone := operation("Anyone", func(_ context.Context, c *shape.Call, in, out *echo) error {
		out.name = "hello " + in.name + c.Account
		return nil
	})
	anyone.Unsigned = true
	streaming := operation("Stream", streamEcho)
	streaming.Streaming, streaming.Transient = true, false
	return Service{
		TargetPrefix: "Fake_20260101",
		SigningName:  "fake",
		Formats:      AWSJSON11 | CBOR11 | Query,
		Version:      "2026-01-01",
		Namespace:    "https://fake.example/doc/2026-01-01/",
		Known:        []string{"Echo", "Quiet", "Fail", "Panic", "WhoAmI", "Anyone", "Stream", "NotBuilt"},
		Operations: []shape.Operation{
			operation("Echo", func(_ context.Context, _ *shape.Call, in, out *echo) error {
				out.name, out.count = in.name, in.count
				out.items = append(out.items[:0], in.items...)
				return nil
			}),
			quiet,
			anyone,
			streaming,
			operation("Fail", func(_ context.Context, _ *shape.Call, in, _ *echo) error {
				switch in.name {
				case "modelled":
					return &shape.Error{Code: "ResourceNotFoundException", Message: "Stream <b> under account 000000000000 not found."}
				case "bare":
					return &shape.Error{Code: "LimitExceededException"}
				case "renamed":
					return &shape.Error{Code: "QueueDoesNotExist", Message: "no", QueryCode: "AWS.SimpleQueueService.NonExistentQueue"}
				case "fault":
					return &shape.Error{Code: "KMSInternalException", Message: "no", Fault: true}
				case "abandoned":
					return context.Canceled
				}
				return errBroken
			}),
			operation("Panic", func(_ context.Context, _ *shape.Call, in, _ *echo) error {
				panic("secret " + in.name)
			}),
			operation("WhoAmI", func(_ context.Context, c *shape.Call, _, out *echo) error {
				out.name = strings.Join([]string{c.Account, c.Region, c.AccessKeyID}, " ")
				return nil
			}),
		},
	}
}

// streamEcho answers with count events of its input, and then the error that it names.
func streamEcho(_ context.Context, c *shape.Call, in, out *echo) error {
	if in.name == "refused" {
		return &shape.Error{Code: "ResourceInUseException", Message: "Another one."}
	}
	out.name = "first"
	event := *in
	c.Push(func(_ context.Context, to shape.Events) error {
		var buf []byte
		for n := range event.count.Value {
			event.count = shape.Some(n)
			buf = to.Encode(buf[:0], "Echo", &event)
			if err := to.Send(buf); err != nil {
				return err
			}
		}
		switch event.name {
		case "modelled":
			return &shape.Error{Code: "ResourceInUseException", Message: "Another one."}
		case "broken":
			return errBroken
		}
		return nil
	})
	return nil
}

func fakeConfig() Config {
	return Config{Services: []Service{fakeService()}, Authenticate: sigv4.FormOnly{}}
}

// sign makes a request pass sigv4.FormOnly.
func sign(h http.Header) {
	h.Set("X-Amz-Date", "20261123T101112Z")
	h.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20261123/eu-west-1/fake/aws4_request, SignedHeaders=host;x-amz-date, Signature=00")
}

// newCall returns a signed request for an operation of the fake service.
func newCall(t testing.TB, url, operation, contentType string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Fake_20260101."+operation)
	r.Header.Set("Content-Type", contentType)
	sign(r.Header)
	return r
}

// readable returns body as text, or in hex when it is binary.
func readable(body []byte) string {
	if !utf8.Valid(body) || bytes.ContainsFunc(body, func(r rune) bool { return r < ' ' && r != '\n' }) {
		return "hex:" + hex.EncodeToString(body)
	}
	return string(body)
}
