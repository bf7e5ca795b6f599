package shape

import (
	"slices"
	"strconv"
)

// Encoder appends one document to a byte slice, in either format. The zero Encoder writes JSON to a
// new slice; Reset starts over. Nothing is allocated per value, only when the slice must grow. It
// is not safe for concurrent use.
//
// The caller writes one value after each Member and MapKey, one for each element of a list, and one
// at the root, and ends what it began; the encoder does not check this, but places commas.
//
// In CBOR structures have indefinite length, as in AWS's answers, so that a caller need not count
// the members that are present; lists and maps have the length given to their Begin.
//
// The answer to a query document is XML, whose root has a name: Root says it first.
type Encoder struct {
	buf    []byte
	format Format
	comma  bool // JSON: a value stands before the next one in the same container
	xml    xml  // Query
}

// Reset starts a document that is appended to buf, which may be nil.
func (e *Encoder) Reset(f Format, buf []byte) {
	*e = Encoder{buf: buf, format: f, xml: xml{open: e.xml.open[:0]}}
}

// Bytes returns buf with what was appended since Reset.
func (e *Encoder) Bytes() []byte { return e.buf }

// BeginStruct begins a structure, to be filled with Member and a value for each member.
func (e *Encoder) BeginStruct() {
	switch e.format {
	case JSON:
		e.open('{')
	case CBOR:
		e.buf = append(e.buf, majorMap<<5|infoIndefinite)
	case Query:
		e.beginXML(levelStruct, Layout{})
	}
}

// EndStruct ends a structure.
func (e *Encoder) EndStruct() {
	switch e.format {
	case JSON:
		e.shut('}')
	case CBOR:
		e.buf = append(e.buf, cborBreak)
	case Query:
		e.endXML()
	}
}

// Member begins a member. name is the model's: ASCII without anything to escape.
func (e *Encoder) Member(name string) {
	switch e.format {
	case CBOR:
		e.head(majorText, uint64(len(name)))
		e.buf = append(e.buf, name...)
		return
	case Query:
		e.xml.member = name
		return
	}
	e.separate()
	e.buf = append(e.buf, '"')
	e.buf = append(e.buf, name...)
	e.buf = append(e.buf, '"', ':')
	e.comma = false
}

// BeginList begins a list of exactly n elements.
func (e *Encoder) BeginList(n int) { e.BeginListIn(Layout{}, n) }

// BeginListIn is BeginList for a list that XML spells in its own way.
func (e *Encoder) BeginListIn(l Layout, n int) {
	switch e.format {
	case JSON:
		e.open('[')
	case CBOR:
		e.head(majorList, uint64(n))
	case Query:
		e.beginXML(levelList, l)
	}
}

// EndList ends a list.
func (e *Encoder) EndList() {
	switch e.format {
	case JSON:
		e.shut(']')
	case Query:
		e.endXML()
	}
}

// BeginMap begins a map of exactly n entries, to be filled with MapKey and a value for each.
func (e *Encoder) BeginMap(n int) { e.BeginMapIn(Layout{}, n) }

// BeginMapIn is BeginMap for a map that XML spells in its own way.
func (e *Encoder) BeginMapIn(l Layout, n int) {
	switch e.format {
	case JSON:
		e.open('{')
	case CBOR:
		e.head(majorMap, uint64(n))
	case Query:
		e.beginXML(levelMap, l)
	}
}

// MapKey begins an entry of a map.
func (e *Encoder) MapKey(k string) {
	if e.format == Query {
		e.keyXML(k)
		return
	}
	e.String(k)
	if e.format == JSON {
		e.buf = append(e.buf, ':')
		e.comma = false
	}
}

// EndMap ends a map.
func (e *Encoder) EndMap() {
	switch e.format {
	case JSON:
		e.shut('}')
	case Query:
		e.endXML()
	}
}

// String writes a string. What is not UTF-8 in it becomes U+FFFD.
func (e *Encoder) String(s string) {
	switch e.format {
	case CBOR:
		e.textCBOR(s)
		return
	case Query:
		e.textXML(s)
		return
	}
	e.separate()
	e.quote(s)
}

// Bool writes a boolean.
func (e *Encoder) Bool(v bool) {
	if e.format == CBOR {
		c := byte(cborFalse)
		if v {
			c = cborTrue
		}
		e.buf = append(e.buf, c)
		return
	}
	tag := e.beginScalar()
	e.buf = strconv.AppendBool(e.buf, v)
	e.endScalar(tag)
}

// Int32 writes an integer.
func (e *Encoder) Int32(v int32) { e.Int64(int64(v)) }

// Int64 writes a long.
func (e *Encoder) Int64(v int64) {
	if e.format == CBOR {
		e.intCBOR(v)
		return
	}
	tag := e.beginScalar()
	e.buf = strconv.AppendInt(e.buf, v, 10)
	e.endScalar(tag)
}

// Float64 writes a double: in JSON the shortest text that reads back as v, and a string for NaN and
// the infinities; in CBOR always eight bytes.
func (e *Encoder) Float64(v float64) {
	switch e.format {
	case CBOR:
		e.floatCBOR(v)
		return
	case Query:
		e.floatXML(v)
		return
	}
	e.separate()
	e.floatJSON(v)
}

// Blob writes a blob: base64 text in JSON and XML, a byte string in CBOR.
func (e *Encoder) Blob(b []byte) {
	switch e.format {
	case CBOR:
		e.head(majorBytes, uint64(len(b)))
		e.buf = append(e.buf, b...)
		return
	case Query:
		tag := e.beginScalar()
		e.buf = appendBase64(e.buf, b)
		e.endScalar(tag)
		return
	}
	e.separate()
	e.buf = append(e.buf, '"')
	e.buf = appendBase64(e.buf, b)
	e.buf = append(e.buf, '"')
}

// Timestamp writes a timestamp: in JSON seconds with up to three decimals and never an exponent,
// which some clients cannot read; in CBOR tag 1 and integer milliseconds, which RFC 8949 does not
// allow and AWS's SDKs for Java insist on; in XML a date and time of ISO 8601.
func (e *Encoder) Timestamp(t Timestamp) {
	switch e.format {
	case CBOR:
		e.buf = append(e.buf, majorTag<<5|1)
		e.intCBOR(int64(t))
		return
	case Query:
		tag := e.beginScalar()
		e.buf = t.Time().AppendFormat(e.buf, "2006-01-02T15:04:05.999Z")
		e.endScalar(tag)
		return
	}
	e.separate()
	e.secondsJSON(t)
}

// Null writes null; in XML an empty element.
func (e *Encoder) Null() {
	switch e.format {
	case CBOR:
		e.buf = append(e.buf, cborNull)
		return
	case Query:
		e.endScalar(e.beginScalar())
		return
	}
	e.separate()
	e.buf = append(e.buf, "null"...)
}

// grow returns b with room for n more bytes.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return slices.Grow(b, n)
}
