package emit

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// patterns writes the regular expression constraints. Patterns of one character class, the decimal
// numbers of hash keys and sequence numbers, and plain digit counts get matchers of their own,
// since they run for every request or record; the rest compile on first use.
func (g *generator) patterns(p *printer) {
	compiled := false
	for _, n := range g.patterned {
		text := g.Shapes.Get(n).Pattern
		match, ok := matcher(text)
		if !ok {
			compiled = true
			match = fmt.Sprintf("compiled(%s)", quoted(wholeText(text)))
		}
		p.line("")
		p.line("// %sPattern constrains %s.", unexported(n), n)
		p.line("var %sPattern = shape.Pattern{", unexported(n))
		p.line("Text: %s,", quoted(text))
		p.line("Match: %s,", match)
		p.line("}")
	}
	if compiled {
		p.line("")
		p.line("// compiled returns a matcher that compiles its expression when it is first needed.")
		p.line("func compiled(expr string) func(string) bool {")
		p.line("re := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })")
		p.line("return func(s string) bool { return re().MatchString(s) }")
		p.line("}")
	}
}

// javaEscape is an escape of Java's that Go writes differently.
var javaEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

// wholeText returns a pattern in Go's syntax, anchored at both ends, as AWS matches it.
func wholeText(pattern string) string {
	return `\A(?:` + javaEscape.ReplaceAllString(pattern, `\x{$1}`) + `)\z`
}

// decimalPattern is the form of the patterns of hash keys and sequence numbers.
var decimalPattern = regexp.MustCompile(`^\^\(0\|\(\[1-9\]\\d\{0,(\d+)\}\)\)\$$`)

// matcher returns a Go function literal for a pattern it can match without a regular expression.
func matcher(pattern string) (string, bool) {
	if m := decimalPattern.FindStringSubmatch(pattern); m != nil {
		return decimalMatcher(m[1]), true
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "", false
	}
	min, max := 0, -1
	switch re.Op {
	case syntax.OpPlus:
		min = 1
	case syntax.OpStar:
	case syntax.OpRepeat:
		min, max = re.Min, re.Max
	default:
		return "", false
	}
	cond, ok := classCondition(re.Sub[0])
	if !ok {
		return "", false
	}
	return classMatcher(cond, min, max), true
}

func decimalMatcher(more string) string {
	return fmt.Sprintf(`func(s string) bool {
		if s == "0" { return true }
		if len(s) == 0 || len(s) > 1+%s || s[0] == '0' { return false }
		for i := 0; i < len(s); i++ {
			if s[i] < '0' || s[i] > '9' { return false }
		}
		return true
	}`, more)
}

func classMatcher(cond string, min, max int) string {
	var size []string
	switch {
	case min == max:
		size = append(size, fmt.Sprintf("len(s) == %d", min))
	default:
		if min > 0 {
			size = append(size, fmt.Sprintf("len(s) >= %d", min))
		}
		if max >= 0 {
			size = append(size, fmt.Sprintf("len(s) <= %d", max))
		}
	}
	if len(size) == 0 {
		size = []string{"true"}
	}
	return fmt.Sprintf(`func(s string) bool {
		for i := 0; i < len(s); i++ {
			if c := s[i]; !(%s) { return false }
		}
		return %s
	}`, cond, strings.Join(size, " && "))
}

// classCondition returns the condition that byte c is in an ASCII class. Classes that take
// non-ASCII characters are left to regexp, as is counting those.
func classCondition(re *syntax.Regexp) (string, bool) {
	if re.Op == syntax.OpLiteral && len(re.Rune) == 1 && re.Flags&syntax.FoldCase == 0 && re.Rune[0] < 0x80 {
		return fmt.Sprintf("c == %q", re.Rune[0]), true
	}
	if re.Op != syntax.OpCharClass {
		return "", false
	}
	var alternatives []string
	for i := 0; i < len(re.Rune); i += 2 {
		lo, hi := re.Rune[i], re.Rune[i+1]
		switch {
		case hi >= 0x80:
			return "", false
		case lo == hi:
			alternatives = append(alternatives, fmt.Sprintf("c == %q", lo))
		default:
			alternatives = append(alternatives, fmt.Sprintf("%q <= c && c <= %q", lo, hi))
		}
	}
	return strings.Join(alternatives, " || "), true
}
