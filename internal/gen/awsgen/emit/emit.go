// Package emit writes the Go package of one AWS API from its model: types, enumerations, errors,
// one decoder, encoder and validator per structure, and a binder per operation, all standing on
// internal/wire/shape. It is not a general generator: what no served API needs yet (unions, HTTP
// bindings, streaming bodies, recursion by value) is an error that names the shape.
//
//	files, err := emit.Package(service, "kinesis")
//	for name, text := range files { ... }
package emit

import (
	"errors"
	"fmt"
	"go/format"
	"regexp"
	"slices"
	"strings"

	"github.com/headrace/headrace/internal/gen/awsgen/model"
)

// ErrUnsupported says that a model uses something this package cannot write yet.
var ErrUnsupported = errors.New("emit: not supported")

// Package returns the files of the Go package for the service, by name. Version is the botocore
// version the model came from, for the header. The result depends on nothing else.
func Package(s *model.Service, name, version string) (map[string][]byte, error) {
	g, err := newGenerator(s, name, version)
	if err != nil {
		return nil, fmt.Errorf("emit %s: %w", s.Name, err)
	}
	files := make(map[string][]byte)
	for _, part := range []struct {
		file    string
		imports []string
		write   func(*printer)
	}{
		{"types", []string{shapePath}, g.types},
		{"enums", nil, g.enums},
		{"errors", []string{"fmt", shapePath}, g.errors},
		{"decode", []string{shapePath}, g.decoders},
		{"encode", []string{"maps", "slices", shapePath}, g.encoders},
		{"validate", []string{"maps", "slices", shapePath}, g.validators},
		{"patterns", []string{"regexp", "sync", shapePath}, g.patterns},
		{"operations", []string{"context", shapePath}, g.operations},
	} {
		text, err := g.file(part.file == "types", part.imports, part.write)
		if err != nil {
			return nil, fmt.Errorf("emit %s: %s: %w", s.Name, part.file, err)
		}
		files[part.file+"_gen.go"] = text
	}
	return files, nil
}

const shapePath = "github.com/headrace/headrace/internal/wire/shape"

// generator holds what the parts need to know about the whole service.
type generator struct {
	*model.Service
	pkg     string
	version string
	// structs, enumerated and collections are the reachable shapes of each sort that gets code.
	structs     []string
	enumerated  []string
	collections []string
	exceptions  []string
	patterned   []string
	// uses says where a structure occurs, for its doc comment.
	uses map[string][]string
	// checked remembers which structures have anything to validate.
	checked map[string]bool
	// keeps remembers which structures keep memory over a Reset.
	keeps map[string]bool
}

func newGenerator(s *model.Service, pkg, version string) (*generator, error) {
	if p := s.Metadata.Protocol; p != "json" && p != "query" {
		return nil, fmt.Errorf("%w: protocol %s", ErrUnsupported, p)
	}
	g := &generator{
		Service: s, pkg: pkg, version: version, uses: make(map[string][]string),
		checked: make(map[string]bool), keeps: make(map[string]bool),
	}
	for _, name := range s.Reachable() {
		if err := g.sort(name, s.Shapes.Get(name)); err != nil {
			return nil, fmt.Errorf("shape %s: %w", name, err)
		}
	}
	g.findUses()
	g.findKept()
	if err := g.checkNames(); err != nil {
		return nil, err
	}
	if err := g.checkWrappers(); err != nil {
		return nil, err
	}
	return g, g.checkEmbedding()
}

// query reports whether the service speaks awsQuery and nothing else.
func (g *generator) query() bool { return g.Metadata.Protocol == "query" }

// sort puts a shape where it belongs, or says why it cannot be written.
func (g *generator) sort(name string, sh *model.Shape) error {
	if sh.Pattern != "" && sh.Type == model.String {
		if _, err := regexp.Compile(wholeText(sh.Pattern)); err != nil {
			return fmt.Errorf("%w: pattern: %v", ErrUnsupported, err)
		}
		g.patterned = append(g.patterned, name)
	}
	switch {
	case sh.Exception:
		g.exceptions = append(g.exceptions, name)
		return g.supportedError(sh)
	case sh.EventStream:
		return nil // its events are written, the stream itself is framing
	case sh.Type == model.Structure:
		g.structs = append(g.structs, name)
		return g.supportedStruct(sh)
	case sh.Type == model.List, sh.Type == model.Map:
		g.collections = append(g.collections, name)
		return g.supportedCollection(sh)
	case len(sh.Enum) > 0:
		g.enumerated = append(g.enumerated, name)
	case sh.Streaming, sh.TimestampFormat != "":
		return fmt.Errorf("%w: streaming or a timestamp format", ErrUnsupported)
	case sh.Type == model.String && sh.Sensitive && sh.Pattern != "":
		return fmt.Errorf("%w: a pattern on what must not be shown", ErrUnsupported)
	case (sh.Type == model.Double || sh.Type == model.Float) && (sh.Min != nil || sh.Max != nil):
		return fmt.Errorf("%w: bounds on a fraction", ErrUnsupported)
	}
	return nil
}

func (g *generator) supportedStruct(sh *model.Shape) error {
	if sh.Union || sh.Payload != "" {
		return fmt.Errorf("%w: union or payload", ErrUnsupported)
	}
	for _, m := range sh.Members.List() {
		r := m.Value
		if r.Location != "" || r.LocationName != "" && !g.query() || r.JSONValue || r.EventPayload || r.EventHeader {
			return fmt.Errorf("%w: member %s is bound outside the body", ErrUnsupported, m.Name)
		}
		if r.TimestampFormat != "" || r.Streaming || r.Flattened {
			return fmt.Errorf("%w: member %s has its own format", ErrUnsupported, m.Name)
		}
	}
	return nil
}

func (g *generator) supportedCollection(sh *model.Shape) error {
	if sh.Type == model.Map && g.Of(sh.Key).Type != model.String {
		return fmt.Errorf("%w: map keys that are not strings", ErrUnsupported)
	}
	if sh.Flattened && !g.query() {
		return fmt.Errorf("%w: flattened", ErrUnsupported)
	}
	return nil
}

// supportedError refuses errors that carry more than a message: shape.Error has no place for it.
func (g *generator) supportedError(sh *model.Shape) error {
	for _, m := range sh.Members.List() {
		if !strings.EqualFold(m.Name, "message") {
			return fmt.Errorf("%w: error member %s", ErrUnsupported, m.Name)
		}
	}
	return nil
}

// checkNames refuses two Go declarations of one name.
func (g *generator) checkNames() error {
	declared := make(map[string]string)
	add := func(name, what string) error {
		if was, twice := declared[name]; twice {
			return fmt.Errorf("%w: %s and %s are both named %s", ErrUnsupported, was, what, name)
		}
		declared[name] = what
		return nil
	}
	for _, n := range slices.Concat(g.structs, g.enumerated, g.exceptions) {
		if err := add(exported(n), "shape "+n); err != nil {
			return err
		}
	}
	for _, n := range g.enumerated {
		for _, v := range g.Shapes.Get(n).Enum {
			if err := add(enumConstant(n, v), "value "+v+" of "+n); err != nil {
				return err
			}
		}
	}
	for _, op := range g.Service.Operations.List() {
		if err := add(exported(op.Name), "operation "+op.Name); err != nil {
			return err
		}
	}
	return nil
}

// checkWrappers refuses results that are wrapped otherwise than package wire wraps them.
func (g *generator) checkWrappers() error {
	for _, op := range g.Service.Operations.List() {
		out := op.Value.Output
		if g.query() && out != nil && out.ResultWrapper != op.Name+"Result" {
			return fmt.Errorf("%w: operation %s wraps its result in %q", ErrUnsupported, op.Name, out.ResultWrapper)
		}
	}
	return nil
}

// checkEmbedding refuses structures that contain themselves by value.
func (g *generator) checkEmbedding() error {
	const visiting, done = 1, 2
	state := make(map[string]int)
	var visit func(name string) error
	visit = func(name string) error {
		switch state[name] {
		case done:
			return nil
		case visiting:
			return fmt.Errorf("%w: %s requires itself", ErrUnsupported, name)
		}
		state[name] = visiting
		for _, m := range g.members(name) {
			if m.required && m.shape.Type == model.Structure {
				if err := visit(m.ref.Shape); err != nil {
					return err
				}
			}
		}
		state[name] = done
		return nil
	}
	for _, n := range g.structs {
		if err := visit(n); err != nil {
			return err
		}
	}
	return nil
}

// findUses records the operations and structures each structure belongs to.
func (g *generator) findUses() {
	add := func(r *model.Ref, what string) {
		if r != nil && !slices.Contains(g.uses[r.Shape], what) {
			g.uses[r.Shape] = append(g.uses[r.Shape], what)
		}
	}
	for _, op := range g.Service.Operations.List() {
		add(op.Value.Input, "the input of "+op.Name)
		add(op.Value.Output, "the output of "+op.Name)
	}
	for _, n := range g.structs {
		for _, m := range g.Shapes.Get(n).Members.List() {
			r := &m.Value
			for sh := g.Of(r); sh.Type == model.List || sh.Type == model.Map; sh = g.Of(r) {
				if r = sh.Member; r == nil {
					r = sh.Value
				}
			}
			if g.Of(r).EventStream {
				for _, e := range g.Of(r).Members.List() {
					add(&e.Value, "an event of "+n)
				}
			}
			add(r, "part of "+exported(n))
		}
	}
}

// file formats one part under the header of generated code.
func (g *generator) file(withDoc bool, imports []string, write func(*printer)) ([]byte, error) {
	var body printer
	write(&body)
	var p printer
	p.line("// Code generated by awsgen from botocore %s; DO NOT EDIT.", g.version)
	p.line("")
	if withDoc {
		g.packageComment(&p)
	}
	p.line("package %s", g.pkg)
	p.line("")
	std, own := body.used(imports)
	if len(std)+len(own) > 0 {
		p.line("import (")
		for _, path := range std {
			p.line("%q", path)
		}
		p.line("")
		for _, path := range own {
			p.line("%q", path)
		}
		p.line(")")
	}
	p.text.Write(body.text.Bytes())
	return format.Source(p.text.Bytes())
}

func (g *generator) packageComment(p *printer) {
	p.line("// Package %s is the %s API, version %s, as Go values: one type per", g.pkg, g.Metadata.ServiceFullName, g.Metadata.APIVersion)
	p.line("// structure with its decoder, encoder and constraints, one constructor per error and one binder")
	p.line("// per operation.")
	p.line("//")
	p.line("// It carries no behaviour: handlers live in internal/api, HTTP in internal/wire. Strings and")
	p.line("// blobs of a decoded structure alias the request's memory; clone what outlives the request.")
}
