package shape

import (
	"math"
	"unicode/utf8"
	"unsafe"
)

// maxDepth is how many structures, lists and maps may be open at once. AWS's models nest far less;
// the limit bounds the recursion of generated code and of Skip.
const maxDepth = 64

// Decoder walks one document front to back, in either format. The zero Decoder reads an empty JSON
// document; Reset starts a real one. It is not safe for concurrent use.
//
// Reading. The caller reads exactly one value, by one of the value methods, a Begin method or Skip,
// after each NextMember, NextElement or NextEntry that returned true, and one value at the root.
// Begin methods pair with Next methods called until they return false.
//
// Absence. AWS treats null (and CBOR's undefined) as absence. Null consumes one and says so; a value
// method that meets null returns the zero value, and a Begin method opens an empty container. The
// root is the exception: a body that is null, or any scalar, is not a document.
//
// Memory. Strings, blobs and keys are not copied: they alias the body given to Reset, which the
// decoder changes in place where text needs unescaping, base64 decoding or the joining of CBOR
// chunks. All of them are valid as long as the body is. Nothing is allocated per value, and a
// length that a CBOR document declares is only ever compared with the bytes that are there.
//
// Errors. There are two kinds, and AWS gives one of them precedence: a document that is not
// well-formed is reported as such even when a value of the wrong type stands before the flaw. So a
// value of the wrong type is noted (the first one wins), skipped and read as zero, and decoding goes
// on; a syntax error stops it: every Next method returns false from then on, and every value is
// zero. Generated code therefore checks no error until Finish.
//
// Of a member that occurs twice the last occurrence counts, which is the caller's doing: it assigns
// scalars and restarts lists and maps at their Begin.
type Decoder struct {
	buf    []byte
	pos    int
	format Format
	depth  int
	key    []byte

	broken bool   // a syntax error was met
	flaw   string // what it was
	flawAt int
	wrong  *SerializationError // the first type error

	stack   [maxDepth + 1]frame // a frameEmpty, which holds nothing, may stand above the limit
	chunk64 chunkBytes
	form    form // of a query document
}

// frame is an open container.
type frame struct {
	kind frameKind
	left uint64 // frameCounted: entries still to come
}

type frameKind uint8

const (
	frameEmpty   frameKind = iota // stands for null or a value of another type
	frameFirst                    // JSON, before its first entry
	frameMore                     // JSON, after an entry
	frameCounted                  // CBOR of definite length
	frameOpen                     // CBOR of indefinite length
)

// kind classifies a value before it is read.
type kind uint8

const (
	kindInvalid kind = iota
	kindNull
	kindBool
	kindNumber
	kindString
	kindBytes // CBOR only
	kindList
	kindMap // structures too
)

// Reset starts on body, which belongs to the decoder until the last value read from it is dropped.
func (d *Decoder) Reset(f Format, body []byte) {
	if d.format == Query {
		d.dropForm()
	}
	d.buf, d.pos, d.format = body, 0, f
	d.depth, d.key = 0, nil
	d.broken, d.flaw, d.flawAt, d.wrong = false, "", 0, nil
	if f == Query {
		d.resetForm(body)
	}
}

// Err returns the error met so far, a *SerializationError: a syntax error if there is one, else the
// first type error.
func (d *Decoder) Err() error {
	if d.broken {
		return &SerializationError{Detail: d.flaw, Offset: d.flawAt}
	}
	if d.wrong != nil {
		return d.wrong
	}
	return nil
}

// Finish checks that the document ends here and returns Err. In JSON white space may follow.
func (d *Decoder) Finish() error {
	d.finish()
	return d.Err()
}

func (d *Decoder) finish() {
	if d.broken {
		return
	}
	switch d.format {
	case JSON:
		d.skipSpace()
	case Query:
		return // all of it was read at once
	}
	if d.pos < len(d.buf) {
		d.fail("data after the end of the document")
	}
}

// fail notes a syntax error at the current position.
func (d *Decoder) fail(what string) {
	if !d.broken {
		d.broken, d.flaw, d.flawAt = true, what, d.pos
	}
	d.key = nil
}

// Null consumes a null and reports whether there was one.
func (d *Decoder) Null() bool {
	if d.format == Query || d.peek() != kindNull {
		return false
	}
	d.skipScalar()
	return !d.broken
}

// BeginStruct opens a structure, to be read with NextMember and Key.
func (d *Decoder) BeginStruct() {
	if d.format == Query {
		d.openQuery(levelStruct, Layout{})
		return
	}
	d.begin(kindMap, asStruct)
}

// BeginMap opens a map, to be read with NextEntry and Key.
func (d *Decoder) BeginMap() { d.BeginMapIn(Layout{}) }

// BeginMapIn is BeginMap for a map that a query document spells in its own way.
func (d *Decoder) BeginMapIn(l Layout) {
	if d.format == Query {
		d.openQuery(levelMap, l)
		return
	}
	d.begin(kindMap, asMap)
}

// BeginList opens a list, to be read with NextElement.
func (d *Decoder) BeginList() { d.BeginListIn(Layout{}) }

// BeginListIn is BeginList for a list that a query document spells in its own way.
func (d *Decoder) BeginListIn(l Layout) {
	if d.format == Query {
		d.openQuery(levelList, l)
		return
	}
	d.begin(kindList, asList)
}

func (d *Decoder) begin(want kind, as target) {
	got := d.peek()
	if d.depth == 0 && got != kindMap && got != kindList {
		d.fail("the document is neither a structure nor a list")
	}
	switch {
	case d.broken:
	case got == want:
		d.open()
	case got == kindNull:
		d.skipScalar()
		d.push(frame{kind: frameEmpty})
	default:
		d.mistyped(got, as)
		d.push(frame{kind: frameEmpty})
	}
}

// push makes f the innermost container.
func (d *Decoder) push(f frame) {
	if d.depth == maxDepth && f.kind != frameEmpty {
		d.fail("nested too deep")
	}
	if d.broken {
		return
	}
	d.stack[d.depth] = f
	d.depth++
}

// open enters the list or map that peek found.
func (d *Decoder) open() {
	if d.format == CBOR {
		d.openCBOR()
		return
	}
	d.pos++
	d.push(frame{kind: frameFirst})
}

// NextMember goes to the next member of a structure and makes its name available as Key. It closes
// the structure and returns false after the last one.
func (d *Decoder) NextMember() bool {
	switch d.format {
	case JSON:
		return d.nextJSON('}') && d.readKeyJSON()
	case CBOR:
		return d.nextCBOR() && d.readKeyCBOR()
	}
	return d.nextQuery()
}

// NextEntry is NextMember for a map.
func (d *Decoder) NextEntry() bool { return d.NextMember() }

// NextElement goes to the next element of a list. It closes the list and returns false after the
// last one.
func (d *Decoder) NextElement() bool {
	switch d.format {
	case JSON:
		return d.nextJSON(']')
	case CBOR:
		return d.nextCBOR()
	}
	return d.nextQuery()
}

// Key returns the name that the last NextMember or NextEntry read. It aliases the body.
func (d *Decoder) Key() []byte { return d.key }

// peek classifies the next value without consuming more than white space and CBOR tags.
func (d *Decoder) peek() kind {
	if d.broken {
		return kindInvalid
	}
	switch d.format {
	case JSON:
		return d.peekJSON()
	case CBOR:
		return d.peekCBOR()
	}
	return d.peekQuery()
}

// String reads a string. It aliases the body.
func (d *Decoder) String() string { return text(d.stringBytes()) }

// text makes a string of b without copying it. The body that b aliases changes only by reading it,
// and only ahead of what was read, so the string does not change as long as the body lives.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (d *Decoder) stringBytes() []byte {
	switch k := d.peek(); k {
	case kindString:
		switch d.format {
		case JSON:
			return d.readStringJSON()
		case CBOR:
			return d.joinChunks()
		}
		return d.textQuery()
	case kindNull:
		d.skipScalar()
	default:
		d.mistyped(k, asString)
	}
	return nil
}

// Blob reads a blob: base64 text in JSON, a byte string or base64 text in CBOR. It aliases the body
// and is never nil unless the value is absent or wrong.
func (d *Decoder) Blob() []byte {
	switch k := d.peek(); k {
	case kindString:
		switch d.format {
		case JSON:
			return d.readBlobJSON()
		case CBOR:
			return d.decodeBlob(d.joinChunks())
		}
		return d.decodeBlob(d.textQuery())
	case kindBytes:
		return d.joinChunks()
	case kindNull:
		d.skipScalar()
	default:
		d.mistyped(k, asBlob)
	}
	return nil
}

// Bool reads a boolean. Like AWS it also takes the strings true, yes and 1, false, no and 0 in any
// case, and numbers with a fraction (of which any but 0 is true), but not integers.
func (d *Decoder) Bool() bool {
	k := d.peek()
	if d.format == Query {
		return d.boolQuery(k)
	}
	switch k {
	case kindBool:
		return d.readBool()
	case kindString:
		return d.boolOfString()
	case kindNumber:
		n := d.readNumber()
		if n.fraction {
			return n.f != 0
		}
		d.reject(kindNumber, asBoolean)
	case kindNull:
		d.skipScalar()
	default:
		d.mistyped(k, asBoolean)
	}
	return false
}

// Int32 reads an integer: a fraction is rounded down, and what does not fit becomes the nearest
// value that does.
func (d *Decoder) Int32() int32 {
	v := d.integer(asInteger)
	return int32(min(max(v, math.MinInt32), math.MaxInt32))
}

// Int64 reads a long, as Int32 does.
func (d *Decoder) Int64() int64 { return d.integer(asLong) }

func (d *Decoder) integer(as target) int64 {
	switch k := d.peek(); k {
	case kindNumber:
		return d.readNumber().floor()
	case kindNull:
		d.skipScalar()
	default:
		if d.format == Query {
			return d.integerQuery(k, as)
		}
		d.mistyped(k, as)
	}
	return 0
}

// Float64 reads a double or float; the strings NaN, Infinity and -Infinity are such values too. What
// is too large for a float64 becomes the largest one.
func (d *Decoder) Float64() float64 {
	switch k := d.peek(); k {
	case kindNumber:
		return d.readNumber().float()
	case kindString:
		if d.format == Query {
			return d.floatQuery(k)
		}
		return d.floatOfString()
	case kindNull:
		d.skipScalar()
	default:
		d.mistyped(k, asDouble)
	}
	return 0
}

// Timestamp reads a timestamp: a number of seconds in JSON, rounded to the millisecond, and of
// milliseconds, with or without tag 1, in CBOR.
func (d *Decoder) Timestamp() Timestamp {
	switch k := d.peek(); k {
	case kindNumber:
		n := d.readNumber()
		if d.format == CBOR {
			return Timestamp(n.floor())
		}
		return n.seconds()
	case kindNull:
		d.skipScalar()
	default:
		if d.format == Query {
			return d.timestampQuery(k)
		}
		d.mistyped(k, asTimestamp)
	}
	return 0
}

// OptString reads a string, or absence.
func (d *Decoder) OptString() (o Opt[string]) {
	if d.present() {
		o = Some(d.String())
	}
	return o
}

// OptBool reads a boolean, or absence.
func (d *Decoder) OptBool() (o Opt[bool]) {
	if d.present() {
		o = Some(d.Bool())
	}
	return o
}

// OptInt32 reads an integer, or absence.
func (d *Decoder) OptInt32() (o Opt[int32]) {
	if d.present() {
		o = Some(d.Int32())
	}
	return o
}

// OptInt64 reads a long, or absence.
func (d *Decoder) OptInt64() (o Opt[int64]) {
	if d.present() {
		o = Some(d.Int64())
	}
	return o
}

// OptFloat64 reads a double, or absence.
func (d *Decoder) OptFloat64() (o Opt[float64]) {
	if d.present() {
		o = Some(d.Float64())
	}
	return o
}

// OptTimestamp reads a timestamp, or absence.
func (d *Decoder) OptTimestamp() (o Opt[Timestamp]) {
	if d.present() {
		o = Some(d.Timestamp())
	}
	return o
}

// present reports whether a value other than null comes next, and consumes a null.
func (d *Decoder) present() bool { return !d.Null() && !d.broken }

// Skip passes over one value, checking its syntax. It leaves the body unchanged.
func (d *Decoder) Skip() {
	if d.format == Query {
		d.form.given = false
		return
	}
	k := d.peek()
	if k != kindList && k != kindMap {
		d.skipScalar()
		return
	}
	d.open()
	if k == kindList {
		for d.NextElement() {
			d.Skip()
		}
		return
	}
	for d.skipKey() {
		d.Skip()
	}
}

// skipKey is NextMember without unescaping the key, which would change the body.
func (d *Decoder) skipKey() bool {
	if d.format == CBOR {
		return d.nextCBOR() && d.skipKeyCBOR()
	}
	return d.nextJSON('}') && d.skipKeyJSON()
}

// skipScalar passes over a value that is not a container.
func (d *Decoder) skipScalar() {
	if d.broken {
		return
	}
	if d.format == CBOR {
		d.skipScalarCBOR()
		return
	}
	d.skipScalarJSON()
}

// Wellformed reports whether body is one document: a structure or a list at the root, correct to the
// end, nested no deeper than a Decoder accepts; for a query document, that it is a form. It changes and allocates nothing. A Decoder accepts
// the same bodies, so calling both is only needed where the shape is not known.
func Wellformed(f Format, body []byte) bool {
	if f == Query {
		return wellformedForm(body)
	}
	var d Decoder
	d.Reset(f, body)
	if k := d.peek(); k != kindList && k != kindMap {
		return false
	}
	d.Skip()
	d.finish()
	return !d.broken
}

// validText reports whether b is UTF-8; most text is ASCII and short.
func validText(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return utf8.Valid(b)
		}
	}
	return true
}
