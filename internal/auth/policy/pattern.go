package policy

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// A pattern is a text of a policy with its wildcards and variables taken apart, once, when the policy
// is parsed. What a variable stands for is looked up during a decision and is always text: a * in a
// user's name is a *, not a wildcard, so nobody widens a policy by a name.
//
// Matching never backs up over a *: the text between two stars is found at the first place where it
// occurs, which is right because a * takes whatever lies before. So a match costs at most the
// length of the pattern times that of the text, and their sum where a piece has no ?. Building a
// pattern's text first, with the variables' values in it, and matching that lost: it allocates, and
// values have to be escaped. Regular expressions lost too: they would be compiled in each
// decision that has a variable.
type pattern struct {
	raw string
	// pieces is what stands between the stars: one piece where there is no star, and an empty
	// first or last one where the pattern begins or ends with a star.
	pieces [][]token
}

// tokenKind says what a token of a pattern is.
type tokenKind uint8

const (
	tokenText     tokenKind = iota // the text itself
	tokenAny                       // ?: one character
	tokenStar                      // *: any number of characters; in no piece, pieces are what it separates
	tokenVariable                  // ${...}: a value of the request
)

// token is one part of a pattern.
type token struct {
	kind tokenKind
	// text is the text, or the default of a variable.
	text       string
	hasDefault bool
	key        contextKey
}

// value returns the text that t stands for, false if it is a variable without a value. An empty
// value is none: AWS speaks of a key that has no value or is not there.
func (t *token) value(e *evaluation) (string, bool) {
	if t.kind == tokenText {
		return t.text, true
	}
	if v := e.lookup(t.key); v.count == 1 {
		one := v.at(0)
		if s := one.string(); s != "" {
			return s, true
		}
	}
	return t.text, t.hasDefault
}

// They are sentences because they follow a message of AWS.
var (
	errVariableEnd  = errors.New("A policy variable begins with ${ and lacks its }.")
	errVariableForm = errors.New("A policy variable has the form ${service:key} or ${service:key, 'default'}.")
)

// syntax says what has a meaning in a text beside itself.
type syntax struct{ variables, wildcards bool }

// tokens takes text apart. Neighbouring stars are one.
func (s syntax) tokens(text string) ([]token, error) {
	var out []token
	var plain strings.Builder
	add := func(t token) {
		if plain.Len() > 0 {
			out = append(out, token{text: plain.String()})
			plain.Reset()
		}
		if t.kind == tokenText || t.kind == tokenStar && len(out) > 0 && out[len(out)-1].kind == tokenStar {
			return
		}
		out = append(out, t)
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case s.wildcards && c == '*':
			add(token{kind: tokenStar})
			i++
		case s.wildcards && c == '?':
			add(token{kind: tokenAny})
			i++
		case s.variables && strings.HasPrefix(text[i:], "${"):
			t, n, err := variable(text[i:])
			if err != nil {
				return nil, err
			}
			if t.kind == tokenText {
				plain.WriteString(t.text)
			} else {
				add(t)
			}
			i += n
		default:
			plain.WriteByte(c)
			i++
		}
	}
	add(token{}) // what is left in plain
	return out, nil
}

// variable reads the variable that text begins with and returns its length. ${*}, ${?} and ${$} are
// the characters themselves.
func variable(text string) (token, int, error) {
	body := text[len("${"):]
	end := strings.IndexByte(body, '}')
	if end < 0 {
		return token{}, 0, errVariableEnd
	}
	name, rest, fallback := strings.Cut(body, ",")
	fallback = fallback && len(name) < end
	if !fallback {
		name = body[:end]
		if name == "*" || name == "?" || name == "$" {
			return token{text: name}, len("${*}"), nil
		}
	}
	if !strings.Contains(name, ":") || strings.ContainsAny(name, "${'") {
		return token{}, 0, errVariableForm
	}
	t := token{kind: tokenVariable, key: newContextKey(name)}
	if !fallback {
		return t, len("${") + end + len("}"), nil
	}
	quoted, ok := strings.CutPrefix(strings.TrimLeft(rest, " "), "'")
	end = strings.Index(quoted, "'}")
	if !ok || end < 0 || strings.Contains(quoted[:end], "'") {
		return token{}, 0, errVariableForm
	}
	t.text, t.hasDefault = quoted[:end], true
	return t, len(text) - len(quoted) + end + len("'}"), nil
}

// newPattern makes a pattern of the tokens of raw.
func newPattern(raw string, tokens []token) pattern {
	p := pattern{raw: raw}
	var piece []token
	for _, t := range tokens {
		if t.kind == tokenStar {
			p.pieces = append(p.pieces, piece)
			piece = nil
			continue
		}
		piece = append(piece, t)
	}
	p.pieces = append(p.pieces, piece)
	return p
}

// compile reads raw as a pattern.
func (s syntax) compile(raw string) (pattern, error) {
	tokens, err := s.tokens(raw)
	if err != nil {
		return pattern{}, err
	}
	return newPattern(raw, tokens), nil
}

// variables reports whether the pattern has any.
func (p *pattern) variables() bool {
	for _, piece := range p.pieces {
		for i := range piece {
			if piece[i].kind == tokenVariable {
				return true
			}
		}
	}
	return false
}

// resolved reports whether every variable of the pattern has a value. A pattern with one that has
// none matches nothing.
func (p *pattern) resolved(e *evaluation) bool {
	for _, piece := range p.pieces {
		for i := range piece {
			if piece[i].kind != tokenVariable {
				continue
			}
			if _, ok := piece[i].value(e); !ok {
				return false
			}
		}
	}
	return true
}

// match reports whether the whole of text fits the pattern. With fold, ASCII letters fit in both
// cases.
func (p *pattern) match(text string, e *evaluation, fold bool) bool {
	n := consume(p.pieces[0], text, e, fold)
	if n < 0 {
		return false
	}
	last := len(p.pieces) - 1
	if last == 0 {
		return n == len(text)
	}
	text = text[n:]
	for _, piece := range p.pieces[1:last] {
		n := find(piece, text, e, fold)
		if n < 0 {
			return false
		}
		text = text[n:]
	}
	return endsWith(text, p.pieces[last], e, fold)
}

// consume returns how much of text the piece takes from its beginning, -1 if it does not fit there.
func consume(piece []token, text string, e *evaluation, fold bool) int {
	n := 0
	for i := range piece {
		t := &piece[i]
		if t.kind == tokenAny {
			if n == len(text) {
				return -1
			}
			_, size := utf8.DecodeRuneInString(text[n:])
			n += size
			continue
		}
		s, ok := t.value(e)
		if !ok || !hasPrefix(text[n:], s, fold) {
			return -1
		}
		n += len(s)
	}
	return n
}

// endsWith reports whether text ends with the piece.
func endsWith(text string, piece []token, e *evaluation, fold bool) bool {
	for i := len(piece) - 1; i >= 0; i-- {
		t := &piece[i]
		if t.kind == tokenAny {
			if text == "" {
				return false
			}
			_, size := utf8.DecodeLastRuneInString(text)
			text = text[:len(text)-size]
			continue
		}
		s, ok := t.value(e)
		if !ok || len(s) > len(text) || !hasPrefix(text[len(text)-len(s):], s, fold) {
			return false
		}
		text = text[:len(text)-len(s)]
	}
	return true
}

// find returns the end of the first place in text where the piece fits, -1 if there is none.
func find(piece []token, text string, e *evaluation, fold bool) int {
	if len(piece) == 0 {
		return 0
	}
	var first string // what the place begins with, if that is known
	if piece[0].kind != tokenAny && !fold {
		s, ok := piece[0].value(e)
		if !ok {
			return -1
		}
		first = s
	}
	for from := 0; ; {
		if first != "" {
			i := strings.Index(text[from:], first)
			if i < 0 {
				return -1
			}
			from += i
		}
		if n := consume(piece, text[from:], e, fold); n >= 0 {
			return from + n
		}
		if from == len(text) {
			return -1
		}
		_, size := utf8.DecodeRuneInString(text[from:])
		from += size
	}
}

// hasPrefix reports whether text begins with prefix.
func hasPrefix(text, prefix string, fold bool) bool {
	if !fold {
		return strings.HasPrefix(text, prefix)
	}
	if len(text) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if lower(text[i]) != lower(prefix[i]) {
			return false
		}
	}
	return true
}

// lower returns c, an upper case ASCII letter in lower case.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// equalFold reports whether text is the pattern, which has no wildcards, in upper or lower case
// letters of any script.
func (p *pattern) equalFold(text string, e *evaluation) bool {
	piece := p.pieces[0]
	for i := range piece {
		s, ok := piece[i].value(e)
		if !ok {
			return false
		}
		// Folding keeps the number of characters, not that of bytes.
		n := 0
		for range s {
			if n == len(text) {
				return false
			}
			_, size := utf8.DecodeRuneInString(text[n:])
			n += size
		}
		if !strings.EqualFold(text[:n], s) {
			return false
		}
		text = text[n:]
	}
	return text == ""
}
