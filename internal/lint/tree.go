package lint

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Tree is a repository as the rules see it: every text file, and the Go files among them parsed and
// grouped into packages.
type Tree struct {
	// Module is the module path that go.mod declares.
	Module string
	// Packages are in order of their directories.
	Packages []*Package
	// Texts are all files that are not binary, in order of their paths.
	Texts []Text

	fset  *token.FileSet
	fsys  fs.FS
	texts map[string]int // path -> index in Texts
}

// Text is one file that is not binary.
type Text struct {
	Path string
	Data string
}

// Package is the Go files of one directory, tests included.
type Package struct {
	// Dir is the directory, slash-separated, relative to the root.
	Dir string
	// Name is Dir as imports.txt spells it: without a leading "internal/"; "." is the root.
	Name string
	// Files are in order of their names.
	Files []*File
}

// File is one parsed Go file.
type File struct {
	Path string
	Pkg  *Package
	AST  *ast.File
	// Err is what the parser said; AST then holds what it could save.
	Err error
	// Lines counts every line, blank and comment lines too.
	Lines int
	// Generated says that the file carries the line by which Go tools know generated code.
	Generated bool
	// Test says that the name ends in _test.go.
	Test bool

	imports map[string]string // name in this file -> import path
}

// Load reads the repository whose root is fsys. Version control, build results and packages
// installed by other languages' tools are left out; Go files under testdata are text, not Go.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{fsys: fsys, fset: token.NewFileSet(), texts: map[string]int{}}
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("read go.mod: %w", err)
	}
	t.Module = moduleName(string(mod))
	err = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed while we walked
		case err != nil:
			return err
		case d.IsDir() && skipDir(p):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		return t.add(p)
	})
	if err != nil {
		return nil, fmt.Errorf("walk repository: %w", err)
	}
	return t, nil
}

// moduleName returns the path that go.mod declares.
func moduleName(mod string) string {
	for line := range strings.Lines(mod) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// skipDir says that nothing below the directory is part of the source.
func skipDir(p string) bool {
	switch p {
	case ".git", "bin", "build":
		return true
	}
	switch path.Base(p) {
	case "node_modules", "__pycache__", ".venv":
		return true
	}
	return false
}

// add reads the file at p and, if it is Go, parses it.
func (t *Tree) add(p string) error {
	data, err := fs.ReadFile(t.fsys, p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 {
		return nil
	}
	t.texts[p] = len(t.Texts)
	t.Texts = append(t.Texts, Text{p, string(data)})
	if strings.HasSuffix(p, ".go") && !slices.Contains(strings.Split(p, "/"), "testdata") {
		t.addGo(p, data)
	}
	return nil
}

// addGo parses one Go file into the package of its directory.
func (t *Tree) addGo(p string, data []byte) {
	f := &File{Path: p, Test: strings.HasSuffix(p, "_test.go"), Lines: bytes.Count(data, []byte("\n"))}
	f.AST, f.Err = parser.ParseFile(t.fset, p, data, parser.ParseComments)
	f.Generated = ast.IsGenerated(f.AST)
	f.imports = importNames(f.AST)
	f.Pkg = t.packageAt(path.Dir(p))
	f.Pkg.Files = append(f.Pkg.Files, f)
}

// packageAt returns the package of a directory, made at its first file. Files of a directory do not
// always come in one run (sub-directories lie between them), so this looks.
func (t *Tree) packageAt(dir string) *Package {
	for _, p := range slices.Backward(t.Packages) {
		if p.Dir == dir {
			return p
		}
	}
	p := &Package{Dir: dir, Name: strings.TrimPrefix(dir, "internal/")}
	t.Packages = append(t.Packages, p)
	return p
}

// importNames maps the names by which a file knows its imports to their paths. Without types the
// name of an unnamed import is guessed from its path: the last element, or the one before it where
// the last is a major version.
func importNames(f *ast.File) map[string]string {
	out := map[string]string{}
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(p)
		if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
			name = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		out[name] = p
	}
	return out
}

// goFiles returns every Go file, package by package.
func (t *Tree) goFiles() []*File {
	var out []*File
	for _, p := range t.Packages {
		out = append(out, p.Files...)
	}
	return out
}

// handWritten returns the Go files that nobody generated.
func (t *Tree) handWritten() []*File {
	return slices.DeleteFunc(t.goFiles(), func(f *File) bool { return f.Generated })
}

// text returns the content of the file at p and whether there is one.
func (t *Tree) text(p string) (string, bool) {
	i, ok := t.texts[p]
	if !ok {
		return "", false
	}
	return t.Texts[i].Data, true
}

// exists says whether there is a file or a directory at p.
func (t *Tree) exists(p string) bool {
	_, err := fs.Stat(t.fsys, p)
	return err == nil
}

// isCommand says that the package is a program.
func (p *Package) isCommand() bool {
	return slices.ContainsFunc(p.Files, func(f *File) bool { return f.AST.Name.Name == "main" })
}

// isKit says that the package exists for tests alone, like lanetest or testpoll.
func (p *Package) isKit() bool {
	base := path.Base(p.Name)
	return strings.HasSuffix(base, "test") || base == "testpoll"
}

// member returns the import path and the name that a selector such as time.Now refers to; "" when
// its left side is not an import of this file.
func (f *File) member(e ast.Expr) (pkg, name string) {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok || id.Obj != nil {
		return "", ""
	}
	p := f.imports[id.Name]
	if p == "" {
		return "", ""
	}
	return p, sel.Sel.Name
}

// funcName returns the name of a function, with its receiver's type before it for a method.
func funcName(d *ast.FuncDecl) string {
	if recv := receiver(d); recv != "" {
		return recv + "." + d.Name.Name
	}
	return d.Name.Name
}

// receiver returns the name of the receiver's type, "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}
