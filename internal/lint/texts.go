package lint

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// matchLines reports every line of a text file that the pattern finds, with the advice.
func (t *Tree) matchLines(pattern *regexp.Regexp, advice string, take func(path, line string) bool) []Finding {
	var out []Finding
	for _, x := range t.Texts {
		n := 0
		for line := range strings.Lines(x.Data) {
			n++
			m := strings.TrimSpace(pattern.FindString(line))
			if m != "" && take(x.Path, line) {
				out = append(out, Finding{x.Path + ":" + strings.ReplaceAll(m, " ", "_"), fmt.Sprintf("%s:%d", x.Path, n), fmt.Sprintf("%q: %s", m, advice)})
			}
		}
	}
	return out
}

// anyLine takes every line of every file.
func anyLine(string, string) bool { return true }

// checkHosts refuses the host names of package registries, test data included: a build must go
// through each package manager's own settings, which mirrors and closed networks change. The names
// are written in two halves here so that this file passes.
func checkHosts(t *Tree) []Finding {
	hosts := []string{
		"proxy.golang" + ".org", "sum.golang" + ".org", "pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "registry.yarnpkg" + ".com",
		"npmjs" + ".com", "repo.maven.apache" + ".org", "repo1.maven" + ".org", "oss.sonatype" + ".org", "central.sonatype" + ".com", "crates" + ".io",
		"deb.debian" + ".org", "rubygems" + ".org", "nuget" + ".org", "registry-1.docker" + ".io", "index.docker" + ".io",
	}
	for i, h := range hosts {
		hosts[i] = regexp.QuoteMeta(h)
	}
	return t.matchLines(regexp.MustCompile(`\b(`+strings.Join(hosts, "|")+`)\b`),
		"names a package registry; name the package and let its client find it (npm: set omit-lockfile-registry-resolved in .npmrc)", anyLine)
}

// checkMachinePaths refuses paths that exist on one machine only.
func checkMachinePaths(t *Tree) []Finding {
	return t.matchLines(regexp.MustCompile(`(^|[\s"'=(:`+"`"+`])/(root|work|Users/[a-z]+|home/[a-z]+)/[\w.]`),
		"is a path of one machine; use a path relative to the repository, or a temporary directory", anyLine)
}

// checkIssueNumbers refuses references to discussions in place of reasons.
func checkIssueNumbers(t *Tree) []Finding {
	return t.matchLines(regexp.MustCompile(`(?i)\bissue #?\d+\b`), "says where something was discussed; say why it is so",
		func(p, _ string) bool {
			return slices.Contains([]string{".go", ".md", ".txt"}, path.Ext(p)) && !strings.Contains(p, "testdata/")
		})
}

// checkLineReferences refuses file and line in documents and comments: lines move, names stay.
func checkLineReferences(t *Tree) []Finding {
	return t.matchLines(regexp.MustCompile(`[\w-]+\.go:\d+`), "points at a line, which moves; point at a name",
		func(p, line string) bool {
			return path.Ext(p) == ".md" || path.Ext(p) == ".go" && strings.HasPrefix(strings.TrimSpace(line), "//")
		})
}

// checkLinks holds every relative link in a Markdown file to a file, a directory or a heading that
// exists.
func checkLinks(t *Tree) []Finding {
	inline := regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)`)
	reference := regexp.MustCompile(`^\[[^\]]+\]:\s+(\S+)`)
	var out []Finding
	for _, x := range t.Texts {
		if path.Ext(x.Path) != ".md" {
			continue
		}
		for n, line := range prose(x.Data) {
			for _, m := range append(inline.FindAllStringSubmatch(line, -1), reference.FindAllStringSubmatch(line, -1)...) {
				if why := t.badLink(x, m[1]); why != "" {
					out = append(out, Finding{x.Path + ":" + m[1], fmt.Sprintf("%s:%d", x.Path, n+1), fmt.Sprintf("link to %s: %s", m[1], why)})
				}
			}
		}
	}
	return out
}

// prose returns the lines of a Markdown text with code blocks and code spans blanked.
func prose(text string) []string {
	span := regexp.MustCompile("`[^`]*`")
	lines := strings.Split(text, "\n")
	fenced := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fenced || fence {
			lines[i] = ""
		}
		if fence {
			fenced = !fenced
		}
		lines[i] = span.ReplaceAllString(lines[i], "")
	}
	return lines
}

// badLink says what is wrong with a link of a Markdown file; "" when nothing is, or when it leads
// to another site.
func (t *Tree) badLink(from Text, link string) string {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
		return ""
	}
	file, anchor, _ := strings.Cut(link, "#")
	target := from.Path
	if file != "" {
		target = path.Join(path.Dir(from.Path), file)
	}
	if strings.HasPrefix(file, "/") || !fs.ValidPath(target) {
		return "leads out of the repository; link to a file inside it, relative to this one"
	}
	if !t.exists(target) {
		return "does not exist; correct the link or add the file"
	}
	if text, ok := t.text(target); ok && anchor != "" && path.Ext(target) == ".md" && !slices.Contains(anchors(text), anchor) {
		return "no heading has this anchor"
	}
	return ""
}

// anchors returns the anchors that the headings of a Markdown text get on code-hosting sites.
func anchors(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if title := strings.TrimLeft(line, "#"); len(title) < len(line) && strings.HasPrefix(title, " ") {
			out = append(out, slug(title))
		}
	}
	return out
}

// slug turns a heading into its anchor: lower case, punctuation dropped, spaces to hyphens.
func slug(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(title))
}

// checkGenerated ties the three marks of generated Go code together: the name *_gen.go, the line
// that Go tools look for, and the attribute that lets reviews fold it.
func checkGenerated(t *Tree) []Finding {
	var out []Finding
	any := false
	for _, f := range t.goFiles() {
		named := strings.HasSuffix(f.Path, "_gen.go")
		any = any || named
		switch {
		case named && !f.Generated:
			out = append(out, Finding{f.Path, f.Path, "is named *_gen.go but lacks the line `// Code generated by NAME; DO NOT EDIT.` above its package clause; " +
				"let the generator write it, or rename the file if it is written by hand"})
		case !named && f.Generated:
			out = append(out, Finding{f.Path, f.Path, "says that it is generated; let its name end in _gen.go"})
		}
	}
	const file = ".gitattributes"
	if text, _ := t.text(file); any && !regexp.MustCompile(`(?m)^\*_gen\.go\s.*\blinguist-generated(=true)?\b`).MatchString(text) {
		out = append(out, Finding{file, file, "lacks the line `*_gen.go linguist-generated=true`, so reviews would show generated code"})
	}
	return out
}

// checkDependencies asks for a row in docs/reference/dependencies.md for every module that go.mod
// requires directly, with every cell filled.
func checkDependencies(t *Tree) []Finding {
	const file = "docs/reference/dependencies.md"
	mod, _ := t.text("go.mod")
	doc, _ := t.text(file)
	direct := directModules(mod)
	rows := map[string]bool{}
	var out []Finding
	for line := range strings.Lines(doc) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		name := strings.Trim(strings.TrimSpace(cells[0]), "`")
		if !strings.HasPrefix(line, "| `") || isStandard(name) {
			continue
		}
		rows[name] = true
		if len(cells) < 4 || slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "" }) {
			out = append(out, Finding{name, file, name + ": say what it is for, under which licence, and why we do not write it ourselves"})
		}
	}
	for _, m := range direct {
		if !rows[m] {
			out = append(out, Finding{m, "go.mod", fmt.Sprintf("requires %s, which has no row in %s; add | `%s` | what for | licence | why not our own |", m, file, m)})
		}
	}
	return out
}

// directModules returns the modules that a go.mod requires without the remark "// indirect".
func directModules(mod string) []string {
	var out []string
	block := false
	for line := range strings.Lines(mod) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.Contains(line, "// indirect"):
		case words[0] == "require" && len(words) > 1 && words[1] == "(":
			block = true
		case words[0] == ")":
			block = false
		case words[0] == "require" && len(words) >= 3:
			out = append(out, words[1])
		case block && len(words) >= 2:
			out = append(out, words[0])
		}
	}
	return out
}
