package shape

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// A query document is a form of flat parameters whose names are paths into the input:
//
//	Action=AssumeRole&Tags.member.1.Key=team&Tags.member.1.Value=blue&DurationSeconds=900
//
// The decoder reads the form once, sorts the parameters by their paths, so that whatever lies below
// one path stands together, and then walks ranges of them as it walks the containers of the other
// formats. Of a parameter that occurs twice the first counts, as on AWS. A list or map that is given
// as an empty text is an empty one: so SDKs write those.
//
// Sorting first was chosen over searching the form for every member, which costs members times
// parameters and lets a stranger choose both.

// maxParams is how many parameters a form may have. A PutMetricData of 1 MiB, the largest message
// in this format, has a third of it.
const maxParams = 1 << 16

// keptParams is how many parameters a decoder keeps memory for between documents.
const keptParams = 1 << 10

// Layout says how a list or map is spelled in a query document and in its XML, where that is not the
// protocol's default. JSON and CBOR know nothing of it.
type Layout struct {
	// Flat leaves out the level between the member and its elements: Attribute.1 instead of
	// Attributes.member.1.
	Flat bool
	// Element is the name of an element that is not flat; "" means member in a list and entry in a map.
	Element string
	// Key and Value are the names of a map's parts; "" means key and value.
	Key, Value string
}

func (l Layout) element(def string) string { return orDefault(l.Element, def) }
func (l Layout) key() string               { return orDefault(l.Key, "key") }
func (l Layout) value() string             { return orDefault(l.Value, "value") }

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// form is the query document of a Decoder and its place in it.
type form struct {
	params []param // sorted by path
	open   []level // from the root inwards
	next   span    // the value that comes next
	given  bool    // next is set and was not read
}

// param is one parameter, decoded. Both parts alias the body.
type param struct{ name, value []byte }

// span is the parameters from lo to hi, whose names are all the same up to at.
type span struct{ lo, hi, at int }

// level is an open container: what is left of it, and for a map how its entries are spelled.
type level struct {
	span
	kind       levelKind
	key, value string
}

type levelKind uint8

const (
	levelStruct levelKind = iota
	levelList
	levelMap
)

// resetForm makes d ready for a form, which is decoded in place.
func (d *Decoder) resetForm(body []byte) {
	f := &d.form
	f.params, f.open = f.params[:0], f.open[:0]
	for pair := range formPairs(body) {
		if len(f.params) == maxParams {
			d.fail("too many parameters")
			return
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		name, okName := unescapeForm(name)
		value, okValue := unescapeForm(value)
		if !okName || !okValue {
			d.fail("an escape that is not hexadecimal, or text that is not UTF-8")
			return
		}
		f.params = append(f.params, param{name, value})
	}
	byPath := func(a, b param) int { return comparePaths(a.name, b.name) }
	if !slices.IsSortedFunc(f.params, byPath) {
		slices.SortStableFunc(f.params, byPath)
	}
	f.next, f.given = span{hi: len(f.params)}, true
}

// dropForm forgets the document, and the memory of a large one.
func (d *Decoder) dropForm() {
	f := &d.form
	if cap(f.params) > keptParams {
		f.params = nil
	}
	clear(f.params[:cap(f.params)])
	f.params, f.open, f.given = f.params[:0], f.open[:0], false
}

// formPairs yields the text between ampersands, without the empty ones.
func formPairs(body []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(body) > 0 {
			var pair []byte
			pair, body, _ = bytes.Cut(body, []byte("&"))
			if len(pair) > 0 && !yield(pair) {
				return
			}
		}
	}
}

// unescapeForm decodes percent and plus signs in place.
func unescapeForm(b []byte) (decoded []byte, ok bool) {
	to := 0
	for from := 0; from < len(b); from++ {
		c := b[from]
		switch c {
		case '+':
			c = ' '
		case '%':
			if len(b)-from < 3 {
				return nil, false
			}
			high, low := hexDigit(b[from+1]), hexDigit(b[from+2])
			if high < 0 || low < 0 {
				return nil, false
			}
			c = byte(high<<4 | low)
			from += 2
		}
		b[to] = c
		to++
	}
	return b[:to:to], validText(b[:to])
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// comparePaths orders names segment by segment: a path before what lies below it, indexes as numbers,
// everything else by its bytes.
func comparePaths(a, b []byte) int {
	for {
		segmentA, restA, moreA := bytes.Cut(a, []byte("."))
		segmentB, restB, moreB := bytes.Cut(b, []byte("."))
		if c := compareSegments(segmentA, segmentB); c != 0 {
			return c
		}
		if !moreA || !moreB {
			return cmp.Compare(count(moreA), count(moreB))
		}
		a, b = restA, restB
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func compareSegments(a, b []byte) int {
	indexA, indexB := isIndex(a), isIndex(b)
	if indexA != indexB {
		return cmp.Compare(count(indexB), count(indexA)) // indexes first, or the order would have circles
	}
	if indexA {
		x, y := bytes.TrimLeft(a, "0"), bytes.TrimLeft(b, "0")
		if c := cmp.Compare(len(x), len(y)); c != 0 {
			return c
		}
		if c := bytes.Compare(x, y); c != 0 {
			return c
		}
	}
	return bytes.Compare(a, b)
}

// isIndex reports whether a segment counts elements: digits only.
func isIndex(s []byte) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) > 0
}

// FormValue returns the first value of a parameter of a form that no Decoder has read yet, and
// whether there is one. It changes nothing; the name must need no escape.
func FormValue(body []byte, name string) (value string, ok bool) {
	for pair := range formPairs(body) {
		n, v, _ := bytes.Cut(pair, []byte("="))
		if string(n) != name {
			continue
		}
		v, valid := unescapeForm(bytes.Clone(v))
		return string(v), valid
	}
	return "", false
}

// wellformedForm is Wellformed for a form.
func wellformedForm(body []byte) bool {
	n := 0
	for pair := range formPairs(body) {
		name, value, _ := bytes.Cut(pair, []byte("="))
		if n++; n > maxParams || !escapedForm(name) || !escapedForm(value) {
			return false
		}
	}
	return true
}

// escapedForm reports what unescapeForm would, and changes nothing.
func escapedForm(b []byte) bool {
	if bytes.IndexByte(b, '%') < 0 {
		return validText(b)
	}
	var text [utf8.UTFMax]byte // the character that is being put together
	n := 0
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' {
			if len(b)-i < 3 || hexDigit(b[i+1]) < 0 || hexDigit(b[i+2]) < 0 {
				return false
			}
			c = byte(hexDigit(b[i+1])<<4 | hexDigit(b[i+2]))
			i += 2
		}
		if n == len(text) {
			return false
		}
		text[n] = c
		if n++; utf8.FullRune(text[:n]) {
			if r, size := utf8.DecodeRune(text[:n]); r == utf8.RuneError && size == 1 {
				return false
			}
			n = 0
		}
	}
	return n == 0
}

// segment returns the segment at which the names of s differ next, and the parameters that have it.
func (f *form) segment(s span) (name []byte, below span) {
	name, _, _ = bytes.Cut(f.params[s.lo].name[s.at:], []byte("."))
	hi := s.lo + 1
	for hi < s.hi && f.has(hi, s.at, name) {
		hi++
	}
	return name, span{lo: s.lo, hi: hi, at: s.at + len(name) + 1}
}

// has reports whether parameter i has the segment at a place of its name.
func (f *form) has(i, at int, segment []byte) bool {
	rest := f.params[i].name[at:]
	return bytes.HasPrefix(rest, segment) && (len(rest) == len(segment) || rest[len(segment)] == '.')
}

// text returns the value of the first parameter whose name ends where s begins.
func (f *form) text(s span) (value []byte, ok bool) {
	if s.lo < s.hi && len(f.params[s.lo].name) < s.at {
		return f.params[s.lo].value, true
	}
	return nil, false
}

// inside returns the part of s that lies below its path.
func (f *form) inside(s span) span {
	for s.at > 0 && s.lo < s.hi && len(f.params[s.lo].name) < s.at {
		s.lo++
	}
	return s
}

// child returns what lies below one segment of s.
func (f *form) child(s span, segment string) (below span, ok bool) {
	for s = f.inside(s); s.lo < s.hi; s.lo = below.hi {
		var name []byte
		if name, below = f.segment(s); string(name) == segment {
			return below, true
		}
	}
	return span{}, false
}

// peekQuery classifies the value that comes next: a text, or a container of any kind.
func (d *Decoder) peekQuery() kind {
	f := &d.form
	if !f.given {
		d.fail("no value where one is expected")
		return kindInvalid
	}
	if _, ok := f.text(f.next); ok {
		return kindString
	}
	return kindMap
}

// textQuery reads the text that peekQuery found.
func (d *Decoder) textQuery() []byte {
	value, _ := d.form.text(d.form.next)
	d.form.given = false
	return value
}

// openQuery enters the container that comes next.
func (d *Decoder) openQuery(kind levelKind, l Layout) {
	f := &d.form
	if d.peekQuery() == kindInvalid {
		return
	}
	f.given = false
	if len(f.open) == maxDepth {
		d.fail("nested too deep")
		return
	}
	inside := f.inside(f.next)
	if inside.lo == inside.hi {
		if text, ok := f.text(f.next); ok && len(text) > 0 {
			d.malformed(complexTexts[kind])
		}
	} else if kind != levelStruct && !l.Flat {
		inside = d.elements(inside, l.element(elementNames[kind]))
	}
	f.open = append(f.open, level{span: inside, kind: kind, key: l.key(), value: l.value()})
}

// elements goes below the one segment that stands before the indexes of a list or map. Anything else
// there is refused: what the caller meant as an element must not vanish.
func (d *Decoder) elements(s span, name string) span {
	below, ok := d.form.child(s, name)
	if !ok || below.lo != s.lo || below.hi != s.hi {
		d.malformed(badElement)
	}
	return d.form.inside(below)
}

// The words of AWS's parser for containers that are not what they should be.
const badElement = "Unexpected list element termination"

var (
	complexTexts = [...]string{
		levelStruct: "Unexpected complex element termination",
		levelList:   "Top level element may not be treated as a list",
		levelMap:    "Unexpected complex element termination",
	}
	elementNames = [...]string{levelList: "member", levelMap: "entry"}
)

// nextQuery goes to the next member, element or entry of the innermost container. What cannot be one
// is noted and passed over.
func (d *Decoder) nextQuery() bool {
	f := &d.form
	if d.broken || len(f.open) == 0 {
		return false
	}
	l := &f.open[len(f.open)-1]
	for l.lo < l.hi {
		name, below := f.segment(l.span)
		l.lo = below.hi
		d.key, f.next, f.given = name, below, true
		if l.kind == levelStruct {
			return true
		}
		if isIndex(name) && (l.kind == levelList || d.entryQuery(below, l)) {
			return true
		}
		d.malformed(badElement)
	}
	f.open = f.open[:len(f.open)-1]
	f.given = false
	return false
}

// entryQuery reads the key of a map's entry and leaves the value as the next one.
func (d *Decoder) entryQuery(entry span, l *level) bool {
	f := &d.form
	key, hasKey := f.child(entry, l.key)
	value, hasValue := f.child(entry, l.value)
	text, isText := f.text(key)
	if !hasKey || !hasValue || !isText {
		return false
	}
	d.key, f.next, f.given = text, value, true
	return true
}

// malformed notes a value that cannot be read as what it should be. An empty message is one for which
// AWS has no words.
func (d *Decoder) malformed(message string) {
	if d.wrong == nil && !d.broken {
		d.wrong = &SerializationError{Message: message, Mistyped: true}
	}
}

// scalarQuery reads a text that is not for a string, or notes that there is none. what is AWS's name
// for the type.
func (d *Decoder) scalarQuery(k kind, what string) (value string, ok bool) {
	switch {
	case d.broken:
		return "", false
	case k != kindString:
		d.form.given = false
		d.malformed("Start of structure or map found where not expected.")
		return "", false
	}
	value = text(d.textQuery())
	if value == "" {
		d.malformed("missing value for " + what + " type")
		return "", false
	}
	return value, true
}

func (d *Decoder) boolQuery(k kind) bool {
	value, ok := d.scalarQuery(k, "boolean")
	switch {
	case !ok, value == "false", value == "0":
		return false
	case value != "true" && value != "1":
		d.malformed("boolean must follow xsd1.1 definition")
		return false
	}
	return true
}

func (d *Decoder) integerQuery(k kind, as target) int64 {
	value, ok := d.scalarQuery(k, "decimal")
	if !ok {
		return 0
	}
	size := 64
	if as == asInteger {
		size = 32
	}
	v, err := strconv.ParseInt(value, 10, size)
	if err != nil {
		d.malformed("")
		return 0
	}
	return v
}

func (d *Decoder) floatQuery(k kind) float64 {
	value, ok := d.scalarQuery(k, "decimal")
	if !ok {
		return 0
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil || bytes.ContainsAny([]byte(value), "xXpP_") {
		d.malformed("")
		return 0
	}
	return v
}

// timestampQuery reads a date and time of ISO 8601, whose fraction may have any number of digits.
func (d *Decoder) timestampQuery(k kind) Timestamp {
	value, ok := d.scalarQuery(k, "timestamp")
	if !ok {
		return 0
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		d.malformed("timestamp must follow ISO8601")
		return 0
	}
	return TimestampOf(t)
}
