package shape

import (
	"strings"
)

// target is the type a shape wants, for AWS's words about a value that is of another one.
type target uint8

const (
	asStruct target = iota
	asMap
	asList
	asString
	asBlob
	asBoolean
	asInteger
	asLong
	asDouble
	asTimestamp
)

// scalarTargets ends the sentence "class X can not be converted to ..." (articles as AWS has them).
var scalarTargets = [...]string{
	asString:    "an String",
	asBlob:      "a Blob",
	asBoolean:   "an Boolean",
	asInteger:   "an Integer",
	asLong:      "an Long",
	asDouble:    "an Double",
	asTimestamp: "milliseconds since epoch",
}

// javaClasses names the classes in which AWS's parser holds scalars. That of CBOR byte strings is a
// guess after the way AWS prints blobs.
var javaClasses = [...]string{
	kindBool:   "java.lang.Boolean",
	kindNumber: "com.amazon.coral.value.json.numbers.TruncatingBigNumber",
	kindString: "java.lang.String",
	kindBytes:  "java.nio.HeapByteBuffer",
}

// typeText returns AWS's text for a value of kind got where as is wanted. One of the texts ends in a
// full stop; that is AWS's.
func typeText(got kind, as target) string {
	switch {
	case got == kindList:
		return "Start of list found where not expected"
	case got == kindMap:
		return "Start of structure or map found where not expected."
	case as == asStruct:
		return "Expected null"
	case as == asMap:
		return "Expected map or null"
	case as == asList:
		return "Expected list or null"
	}
	return "class " + javaClasses[got] + " can not be converted to " + scalarTargets[as]
}

// mistyped notes a type error for the value that comes next and skips it.
func (d *Decoder) mistyped(got kind, as target) {
	if d.broken {
		return
	}
	d.reject(got, as)
	d.Skip()
}

// reject notes a type error for a value already read. Only the first counts, so a document full of
// them costs no more than one.
func (d *Decoder) reject(got kind, as target) {
	if d.wrong == nil && !d.broken {
		d.wrong = &SerializationError{Message: typeText(got, as)}
	}
}

// boolOfString reads a string as a boolean.
func (d *Decoder) boolOfString() bool {
	s := text(d.stringBytes())
	switch {
	case d.broken:
	case s == "1", strings.EqualFold(s, "true"), strings.EqualFold(s, "yes"):
		return true
	case s == "0", strings.EqualFold(s, "false"), strings.EqualFold(s, "no"):
	case d.wrong == nil:
		d.wrong = &SerializationError{Message: "'" + strings.ToUpper(excerpt(s)) + "' can not be converted to an Boolean"}
	}
	return false
}
