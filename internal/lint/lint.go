// Package lint holds the rules of the house as tests: what may import what, how large things may
// get, what must be documented, which habits are refused. Every refusal says what to do instead.
//
// The rules read source text and syntax trees, never types and never the network, so that the whole
// repository is checked in a second or two and a tree that does not build yet can be checked too.
// What that costs is noted at each rule: a rule may miss a clever breach, it must not cry wolf.
//
// It is not a vet: `make test` runs go vet beside it.
//
// A rule is a function from a Tree to findings. Two files are its data: imports.txt, the import
// policy, and allow.txt, the reasoned exceptions, which may only shrink.
package lint

import (
	"fmt"
	"go/format"
	"go/token"
	"slices"
	"strings"
)

// Finding is one breach of one rule.
type Finding struct {
	// Subject names what breaks the rule in a form that survives edits elsewhere in the file, such
	// as "internal/stream/put.go:Streams.Put". Entries of allow.txt are matched against it.
	Subject string
	// Place is where to look: a path, with a line number where there is one.
	Place string
	// Message says what is wrong and what to do instead.
	Message string
}

// String returns the finding the way a compiler would print it.
func (f Finding) String() string { return f.Place + ": " + f.Message }

// Rule is one named rule. Check returns every breach in the tree, in the order of the tree.
type Rule struct {
	Name  string
	Check func(*Tree) []Finding
}

// Rules returns all rules, those about structure first.
func Rules() []Rule {
	return []Rule{
		{"syntax", checkSyntax},
		{"format", checkFormat},
		{"imports", checkImports},
		{"names", checkNames},
		{"package-comment", checkPackageComments},
		{"exported-comment", checkExportedComments},
		{"size", checkSizes},
		{"init", checkInit},
		{"state", checkState},
		{"context-field", checkContextFields},
		{"sleep", checkSleep},
		{"clock", checkClock},
		{"print", checkPrint},
		{"log", checkLog},
		{"generated", checkGenerated},
		{"operations", checkOperations},
		{"compatibility", checkCompatibility},
		{"dependencies", checkDependencies},
		{"links", checkLinks},
		{"line-reference", checkLineReferences},
		{"hosts", checkHosts},
		{"machine-paths", checkMachinePaths},
		{"issue-numbers", checkIssueNumbers},
	}
}

// checkSyntax reports files that do not parse; the other rules see what the parser could save.
func checkSyntax(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.goFiles() {
		if f.Err != nil {
			out = append(out, Finding{f.Path, f.Path, fmt.Sprintf("does not parse: %v", f.Err)})
		}
	}
	return out
}

// checkFormat reports files that gofmt would change.
func checkFormat(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.goFiles() {
		text, _ := t.text(f.Path)
		formatted, err := format.Source([]byte(text))
		if err == nil && string(formatted) != text {
			out = append(out, Finding{f.Path, f.Path, "is not formatted; run make fmt"})
		}
	}
	return out
}

// found makes a finding about the declaration name in f.
func (t *Tree) found(f *File, pos token.Pos, name, format string, args ...any) Finding {
	subject := f.Path
	if name != "" {
		subject += ":" + name
	}
	place := fmt.Sprintf("%s:%d", f.Path, t.fset.Position(pos).Line)
	return Finding{subject, place, fmt.Sprintf(format, args...)}
}

// Exception is one line of allow.txt: a finding that is accepted, and why.
type Exception struct {
	Rule, Subject, Reason string
}

// ParseExceptions reads allow.txt: `rule subject reason in words`, one a line, # starts a comment.
// A reason of fewer than four words is refused: it would not convince the next reader.
func ParseExceptions(text string) ([]Exception, error) {
	var out []Exception
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 6 {
			return nil, fmt.Errorf("parse allow.txt: line %d: want `rule subject reason`, the reason in at least four words; got %q", i+1, line)
		}
		e := Exception{Rule: words[0], Subject: words[1], Reason: strings.Join(words[2:], " ")}
		if !slices.ContainsFunc(Rules(), func(r Rule) bool { return r.Name == e.Rule }) {
			return nil, fmt.Errorf("parse allow.txt: line %d: no rule is called %q", i+1, e.Rule)
		}
		out = append(out, e)
	}
	return out, nil
}

// Run applies one rule and takes away what allow.txt accepts. An exception of this rule that
// nothing needs is itself a finding: the list may only shrink.
func Run(t *Tree, r Rule, allowed []Exception) []Finding {
	used := make([]bool, len(allowed))
	var out []Finding
	for _, f := range r.Check(t) {
		i := slices.IndexFunc(allowed, func(e Exception) bool { return e.Rule == r.Name && e.Subject == f.Subject })
		if i < 0 {
			out = append(out, f)
			continue
		}
		used[i] = true
	}
	for i, e := range allowed {
		if e.Rule == r.Name && !used[i] {
			out = append(out, Finding{e.Subject, "internal/lint/allow.txt",
				fmt.Sprintf("nothing needs the exception `%s %s` any more; delete its line", e.Rule, e.Subject)})
		}
	}
	return out
}
