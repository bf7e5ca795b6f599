package policy

import (
	"strings"
	"testing"
	"time"
)

func compiled(t *testing.T, s syntax, raw string) pattern {
	t.Helper()
	p, err := s.compile(raw)
	if err != nil {
		t.Fatalf("compile %q: %v", raw, err)
	}
	return p
}

func TestMatch(t *testing.T) {
	f := func(raw, text string, want bool) {
		t.Helper()
		e := &evaluation{request: &Request{Principal: Principal{Type: User, Name: "a*"}}}
		p := compiled(t, syntax{variables: true, wildcards: true}, raw)
		if got := p.match(text, e, false); got != want {
			t.Errorf("%q matches %q: got %v, want %v", raw, text, got, want)
		}
	}
	f("", "", true)
	f("", "a", false)
	f("*", "", true)
	f("**", "abc", true)
	f("?", "", false)
	f("?", "ß", true)
	f("?", "ab", false)
	f("a?c", "abc", true)
	f("a*c", "ac", true)
	f("a*c", "abcbc", true)
	f("a*c", "abcb", false)
	f("a*a", "a", false) // the two ends may not be the same character
	f("a*a", "aa", true)
	f("ab*ba", "aba", false)
	f("*ab*", "aab", true)
	f("*a?b*", "aaab", true)
	f("*a?b", "axbaxb", true)
	f("*??", "ß", false)
	f("*??", "aß", true)
	f("*?b", "ßb", true)
	f("a*?", "a", false)
	f("*abc*abd*", "abcabcabd", true)
	f("*.b.*.c", "a.b.x.c.c", true)
	f("?*?", "ab", true)
	f("?*?", "a", false)
	f("*\xff", "a", false) // no document is so, but a name may be
	f("a?b", "a\xffb", true)
	f("${aws:username}", "a*", true)
	f("${aws:username}", "ab", false)
	f("x${aws:username}*y", "xa*zzy", true)
	f("*${aws:username}?", "ba*c", true)
	f("*${aws:username}*", "bxac", false)
	f("${aws:userid}", "", false)
	f("*${aws:userid}*", "abc", false)
	f("${aws:userid, ''}", "", true)
	f("*${aws:userid, ''}b*", "aab", true)
	f("*?${aws:userid}*", "abc", false)
	f("${aws:userid, 'x}y'}", "x}y", true)
	f("$aws", "$aws", true)
	f("$${*}", "$*", true)
}

// TestMatchHard gives patterns to match that take ages where a star is tried at every place: without
// backing up, this is done before a clock could tell.
func TestMatchHard(t *testing.T) {
	text := strings.Repeat("a", 4000)
	e := &evaluation{request: &Request{}}
	for _, raw := range []string{strings.Repeat("a*", 2000) + "b", strings.Repeat("*a", 1000) + "*b*", strings.Repeat("*a?", 600) + "b", "*" + strings.Repeat("a?", 500) + "b*"} {
		p := compiled(t, syntax{wildcards: true}, raw)
		if p.match(text, e, false) {
			t.Errorf("%.20s... matches", raw)
		}
	}
	p := compiled(t, syntax{wildcards: true}, strings.Repeat("a*", 2000))
	if !p.match(text, e, false) {
		t.Error("stars between all letters do not match")
	}
}

func TestEqualFold(t *testing.T) {
	f := func(raw, text string, want bool) {
		t.Helper()
		e := &evaluation{request: &Request{Principal: Principal{Type: User, Name: "Ünal"}}}
		p := compiled(t, syntax{variables: true}, raw)
		if got := p.equalFold(text, e); got != want {
			t.Errorf("%q is %q: got %v, want %v", raw, text, got, want)
		}
	}
	f("Team", "tEAM", true)
	f("team", "teams", false)
	f("teams", "team", false)
	f("*", "a", false)
	f("K", "\u212a", true) // the sign of kelvins is longer than K
	f("x${aws:username}Y", "XüNALy", true)
	f("x${aws:username}Y", "Xünaly2", false)
	f("${aws:userid}", "", false)
}

func TestVariableErrors(t *testing.T) {
	f := func(raw string, want error) {
		t.Helper()
		if _, err := (syntax{variables: true}).compile(raw); err != want {
			t.Errorf("%q: got %v, want %v", raw, err, want)
		}
	}
	f("${aws:username", errVariableEnd)
	f("${", errVariableEnd)
	f("${}", errVariableForm)
	f("${username}", errVariableForm)
	f("${aws:${aws:username}}", errVariableForm)
	f("${aws:username, }", errVariableForm)
	f("${aws:username, 'x}", errVariableForm)
	f("${aws:username, x'}", errVariableForm)
	f("${aws:username, 'a'b'}", errVariableForm)
	f("${aws:user'name}", errVariableForm)
	f("${aws:PrincipalTag/a b.c:d/e+f-g@h}", nil)
	f("${aws:username,'x'}", nil)
	f("$ {aws:username", nil)
	f("a$", nil)
}

func TestParseDate(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got, ok := parseDate(text)
		switch {
		case want == "" && ok:
			t.Errorf("%q: got %v, want no date", text, got)
		case want != "" && !ok:
			t.Errorf("%q: got no date, want %s", text, want)
		case ok && got.UTC().Format(time.RFC3339Nano) != want:
			t.Errorf("%q: got %s, want %s", text, got.UTC().Format(time.RFC3339Nano), want)
		}
	}
	f("2026-02", "2026-02-01T00:00:00Z")
	f("2026-02-28", "2026-02-28T00:00:00Z")
	f("2026-02-29", "")
	f("2024-02-29", "2024-02-29T00:00:00Z")
	f("2026-06-31", "")
	f("2026-13", "")
	f("2026-00-10", "")
	f("2026-01-00", "")
	f("2026-01-31T12:30Z", "2026-01-31T12:30:00Z")
	f("2026-01-31t12:30:45z", "2026-01-31T12:30:45Z")
	f("2026-01-31T12:30:45", "2026-01-31T12:30:45Z")
	f("2026-01-31T12:30:45.5+01:30", "2026-01-31T11:00:45.5Z")
	f("2026-01-31T23:30:00-02:00", "2026-02-01T01:30:00Z")
	f("2026-01-31T12:30:45.123456789Z", "2026-01-31T12:30:45.123456789Z")
	f("2026-01-31T12:30:45.1234567890Z", "")
	f("2026-01-31T12:30:45.Z", "")
	f("2026-01-31T24:00Z", "")
	f("2026-01-31T12:60Z", "")
	f("2026-01-31T12:00:60Z", "")
	f("2026-01-31T12Z", "")
	f("2026-01-31T12:30+25:00", "")
	f("2026-01-31T12:30+0100", "")
	f("2026-01-31T12:30Zx", "")
	f("2026-01T12:30Z", "")
	f("2026-1-31", "")
	f("2026-01-31 12:30Z", "")
	f("", "")
	f("-1", "")
	f("tomorrow", "")
	f("2026", "1970-01-01T00:33:46Z") // digits are seconds
	f("0", "1970-01-01T00:00:00Z")
	f("1769862645", "2026-01-31T12:30:45Z")
	f("1234567890123456789", "")
}

func TestDecimal(t *testing.T) {
	f := func(a, b string, want int) {
		t.Helper()
		x, ok := parseDecimal(a)
		y, ok2 := parseDecimal(b)
		if !ok || !ok2 {
			t.Fatalf("%q and %q: no numbers", a, b)
		}
		if got := x.compare(y); got != want {
			t.Errorf("%q with %q: got %d, want %d", a, b, got, want)
		}
		if got := y.compare(x); got != -want {
			t.Errorf("%q with %q: got %d, want %d", b, a, got, -want)
		}
	}
	f("0", "-0", 0)
	f("+1", "1.000", 0)
	f("007", "7", 0)
	f("9", "10", -1)
	f("-9", "-10", 1)
	f("-1", "1", -1)
	f("0.1", "0.09", 1)
	f("0.1", "0.11", -1)
	f("-0.1", "-0.11", 1)
	f("99999999999999999999999999999999.1", "99999999999999999999999999999999.2", -1)
	for _, text := range []string{"", "-", "+", ".", "1.", ".5", "1.-5", "1e3", "0x1", " 1", "1 ", "١", "NaN"} {
		if _, ok := parseDecimal(text); ok {
			t.Errorf("%q is a number", text)
		}
	}
}
