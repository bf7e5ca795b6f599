package lint

import (
	"go/ast"
	"go/token"
)

// The limits of hand-written code. They are far above what good code here measures (a median
// function has 10 to 15 lines); what nears them has two jobs.
const (
	maxFileLines    = 800
	maxFuncLines    = 100
	maxPackageLines = 6000
	maxMethods      = 8
	maxFields       = 30
)

// checkSizes measures files, packages, functions, interfaces and structs. Tests are measured too,
// but do not count towards their package.
func checkSizes(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		lines := 0
		for _, f := range p.Files {
			if f.Generated {
				continue
			}
			if !f.Test {
				lines += f.Lines
			}
			out = append(out, t.checkFileSizes(f)...)
		}
		if lines > maxPackageLines {
			out = append(out, Finding{p.Dir, p.Dir, "has more than 6000 lines; find the noun inside it that can be a package of its own"})
		}
	}
	return out
}

// checkFileSizes measures one file and what it declares.
func (t *Tree) checkFileSizes(f *File) []Finding {
	var out []Finding
	if f.Lines > maxFileLines {
		out = append(out, Finding{f.Path, f.Path, "has more than 800 lines; split it by noun or operation"})
	}
	for _, d := range f.AST.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if n := t.lines(d); n > maxFuncLines {
				out = append(out, t.found(f, d.Pos(), funcName(d), "%s has %d lines, the limit is %d; name its steps and make them functions", funcName(d), n, maxFuncLines))
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				out = append(out, t.checkSpecSizes(f, s)...)
			}
		}
	}
	return out
}

// checkSpecSizes measures a type, or the function values of a variable.
func (t *Tree) checkSpecSizes(f *File, spec ast.Spec) []Finding {
	var out []Finding
	name := ""
	if s, ok := spec.(*ast.TypeSpec); ok {
		name = s.Name.Name
	}
	ast.Inspect(spec, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.InterfaceType:
			if c := countMethods(n); c > maxMethods {
				out = append(out, t.found(f, n.Pos(), name, "%s has %d methods, the limit is %d; split it by who calls what and let readers declare what they need", name, c, maxMethods))
			}
		case *ast.StructType:
			if c := countFields(n.Fields); c > maxFields {
				out = append(out, t.found(f, n.Pos(), name, "%s has %d fields, the limit is %d; group what belongs together into types of their own", name, c, maxFields))
			}
		case *ast.FuncLit:
			if c := t.lines(n); c > maxFuncLines {
				out = append(out, t.found(f, n.Pos(), name, "a function value has %d lines, the limit is %d; make it named functions", c, maxFuncLines))
			}
		}
		return true
	})
	return out
}

// lines counts the lines of a function, blank and comment lines too, its own comment not.
func (t *Tree) lines(n ast.Node) int {
	return t.line(n.End()) - t.line(n.Pos()) + 1
}

// line returns the line of a position.
func (t *Tree) line(p token.Pos) int { return t.fset.Position(p).Line }

// countFields counts the fields of a struct; an embedded type is one.
func countFields(l *ast.FieldList) int {
	n := 0
	for _, f := range l.List {
		n += max(1, len(f.Names))
	}
	return n
}

// countMethods counts the methods an interface declares and those of embedded interfaces that are
// declared in the same file.
func countMethods(i *ast.InterfaceType) int {
	n := 0
	for _, m := range i.Methods.List {
		if len(m.Names) > 0 {
			n += len(m.Names)
			continue
		}
		if id, ok := m.Type.(*ast.Ident); ok && id.Obj != nil {
			if s, ok := id.Obj.Decl.(*ast.TypeSpec); ok {
				if e, ok := s.Type.(*ast.InterfaceType); ok {
					n += countMethods(e)
				}
			}
		}
	}
	return n
}
