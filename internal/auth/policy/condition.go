package policy

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// comparison is what an operator does with one value of the request and one of the policy. The
// negated operators are the same comparisons with the opposite result.
type comparison uint8

const (
	stringEquals comparison = iota
	stringEqualsIgnoreCase
	stringLike
	arnLike // ArnEquals too: AWS has them behave alike
	numericEquals
	numericLess
	numericLessEquals
	numericGreater
	numericGreaterEquals
	dateEquals
	dateLess
	dateLessEquals
	dateGreater
	dateGreaterEquals
	boolEquals
	binaryEquals
	ipAddress
	isNull
)

// operator is a condition operator without qualifier and suffix.
type operator struct {
	comparison comparison
	negated    bool
}

// operators are all there are, by AWS's names.
var operators = map[string]operator{
	"StringEquals":              {stringEquals, false},
	"StringNotEquals":           {stringEquals, true},
	"StringEqualsIgnoreCase":    {stringEqualsIgnoreCase, false},
	"StringNotEqualsIgnoreCase": {stringEqualsIgnoreCase, true},
	"StringLike":                {stringLike, false},
	"StringNotLike":             {stringLike, true},
	"ArnEquals":                 {arnLike, false},
	"ArnNotEquals":              {arnLike, true},
	"ArnLike":                   {arnLike, false},
	"ArnNotLike":                {arnLike, true},
	"NumericEquals":             {numericEquals, false},
	"NumericNotEquals":          {numericEquals, true},
	"NumericLessThan":           {numericLess, false},
	"NumericLessThanEquals":     {numericLessEquals, false},
	"NumericGreaterThan":        {numericGreater, false},
	"NumericGreaterThanEquals":  {numericGreaterEquals, false},
	"DateEquals":                {dateEquals, false},
	"DateNotEquals":             {dateEquals, true},
	"DateLessThan":              {dateLess, false},
	"DateLessThanEquals":        {dateLessEquals, false},
	"DateGreaterThan":           {dateGreater, false},
	"DateGreaterThanEquals":     {dateGreaterEquals, false},
	"Bool":                      {boolEquals, false},
	"BinaryEquals":              {binaryEquals, false},
	"IpAddress":                 {ipAddress, false},
	"NotIpAddress":              {ipAddress, true},
	"Null":                      {isNull, false},
}

// qualifier says how a key with several values is compared.
type qualifier uint8

const (
	noQualifier  qualifier = iota
	forAllValues           // each value of the request must fit; none is fine
	forAnyValue            // one value of the request must fit
)

// condition is one line of a Condition element: an operator, a key and the values it may have.
// All conditions of a statement must hold.
//
// What is not a comparison follows AWS:
//
//   - A key that is absent does not fit: the condition is false, and with a negated operator true.
//     With ...IfExists it is true, except that ForAnyValue wants a value whatever the suffix.
//   - Of several values in the policy one must fit; with a negated operator none may.
//   - A negated operator under a qualifier is asked of each value of the request by itself:
//     ForAnyValue:StringNotEquals holds if one value is none of those in the policy.
//   - Without a qualifier a key with several values fits nothing, and the condition is false, negated or not.
//   - A value of the wrong type, such as a word where a number is compared, does not fit.
//   - Under a qualifier, values that are all empty are none. Null takes them for an absent key, and has no
//     use for a qualifier.
type condition struct {
	name      string // the operator as the policy has it
	operator  operator
	qualifier qualifier
	ifExists  bool
	key       contextKey
	values    []operand
}

// operand is a value of a condition, read as its operator reads it.
type operand struct {
	raw     string
	pattern pattern
	arn     arnPattern
	number  decimal
	time    time.Time
	prefix  netip.Prefix
	binary  string
}

// newCondition reads an operator's name. Its key and values are for the caller to add.
func newCondition(name string) (condition, error) {
	c := condition{name: name}
	base := name
	if rest, ok := strings.CutPrefix(base, "ForAllValues:"); ok {
		c.qualifier, base = forAllValues, rest
	} else if rest, ok := strings.CutPrefix(base, "ForAnyValue:"); ok {
		c.qualifier, base = forAnyValue, rest
	}
	base, c.ifExists = strings.CutSuffix(base, "IfExists")
	op, ok := operators[base]
	switch {
	case !ok:
		return c, refused("", fmt.Sprintf("The condition operator %s is not valid. Use a valid condition operator.", name))
	case op.comparison == isNull && c.ifExists:
		return c, refused("", "The Null condition operator cannot be used with the IfExists suffix. Update the operator or the suffix.")
	}
	c.operator = op
	return c, nil
}

// newOperand reads a value of the condition. The syntax says whether the policy's version has
// variables.
func (c *condition) newOperand(raw string, variables bool) (operand, error) {
	v := operand{raw: raw}
	var err error
	switch op := c.operator.comparison; op {
	case stringEquals, stringEqualsIgnoreCase, boolEquals:
		v.pattern, err = syntax{variables: variables}.compile(raw)
	case stringLike:
		v.pattern, err = syntax{variables: variables, wildcards: true}.compile(raw)
	case arnLike:
		v.arn, err = newARNPattern(raw, syntax{variables: variables, wildcards: true})
	default:
		if variables && strings.Contains(raw, "${") {
			return v, refused("", "Policy variables can only be used with String and ARN operators.")
		}
		err = v.read(op)
	}
	if err == nil && c.operator.comparison == boolEquals && !v.pattern.variables() && !isBool(raw) {
		err = mismatch(raw, "Boolean")
	}
	return v, err
}

// read reads the value as an operator without variables does.
func (v *operand) read(op comparison) error {
	var ok bool
	switch {
	case op == isNull:
		if !isBool(v.raw) {
			return mismatch(v.raw, "Boolean")
		}
	case op == ipAddress:
		if v.prefix, ok = parsePrefix(v.raw); !ok {
			return refused("", fmt.Sprintf("The condition value %s is not an IP address or a range in CIDR notation.", v.raw))
		}
	case op == binaryEquals:
		b, err := base64.StdEncoding.DecodeString(v.raw)
		if err != nil {
			return refused("", fmt.Sprintf("The condition value %s is not base64.", v.raw))
		}
		v.binary = string(b)
	case op >= dateEquals:
		if v.time, ok = parseDate(v.raw); !ok {
			return mismatch(v.raw, "Date")
		}
	default:
		if v.number, ok = parseDecimal(v.raw); !ok {
			return mismatch(v.raw, "Number")
		}
	}
	return nil
}

// mismatch says that a value is not of the type that its operator compares.
func mismatch(raw, want string) error {
	return refused("", fmt.Sprintf("The text does not match the expected JSON data type %s: %s", want, raw))
}

func isBool(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "false") }

// parsePrefix reads an address or a range. An IPv4 address written as IPv6 is one of IPv4.
func parsePrefix(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if a := p.Addr(); a.Is4In6() {
			if p.Bits() < 96 {
				return netip.Prefix{}, false
			}
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		return p, true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

// holds reports whether the condition is true of the request.
func (c *condition) holds(e *evaluation) bool {
	a := e.lookup(c.key)
	switch {
	case c.operator.comparison == isNull:
		return c.isNull(a.null())
	case c.qualifier == forAllValues:
		return a.null() || c.all(&a, e)
	case c.qualifier == forAnyValue:
		return !a.null() && c.any(&a, e)
	case a.count == 0:
		return c.ifExists || c.operator.negated
	case a.count > 1:
		return false
	}
	return c.holdsFor(a.at(0), e)
}

func (c *condition) all(a *attribute, e *evaluation) bool {
	for i := range a.count {
		if !c.holdsFor(a.at(i), e) {
			return false
		}
	}
	return true
}

func (c *condition) any(a *attribute, e *evaluation) bool {
	for i := range a.count {
		if c.holdsFor(a.at(i), e) {
			return true
		}
	}
	return false
}

func (c *condition) isNull(null bool) bool {
	for i := range c.values {
		if strings.EqualFold(c.values[i].raw, "true") == null {
			return true
		}
	}
	return false
}

// holdsFor reports whether the condition is true of one value of the request.
func (c *condition) holdsFor(s scalar, e *evaluation) bool {
	for i := range c.values {
		if c.values[i].fits(c.operator.comparison, &s, e) {
			return !c.operator.negated
		}
	}
	return c.operator.negated
}

// fits compares a value of the request with one of the policy.
func (v *operand) fits(op comparison, s *scalar, e *evaluation) bool {
	switch op {
	case stringEquals, stringLike:
		return v.pattern.match(s.string(), e, false)
	case stringEqualsIgnoreCase:
		return v.pattern.equalFold(s.string(), e)
	case arnLike:
		return v.arn.matchText(s.string(), e)
	case boolEquals:
		return v.fitsBool(s, e)
	case binaryEquals:
		return v.binary == s.string()
	case ipAddress:
		addr, ok := s.addr, s.kind == scalarAddr
		if s.kind == scalarText {
			a, err := netip.ParseAddr(s.text)
			addr, ok = a.Unmap(), err == nil
		}
		return ok && v.prefix.Contains(addr)
	}
	if op >= dateEquals {
		t, ok := s.date()
		return ok && ordered(op-dateEquals, t.Compare(v.time))
	}
	return v.fitsNumber(op, s)
}

func (v *operand) fitsNumber(op comparison, s *scalar) bool {
	var n decimal
	ok := false
	switch s.kind {
	case scalarText:
		n, ok = parseDecimal(s.text)
	case scalarEpoch:
		var buf [20]byte
		n, ok = parseDecimal(string(strconv.AppendInt(buf[:0], s.time.Unix(), 10))) // short enough for the stack
	}
	return ok && ordered(op-numericEquals, n.compare(v.number))
}

// ordered turns the result of a comparison into that of an operator. The operators of numbers and
// those of dates come in one order: equal, less, less or equal, greater, greater or equal.
func ordered(op comparison, c int) bool {
	switch numericEquals + op {
	case numericEquals:
		return c == 0
	case numericLess:
		return c < 0
	case numericLessEquals:
		return c <= 0
	case numericGreater:
		return c > 0
	}
	return c >= 0
}

func (v *operand) fitsBool(s *scalar, e *evaluation) bool {
	flag := s.flag
	if s.kind != scalarBool {
		if !isBool(s.text) {
			return false
		}
		flag = len(s.text) == len("true")
	}
	// In place of a number or a word, a variable makes the value fit nothing.
	if flag {
		return v.pattern.equalFold("true", e)
	}
	return v.pattern.equalFold("false", e)
}

// date returns the value as a time.
func (s *scalar) date() (time.Time, bool) {
	switch s.kind {
	case scalarTime:
		return s.time, true
	case scalarEpoch:
		return time.Unix(s.time.Unix(), 0), true
	case scalarText:
		return parseDate(s.text)
	}
	return time.Time{}, false
}
