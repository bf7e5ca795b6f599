package shape

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// xml is the place of an Encoder in the XML that answers a query document: one element a line, two
// spaces a level, as AWS writes it.
type xml struct {
	open      []element
	member    string // the name of the next element in a structure
	namespace string // of the root, until it is written
}

// element is an open element.
type element struct {
	kind levelKind
	// name is the element's; a flat list or map has none of its own and gives it to its elements.
	name string
	flat bool
	// each is the name of a list's elements or a map's entries, key and value are those of a map's parts.
	each, key, value string
	// inside is where the content begins.
	inside int
}

// Root names the root element of an XML document and its namespace. The other formats have neither.
func (e *Encoder) Root(name, namespace string) { e.xml.member, e.xml.namespace = name, namespace }

// tag returns the name of the element that comes next.
func (e *Encoder) tag() string {
	if len(e.xml.open) == 0 {
		return e.xml.member
	}
	switch in := &e.xml.open[len(e.xml.open)-1]; in.kind {
	case levelList:
		return in.each
	case levelMap:
		return in.value
	}
	return e.xml.member
}

// indent begins a line. A flat container is no level of its own, an entry of a map is one.
func (e *Encoder) indent() {
	for i := range e.xml.open {
		in := &e.xml.open[i]
		if !in.flat {
			e.buf = append(e.buf, "  "...)
		}
		if in.kind == levelMap && i+1 < len(e.xml.open) {
			e.buf = append(e.buf, "  "...)
		}
	}
}

func (e *Encoder) startTag(name string) {
	e.buf = append(e.buf, '<')
	e.buf = append(e.buf, name...)
	if e.xml.namespace != "" {
		e.buf = append(e.buf, ` xmlns="`...)
		e.buf = append(e.buf, e.xml.namespace...)
		e.buf = append(e.buf, '"')
		e.xml.namespace = ""
	}
	e.buf = append(e.buf, '>')
}

func (e *Encoder) endTag(name string) {
	e.buf = append(e.buf, "</"...)
	e.buf = append(e.buf, name...)
	e.buf = append(e.buf, ">\n"...)
}

// beginXML begins a structure, list or map.
func (e *Encoder) beginXML(kind levelKind, l Layout) {
	el := element{kind: kind, name: e.tag(), flat: l.Flat && kind != levelStruct}
	switch {
	case kind == levelStruct:
	case el.flat:
		el.each = el.name
	default:
		el.each = l.element(elementNames[kind])
	}
	el.key, el.value = l.key(), l.value()
	if !el.flat {
		e.indentValue()
		e.startTag(el.name)
		e.buf = append(e.buf, '\n')
	}
	el.inside = len(e.buf)
	e.xml.open = append(e.xml.open, el)
}

// endXML ends the innermost container. An empty one is a single tag.
func (e *Encoder) endXML() {
	last := len(e.xml.open) - 1
	el := e.xml.open[last]
	e.xml.open = e.xml.open[:last]
	switch {
	case el.flat:
	case el.inside == len(e.buf):
		e.buf = append(e.buf[:el.inside-len(">\n")], "/>\n"...)
	default:
		e.indentValue()
		e.endTag(el.name)
	}
	e.endEntry()
}

// indentValue is indent for a value: in a map it stands inside the entry.
func (e *Encoder) indentValue() {
	e.indent()
	if n := len(e.xml.open); n > 0 && e.xml.open[n-1].kind == levelMap {
		e.buf = append(e.buf, "  "...)
	}
}

// keyXML begins an entry of a map.
func (e *Encoder) keyXML(k string) {
	in := &e.xml.open[len(e.xml.open)-1]
	e.indent()
	e.startTag(in.each)
	e.buf = append(e.buf, '\n')
	e.indentValue()
	e.startTag(in.key)
	e.escapeXML(k)
	e.endTag(in.key)
}

// endEntry ends the entry of a map whose value was just written.
func (e *Encoder) endEntry() {
	if n := len(e.xml.open); n > 0 && e.xml.open[n-1].kind == levelMap {
		e.indent()
		e.endTag(e.xml.open[n-1].each)
	}
}

// beginScalar begins a value that is neither a container nor a text, in JSON or XML, and returns what
// endScalar needs.
func (e *Encoder) beginScalar() (tag string) {
	if e.format == JSON {
		e.separate()
		return ""
	}
	tag = e.tag()
	e.indentValue()
	e.startTag(tag)
	return tag
}

func (e *Encoder) endScalar(tag string) {
	if e.format == Query {
		e.endTag(tag)
		e.endEntry()
	}
}

func (e *Encoder) textXML(s string) {
	tag := e.beginScalar()
	e.escapeXML(s)
	e.endScalar(tag)
}

// escapeXML appends s as the content of an element. What XML cannot hold becomes U+FFFD, and a carriage
// return a reference, because parsers make line feeds of bare ones.
func (e *Encoder) escapeXML(s string) {
	for _, r := range s { // what is not UTF-8 comes as U+FFFD
		switch {
		case r == '&':
			e.buf = append(e.buf, "&amp;"...)
		case r == '<':
			e.buf = append(e.buf, "&lt;"...)
		case r == '>':
			e.buf = append(e.buf, "&gt;"...)
		case r == '"':
			e.buf = append(e.buf, "&quot;"...)
		case r == '\r':
			e.buf = append(e.buf, "&#xD;"...)
		case r < ' ' && r != '\t' && r != '\n', r == 0xFFFE, r == 0xFFFF:
			e.buf = utf8.AppendRune(e.buf, utf8.RuneError)
		default:
			e.buf = utf8.AppendRune(e.buf, r)
		}
	}
}

func (e *Encoder) floatXML(v float64) {
	tag := e.beginScalar()
	switch {
	case math.IsInf(v, 1):
		e.buf = append(e.buf, "Infinity"...)
	case math.IsInf(v, -1):
		e.buf = append(e.buf, "-Infinity"...)
	default:
		e.buf = strconv.AppendFloat(e.buf, v, 'g', -1, 64)
	}
	e.endScalar(tag)
}
