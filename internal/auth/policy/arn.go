package policy

import (
	"fmt"
	"strings"
)

// arnFields is the number of fields of an ARN: arn:partition:service:region:account:resource. The
// last one may have colons of its own.
const arnFields = 6

// The fields of an ARN.
const (
	arnPartition = 1
	arnService   = 2
	arnAccount   = 4
	arnResource  = 5
)

// arn is an ARN taken apart.
type arn [arnFields]string

// splitARN takes s apart, false if it is no ARN.
func splitARN(s string) (arn, bool) {
	var a arn
	for i := range arnFields - 1 {
		colon := strings.IndexByte(s, ':')
		if colon < 0 {
			return arn{}, false
		}
		a[i], s = s[:colon], s[colon+1:]
	}
	if a[0] != "arn" {
		return arn{}, false
	}
	a[arnResource] = s
	return a, true
}

// arnPattern is a pattern for ARNs. AWS compares field by field, so that a * in one field does not
// reach into the next; only the last field is free to hold colons.
type arnPattern struct {
	raw string
	// all is the pattern *, which fits what is no ARN too: a request for no particular resource is
	// for "*".
	all bool
	// fields is empty if raw has fewer fields than an ARN. Such a pattern fits nothing, unless its
	// variables make an ARN of it: whole then holds its tokens.
	fields []pattern
	whole  []token
}

// splitTokens distributes tokens to the fields of an ARN.
func splitTokens(tokens []token) [][]token {
	fields := [][]token{nil}
	add := func(t token) { fields[len(fields)-1] = append(fields[len(fields)-1], t) }
	for _, t := range tokens {
		for t.kind == tokenText && len(fields) < arnFields {
			before, after, ok := strings.Cut(t.text, ":")
			if !ok {
				break
			}
			if before != "" {
				add(token{text: before})
			}
			fields = append(fields, nil)
			t.text = after
		}
		if t.kind != tokenText || t.text != "" {
			add(t)
		}
	}
	return fields
}

// newARNPattern reads a value of an Arn operator.
func newARNPattern(raw string, s syntax) (arnPattern, error) {
	tokens, err := s.tokens(raw)
	if err != nil {
		return arnPattern{}, err
	}
	p := arnPattern{raw: raw}
	fields := splitTokens(tokens)
	if len(fields) == arnFields {
		for _, f := range fields {
			p.fields = append(p.fields, newPattern(raw, f))
		}
		return p, nil
	}
	if whole := newPattern(raw, tokens); whole.variables() {
		p.whole = tokens
	}
	return p, nil
}

// newResourcePattern reads an element of Resource or NotResource. Fields that are missing at the
// end are *, as AWS completes them.
func newResourcePattern(raw string, s syntax) (arnPattern, error) {
	p := arnPattern{raw: raw, all: raw == "*"}
	if p.all {
		return p, nil
	}
	if !strings.HasPrefix(raw, "arn:") {
		return p, refused(fmt.Sprintf(`Resource %s must be in ARN format or "*".`, raw), "Add the required prefix (arn) to the resource ARN.")
	}
	tokens, err := s.tokens(raw)
	if err != nil {
		return p, err
	}
	fields := splitTokens(tokens)
	for len(fields) < arnFields {
		fields = append(fields, []token{{kind: tokenStar}})
	}
	for i, f := range fields {
		field := newPattern(raw, f)
		if i < arnResource && field.variables() {
			return p, refused("The policy failed legacy parsing", "Policy variables can only be used in the last field of a resource ARN, behind the fifth colon.")
		}
		p.fields = append(p.fields, field)
	}
	if partition := plainText(fields[arnPartition]); partition != "*" && !isPartition(partition) {
		return p, refused(fmt.Sprintf(`Partition "%s" is not valid for resource "%s".`, partition, completed(raw)), "")
	}
	if service := plainText(fields[arnService]); service == "" || strings.ContainsAny(service, "*?") {
		return p, refused("Resource vendor must be fully qualified and cannot contain regexes.", "")
	}
	return p, nil
}

// completed is raw with the fields that it lacks.
func completed(raw string) string {
	return raw + strings.Repeat(":*", max(0, arnFields-1-strings.Count(raw, ":")))
}

// isPartition reports whether s is named like one of AWS's partitions: aws, aws-cn, aws-us-gov.
func isPartition(s string) bool {
	rest, ok := strings.CutPrefix(s, "aws")
	if !ok || rest != "" && rest[0] != '-' {
		return false
	}
	for i := range len(rest) {
		if c := rest[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// plainText spells out tokens that have no variables.
func plainText(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		switch t.kind {
		case tokenStar:
			b.WriteByte('*')
		case tokenAny:
			b.WriteByte('?')
		default:
			b.WriteString(t.text)
		}
	}
	return b.String()
}

// matchFields reports whether an ARN fits, field by field.
func matchFields(fields []pattern, a *arn, e *evaluation) bool {
	// Last field first: policies differ there.
	for i := len(fields) - 1; i >= 0; i-- {
		if !fields[i].match(a[i], e, false) {
			return false
		}
	}
	return len(fields) == arnFields
}

// matchText reports whether text is an ARN that fits.
func (p *arnPattern) matchText(text string, e *evaluation) bool {
	a, ok := splitARN(text)
	if !ok {
		return false
	}
	if p.whole != nil {
		return p.matchWhole(&a, e)
	}
	return matchFields(p.fields, &a, e)
}

// matchWhole is matchText where only the values of variables make the pattern an ARN, such as
// ${aws:PrincipalArn}. It is the one place where a match allocates.
func (p *arnPattern) matchWhole(a *arn, e *evaluation) bool {
	tokens := make([]token, len(p.whole))
	for i := range p.whole {
		tokens[i] = p.whole[i]
		if tokens[i].kind != tokenVariable {
			continue
		}
		s, ok := tokens[i].value(e)
		if !ok {
			return false
		}
		tokens[i] = token{text: s}
	}
	var fields []pattern
	for _, f := range splitTokens(tokens) {
		fields = append(fields, newPattern(p.raw, f))
	}
	return matchFields(fields, a, e)
}

// resolved reports whether the variables of a resource pattern have values.
func (p *arnPattern) resolved(e *evaluation) bool {
	return p.all || p.fields[arnResource].resolved(e)
}
