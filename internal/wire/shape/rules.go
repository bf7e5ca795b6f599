package shape

import (
	"strconv"
	"unicode/utf8"
)

// What AWS says of a broken constraint, before its parameter.
const (
	maxLengthRule = "Member must have length less than or equal to "
	minLengthRule = "Member must have length greater than or equal to "
	patternRule   = "Member must satisfy regular expression pattern: "
	enumRule      = "Member must satisfy enum value set: ["
)

// Pattern is a regular expression constraint. AWS demands that the whole value matches, whether or
// not the expression has anchors.
type Pattern struct {
	// Text is the expression as the model has it, which is how AWS prints it.
	Text string
	// Match reports whether the whole of value matches.
	Match func(value string) bool
}

// Rules are the constraints on the elements of a list or on the keys or values of a map, which AWS
// reports at the list or map. They are values of generated code, never changed.
type Rules struct {
	// MinLength and MaxLength bound the number of characters; -1 stands for no bound.
	MinLength, MaxLength int
	// Pattern is nil for none.
	Pattern *Pattern
	// Enum is the allowed values, nil for any.
	Enum []string
}

// Allows reports whether value meets all rules.
func (r *Rules) Allows(value string) bool {
	return lengthWithin(value, r.MinLength, r.MaxLength) &&
		(r.Pattern == nil || r.Pattern.Match(value)) &&
		(r.Enum == nil || oneOf(value, r.Enum))
}

// appendTo appends the rules in AWS's order, in brackets.
func (r *Rules) appendTo(b []byte) []byte {
	b = append(b, '[')
	start := len(b)
	comma := func() {
		if len(b) > start {
			b = append(b, ", "...)
		}
	}
	if r.MaxLength >= 0 {
		b = strconv.AppendInt(append(b, maxLengthRule...), int64(r.MaxLength), 10)
	}
	if r.MinLength >= 0 {
		comma()
		b = strconv.AppendInt(append(b, minLengthRule...), int64(r.MinLength), 10)
	}
	if r.Pattern != nil {
		comma()
		b = append(append(b, patternRule...), r.Pattern.Text...)
	}
	if r.Enum != nil {
		comma()
		b = appendEnum(b, r.Enum)
	}
	return append(b, ']')
}

func appendEnum(b []byte, set []string) []byte {
	b = append(b, enumRule...)
	for i, s := range set {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, s...)
	}
	return append(b, ']')
}

// Scope says which part of a list or map Rules are about.
type Scope uint8

const (
	// ListMembers are the elements of a list.
	ListMembers Scope = iota
	// MapKeys are the keys of a map.
	MapKeys
	// MapValues are the values of a map.
	MapValues
)

// sentence begins what AWS says about the scope; the singular of values is AWS's.
func (s Scope) sentence() string {
	switch s {
	case MapKeys:
		return "Map keys must satisfy constraint: "
	case MapValues:
		return "Map value must satisfy constraint: "
	}
	return "Member must satisfy constraint: "
}

// RenderList returns how AWS prints a list of n elements, [a, b]. What no message repeats may be
// missing at its end.
func RenderList(n int, element func(i int) string) string {
	b := []byte{'['}
	for i := 0; i < n && len(b) <= maxQuote; i++ {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, element(i)...)
	}
	return string(append(b, ']'))
}

// RenderMap returns how AWS prints a map of n entries, {k=v, l=w}. AWS's order is that of a Java
// hash map; the caller's serves as well. What no message repeats may be missing at its end.
func RenderMap(n int, entry func(i int) (key, value string)) string {
	b := []byte{'{'}
	for i := 0; i < n && len(b) <= maxQuote; i++ {
		if i > 0 {
			b = append(b, ", "...)
		}
		k, v := entry(i)
		b = append(append(append(b, k...), '='), v...)
	}
	return string(append(b, '}'))
}

// lengthWithin checks a number of characters, counting them only where the number of bytes leaves
// the answer open.
func lengthWithin(s string, min, max int) bool {
	if (max < 0 || len(s) <= max) && (min < 0 || len(s) >= min*utf8.UTFMax || min <= 1 && len(s) >= min) {
		return true
	}
	n := utf8.RuneCountInString(s)
	return n >= min && (max < 0 || n <= max)
}

func oneOf(value string, set []string) bool {
	for _, s := range set {
		if s == value {
			return true
		}
	}
	return false
}
