package lint

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// The fixtures are small repositories written as text: a line "-- path --" begins a file. Each rule is
// shown one that it must refuse and one that it must let pass.

// fixture builds a tree from text. go.mod is there unless the text brings its own.
func fixture(t *testing.T, text string) *Tree {
	t.Helper()
	files := fstest.MapFS{"go.mod": {Data: []byte("module example.test/m\n\ngo 1.26.0\n")}}
	name := ""
	for line := range strings.Lines(text) {
		if s := strings.TrimSpace(line); strings.HasPrefix(s, "-- ") && strings.HasSuffix(s, " --") {
			name = strings.TrimSpace(s[3 : len(s)-3])
			files[name] = &fstest.MapFile{}
			continue
		}
		if name != "" {
			files[name].Data = append(files[name].Data, line...)
		}
	}
	tree, err := Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// ruleNamed returns one of the rules.
func ruleNamed(t *testing.T, name string) Rule {
	t.Helper()
	rules := Rules()
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == name })
	if i < 0 {
		t.Fatalf("no rule %q", name)
	}
	return rules[i]
}

// subjects runs one rule over a fixture.
func subjects(t *testing.T, rule, text string) []string {
	t.Helper()
	var got []string
	for _, f := range ruleNamed(t, rule).Check(fixture(t, text)) {
		got = append(got, f.Subject)
	}
	slices.Sort(got)
	return slices.Compact(got)
}

// checker returns a function that asks which subjects a rule refuses, want separated by spaces.
func checker(t *testing.T, rule string) func(text, want string) {
	return func(text, want string) {
		t.Helper()
		wanted := strings.Fields(want)
		slices.Sort(wanted)
		if got := subjects(t, rule, text); !slices.Equal(got, wanted) {
			t.Errorf("%s refuses %q, want %q, in\n%s", rule, got, wanted, text)
		}
	}
}

func TestSyntaxRule(t *testing.T) {
	f := checker(t, "syntax")
	f("-- a/a.go --\npackage a\nfunc f( {\n", "a/a.go")
	f("-- a/a.go --\npackage a\n-- a/testdata/broken.go --\nnot Go\n-- build/x.go --\nnot Go\n", "")
}

func TestFormatRule(t *testing.T) {
	f := checker(t, "format")
	f("-- a/a.go --\npackage a\nfunc f( ) {}\n", "a/a.go")
	f("-- a/a.go --\npackage a\n\nfunc f() {}\n-- a/testdata/a.go --\npackage a\nfunc f( ) {}\n", "")
}

func TestImportsRule(t *testing.T) {
	const policy = `
-- internal/lint/imports.txt --
[packages]
DOMAINS = stream, queue;
NONE < record < ALL;
NONE < lane, lane/mem, wire;   # leaves
lane < DOMAINS;
awsapi/X, wire < api/X;
stream < api/kinesis;
NONE < awsapi/*;
lane/mem < TESTS;
wire < test:lane;
[never]
wire, lane/mem, DOMAINS !< DOMAINS;
[outside]
net/http < wire;
other.test/mod < wire, TESTS;
`
	f := func(text, want string) { t.Helper(); checker(t, "imports")(policy+text, want) }
	f("-- internal/stream/s.go --\npackage stream\nimport (\n\t\"strings\"\n\t\"example.test/m/internal/lane\"\n\t\"example.test/m/internal/record\"\n)\n", "")
	f("-- internal/stream/s.go --\npackage stream\nimport \"example.test/m/internal/lane/mem\"\n",
		"internal/stream/s.go:lane/mem internal/stream:lane/mem")
	f("-- internal/stream/s_test.go --\npackage stream\nimport \"example.test/m/internal/lane/mem\"\n", "")
	f("-- internal/stream/s_test.go --\npackage stream\nimport \"example.test/m/internal/wire\"\n", "internal/stream/s_test.go:wire")
	f("-- internal/lane/l_test.go --\npackage lane\nimport \"example.test/m/internal/wire\"\n", "")
	f("-- internal/api/kinesis/k.go --\npackage kinesis\nimport \"example.test/m/internal/awsapi/kinesis\"\n", "")
	f("-- internal/api/sqs/k.go --\npackage sqs\nimport \"example.test/m/internal/awsapi/kinesis\"\n", "internal/api/sqs/k.go:awsapi/kinesis")
	f("-- internal/newcomer/n.go --\npackage newcomer\n", "internal/newcomer")
	f("-- internal/lane/l.go --\npackage lane\nimport \"net/http/httptest\"\n", "internal/lane/l.go:net/http/httptest")
	f("-- internal/wire/w.go --\npackage wire\nimport (\n\t\"net/http\"\n\t\"other.test/model\"\n)\n", "internal/wire/w.go:other.test/model")
	f("-- internal/wire/w.go --\npackage wire\nimport \"other.test/mod/sub\"\n", "")
	f("-- internal/lane/l.go --\npackage lane\nimport \"other.test/mod\"\n", "internal/lane/l.go:other.test/mod")
	f("-- internal/lane/l_test.go --\npackage lane\nimport \"other.test/mod\"\n", "")

	// The way to a forbidden package may lead through an allowed one.
	through := "-- internal/stream/s.go --\npackage stream\nimport \"example.test/m/internal/lane\"\n" +
		"-- internal/lane/l.go --\npackage lane\nimport \"example.test/m/internal/wire\"\n"
	f(through, "internal/lane/l.go:wire internal/stream:wire")
	checker(t, "imports")("-- a/a.go --\npackage a\n", "internal/lint/imports.txt")
}

func TestPolicyRefusesWhatItCannotRead(t *testing.T) {
	f := func(text string) {
		t.Helper()
		if _, err := ParsePolicy(text); err == nil {
			t.Errorf("ParsePolicy(%q) has no error", text)
		}
	}
	f("a < b;")
	f("[packages] a b;")
	f("[never] a < b;")
	f("[elsewhere] a < b;")
}

func TestNamesRule(t *testing.T) {
	f := checker(t, "names")
	f("-- a/util.go --\npackage a\n-- a/helpers_test.go --\npackage a\n", "a/util.go a/helpers_test.go")
	f("-- common/x.go --\npackage common\n", "common/x.go")
	f("-- a/shard.go --\npackage a\n", "")
}

func TestPackageCommentRule(t *testing.T) {
	f := checker(t, "package-comment")
	long := " holds the first letter and what can be said about it. It is not the second letter, nor any other.\n"
	f("-- a/a.go --\n// Package a"+long+"package a\n-- a/b.go --\npackage a\n", "")
	f("-- a/a.go --\npackage a\n", "a")
	f("-- a/a.go --\n// Package a is a.\npackage a\n", "a/a.go")
	f("-- a/a.go --\n// This package"+long+"package a\n", "a/a.go")
	f("-- a/a.go --\n// Package a"+long+"package a\n-- a/b.go --\n// Package a"+long+"package a\n", "a/b.go")
	f("-- cmd/tool/main.go --\n// Tool"+long+"package main\n", "")
}

func TestExportedCommentRule(t *testing.T) {
	f := checker(t, "exported-comment")
	f("-- a/a.go --\npackage a\n\nfunc F() {}\n\ntype T int\n\nfunc (T) M() {}\n\nfunc (T) String() string { return \"\" }\n\nconst C = 1\n",
		"a/a.go:F a/a.go:T a/a.go:T.M a/a.go:C")
	f("-- a/a.go --\npackage a\n\n// F does.\nfunc F() {}\n\n// A T is.\ntype T int\n\n// The letters.\nconst (\n\tA = iota\n\tB\n)\n", "")
	f("-- a/a.go --\npackage a\n\n// Does what F does.\nfunc F() {}\n", "a/a.go:F")
	f("-- a/a.go --\npackage a\n\ntype t int\n\nfunc (t) M() {}\n\nfunc f() {}\n", "")
	f("-- a/a_gen.go --\n// Code generated by g; DO NOT EDIT.\n\npackage a\n\nfunc F() {}\n-- a/a_test.go --\npackage a\n\nfunc F() {}\n-- b/main.go --\npackage main\n\nfunc F() {}\n", "")
}

func TestSizeRule(t *testing.T) {
	f := checker(t, "size")
	lines := func(n int) string { return strings.Repeat("\t_ = 1\n", n) }
	f("-- a/a.go --\npackage a\n\nfunc f() {\n"+lines(98)+"}\n", "")
	f("-- a/a.go --\npackage a\n\nfunc f() {\n"+lines(99)+"}\n", "a/a.go:f")
	f("-- a/a.go --\npackage a\n"+strings.Repeat("\n", 800), "a/a.go")
	f("-- a/a_gen.go --\n// Code generated by g; DO NOT EDIT.\n\npackage a\n"+strings.Repeat("\n", 800), "")
	f("-- a/a.go --\npackage a\n\ntype I interface {\n\tA()\n\tB()\n\tC()\n\tD()\n\tE()\n\tF()\n\tG()\n\tJ\n}\n\ntype J interface {\n\tX()\n\tY()\n}\n", "a/a.go:I")
	f("-- a/a.go --\npackage a\n\ntype S struct {\n"+strings.Repeat("\ta, b, c int\n", 10)+"\tint\n}\n", "a/a.go:S")
	f("-- a/a.go --\npackage a\n\nvar g = func() {\n"+lines(99)+"}\n", "a/a.go")
	var many strings.Builder
	for _, c := range "abcdefgh" {
		many.WriteString("-- a/" + string(c) + ".go --\npackage a\n" + strings.Repeat("\n", 790))
	}
	f(many.String(), "a")
}

func TestInitRule(t *testing.T) {
	f := checker(t, "init")
	f("-- a/a.go --\npackage a\n\nfunc init() {}\n", "a/a.go:init")
	f("-- a/a.go --\npackage a\n\ntype t int\n\nfunc (t) init() {}\n", "")
}

func TestStateRule(t *testing.T) {
	f := checker(t, "state")
	f("-- a/a.go --\npackage a\n\nimport \"errors\"\n\nvar ErrX = errors.New(\"x\")\n\nvar table = map[string]int{\"a\": 1}\n\nfunc g() int { table := 1; table = 2; return table }\n", "")
	f("-- a/a.go --\npackage a\n\nvar n int\n\nfunc g() { n++ }\n", "a/a.go:n")
	f("-- a/a.go --\npackage a\n\nvar table = map[string]int{\"a\": 1}\n-- a/b.go --\npackage a\n\nfunc g() { table[\"b\"] = 2 }\n", "a/b.go:table")
	f("-- a/a.go --\npackage a\n\nvar table = map[string]int{\"a\": 1}\n\nfunc g() { delete(table, \"a\") }\n", "a/a.go:table")
	f("-- a/a.go --\npackage a\n\nvar cache = map[string]int{}\n\nvar ch = make(chan int)\n", "a/a.go:cache a/a.go:ch")
	f("-- a/a.go --\npackage a\n\nimport \"sync\"\n\nvar mu sync.Mutex\n\nvar pool = &sync.Pool{}\n\nvar lazy = sync.OnceValue(func() int { return 1 })\n", "a/a.go:mu a/a.go:pool")
	f("-- a/a.go --\npackage a\n\nimport \"net/http\"\n\nfunc g() { http.DefaultClient = nil }\n", "a/a.go:net/http.DefaultClient")
	f("-- a/a.go --\npackage a\n\nvar _ error = (*t)(nil)\n-- a/b.go --\npackage a\n\nfunc g() { _, err = h() }\n", "")
	f("-- a/a_test.go --\npackage a\n\nvar n int\n\nfunc g() { n++ }\n", "")
}

func TestContextFieldRule(t *testing.T) {
	f := checker(t, "context-field")
	f("-- a/a.go --\npackage a\n\nimport \"context\"\n\ntype s struct{ ctx context.Context }\n", "a/a.go:context")
	f("-- a/a.go --\npackage a\n\nimport \"context\"\n\ntype s struct{ f func(context.Context); cancel context.CancelFunc }\n", "")
}

func TestSleepRule(t *testing.T) {
	f := checker(t, "sleep")
	f("-- a/a_test.go --\npackage a\n\nimport \"time\"\n\nfunc TestX() { time.Sleep(1) }\n", "a/a_test.go:TestX")
	f("-- a/a.go --\npackage a\n\nimport \"time\"\n\nfunc x() { time.Sleep(1) }\n", "a/a.go:x")
	f("-- a/a_test.go --\npackage a\n\nimport (\n\t\"testing/synctest\"\n\t\"time\"\n)\n\nfunc TestX() {\n\tsynctest.Test(t, func() { time.Sleep(1) })\n\tsynctest.Test(t, bubble)\n}\n\nfunc bubble() { time.Sleep(1) }\n", "")
	f("-- internal/testpoll/t.go --\npackage testpoll\n\nimport \"time\"\n\nfunc x() { time.Sleep(1) }\n", "")
}

func TestClockRule(t *testing.T) {
	f := checker(t, "clock")
	f("-- a/a.go --\npackage a\n\nimport \"time\"\n\nfunc x() { _ = time.Since(time.Now()) }\n", "a/a.go:x")
	f("-- a/a.go --\npackage a\n\nimport now \"time\"\n\nvar f = now.Now\n", "a/a.go")
	f("-- internal/clock/c.go --\npackage clock\n\nimport \"time\"\n\nvar f = time.Now\n-- a/a_test.go --\npackage a\n\nimport \"time\"\n\nvar f = time.Now\n", "")
}

func TestPrintRule(t *testing.T) {
	f := checker(t, "print")
	f("-- a/a.go --\npackage a\n\nimport \"fmt\"\n\nfunc x() { fmt.Println(); println() }\n", "a/a.go:x")
	f("-- internal/cli/a.go --\npackage cli\n\nimport \"fmt\"\n\nfunc x() { fmt.Println() }\n", "")
	f("-- a/a_test.go --\npackage a\n\nimport \"fmt\"\n\nfunc ExampleX() { fmt.Println() }\n", "")
	f("-- a/a.go --\npackage a\n\nimport \"fmt\"\n\nfunc x() { fmt.Fprintln(w) }\n", "")
}

func TestLogRule(t *testing.T) {
	f := checker(t, "log")
	f("-- a/a.go --\npackage a\n\nimport \"log/slog\"\n\nfunc x() { slog.Info(\"\") }\n", "a/a.go:x")
	f("-- a/a.go --\npackage a\n\nimport \"log\"\n\nfunc x() { log.Print(\"\") }\n", "a/a.go:x")
	f("-- a/a.go --\npackage a\n\nimport \"log/slog\"\n\nfunc x(l *slog.Logger) { l.Info(\"\"); _ = slog.String(\"\", \"\") }\n", "")
	f("-- a/main.go --\npackage main\n\nimport \"log\"\n\nfunc main() { log.Fatal(\"\") }\n", "")
}
