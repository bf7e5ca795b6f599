package model

import "fmt"

// check verifies what the JSON form cannot say: that references resolve and that each kind of
// shape carries the parts it needs.
func (s *Service) check() error {
	for _, op := range s.Operations.List() {
		if err := s.checkOperation(op.Name, &op.Value); err != nil {
			return fmt.Errorf("operation %s: %w", op.Name, err)
		}
	}
	for _, e := range s.Shapes.List() {
		if err := s.checkShape(&e.Value); err != nil {
			return fmt.Errorf("shape %s: %w", e.Name, err)
		}
	}
	return nil
}

func (s *Service) checkOperation(name string, op *Operation) error {
	if op.Name != name {
		return fmt.Errorf("calls itself %q", op.Name)
	}
	refs := []*Ref{op.Input, op.Output}
	for i := range op.Errors {
		refs = append(refs, &op.Errors[i])
	}
	for _, r := range refs {
		if r == nil {
			continue
		}
		to, err := s.resolve(r)
		if err != nil {
			return err
		}
		if to.Type != Structure {
			return fmt.Errorf("%s is a %s, want a structure", r.Shape, to.Type)
		}
	}
	return nil
}

func (s *Service) checkShape(sh *Shape) error {
	switch sh.Type {
	case Structure:
		return s.checkStructure(sh)
	case List:
		return s.checkRefs(sh.Member)
	case Map:
		return s.checkRefs(sh.Key, sh.Value)
	case String, Blob, Timestamp, Integer, Long, Float, Double, Boolean:
		return nil
	}
	return fmt.Errorf("unknown type %q", sh.Type)
}

func (s *Service) checkStructure(sh *Shape) error {
	for _, m := range sh.Members.List() {
		if err := s.checkRefs(&m.Value); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
		switch m.Value.Location {
		case "", InURI, InHeader, InHeaders, InQuerystring, InStatusCode:
		default:
			return fmt.Errorf("member %s: unknown location %q", m.Name, m.Value.Location)
		}
	}
	named := append(append([]string{}, sh.Required...), sh.XMLOrder...)
	if sh.Payload != "" {
		named = append(named, sh.Payload)
	}
	for _, name := range named {
		if sh.Members.Get(name) == nil {
			return fmt.Errorf("no member %s", name)
		}
	}
	return nil
}

func (s *Service) checkRefs(refs ...*Ref) error {
	for _, r := range refs {
		if r == nil {
			return fmt.Errorf("a reference is missing")
		}
		if _, err := s.resolve(r); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) resolve(r *Ref) (*Shape, error) {
	if to := s.Shapes.Get(r.Shape); to != nil {
		return to, nil
	}
	return nil, fmt.Errorf("no shape %q", r.Shape)
}

// Of returns the shape a reference of a checked model names.
func (s *Service) Of(r *Ref) *Shape { return s.Shapes.Get(r.Shape) }

// Reachable returns the names of all shapes the service's operations use, in the model's order.
func (s *Service) Reachable() []string {
	seen := make(map[string]bool)
	for _, op := range s.Operations.List() {
		s.visit(op.Value.Input, seen)
		s.visit(op.Value.Output, seen)
		for i := range op.Value.Errors {
			s.visit(&op.Value.Errors[i], seen)
		}
	}
	var names []string
	for _, e := range s.Shapes.List() {
		if seen[e.Name] {
			names = append(names, e.Name)
		}
	}
	return names
}

func (s *Service) visit(r *Ref, seen map[string]bool) {
	if r == nil || seen[r.Shape] {
		return
	}
	seen[r.Shape] = true
	sh := s.Of(r)
	for i := range sh.Members.list {
		s.visit(&sh.Members.list[i].Value, seen)
	}
	s.visit(sh.Member, seen)
	s.visit(sh.Key, seen)
	s.visit(sh.Value, seen)
}
