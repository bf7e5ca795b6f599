package shape

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxViolations is how many violations AWS counts and lists before it stops looking.
const maxViolations = 10

// Validator collects the constraints of a model that a structure violates, in AWS's words:
//
//	2 validation errors detected: Value null at 'streamName' failed to satisfy constraint: Member
//	must not be null; Value '0' at 'shardCount' failed to satisfy constraint: Member must have
//	value greater than or equal to 1
//
// The caller walks the structure: Enter, EnterIndex and EnterKey go into a member, an element or a
// map entry and Leave comes back; the other methods check one value each. The member of a check is
// the model's name (StreamName); "" means the element or entry just entered. A value that meets its
// constraints costs no allocation: names are put together only for a message.
//
// The zero Validator is ready; Reset makes one ready again. It is not safe for concurrent use.
type Validator struct {
	path  []step
	count int
	text  []byte // the violations so far, with "; " between them
}

// maxQuote is how many bytes of a value a message repeats. AWS repeats values whole, and so does this
// up to the longest that a constraint's message needs in good faith, such as a list of 501 records.
// Without a bound a stranger could make a message of 140 MiB out of a body of 14.
const maxQuote = 64 << 10

// excerpt returns s as a message repeats it: whole, or cut at a character and with dots for the rest.
func excerpt(s string) string {
	if len(s) <= maxQuote {
		return s
	}
	n := maxQuote
	for n > maxQuote-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// step is one part of the path to a value.
type step struct {
	name  string // a member or a map key
	index int    // of a list element, from 0
	kind  stepKind
}

type stepKind uint8

const (
	stepMember stepKind = iota
	stepIndex
	stepKey
)

// NoMin and NoMax stand for an absent bound of Range; for lengths it is -1.
const (
	NoMin = math.MinInt64
	NoMax = math.MaxInt64
)

// Reset forgets all violations and the path.
func (v *Validator) Reset() {
	clear(v.path)
	v.path, v.count, v.text = v.path[:0], 0, v.text[:0]
	if cap(v.text) > maxQuote {
		v.text = nil // a message this long is rare: a pooled validator need not keep its memory
	}
}

// Enter goes into a structure, list or map member.
func (v *Validator) Enter(member string) { v.path = append(v.path, step{name: member}) }

// EnterIndex goes into element i of the list entered last; i counts from 0, messages from 1.
func (v *Validator) EnterIndex(i int) { v.path = append(v.path, step{kind: stepIndex, index: i}) }

// EnterKey goes into the value of key k of the map entered last.
func (v *Validator) EnterKey(k string) { v.path = append(v.path, step{kind: stepKey, name: k}) }

// Leave undoes the last Enter, EnterIndex or EnterKey.
func (v *Validator) Leave() { v.path = v.path[:len(v.path)-1] }

// Full reports whether no further violation counts: a walk over a long list may stop.
func (v *Validator) Full() bool { return v.count >= maxViolations }

// Err returns a ValidationException, an *Error, or nil if nothing is violated.
func (v *Validator) Err() error {
	if v.count == 0 {
		return nil
	}
	head := " validation errors detected: "
	if v.count == 1 {
		head = " validation error detected: "
	}
	return &Error{Code: "ValidationException", Message: strconv.Itoa(v.count) + head + string(v.text)}
}

// Missing reports a required member that is absent.
func (v *Validator) Missing(member string) {
	if v.begin("Value null", member) {
		v.text = append(v.text, "Member must not be null"...)
	}
}

// Length checks the number of characters of a string.
func (v *Validator) Length(member, value string, min, max int) {
	if lengthWithin(value, min, max) {
		return
	}
	if v.beginQuoted(value, member) {
		v.length(utf8.RuneCountInString(value), min, max)
	}
}

// Secret is Length for a string that no message repeats.
func (v *Validator) Secret(member, value string, min, max int) {
	if lengthWithin(value, min, max) {
		return
	}
	if v.begin("Value", member) {
		v.length(utf8.RuneCountInString(value), min, max)
	}
}

// Bytes checks the length of a blob, which is printed as Java prints a buffer.
func (v *Validator) Bytes(member string, n, min, max int) {
	if n >= min && (max < 0 || n <= max) || v.Full() {
		return
	}
	size := strconv.Itoa(n)
	if v.beginQuoted("java.nio.HeapByteBuffer[pos=0 lim="+size+" cap="+size+"]", member) {
		v.length(n, min, max)
	}
}

// Count checks the number of elements of a list or map. render returns how AWS prints it; it is
// called only for a message.
func (v *Validator) Count(member string, n, min, max int, render func() string) {
	if n >= min && (max < 0 || n <= max) || v.Full() {
		return
	}
	if v.beginQuoted(render(), member) {
		v.length(n, min, max)
	}
}

// Range checks a number.
func (v *Validator) Range(member string, value, min, max int64) {
	if value >= min && value <= max || v.Full() {
		return
	}
	if !v.beginQuoted(strconv.FormatInt(value, 10), member) {
		return
	}
	if value > max {
		v.text = append(v.text, "Member must have value less than or equal to "...)
		v.text = strconv.AppendInt(v.text, max, 10)
		return
	}
	v.text = append(v.text, "Member must have value greater than or equal to "...)
	v.text = strconv.AppendInt(v.text, min, 10)
}

// Pattern checks that the whole of a string matches.
func (v *Validator) Pattern(member, value string, p Pattern) {
	if p.Match(value) {
		return
	}
	if v.beginQuoted(value, member) {
		v.text = append(append(v.text, patternRule...), p.Text...)
	}
}

// Enum checks that a string is one of set.
func (v *Validator) Enum(member, value string, set []string) {
	if oneOf(value, set) {
		return
	}
	if v.beginQuoted(value, member) {
		v.text = appendEnum(v.text, set)
	}
}

// Elements reports that some member, key or value of a list or map violates r, which the caller has
// found with r.Allows. AWS reports this once for the whole container, printed by render.
func (v *Validator) Elements(member string, s Scope, r *Rules, render func() string) {
	if v.Full() || !v.beginQuoted(render(), member) {
		return
	}
	v.text = append(v.text, s.sentence()...)
	v.text = r.appendTo(v.text)
}

// begin starts a violation up to "constraint: ", unless there are enough already.
func (v *Validator) begin(value, member string) bool {
	if v.Full() {
		return false
	}
	if v.count > 0 {
		v.text = append(v.text, "; "...)
	}
	v.count++
	v.text = append(v.text, value...)
	v.text = append(v.text, " at '"...)
	v.appendPath(member)
	v.text = append(v.text, "' failed to satisfy constraint: "...)
	return true
}

func (v *Validator) beginQuoted(value, member string) bool {
	return !v.Full() && v.begin("Value '"+excerpt(value)+"'", member)
}

// appendPath appends where a value is: names with a small first letter, records.1.member.data.
func (v *Validator) appendPath(member string) {
	start := len(v.text)
	for _, s := range v.path {
		v.appendStep(s, start)
	}
	if member != "" {
		v.appendStep(step{name: member}, start)
	}
}

func (v *Validator) appendStep(s step, start int) {
	if len(v.text) > start {
		v.text = append(v.text, '.')
	}
	switch s.kind {
	case stepIndex:
		v.text = strconv.AppendInt(v.text, int64(s.index)+1, 10)
		v.text = append(v.text, ".member"...)
	case stepKey:
		v.text = append(append(v.text, s.name...), ".member"...)
	default:
		v.text = append(v.text, strings.ToLower(s.name[:1])...)
		v.text = append(v.text, s.name[1:]...)
	}
}

func (v *Validator) length(n, min, max int) {
	if max >= 0 && n > max {
		v.text = strconv.AppendInt(append(v.text, maxLengthRule...), int64(max), 10)
		return
	}
	v.text = strconv.AppendInt(append(v.text, minLengthRule...), int64(min), 10)
}
