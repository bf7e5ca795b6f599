package lint

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// minPackageComment is the shortest package comment in characters that can say what a package is
// and what it is not.
const minPackageComment = 80

// checkPackageComments asks for exactly one package comment a package. A package of tests alone
// (end-to-end and client tests) needs one too.
func checkPackageComments(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		var with []*File
		for _, f := range p.Files {
			if f.AST.Doc != nil && !strings.HasSuffix(f.AST.Name.Name, "_test") {
				with = append(with, f)
			}
		}
		switch len(with) {
		case 0:
			if !slices.ContainsFunc(p.Files, func(f *File) bool { return f.AST.Doc != nil }) {
				out = append(out, Finding{p.Dir, p.Dir, "has no package comment; say above one package clause what it is, what it is not and how it is used"})
			}
		case 1:
			out = append(out, t.checkPackageComment(with[0])...)
		default:
			for _, f := range with[1:] {
				out = append(out, t.found(f, f.AST.Package, "", "is a second package comment (the first is in %s); join them, "+
					"or put a blank line between this comment and the package clause if it is about the file", with[0].Path))
			}
		}
	}
	return out
}

// checkPackageComment judges the one package comment there is.
func (t *Tree) checkPackageComment(f *File) []Finding {
	text := f.AST.Doc.Text()
	want := "Package " + f.AST.Name.Name + " "
	if f.Pkg.isCommand() {
		want = strings.ToUpper(path.Base(f.Pkg.Dir)[:1]) + path.Base(f.Pkg.Dir)[1:] + " "
		if strings.HasPrefix(text, "Command ") {
			want = "Command "
		}
	}
	switch {
	case !strings.HasPrefix(text, want):
		return []Finding{t.found(f, f.AST.Package, "", "the package comment must begin %q, so that go doc shows it well", strings.TrimSpace(want))}
	case len(text) < minPackageComment:
		return []Finding{t.found(f, f.AST.Package, "", "the package comment is too short to say what the package is and what it is not")}
	}
	return nil
}

// selfExplaining are methods whose meaning the standard library fixes: a comment could only repeat
// the name.
func selfExplaining(name string) bool {
	switch name {
	case "String", "GoString", "Error", "Unwrap", "Is", "As", "Len", "Less", "Swap", "Push", "Pop",
		"MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON", "MarshalYAML", "UnmarshalYAML":
		return true
	}
	return false
}

// checkExportedComments asks for a comment on every exported name, beginning with the name.
// Programs, tests and generated code are exempt, as are fields and interface methods, whose comments
// the reader of the type judges.
func checkExportedComments(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.handWritten() {
		if f.Test || f.Pkg.isCommand() {
			continue
		}
		for _, d := range f.AST.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				out = append(out, t.checkFuncComment(f, d)...)
			case *ast.GenDecl:
				out = append(out, t.checkGroupComments(f, d)...)
			}
		}
	}
	return out
}

// checkFuncComment looks at one function or method.
func (t *Tree) checkFuncComment(f *File, d *ast.FuncDecl) []Finding {
	recv := receiver(d)
	if !d.Name.IsExported() || d.Recv != nil && (!ast.IsExported(recv) || selfExplaining(d.Name.Name)) {
		return nil
	}
	return t.needComment(f, d.Pos(), funcName(d), d.Name.Name, d.Doc)
}

// checkGroupComments looks at a declaration of types, constants or variables. In a parenthesised
// group one comment above the group may speak for all its constants or variables.
func (t *Tree) checkGroupComments(f *File, d *ast.GenDecl) []Finding {
	var out []Finding
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			doc := s.Doc
			if doc == nil && !d.Lparen.IsValid() {
				doc = d.Doc
			}
			if s.Name.IsExported() {
				out = append(out, t.needComment(f, s.Pos(), s.Name.Name, s.Name.Name, doc)...)
			}
		case *ast.ValueSpec:
			name := s.Names[0]
			if name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
				out = append(out, t.found(f, s.Pos(), name.Name, "%s has no comment; say what it means, its unit and where it comes from", name.Name))
			}
		}
	}
	return out
}

// needComment asks for a comment that begins with the name, with or without an article.
func (t *Tree) needComment(f *File, pos token.Pos, subject, name string, doc *ast.CommentGroup) []Finding {
	if doc == nil || strings.TrimSpace(doc.Text()) == "" {
		return []Finding{t.found(f, pos, subject, "%s has no comment; write its contract: meaning, units, errors, who owns what", subject)}
	}
	words := strings.Fields(doc.Text())
	if len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]) {
		words = words[1:]
	}
	if strings.TrimRight(words[0], ",.:;'s") != strings.TrimRight(name, ",.:;'s") {
		return []Finding{t.found(f, pos, subject, "the comment of %s must begin with %q, so that go doc and search find it", subject, name)}
	}
	return nil
}
