package shape

// Pattern is a regular expression constraint: AWS demands that the whole value matches.
type Pattern struct {
	// Text is the pattern as the model prints it.
	Text string
	// Match reports whether the whole of value matches.
	Match func(value string) bool
}

// Rules are the constraints on the elements of a list or on the keys or values of a map, which AWS
// reports at the list or map. -1 stands for no bound.
type Rules struct {
	MinLength, MaxLength int
	Pattern              *Pattern
	Enum                 []string
}

// Allows reports whether value meets all rules.
func (r *Rules) Allows(value string) bool { return true }

// Scope says which part of a list or map Rules are about.
type Scope uint8

const (
	// ListMembers are the elements of a list.
	ListMembers Scope = iota
	// MapKeys are the keys of a map.
	MapKeys
	// MapValues are the values of a map.
	MapValues
)

// Validator collects the constraints a shape violates.
type Validator struct{ n int }

func (v *Validator) Reset()                                                          {}
func (v *Validator) Enter(member string)                                             {}
func (v *Validator) EnterIndex(i int)                                                {}
func (v *Validator) EnterKey(k string)                                               {}
func (v *Validator) Leave()                                                          {}
func (v *Validator) Missing(member string)                                           {}
func (v *Validator) Length(member, value string, min, max int)                       {}
func (v *Validator) Bytes(member string, n, min, max int)                            {}
func (v *Validator) Count(member string, n, min, max int, render func() string)      {}
func (v *Validator) Range(member string, value, min, max int64)                      {}
func (v *Validator) Pattern(member, value string, p Pattern)                         {}
func (v *Validator) Enum(member, value string, set []string)                         {}
func (v *Validator) Elements(member string, s Scope, r *Rules, render func() string) {}
func (v *Validator) Err() error                                                      { return nil }

// RenderList returns how AWS prints a list of n elements: [a, b].
func RenderList(n int, element func(i int) string) string { return "[]" }
