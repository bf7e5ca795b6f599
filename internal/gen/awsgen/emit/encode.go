package emit

import "github.com/headrace/headrace/internal/gen/awsgen/model"

// encoders writes an Encode method per structure and a function per list and map.
func (g *generator) encoders(p *printer) {
	for _, n := range g.structs {
		g.encodeStruct(p, n)
	}
	for _, n := range g.collections {
		sh := g.Shapes.Get(n)
		if sh.Type == model.Map {
			g.encodeMap(p, n, sh)
		} else {
			g.encodeList(p, n, sh)
		}
	}
}

func (g *generator) encodeStruct(p *printer, name string) {
	p.line("")
	p.line("// Encode appends v; see shape.Shape. Required members are always written.")
	p.line("func (v *%s) Encode(e *shape.Encoder) {", exported(name))
	p.line("e.BeginStruct()")
	for _, m := range g.members(name) {
		g.encodeMember(p, m)
	}
	p.line("e.EndStruct()")
	p.line("}")
}

func (g *generator) encodeMember(p *printer, m member) {
	field := "v." + m.field
	value := field
	switch {
	case m.required:
	case m.isOpt():
		p.line("if %s.Set {", field)
		value += ".Value"
	default:
		p.line("if %s != nil {", field)
	}
	p.line("e.Member(%q)", m.wire)
	g.encodeValue(p, m.ref, value)
	if !m.required {
		p.line("}")
	}
}

func (g *generator) encodeValue(p *printer, r *model.Ref, value string) {
	sh := g.Of(r)
	switch {
	case isScalar(sh):
		p.line("%s", g.scalarEncode(r, value))
	case sh.Type == model.Structure:
		p.line("%s.Encode(e)", value)
	default:
		p.line("encode%s(e, %s)", exported(r.Shape), value)
	}
}

func (g *generator) encodeList(p *printer, name string, sh *model.Shape) {
	p.line("")
	p.line("func encode%s(e *shape.Encoder, s []%s) {", exported(name), g.goType(sh.Member))
	p.line("%s", begin("e", "List", sh, "len(s)"))
	p.line("for i := range s {")
	g.encodeValue(p, sh.Member, "s[i]")
	p.line("}")
	p.line("e.EndList()")
	p.line("}")
}

// encodeMap writes entries in the order of their keys, so that equal maps give equal documents.
func (g *generator) encodeMap(p *printer, name string, sh *model.Shape) {
	p.line("")
	p.line("func encode%s(e *shape.Encoder, m map[string]%s) {", exported(name), g.goType(sh.Value))
	p.line("%s", begin("e", "Map", sh, "len(m)"))
	p.line("for _, k := range slices.Sorted(maps.Keys(m)) {")
	p.line("e.MapKey(k)")
	p.line("x := m[k]")
	g.encodeValue(p, sh.Value, "x")
	p.line("}")
	p.line("e.EndMap()")
	p.line("}")
}
