package model

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Entry is one named value of an ordered JSON object.
type Entry[T any] struct {
	Name  string
	Value T
}

// Named is a JSON object whose order matters: clients show, encode and validate members in the
// order of the model.
type Named[T any] struct {
	list  []Entry[T]
	index map[string]int
}

// List returns the entries in the model's order. The caller must not change them.
func (n Named[T]) List() []Entry[T] { return n.list }

// Len returns the number of entries.
func (n Named[T]) Len() int { return len(n.list) }

// Get returns the entry of that name, or nil.
func (n Named[T]) Get(name string) *T {
	i, ok := n.index[name]
	if !ok {
		return nil
	}
	return &n.list[i].Value
}

// UnmarshalJSON reads an object, keeping its order and refusing keys T does not know.
func (n *Named[T]) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	open, err := d.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('{') {
		return fmt.Errorf("want an object, got %v", open)
	}
	n.list, n.index = nil, make(map[string]int)
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		e := Entry[T]{Name: key.(string)}
		if err := d.Decode(&e.Value); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		if _, twice := n.index[e.Name]; twice {
			return fmt.Errorf("%s: named twice", e.Name)
		}
		n.index[e.Name] = len(n.list)
		n.list = append(n.list, e)
	}
	return nil
}
