package lint

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// eachUse calls fn for every use of a member of an imported package in the file, called or not.
func (f *File) eachUse(fn func(n ast.Node, pkg, name string)) {
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok {
			if p, name := f.member(e); p != "" {
				fn(n, p, name)
			}
		}
		return true
	})
}

// enclosing returns the name of the declaration around a node, for a stable subject.
func (f *File) enclosing(n ast.Node) string {
	for _, d := range f.AST.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Pos() <= n.Pos() && n.End() <= fn.End() {
			return funcName(fn)
		}
	}
	return ""
}

// under says whether a package is one of the given ones or lies below one.
func under(name string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return name == r || strings.HasPrefix(name, r+"/") })
}

// checkSleep refuses time.Sleep: a test that sleeps is slow when it passes and fails when the machine
// is busy, a server that sleeps cannot be stopped. Inside a synctest bubble sleeping is
// how fake time moves, so a call written in a function handed to synctest.Test is fine.
func checkSleep(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.handWritten() {
		if f.Pkg.Name == "testpoll" {
			continue
		}
		bubbles := f.bubbles()
		f.eachUse(func(n ast.Node, pkg, name string) {
			if pkg != "time" || name != "Sleep" || slices.ContainsFunc(bubbles, func(b ast.Node) bool { return b.Pos() <= n.Pos() && n.End() <= b.End() }) {
				return
			}
			advice := "wait on a timer and on ctx.Done() in one select, so that the wait can be stopped"
			if f.Test || f.Pkg.isKit() {
				advice = "run the test under testing/synctest, or poll with testpoll.Until"
			}
			out = append(out, t.found(f, n.Pos(), f.enclosing(n), "time.Sleep is refused; %s", advice))
		})
	}
	return out
}

// bubbles returns the functions of the file that run under synctest: literals given to synctest.Test,
// and functions of this file given to it by name.
func (f *File) bubbles() []ast.Node {
	var out []ast.Node
	ast.Inspect(f.AST, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if p, name := f.member(call.Fun); p != "testing/synctest" || name != "Test" || len(call.Args) != 2 {
			return true
		}
		switch arg := call.Args[1].(type) {
		case *ast.FuncLit:
			out = append(out, arg)
		case *ast.Ident:
			if arg.Obj != nil {
				if fn, ok := arg.Obj.Decl.(*ast.FuncDecl); ok {
					out = append(out, fn)
				}
			}
		}
		return true
	})
	return out
}

// checkClock refuses reading the machine's clock but in package clock. Programs at the edge (cmd, cli,
// bench, compat, e2e), tests and kits may.
func checkClock(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.handWritten() {
		if f.Test || f.Pkg.isKit() || under(f.Pkg.Name, "clock", "cmd", "cli", "bench", "compat", "e2e") {
			continue
		}
		f.eachUse(func(n ast.Node, pkg, name string) {
			if pkg == "time" && (name == "Now" || name == "Since" || name == "Until") {
				out = append(out, t.found(f, n.Pos(), f.enclosing(n), "time.%s is refused here; take a clock.Clock and ask it, so that tests own the time", name))
			}
		})
	}
	return out
}

// checkPrint refuses writing to standard output or error behind the caller's back. Programs may, cli may,
// and so may examples, whose output is their test.
func checkPrint(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.handWritten() {
		if f.Pkg.isCommand() || under(f.Pkg.Name, "cli", "bench", "compat", "e2e") {
			continue
		}
		report := func(n ast.Node, what string) {
			if !strings.HasPrefix(f.enclosing(n), "Example") {
				out = append(out, t.found(f, n.Pos(), f.enclosing(n), "%s is refused outside cli; write to the io.Writer you were given, or return the value (t.Log in a test)", what))
			}
		}
		f.eachUse(func(n ast.Node, pkg, name string) {
			if pkg == "fmt" && strings.HasPrefix(name, "Print") {
				report(n, "fmt."+name)
			}
		})
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if id, ok := call.Fun.(*ast.Ident); ok && id.Obj == nil && (id.Name == "print" || id.Name == "println") {
					report(n, id.Name)
				}
			}
			return true
		})
	}
	return out
}

// checkLog refuses the process-wide loggers of log and log/slog. Programs may use package log to die.
func checkLog(t *Tree) []Finding {
	global := []string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "With", "Default", "SetDefault",
		"DebugContext", "InfoContext", "WarnContext", "ErrorContext"}
	var out []Finding
	for _, f := range t.handWritten() {
		f.eachUse(func(n ast.Node, pkg, name string) {
			if pkg == "log/slog" && slices.Contains(global, name) || pkg == "log" && !f.Pkg.isCommand() {
				out = append(out, t.found(f, n.Pos(), f.enclosing(n), "%s.%s is the process's logger; take a *slog.Logger as a parameter (storage: an events struct)", path.Base(pkg), name))
			}
		})
	}
	return out
}
