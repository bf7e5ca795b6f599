package emit

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/headrace/headrace/internal/gen/awsgen/model"
)

// validators writes a Validate method per structure: members in the model's order; for each, that
// it is there, then its pattern, then its size, as AWS reports them.
func (g *generator) validators(p *printer) {
	for g.findChecked() {
	}
	for _, n := range g.collections {
		g.rules(p, n)
	}
	for _, n := range g.structs {
		p.line("")
		p.line("// Validate reports the constraints v violates; see shape.Shape.")
		p.line("func (v *%s) Validate(c *shape.Validator) {", exported(n))
		for _, m := range g.members(n) {
			g.validateMember(p, m)
		}
		p.line("}")
	}
	for _, n := range g.collections {
		g.render(p, n)
	}
}

// findChecked marks one more round of structures that have constraints, and reports whether it
// found any: a structure is checked if a member is required, bounded, or itself checked.
func (g *generator) findChecked() bool {
	found := false
	for _, n := range g.structs {
		if g.checked[n] {
			continue
		}
		for _, m := range g.members(n) {
			if m.required || g.constrained(m.ref) {
				g.checked[n], found = true, true
			}
		}
	}
	return found
}

// constrained reports whether a value of the shape can violate anything.
func (g *generator) constrained(r *model.Ref) bool {
	sh := g.Of(r)
	if sh.Min != nil || sh.Max != nil || sh.Pattern != "" || len(sh.Enum) > 0 {
		return true
	}
	switch sh.Type {
	case model.Structure:
		return g.checked[r.Shape]
	case model.List:
		return g.constrained(sh.Member)
	case model.Map:
		return g.constrained(sh.Key) || g.constrained(sh.Value)
	}
	return false
}

func (g *generator) validateMember(p *printer, m member) {
	constrained := g.constrained(m.ref)
	field := "v." + m.field
	switch {
	case m.required:
		p.line("if v.has&(1<<%d) == 0 {", m.bit)
		p.line("c.Missing(%q)", m.name)
		if constrained {
			p.line("} else {")
			g.validateValue(p, m, field)
		}
		p.line("}")
	case !constrained:
	case m.isOpt():
		p.line("if %s.Set {", field)
		g.validateValue(p, m, field+".Value")
		p.line("}")
	default:
		p.line("if %s != nil {", field)
		g.validateValue(p, m, field)
		p.line("}")
	}
}

// validateValue writes the checks of a member that is there.
func (g *generator) validateValue(p *printer, m member, value string) {
	sh := m.shape
	switch sh.Type {
	case model.String:
		if sh.Pattern != "" {
			p.line("c.Pattern(%q, %s, %sPattern)", m.name, value, unexported(m.ref.Shape))
		}
		if sh.Min != nil || sh.Max != nil {
			check := "Length"
			if sh.Sensitive {
				check = "Secret"
			}
			p.line("c.%s(%q, %s, %s, %s)", check, m.name, value, bound(sh.Min), bound(sh.Max))
		}
		if len(sh.Enum) > 0 {
			p.line("c.Enum(%q, string(%s), %sSet)", m.name, value, unexported(m.ref.Shape))
		}
	case model.Blob:
		p.line("c.Bytes(%q, len(%s), %s, %s)", m.name, value, bound(sh.Min), bound(sh.Max))
	case model.Integer, model.Long:
		p.line("c.Range(%q, int64(%s), %s, %s)", m.name, value, least(sh.Min), most(sh.Max))
	case model.Structure:
		p.line("c.Enter(%q)", m.name)
		p.line("%s.Validate(c)", value)
		p.line("c.Leave()")
	case model.List, model.Map:
		g.validateCollection(p, m, value)
	}
}

func bound(n *json.Number) string {
	if n == nil {
		return "-1"
	}
	return n.String()
}

func least(n *json.Number) string {
	if n == nil {
		return "shape.NoMin"
	}
	return n.String()
}

func most(n *json.Number) string {
	if n == nil {
		return "shape.NoMax"
	}
	return n.String()
}

func (g *generator) validateCollection(p *printer, m member, value string) {
	sh := m.shape
	render := fmt.Sprintf("func() string { return render%s(%s) }", exported(m.ref.Shape), value)
	var outside []string
	if sh.Min != nil && sh.Min.String() != "0" {
		outside = append(outside, fmt.Sprintf("len(%s) < %s", value, *sh.Min))
	}
	if sh.Max != nil {
		outside = append(outside, fmt.Sprintf("len(%s) > %s", value, *sh.Max))
	}
	if len(outside) > 0 {
		p.line("if %s {", strings.Join(outside, " || "))
		p.line("c.Count(%q, len(%s), %s, %s, %s)", m.name, value, bound(sh.Min), bound(sh.Max), render)
		p.line("}")
	}
	if sh.Type == model.Map {
		g.validateEntries(p, m, value, render)
		return
	}
	g.validateElements(p, m, value, render)
}

func (g *generator) validateElements(p *printer, m member, value, render string) {
	element := g.Of(m.shape.Member)
	switch {
	case element.Type == model.Structure && g.checked[m.shape.Member.Shape]:
		p.line("c.Enter(%q)", m.name)
		p.line("for i := range %s {", value)
		p.line("c.EnterIndex(i)")
		p.line("%s[i].Validate(c)", value)
		p.line("c.Leave()")
		p.line("}")
		p.line("c.Leave()")
	case element.Type == model.String && g.constrained(m.shape.Member):
		rules := unexported(m.ref.Shape) + "Rules"
		p.line("for i := range %s {", value)
		p.line("if !%s.Allows(%s) {", rules, asString(element, value+"[i]"))
		p.line("c.Elements(%q, shape.ListMembers, &%s, %s)", m.name, rules, render)
		p.line("break")
		p.line("}")
		p.line("}")
	}
}

func asString(sh *model.Shape, value string) string {
	if len(sh.Enum) > 0 {
		return "string(" + value + ")"
	}
	return value
}

func (g *generator) validateEntries(p *printer, m member, value, render string) {
	for _, part := range []struct {
		ref                    *model.Ref
		scope, rules, loop, at string
	}{
		{m.shape.Key, "MapKeys", "KeyRules", "k", "k"},
		{m.shape.Value, "MapValues", "ValueRules", "_, x", "x"},
	} {
		sh := g.Of(part.ref)
		if sh.Type != model.String || !g.constrained(part.ref) {
			continue
		}
		rules := unexported(m.ref.Shape) + part.rules
		p.line("for %s := range %s {", part.loop, value)
		p.line("if !%s.Allows(%s) {", rules, asString(sh, part.at))
		p.line("c.Elements(%q, shape.%s, &%s, %s)", m.name, part.scope, rules, render)
		p.line("break")
		p.line("}")
		p.line("}")
	}
	if r := m.shape.Value; g.Of(r).Type == model.Structure && g.checked[r.Shape] {
		p.line("c.Enter(%q)", m.name)
		p.line("for _, k := range slices.Sorted(maps.Keys(%s)) {", value)
		p.line("c.EnterKey(k)")
		p.line("x := %s[k]", value)
		p.line("x.Validate(c)")
		p.line("c.Leave()")
		p.line("}")
		p.line("c.Leave()")
	}
}

// rules writes the constraints on the elements of a collection of strings.
func (g *generator) rules(p *printer, name string) {
	sh := g.Shapes.Get(name)
	write := func(suffix, of string, r *model.Ref) {
		if r == nil || g.Of(r).Type != model.String || !g.constrained(r) {
			return
		}
		p.line("")
		p.line("// %s%s are the constraints on %s of %s.", unexported(name), suffix, of, name)
		p.line("var %s%s = shape.Rules{%s}", unexported(name), suffix, g.ruleFields(r))
	}
	write("Rules", "the elements", sh.Member)
	write("KeyRules", "the keys", sh.Key)
	write("ValueRules", "the values", sh.Value)
}

func (g *generator) ruleFields(r *model.Ref) string {
	sh := g.Of(r)
	text := fmt.Sprintf("MinLength: %s, MaxLength: %s", bound(sh.Min), bound(sh.Max))
	if sh.Pattern != "" {
		text += fmt.Sprintf(", Pattern: &%sPattern", unexported(r.Shape))
	}
	if len(sh.Enum) > 0 {
		text += fmt.Sprintf(", Enum: %sSet", unexported(r.Shape))
	}
	return text
}

// render writes how a violated collection appears in a message: elements of structures as the Java
// objects they are on AWS's side.
func (g *generator) render(p *printer, name string) {
	sh := g.Shapes.Get(name)
	if sh.Type == model.Map {
		g.renderMap(p, name, sh)
		return
	}
	element := g.Of(sh.Member)
	body, param := "", "i"
	switch {
	case element.Type == model.String:
		body = asString(element, "s[i]")
	case element.Type == model.Structure:
		body, param = fmt.Sprintf("%q", g.javaObject(sh.Member.Shape)), "int"
	default:
		return
	}
	if !g.counted(sh) && !g.constrained(sh.Member) {
		return
	}
	if param == "i" {
		param = "i int"
	}
	p.line("")
	p.line("func render%s(s []%s) string {", exported(name), g.goType(sh.Member))
	p.line("return shape.RenderList(len(s), func(%s) string { return %s })", param, body)
	p.line("}")
}

func (g *generator) counted(sh *model.Shape) bool { return sh.Min != nil || sh.Max != nil }

func (g *generator) renderMap(p *printer, name string, sh *model.Shape) {
	if !g.counted(sh) && !g.constrained(sh.Key) && !g.constrained(sh.Value) {
		return
	}
	value := asString(g.Of(sh.Value), "m[k]")
	if g.Of(sh.Value).Type != model.String {
		value = fmt.Sprintf("%q", g.javaObject(sh.Value.Shape))
	}
	p.line("")
	p.line("func render%s(m map[string]%s) string {", exported(name), g.goType(sh.Value))
	p.line("keys := slices.Sorted(maps.Keys(m))")
	p.line("return shape.RenderMap(len(keys), func(i int) (key, value string) {")
	p.line("k := keys[i]")
	p.line("return k, %s", value)
	p.line("})")
	p.line("}")
}

// javaObject is what AWS prints for a structure inside a list: class name and hash code. The hash
// depends on the value there; here it is fixed, and that of an entry of PutRecords is one AWS was
// seen to print.
func (g *generator) javaObject(shape string) string {
	hash := javaHash(shape)
	if shape == "PutRecordsRequestEntry" {
		hash = 0xc965e310
	}
	version := strings.ReplaceAll(g.Metadata.APIVersion, "-", "")
	return fmt.Sprintf("com.amazonaws.%s.v%s.%s@%x", g.Metadata.EndpointPrefix, version, shape, hash)
}
