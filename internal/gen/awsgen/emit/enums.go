package emit

import (
	"math/bits"
	"slices"
	"strings"
)

// enums writes the enumerations: named strings with a constant per value, and the set of values in
// the order AWS prints it.
func (g *generator) enums(p *printer) {
	for _, n := range g.enumerated {
		values := g.Shapes.Get(n).Enum
		p.line("")
		p.line("// %s is an enumeration (AWS shape %s). Decoding keeps values it does not name;", exported(n), n)
		p.line("// Validate refuses them.")
		p.line("type %s string", exported(n))
		p.line("")
		p.line("// The values of %s.", exported(n))
		p.line("const (")
		for _, v := range values {
			p.line("%s %s = %q", enumConstant(n, v), exported(n), v)
		}
		p.line(")")
		p.line("")
		p.line("// %sSet holds the values in the order validation messages print them.", unexported(n))
		p.line("var %sSet = []string{%s}", unexported(n), quotedList(javaSet(values)))
	}
}

func quotedList(values []string) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoted(v))
	}
	return b.String()
}

// javaSet returns the values in the order AWS's services print enumerations: that of a hash table
// of 32 buckets or more indexed by the low bits of Java's string hash. The rule was found by
// comparing recorded messages of Kinesis and DynamoDB; enum_test has them.
func javaSet(values []string) []string {
	buckets := 32
	if n := len(values) * 4 / 3; n > buckets {
		buckets = 1 << bits.Len(uint(n))
	}
	mask := uint32(buckets - 1)
	set := slices.Clone(values)
	slices.SortStableFunc(set, func(a, b string) int {
		return int(javaHash(a)&mask) - int(javaHash(b)&mask)
	})
	return set
}

// javaHash is java.lang.String.hashCode for ASCII text.
func javaHash(s string) uint32 {
	var h uint32
	for i := 0; i < len(s); i++ {
		h = 31*h + uint32(s[i])
	}
	return h
}
