package emit

import (
	"fmt"
	"strings"

	"github.com/headrace/headrace/internal/gen/awsgen/model"
)

// types writes the metadata of the service and the structures with their Reset methods.
func (g *generator) types(p *printer) {
	m := g.Metadata
	p.line("// How requests name and sign this API.")
	p.line("const (")
	p.line("// APIVersion is the version of the API the model describes.")
	p.line("APIVersion = %q", m.APIVersion)
	if g.query() {
		p.line("// XMLNamespace is the name space of the answers' elements.")
		p.line("XMLNamespace = %q", m.XMLNamespace)
	} else {
		p.line("// TargetPrefix stands before the dot in the X-Amz-Target header.")
		p.line("TargetPrefix = %q", m.TargetPrefix)
		p.line("// JSONVersion is the version in the content type application/x-amz-json.")
		p.line("JSONVersion = %q", m.JSONVersion)
	}
	p.line("// SigningName is the service in a SigV4 credential scope.")
	p.line("SigningName = %q", m.Signer())
	p.line(")")
	for _, n := range g.structs {
		g.structure(p, n)
		g.reset(p, n)
	}
}

func (g *generator) structure(p *printer, name string) {
	members := g.members(name)
	p.line("")
	p.line("// %s is %s (AWS shape %s).", exported(name), g.role(name), name)
	if g.Shapes.Get(name).Deprecated {
		p.line("//\n// Deprecated: AWS marks the shape as deprecated.")
	}
	p.line("type %s struct {", exported(name))
	for _, m := range members {
		p.line("%s %s // %s", m.field, g.fieldType(m), m.facts(g))
	}
	if t := present(members); t != "" {
		p.line("has %s // required members that were decoded", t)
	}
	p.line("}")
}

// role says in words where the structure occurs.
func (g *generator) role(name string) string {
	uses := g.uses[name]
	if len(uses) > 3 {
		uses = append(uses[:3:3], "others")
	}
	switch n := len(uses); n {
	case 0:
		return "a structure of the service"
	case 1:
		return uses[0]
	default:
		return strings.Join(uses[:n-1], ", ") + " and " + uses[n-1]
	}
}

// facts says what the model demands of the member.
func (m member) facts(g *generator) string {
	facts := "optional"
	if m.required {
		facts = "required"
	}
	if m.ref.Deprecated {
		facts += ", deprecated"
	}
	if text := bounds(m.shape); text != "" {
		facts += "; " + text
	}
	if m.shape.Type == model.List {
		if text := bounds(g.Of(m.shape.Member)); text != "" {
			facts += "; each: " + text
		}
	}
	return facts
}

// bounds says in words what Min and Max bound.
func bounds(sh *model.Shape) string {
	if sh.Min == nil && sh.Max == nil {
		return ""
	}
	of := "characters"
	switch sh.Type {
	case model.Blob:
		of = "bytes"
	case model.List:
		of = "elements"
	case model.Map:
		of = "entries"
	case model.Integer, model.Long:
		of = ""
	}
	text := ""
	switch {
	case sh.Max == nil:
		text = fmt.Sprintf("at least %s %s", *sh.Min, of)
	case sh.Min == nil:
		text = fmt.Sprintf("at most %s %s", *sh.Max, of)
	case *sh.Min == *sh.Max:
		text = fmt.Sprintf("%s %s", *sh.Min, of)
	default:
		text = fmt.Sprintf("%s to %s %s", *sh.Min, *sh.Max, of)
	}
	return strings.TrimSpace(text)
}

// reset writes the Reset method. Required lists keep their capacity; their elements are emptied so
// that they pin no request's memory.
func (g *generator) reset(p *printer, name string) {
	p.line("")
	p.line("// Reset makes v empty; see shape.Shape.")
	p.line("func (v *%s) Reset() {", exported(name))
	var kept []string
	for _, m := range g.members(name) {
		switch {
		case m.required && m.shape.Type == model.List:
			g.emptyElements(p, m)
			kept = append(kept, fmt.Sprintf("%s: v.%s[:0]", m.field, m.field))
		case m.required && g.keeps[m.ref.Shape]:
			p.line("v.%s.Reset()", m.field)
			kept = append(kept, fmt.Sprintf("%s: v.%s", m.field, m.field))
		}
	}
	p.line("*v = %s{%s}", exported(name), strings.Join(kept, ", "))
	p.line("}")
}

func (g *generator) emptyElements(p *printer, m member) {
	if g.keeps[m.shape.Member.Shape] {
		p.line("for i := range v.%s { v.%s[i].Reset() }", m.field, m.field)
		return
	}
	p.line("clear(v.%s)", m.field)
}
