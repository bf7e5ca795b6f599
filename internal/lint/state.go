package lint

import (
	"go/ast"
	"go/token"
	"strings"
)

// checkInit refuses init functions: what a program does at start stands in package server or cli,
// in the order in which it is read.
func checkInit(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.goFiles() {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, t.found(f, fn.Pos(), "init", "init runs where nobody reads it; build the value where it is used, or pass it in from package server"))
			}
		}
	}
	return out
}

// checkContextFields refuses contexts that are kept in structs.
func checkContextFields(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.handWritten() {
		ast.Inspect(f.AST, func(n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				if p, name := f.member(field.Type); p == "context" && name == "Context" {
					out = append(out, t.found(f, field.Pos(), "context", "a context belongs to a call, not to a struct; make it the first parameter of the methods that wait"))
				}
			}
			return true
		})
	}
	return out
}

// checkState refuses package-level state that changes. A table that nothing writes, a sentinel
// error, a compiled pattern and sync.OnceValue are fine. Refused are variables that any function
// of the package assigns to (the variable, an element or a field), locks, atomics and channels, empty
// maps (they are there to be filled), and assignments to another package's variables. Tests
// may keep state of their own. What escapes this rule: a variable changed through a pointer or by its
// own methods.
func checkState(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		vars := packageVars(p)
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			out = append(out, t.checkVarTypes(f)...)
			out = append(out, t.checkWrites(f, vars)...)
		}
	}
	return out
}

// packageVars collects the variables declared at package level, tests excepted.
func packageVars(p *Package) map[string]*ast.ValueSpec {
	vars := map[string]*ast.ValueSpec{}
	for _, f := range p.Files {
		if f.Test {
			continue
		}
		for _, s := range varSpecs(f) {
			for _, n := range s.Names {
				if n.Name != "_" { // which nothing can change
					vars[n.Name] = s
				}
			}
		}
	}
	return vars
}

// varSpecs returns the package-level variable declarations of a file.
func varSpecs(f *File) []*ast.ValueSpec {
	var out []*ast.ValueSpec
	for _, d := range f.AST.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, s := range g.Specs {
				out = append(out, s.(*ast.ValueSpec))
			}
		}
	}
	return out
}

// checkVarTypes refuses variables whose type exists to be changed.
func (t *Tree) checkVarTypes(f *File) []Finding {
	var out []Finding
	for _, s := range varSpecs(f) {
		exprs := []ast.Expr{s.Type}
		for _, v := range s.Values {
			exprs = append(exprs, typeOfValue(v))
			if emptyMap(v) {
				out = append(out, t.found(f, s.Pos(), s.Names[0].Name, "%s is an empty map that something must fill; make it a field of the type that owns it", s.Names[0].Name))
			}
		}
		for _, e := range exprs {
			if what := f.mutableType(e); what != "" {
				out = append(out, t.found(f, s.Pos(), s.Names[0].Name, "%s holds a %s for the whole process; make it a field of the type that owns it", s.Names[0].Name, what))
			}
		}
	}
	return out
}

// typeOfValue returns the type an initial value spells out, nil when it spells none.
func typeOfValue(v ast.Expr) ast.Expr {
	switch v := v.(type) {
	case *ast.CompositeLit:
		return v.Type
	case *ast.UnaryExpr:
		return typeOfValue(v.X)
	case *ast.CallExpr:
		if id, ok := v.Fun.(*ast.Ident); ok && (id.Name == "new" || id.Name == "make") && len(v.Args) > 0 {
			return v.Args[0]
		}
	}
	return nil
}

// emptyMap says that a value is a map with nothing in it.
func emptyMap(v ast.Expr) bool {
	if _, ok := typeOfValue(v).(*ast.MapType); !ok {
		return false
	}
	lit, ok := v.(*ast.CompositeLit)
	return !ok || len(lit.Elts) == 0
}

// mutableType names the lock, atomic, pool or channel inside a type; "" when there is none.
func (f *File) mutableType(e ast.Expr) string {
	if e == nil {
		return ""
	}
	what := ""
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ChanType:
			what = "channel"
		case *ast.FuncType:
			return false // a function that takes a lock holds none
		case *ast.SelectorExpr:
			if p, name := f.member(n); (p == "sync" || p == "sync/atomic") && name != "Locker" {
				what = p + "." + name
			}
		}
		return true
	})
	return what
}

// checkWrites refuses assignments to package-level variables, this package's or another's.
func (t *Tree) checkWrites(f *File, vars map[string]*ast.ValueSpec) []Finding {
	var out []Finding
	write := func(e ast.Expr) {
		if name := f.writtenVar(e, vars); name != "" {
			out = append(out, t.found(f, e.Pos(), name, "%s is changed after it was declared; make it a field of the type that owns it, or a local value", name))
		}
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					write(e)
				}
			}
		case *ast.IncDecStmt:
			write(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				write(n.Key)
				write(n.Value)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && strings.Contains(" delete clear copy ", " "+id.Name+" ") {
				write(n.Args[0])
			}
		}
		return true
	})
	return out
}

// writtenVar returns the package-level variable at the root of what is written to, "" when the root
// is anything else. The parser resolves names within a file: a local variable points at its own
// declaration, a name of another file or an import at none.
func (f *File) writtenVar(e ast.Expr, vars map[string]*ast.ValueSpec) string {
	for {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.SelectorExpr:
			if p, name := f.member(x); p != "" {
				return p + "." + name
			}
			e = x.X
		case *ast.Ident:
			spec := vars[x.Name]
			if spec != nil && (x.Obj == nil || x.Obj.Decl == spec) {
				return x.Name
			}
			return ""
		default:
			return ""
		}
	}
}
