package lint

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Policy is the content of imports.txt. Its grammar stands at the top of that file.
type Policy struct {
	allowed []edge // inside the module
	never   []edge
	outside []edge // standard library and other modules
	sets    map[string][]string
}

// edge says that what matches to may (or must not) import what matches from.
type edge struct{ from, to string }

// ParsePolicy reads the text of imports.txt.
func ParsePolicy(text string) (*Policy, error) {
	p := &Policy{sets: map[string][]string{}}
	section := ""
	var clean strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		clean.WriteString(strings.TrimSpace(line) + " ")
	}
	for stmt := range strings.SplitSeq(clean.String(), ";") {
		stmt = strings.TrimSpace(stmt)
		for strings.HasPrefix(stmt, "[") {
			name, rest, _ := strings.Cut(stmt[1:], "]")
			section, stmt = name, strings.TrimSpace(rest)
		}
		if stmt == "" {
			continue
		}
		if err := p.statement(section, stmt); err != nil {
			return nil, fmt.Errorf("parse imports.txt: %w in `%s`", err, stmt)
		}
	}
	return p, nil
}

// statement adds one statement: a set or a chain of edges.
func (p *Policy) statement(section, stmt string) error {
	if name, list, ok := strings.Cut(stmt, " = "); ok {
		p.sets[strings.TrimSpace(name)] = p.names(list)
		return nil
	}
	into, operator := &p.allowed, " < "
	switch section {
	case "packages":
	case "never":
		into, operator = &p.never, " !< "
	case "outside":
		into = &p.outside
	default:
		return fmt.Errorf("unknown section [%s]", section)
	}
	parts := strings.Split(stmt, operator)
	if len(parts) < 2 {
		return fmt.Errorf("no `%s`", strings.TrimSpace(operator))
	}
	// In a chain a < b < c, c may import both a and b.
	for i := range parts {
		for _, later := range parts[i+1:] {
			p.link(into, p.names(parts[i]), p.names(later))
		}
	}
	return nil
}

// link adds an edge from each of the first names to each of the second.
func (p *Policy) link(into *[]edge, from, to []string) {
	for _, f := range from {
		for _, t := range to {
			*into = append(*into, edge{f, t})
		}
	}
}

// names splits a comma-separated list and puts the members of a set in place of its name.
func (p *Policy) names(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if set, ok := p.sets[name]; ok {
			out = append(out, set...)
			continue
		}
		if name != "" {
			out = append(out, name)
		}
	}
	return out
}

// matchEdge says whether an edge covers importer and imported. X stands for the same element on
// both sides.
func matchEdge(e edge, imported, importer string) bool {
	var x string
	return matchName(e.to, importer, &x) && matchName(e.from, imported, &x)
}

// matchName says whether a package name fits a pattern: `*` and `X` stand for one element, a
// closing `/...` for the package and everything below it, ALL for every package.
func matchName(pattern, name string, x *string) bool {
	if pattern == "ALL" {
		return true
	}
	want, got := strings.Split(pattern, "/"), strings.Split(name, "/")
	if last := len(want) - 1; want[last] == "..." {
		want = want[:last]
		if len(got) < len(want) {
			return false
		}
		got = got[:len(want)]
	}
	return slices.EqualFunc(want, got, func(w, g string) bool {
		switch {
		case w == "*":
			return true
		case w == "X" && *x == "":
			*x = g
			return true
		case w == "X":
			return *x == g
		}
		return w == g
	})
}

// mentions says whether imports.txt gives the package a place.
func (p *Policy) mentions(name string) bool {
	for _, e := range p.allowed {
		var x, y string
		if e.to != "ALL" && matchName(e.to, name, &x) || matchName(e.from, name, &y) {
			return true
		}
	}
	return false
}

// mayImport says whether importer may import the package imported of the same module. Test files
// may import, beside what their package may, what TESTS and test:importer may.
func (p *Policy) mayImport(imported, importer string, test bool) bool {
	return imported == importer || slices.ContainsFunc(p.allowed, func(e edge) bool {
		return matchEdge(e, imported, importer) ||
			test && (matchEdge(e, imported, "TESTS") || matchEdge(e, imported, "test:"+importer))
	})
}

// mayReach says whether importer may import a package from outside the module. The standard library
// is free but for what imports.txt names; other modules are refused but for what it names.
func (p *Policy) mayReach(imported, importer string, test bool) bool {
	named := false
	for _, e := range p.outside {
		if imported != e.from && !strings.HasPrefix(imported, e.from+"/") {
			continue
		}
		named = true
		var x string
		if matchName(e.to, importer, &x) || test && (e.to == "TESTS" || e.to == "test:"+importer) {
			return true
		}
	}
	return !named && isStandard(imported)
}

// isStandard says that the import path belongs to the standard library: no dot in its first element.
func isStandard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}

// inModule returns the name by which imports.txt knows a package of this module.
func (t *Tree) inModule(importPath string) (string, bool) {
	if importPath == t.Module {
		return ".", true
	}
	name, ok := strings.CutPrefix(importPath, t.Module+"/")
	return strings.TrimPrefix(name, "internal/"), ok
}

// checkImports holds every import to imports.txt.
func checkImports(t *Tree) []Finding {
	const file = "internal/lint/imports.txt"
	text, ok := t.text(file)
	if !ok {
		return []Finding{{file, file, "is missing; it holds the import policy"}}
	}
	p, err := ParsePolicy(text)
	if err != nil {
		return []Finding{{file, file, err.Error()}}
	}
	var out []Finding
	for _, pkg := range t.Packages {
		if !p.mentions(pkg.Name) {
			out = append(out, Finding{pkg.Dir, pkg.Dir, "has no place in " + file +
				"; decide on which floor it stands and add it there (NONE < " + pkg.Name + " for a leaf)"})
			continue
		}
		for _, f := range pkg.Files {
			out = append(out, t.checkFileImports(p, f)...)
		}
	}
	return append(out, t.checkNever(p)...)
}

// checkFileImports holds the imports of one file to the policy.
func (t *Tree) checkFileImports(p *Policy, f *File) []Finding {
	var out []Finding
	for _, spec := range f.AST.Imports {
		imported := strings.Trim(spec.Path.Value, `"`+"`")
		name, inside := t.inModule(imported)
		switch {
		case inside && !p.mayImport(name, f.Pkg.Name, f.Test):
			out = append(out, t.found(f, spec.Pos(), name,
				"%s may not import %s. Declare the one or two methods you need as an interface here and let package server pass the value in; "+
					"if the floor plan is wrong, change internal/lint/imports.txt in its own commit that says why", f.Pkg.Name, name))
		case !inside && !p.mayReach(imported, f.Pkg.Name, f.Test):
			out = append(out, t.found(f, spec.Pos(), imported,
				"%s may not import %s. %s", f.Pkg.Name, imported, outsideAdvice(imported)))
		}
	}
	return out
}

// outsideAdvice says what to do instead of importing a package from outside.
func outsideAdvice(imported string) string {
	switch {
	case imported == "net/http" || strings.HasPrefix(imported, "net/http/"):
		return "HTTP ends at the edge: take plain values here and leave requests to wire, server or api/*"
	case imported == "unsafe":
		return "Keep unsafe where a benchmark pays for it, and name the package in internal/lint/imports.txt with that benchmark"
	case isStandard(imported):
		return "internal/lint/imports.txt names the packages that may"
	}
	return "Use the standard library if it does the job; otherwise add the module to the [outside] section of internal/lint/imports.txt " +
		"and its reason to docs/reference/dependencies.md"
}

// checkNever looks for packages that reach a forbidden one, directly or through others.
func (t *Tree) checkNever(p *Policy) []Finding {
	graph := t.importGraph()
	var out []Finding
	for _, pkg := range t.Packages {
		for name, way := range reach(graph, pkg.Name) {
			i := slices.IndexFunc(p.never, func(e edge) bool { return matchEdge(e, name, pkg.Name) })
			if i < 0 || family(name) == family(pkg.Name) {
				continue
			}
			out = append(out, Finding{pkg.Dir + ":" + name, pkg.Dir, fmt.Sprintf(
				"%s must never reach %s, and does by %s. Cut the chain: declare an interface in %s spelled in record terms and let package server join the two",
				pkg.Name, name, strings.Join(way, " -> "), pkg.Name)})
		}
	}
	slices.SortFunc(out, func(a, b Finding) int { return strings.Compare(a.Subject, b.Subject) })
	return out
}

// family returns the first element of a package name: what lies below a domain belongs to it.
func family(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// importGraph maps each package to what its files other than tests import from this module.
func (t *Tree) importGraph() map[string][]string {
	graph := map[string][]string{}
	for _, f := range t.goFiles() {
		if f.Test {
			continue
		}
		for _, spec := range f.AST.Imports {
			if name, ok := t.inModule(strings.Trim(spec.Path.Value, `"`)); ok {
				graph[f.Pkg.Name] = append(graph[f.Pkg.Name], name)
			}
		}
	}
	return graph
}

// reach returns every package that start imports, directly or not, with one shortest way to it.
func reach(graph map[string][]string, start string) map[string][]string {
	ways := map[string][]string{start: {start}}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, next := range graph[queue[0]] {
			if _, seen := ways[next]; !seen {
				ways[next] = append(slices.Clone(ways[queue[0]]), next)
				queue = append(queue, next)
			}
		}
	}
	delete(ways, start)
	return ways
}

// checkNames refuses names that say nothing.
func checkNames(t *Tree) []Finding {
	empty := []string{"manager", "helper", "helpers", "common", "util", "utils", "base", "impl", "v2", "misc", "shared"}
	var out []Finding
	for _, f := range t.handWritten() {
		stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.Path), ".go"), "_test")
		if slices.Contains(empty, stem) || slices.Contains(empty, path.Base(f.Pkg.Dir)) {
			out = append(out, Finding{f.Path, f.Path,
				"is named for what it is not; name it after the one noun or operation it holds"})
		}
	}
	return out
}
