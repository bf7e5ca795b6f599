// Package shape is the protocol-neutral codec under the AWS APIs: it turns one JSON or CBOR document,
// or a form that is answered in XML, into Go values and back, checks values against a model's
// constraints, and defines what a service operation looks like to the wire.
//
// Generated code (internal/awsapi) describes shapes with it; package wire drives it. It is not an
// HTTP layer and knows no service, header or status line: wire owns those. It is not a general JSON,
// CBOR or XML library either: it reads documents whose members the caller already knows by name.
//
//	d.Reset(shape.JSON, body)
//	for d.BeginStruct(); d.NextMember(); {
//		switch string(d.Key()) {
//		case "StreamName":
//			in.StreamName = d.String()
//		case "Records":
//			for d.BeginList(); d.NextElement(); {
//				in.Records = append(in.Records, d.Blob())
//			}
//		default:
//			d.Skip()
//		}
//	}
//	err := d.Finish()
package shape

import "time"

// Format names the document format of a request and of its response.
type Format uint8

const (
	// JSON is awsJson 1.0 and 1.1: blobs are base64 strings, timestamps are epoch seconds.
	JSON Format = iota
	// CBOR is the format AWS's SDKs for Java speak to Kinesis (application/x-amz-cbor-1.1), which
	// is older than and unlike rpcv2Cbor: blobs are byte strings, timestamps are tag 1 over
	// integer epoch milliseconds.
	CBOR
	// Query is awsQuery, of AWS's older services: a request is a form, a response XML. Blobs are
	// base64 texts, timestamps dates and times of ISO 8601.
	Query
)

// String returns the format's name for messages.
func (f Format) String() string {
	switch f {
	case CBOR:
		return "CBOR"
	case Query:
		return "Query"
	}
	return "JSON"
}

// Shape is a structure of an AWS model. One value serves many requests: Reset empties it but keeps
// the capacity of its slices.
type Shape interface {
	// Decode reads the structure at the decoder's position; errors stay in the decoder.
	Decode(d *Decoder)
	// Encode appends the structure.
	Encode(e *Encoder)
	// Validate reports every member that breaks a constraint of the model.
	Validate(v *Validator)
	// Reset makes the structure empty.
	Reset()
}

// Opt is an optional scalar member: Set tells an absent member from one that has its zero value.
type Opt[T any] struct {
	Value T
	Set   bool
}

// Some returns a present value.
func Some[T any](v T) Opt[T] { return Opt[T]{Value: v, Set: true} }

// Or returns the value, or def when it is absent.
func (o Opt[T]) Or(def T) T {
	if o.Set {
		return o.Value
	}
	return def
}

// Timestamp is a point in time in whole milliseconds since the Unix epoch, the resolution of AWS's
// formats.
type Timestamp int64

// TimestampOf truncates t to the millisecond.
func TimestampOf(t time.Time) Timestamp { return Timestamp(t.UnixMilli()) }

// Time returns t in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }
