package emit

import (
	"fmt"

	"github.com/headrace/headrace/internal/gen/awsgen/model"
)

// decoders writes a Decode method per structure and a function per list and map.
func (g *generator) decoders(p *printer) {
	for _, n := range g.structs {
		g.decodeStruct(p, n)
	}
	for _, n := range g.collections {
		sh := g.Shapes.Get(n)
		switch {
		case sh.Type == model.Map:
			g.decodeMap(p, n, sh)
		case g.Of(sh.Member).Type == model.Structure:
			g.decodeStructs(p, n, sh)
		default:
			g.decodeList(p, n, sh)
		}
	}
}

func (g *generator) decodeStruct(p *printer, name string) {
	p.line("")
	p.line("// Decode reads v; see shape.Shape. Members that are null stay as they are.")
	p.line("func (v *%s) Decode(d *shape.Decoder) {", exported(name))
	p.line("for d.BeginStruct(); d.NextMember(); {")
	p.line("if d.Null() { continue }")
	members := g.members(name)
	if len(members) == 0 {
		p.line("d.Skip()")
	} else {
		p.line("switch string(d.Key()) {")
		for _, m := range members {
			p.line("case %q:", m.wire)
			g.decodeMember(p, m)
		}
		p.line("default:")
		p.line("d.Skip()")
		p.line("}")
	}
	p.line("}")
	p.line("}")
}

func (g *generator) decodeMember(p *printer, m member) {
	field := "v." + m.field
	switch {
	case m.isOpt():
		p.line("%s = shape.Some(%s)", field, g.scalarDecode(m.ref))
	case isScalar(m.shape):
		p.line("%s = %s", field, g.scalarDecode(m.ref))
	case m.shape.Type != model.Structure:
		p.line("%s = decode%s(d, %s)", field, exported(m.ref.Shape), field)
	case m.required:
		p.line("%s.Decode(d)", field)
	default:
		p.line("%s = new(%s)", field, g.goType(m.ref))
		p.line("%s.Decode(d)", field)
	}
	if m.required {
		p.line("v.has |= 1 << %d", m.bit)
	}
}

// limit returns the condition under which another element is kept, or "" if the model sets no
// maximum. One element too many is kept so that validation sees it; the rest is only read, so a
// request cannot make a list grow beyond what its operation allows.
func limit(sh *model.Shape, collection string) string {
	if sh.Max == nil {
		return ""
	}
	return fmt.Sprintf("len(%s) <= %s", collection, *sh.Max)
}

func (g *generator) decodeStructs(p *printer, name string, sh *model.Shape) {
	t := g.goType(sh.Member)
	p.line("")
	p.line("// decode%s reads a list into the memory of s.", exported(name))
	p.line("func decode%s(d *shape.Decoder, s []%s) []%s {", exported(name), t, t)
	p.line("s = s[:0]")
	p.line("for %s; d.NextElement(); {", begin("d", "List", sh))
	if c := limit(sh, "s"); c != "" {
		p.line("if %s { s = grow%s(s) }", c, exported(name))
	} else {
		p.line("s = grow%s(s)", exported(name))
	}
	p.line("x := &s[len(s)-1]")
	p.line("x.Reset()")
	p.line("if !d.Null() { x.Decode(d) }")
	p.line("}")
	p.line("if s == nil { s = []%s{} }", t)
	p.line("return s")
	p.line("}")
	p.line("")
	p.line("// grow%s adds an element, which holds what it last held.", exported(name))
	p.line("func grow%s(s []%s) []%s {", exported(name), t, t)
	p.line("if len(s) < cap(s) { return s[:len(s)+1] }")
	p.line("return append(s, %s{})", t)
	p.line("}")
}

func (g *generator) decodeList(p *printer, name string, sh *model.Shape) {
	t := g.goType(sh.Member)
	p.line("")
	p.line("// decode%s reads a list into the memory of s.", exported(name))
	p.line("func decode%s(d *shape.Decoder, s []%s) []%s {", exported(name), t, t)
	p.line("s = s[:0]")
	p.line("for %s; d.NextElement(); {", begin("d", "List", sh))
	g.decodeValue(p, sh.Member)
	if c := limit(sh, "s"); c != "" {
		p.line("if %s { s = append(s, x) }", c)
	} else {
		p.line("s = append(s, x)")
	}
	p.line("}")
	p.line("if s == nil { s = []%s{} }", t)
	p.line("return s")
	p.line("}")
}

func (g *generator) decodeMap(p *printer, name string, sh *model.Shape) {
	t := g.goType(sh.Value)
	p.line("")
	p.line("// decode%s reads a map into the memory of m.", exported(name))
	p.line("func decode%s(d *shape.Decoder, m map[string]%s) map[string]%s {", exported(name), t, t)
	p.line("if m == nil { m = make(map[string]%s) }", t)
	p.line("clear(m)")
	p.line("for %s; d.NextEntry(); {", begin("d", "Map", sh))
	p.line("k := string(d.Key())")
	g.decodeValue(p, sh.Value)
	if c := limit(sh, "m"); c != "" {
		p.line("if %s { m[k] = x }", c)
	} else {
		p.line("m[k] = x")
	}
	p.line("}")
	p.line("return m")
	p.line("}")
}

// decodeValue writes the reading of an element into a new variable x; null gives the zero value.
func (g *generator) decodeValue(p *printer, r *model.Ref) {
	sh := g.Of(r)
	p.line("var x %s", g.goType(r))
	switch {
	case isScalar(sh):
		p.line("if !d.Null() { x = %s }", g.scalarDecode(r))
	case sh.Type == model.Structure:
		p.line("if !d.Null() { x.Decode(d) }")
	default:
		p.line("if !d.Null() { x = decode%s(d, nil) }", exported(r.Shape))
	}
}
