package emit

import (
	"fmt"
	"strings"

	"github.com/headrace/headrace/internal/gen/awsgen/model"
)

// optionalInFact lists members the model requires but the service leaves out, with the reason.
func optionalInFact(structure, member string) bool {
	// At the end of a shard the last event has child shards and no continuation.
	return structure == "SubscribeToShardEvent" && member == "ContinuationSequenceNumber"
}

// member is one member of a structure with what the parts ask about it.
type member struct {
	name  string
	field string
	// wire is the member's name in documents.
	wire     string
	ref      *model.Ref
	shape    *model.Shape
	required bool
	// bit is the member's place in the presence set, if required.
	bit int
}

// members returns the body members of a structure in the model's order. An event stream is not in
// the body.
func (g *generator) members(structure string) []member {
	sh := g.Shapes.Get(structure)
	var list []member
	bit := 0
	for _, e := range sh.Members.List() {
		ref := e.Value
		m := member{name: e.Name, field: exported(e.Name), wire: e.Name, ref: &ref, shape: g.Of(&ref)}
		if ref.LocationName != "" {
			m.wire = ref.LocationName
		}
		if m.shape.Type == model.List && m.shape.Flattened && m.shape.Member.LocationName != "" {
			m.wire = m.shape.Member.LocationName // there is no level for the list's own
		}
		if m.shape.EventStream {
			continue
		}
		if sh.IsRequired(e.Name) && !optionalInFact(structure, e.Name) {
			m.required, m.bit = true, bit
			bit++
		}
		list = append(list, m)
	}
	return list
}

// present returns the type of the presence set of a structure, or "" if it requires nothing.
func present(members []member) string {
	n := 0
	for _, m := range members {
		if m.required {
			n++
		}
	}
	switch {
	case n == 0:
		return ""
	case n <= 8:
		return "uint8"
	case n <= 16:
		return "uint16"
	case n <= 32:
		return "uint32"
	}
	return "uint64"
}

// goType returns the Go type of a value of a shape.
func (g *generator) goType(r *model.Ref) string {
	sh := g.Of(r)
	switch sh.Type {
	case model.Structure:
		return exported(r.Shape)
	case model.List:
		return "[]" + g.goType(sh.Member)
	case model.Map:
		return "map[string]" + g.goType(sh.Value)
	case model.String:
		if len(sh.Enum) > 0 {
			return exported(r.Shape)
		}
		return "string"
	}
	return scalarType(sh.Type)
}

func scalarType(t model.Type) string {
	switch t {
	case model.Blob:
		return "[]byte"
	case model.Timestamp:
		return "shape.Timestamp"
	case model.Integer:
		return "int32"
	case model.Long:
		return "int64"
	case model.Boolean:
		return "bool"
	}
	return "float64"
}

// fieldType returns the Go type of a member: required members are plain, optional scalars are Opt,
// optional structures pointers; blobs, lists and maps are absent when nil.
func (g *generator) fieldType(m member) string {
	t := g.goType(m.ref)
	switch {
	case m.required:
		return t
	case m.shape.Type == model.Structure:
		return "*" + t
	case m.isOpt():
		return "shape.Opt[" + t + "]"
	}
	return t
}

// isOpt reports whether the member is held in a shape.Opt.
func (m member) isOpt() bool {
	switch m.shape.Type {
	case model.Structure, model.List, model.Map, model.Blob:
		return false
	}
	return !m.required
}

// codec returns the name of the Decoder and Encoder methods for a scalar.
func codec(sh *model.Shape) string {
	switch sh.Type {
	case model.String:
		return "String"
	case model.Blob:
		return "Blob"
	case model.Timestamp:
		return "Timestamp"
	case model.Integer:
		return "Int32"
	case model.Long:
		return "Int64"
	case model.Boolean:
		return "Bool"
	}
	return "Float64"
}

// scalarDecode returns the expression that reads a scalar.
func (g *generator) scalarDecode(r *model.Ref) string {
	sh := g.Of(r)
	if len(sh.Enum) > 0 {
		return fmt.Sprintf("%s(d.String())", exported(r.Shape))
	}
	return "d." + codec(sh) + "()"
}

// scalarEncode returns the statement that writes a scalar.
func (g *generator) scalarEncode(r *model.Ref, value string) string {
	sh := g.Of(r)
	if len(sh.Enum) > 0 {
		value = "string(" + value + ")"
	}
	return fmt.Sprintf("e.%s(%s)", codec(sh), value)
}

// layout returns how a query document spells a list or map, as a shape.Layout, or "" for the default.
func layout(sh *model.Shape) string {
	var fields []string
	add := func(field, name, def string) {
		if name != "" && name != def {
			fields = append(fields, fmt.Sprintf("%s: %q", field, name))
		}
	}
	if sh.Flattened {
		fields = append(fields, "Flat: true")
	}
	if sh.Type == model.List && !sh.Flattened {
		add("Element", sh.Member.LocationName, "member")
	}
	if sh.Type == model.Map {
		add("Key", sh.Key.LocationName, "key")
		add("Value", sh.Value.LocationName, "value")
	}
	if len(fields) == 0 {
		return ""
	}
	return "shape.Layout{" + strings.Join(fields, ", ") + "}"
}

// begin returns the call that begins a list or map, of a Decoder or an Encoder.
func begin(on, what string, sh *model.Shape, size ...string) string {
	if l := layout(sh); l != "" {
		return fmt.Sprintf("%s.Begin%sIn(%s)", on, what, strings.Join(append([]string{l}, size...), ", "))
	}
	return fmt.Sprintf("%s.Begin%s(%s)", on, what, strings.Join(size, ", "))
}

func isScalar(sh *model.Shape) bool {
	switch sh.Type {
	case model.Structure, model.List, model.Map:
		return false
	}
	return true
}

// findKept finds the structures that hold memory worth keeping over a Reset: a required list, or a
// required structure that does. Optional lists are absent when nil, so they start anew.
func (g *generator) findKept() {
	for again := true; again; {
		again = false
		for _, n := range g.structs {
			if !g.keeps[n] && g.keepsMemory(n) {
				g.keeps[n], again = true, true
			}
		}
	}
}

func (g *generator) keepsMemory(structure string) bool {
	for _, m := range g.members(structure) {
		if m.required && (m.shape.Type == model.List || g.keeps[m.ref.Shape]) {
			return true
		}
	}
	return false
}
