package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// An operation is proven in three places that must agree: the model names it (OperationNames of the
// generated package internal/awsapi/S), package internal/api/S binds a handler to it, and the file
// internal/api/S/<operation_in_snake_case>.go says in its header what the handler does:
//
//	// Compatible: every parameter; per-entry errors as AWS words them.
//	// Differs: no throttling unless --limits aws is given.
//	// Test: TestPutRecords, e2e/testdata/put.txtar
//
// The header is a comment that stands before the first declaration but the imports, or above it. A
// key's text may go on in the lines below it. Test names Go tests, fuzz targets or files.

// service is one AWS API of this repository.
type service struct {
	name       string   // "kinesis"
	operations []string // as modelled, sorted
	api        *Package // internal/api/<name>, nil while there is none
	bound      map[string]bool
}

// header is what an operation's file says about it.
type header struct {
	file                      *File
	compatible, differs, test string
}

// services returns every API that has generated code, in order of their names.
func (t *Tree) services() []service {
	var out []service
	for _, p := range t.Packages {
		name, ok := strings.CutPrefix(p.Name, "awsapi/")
		if !ok || strings.Contains(name, "/") {
			continue
		}
		ops := operationNames(p)
		if len(ops) == 0 {
			continue
		}
		s := service{name: name, operations: ops}
		if i := slices.IndexFunc(t.Packages, func(q *Package) bool { return q.Name == "api/"+name }); i >= 0 {
			s.api = t.Packages[i]
			s.bound = t.boundOperations(s)
		}
		out = append(out, s)
	}
	return out
}

// operationNames reads the string literals that OperationNames returns, written in the function or in
// a package-level table that it mentions.
func operationNames(p *Package) []string {
	tables := map[string]ast.Node{}
	var fn *ast.FuncDecl
	for _, f := range p.Files {
		for _, s := range varSpecs(f) {
			tables[s.Names[0].Name] = s
		}
		for _, d := range f.AST.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "OperationNames" {
				fn = d
			}
		}
	}
	if fn == nil || fn.Body == nil {
		return nil
	}
	names := stringLiterals(fn.Body)
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && tables[id.Name] != nil {
			names = append(names, stringLiterals(tables[id.Name])...)
		}
		return true
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// stringLiterals returns the strings written below a node.
func stringLiterals(root ast.Node) []string {
	var out []string
	ast.Inspect(root, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				out = append(out, s)
			}
		}
		return true
	})
	return out
}

// boundOperations returns the operations whose binder the api package uses.
func (t *Tree) boundOperations(s service) map[string]bool {
	out := map[string]bool{}
	for _, f := range s.api.Files {
		if f.Test {
			continue
		}
		f.eachUse(func(_ ast.Node, pkg, name string) {
			if pkg == t.Module+"/internal/awsapi/"+s.name && slices.Contains(s.operations, name) {
				out[name] = true
			}
		})
	}
	return out
}

// snake returns an operation's file name without its suffix: PutRecords is put_records,
// GetHLSStreamingSessionURL is get_hls_streaming_session_url.
func snake(operation string) string {
	r := []rune(operation)
	var b strings.Builder
	for i, c := range r {
		if i > 0 && unicode.IsUpper(c) && (!unicode.IsUpper(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// headers returns the header of each operation that has a file, and what is wrong with the
// files' headers.
func (t *Tree) headers(s service) (map[string]header, []Finding) {
	byFile := map[string]string{}
	for _, op := range s.operations {
		byFile[snake(op)+".go"] = op
	}
	out := map[string]header{}
	var bad []Finding
	for _, f := range s.api.Files {
		op, isOperation := byFile[path.Base(f.Path)]
		h, ok := readHeader(f)
		switch {
		case isOperation && ok:
			out[op] = h
		case isOperation:
			bad = append(bad, Finding{f.Path, f.Path, "has no header; say in a comment at its top what is supported: lines `Compatible:`, `Differs:`, `Test:`"})
		case ok:
			bad = append(bad, Finding{f.Path, f.Path, "has an operation's header but not an operation's name; one operation, one file called <operation_in_snake_case>.go"})
		}
	}
	return out, bad
}

// readHeader finds the header of a file: the comment with a line that begins "Compatible:", "Differs:"
// or "Test:".
func readHeader(f *File) (header, bool) {
	limit := f.AST.End()
	for _, d := range f.AST.Decls {
		if g, ok := d.(*ast.GenDecl); !ok || g.Tok != token.IMPORT {
			limit = d.End()
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				limit = fn.Body.Pos()
			}
			break
		}
	}
	key := regexp.MustCompile(`(?m)^(Compatible|Differs|Test): *`)
	for _, c := range f.AST.Comments {
		text := c.Text()
		if c.Pos() > limit || !key.MatchString(text) {
			continue
		}
		h := header{file: f}
		marks := key.FindAllStringSubmatchIndex(text, -1)
		for i, m := range marks {
			end := len(text)
			if i+1 < len(marks) {
				end = marks[i+1][0]
			}
			h.set(text[m[2]:m[3]], text[m[1]:end])
		}
		return h, true
	}
	return header{}, false
}

// set stores the text of one key, cut at the first blank line and put on one line.
func (h *header) set(key, text string) {
	text, _, _ = strings.Cut(text, "\n\n")
	text = strings.Join(strings.Fields(text), " ")
	into := &h.test
	switch key {
	case "Compatible":
		into = &h.compatible
	case "Differs":
		into = &h.differs
	}
	if *into != "" {
		text = *into + ", " + text
	}
	*into = text
}

// checkOperations holds model, binding, file and header of every operation together.
func checkOperations(t *Tree) []Finding {
	var out []Finding
	tests := t.testNames()
	for _, s := range t.services() {
		if s.api == nil {
			continue
		}
		headers, bad := t.headers(s)
		out = append(out, bad...)
		for _, op := range s.operations {
			file := "internal/api/" + s.name + "/" + snake(op) + ".go"
			exists := slices.ContainsFunc(s.api.Files, func(f *File) bool { return f.Path == file })
			switch {
			case s.bound[op] && !exists:
				out = append(out, Finding{op, s.api.Dir, fmt.Sprintf("%s is bound but %s is missing; put its handler there under a header", op, file)})
			case !s.bound[op] && exists:
				out = append(out, Finding{op, file, fmt.Sprintf("%s has a file but nothing binds it; hand its handler to %s.%s", op, s.name, op)})
			}
		}
		for _, op := range slices.Sorted(maps.Keys(headers)) {
			out = append(out, t.checkHeader(headers[op], tests)...)
		}
	}
	return out
}

// checkHeader asks that all three keys say something and that every test named exists.
func (t *Tree) checkHeader(h header, tests map[string]bool) []Finding {
	p := h.file.Path
	var out []Finding
	for _, k := range []struct{ key, text string }{{"Compatible", h.compatible}, {"Differs", h.differs}, {"Test", h.test}} {
		if k.text == "" {
			out = append(out, Finding{p + ":" + k.key, p, fmt.Sprintf("the header has no text after `%s:`; write \"nothing known\" under Differs if so", k.key)})
		}
	}
	for _, name := range testList(h.test) {
		function, _, _ := strings.Cut(name, "/")
		if !tests[function] && !t.exists(name) {
			out = append(out, Finding{p + ":" + name, p, fmt.Sprintf("the header names the test %s, which is neither a Go test nor a file; write the test or name the one there is", name)})
		}
	}
	return out
}

// testList splits the text of a Test key.
func testList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' || r == ' ' })
}

// testNames returns every test function and fuzz target of the repository.
func (t *Tree) testNames() map[string]bool {
	out := map[string]bool{}
	for _, f := range t.goFiles() {
		if !f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && (strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz")) {
				out[fn.Name.Name] = true
			}
		}
	}
	return out
}
