package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Strip returns the model without its documentation, compact, its keys in their order.
// Members, shapes and operations that happen to be called "documentation" stay.
func Strip(text []byte) ([]byte, error) {
	s := stripper{in: json.NewDecoder(bytes.NewReader(text))}
	s.in.UseNumber()
	if err := s.value(nil, true); err != nil {
		return nil, fmt.Errorf("strip model: %w", err)
	}
	if _, err := s.in.Token(); err != io.EOF {
		return nil, fmt.Errorf("strip model: text after the value: %v", err)
	}
	return s.out.Bytes(), nil
}

type stripper struct {
	in  *json.Decoder
	out bytes.Buffer
}

// names reports whether the object at path is keyed by names, so that none of its keys is a
// property.
func names(path []string) bool {
	switch len(path) {
	case 1:
		return path[0] == "operations" || path[0] == "shapes"
	case 3:
		return path[0] == "shapes" && path[2] == "members"
	}
	return false
}

// value copies the next value, or reads past it if keep is false.
func (s *stripper) value(path []string, keep bool) error {
	t, err := s.in.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('{'):
		return s.object(path, keep)
	case json.Delim('['):
		return s.array(path, keep)
	}
	return s.write(t, keep)
}

func (s *stripper) object(path []string, keep bool) error {
	s.raw("{", keep)
	comma := ""
	for s.in.More() {
		t, err := s.in.Token()
		if err != nil {
			return err
		}
		key := t.(string)
		kept := keep && (key != "documentation" || names(path))
		s.raw(comma, kept)
		if err := s.write(key, kept); err != nil {
			return err
		}
		s.raw(":", kept)
		if err := s.value(append(path[:len(path):len(path)], key), kept); err != nil {
			return err
		}
		if kept {
			comma = ","
		}
	}
	return s.end("}", keep)
}

func (s *stripper) array(path []string, keep bool) error {
	s.raw("[", keep)
	for comma := ""; s.in.More(); comma = "," {
		s.raw(comma, keep)
		if err := s.value(append(path[:len(path):len(path)], "[]"), keep); err != nil {
			return err
		}
	}
	return s.end("]", keep)
}

func (s *stripper) end(close string, keep bool) error {
	s.raw(close, keep)
	_, err := s.in.Token()
	return err
}

func (s *stripper) raw(text string, keep bool) {
	if keep {
		s.out.WriteString(text)
	}
}

func (s *stripper) write(t json.Token, keep bool) error {
	if !keep {
		return nil
	}
	e := json.NewEncoder(&s.out)
	e.SetEscapeHTML(false)
	if err := e.Encode(t); err != nil {
		return err
	}
	s.out.Truncate(s.out.Len() - 1) // the encoder ends each value with a line break
	return nil
}
