package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseFile reads one YAML document into texts by dotted key.
//
// It walks the node tree instead of decoding into a map, for two reasons: only nodes know their
// line, and YAML's own types lose text. An unquoted account 000000000000 is an octal number to
// YAML, and would come back as 0.
func parseFile(path string, text []byte) (layer, error) {
	l := newLayer()
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && doc.Content[0].Tag == "!!null" { // nothing but comments
		return l, nil
	}
	if err == nil {
		if err = d.Decode(&second); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			err = fmt.Errorf("line %d: a second document", second.Line)
		}
	}
	if err != nil {
		return l, fmt.Errorf("read configuration %s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	names := make([]string, 0, len(Keys()))
	for _, k := range Keys() {
		names = append(names, k.Name)
	}
	w := fileWalk{path: path, layer: l, names: names}
	return l, w.mapping("", doc.Content[0])
}

// fileWalk collects the scalars of one document and refuses what is no key.
type fileWalk struct {
	path  string
	layer layer
	names []string
}

func (w fileWalk) mapping(prefix string, n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return w.errorf(n, "want keys and values")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if err := w.entry(prefix, n.Content[i], n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (w fileWalk) entry(prefix string, key, v *yaml.Node) error {
	name := prefix + key.Value
	if w.isSection(name) {
		if v.Kind != yaml.MappingNode {
			return w.errorf(key, "%s is a section: want keys and values under it", name)
		}
		return w.mapping(name+".", v)
	}
	if !w.isKey(name) {
		return w.errorf(key, "unknown key %q%s", name, didYouMean(name, w.names))
	}
	if at, twice := w.layer.sources[name]; twice {
		return w.errorf(key, "%s was given already at %s", name, at)
	}
	if v.Kind != yaml.ScalarNode {
		return w.errorf(key, "%s: want one value", name)
	}
	if v.Tag == "!!null" {
		return w.errorf(key, "%s has no value; leave the key out to keep the default", name)
	}
	w.layer.set(name, v.Value, fmt.Sprintf("%s:%d", w.path, v.Line))
	return nil
}

func (w fileWalk) isKey(name string) bool {
	for _, known := range w.names {
		if known == name {
			return true
		}
	}
	return false
}

func (w fileWalk) isSection(name string) bool {
	for _, known := range w.names {
		if strings.HasPrefix(known, name+".") {
			return true
		}
	}
	return false
}

func (w fileWalk) errorf(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("read configuration %s:%d: %s", w.path, n.Line, fmt.Sprintf(format, args...))
}

// WriteYAML writes the configuration as a file that Load reads back, with the source of each value
// in a comment.
func (l *Loaded) WriteYAML(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	sections := map[string]*yaml.Node{}
	for _, s := range settings(&l.Config) {
		parent, name := root, s.key
		if section, rest, nested := strings.Cut(s.key, "."); nested {
			if sections[section] == nil {
				sections[section] = &yaml.Node{Kind: yaml.MappingNode}
				root.Content = append(root.Content, scalar(section), sections[section])
			}
			parent, name = sections[section], rest
		}
		v := scalar(s.value.String())
		switch s.typ {
		case "count":
			v.Tag = "!!int"
		case "bool":
			v.Tag = "!!bool"
		}
		v.LineComment = l.comment(s.key)
		parent.Content = append(parent.Content, scalar(name), v)
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return e.Close()
}

func (l *Loaded) comment(key string) string {
	if key == "memory" && l.Memory == AutoMemory {
		return fmt.Sprintf("%s; %d MiB here", l.Sources[key], l.MemoryBytes()>>20)
	}
	return l.Sources[key]
}

func scalar(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// didYouMean returns "; did you mean X?" for the nearest known name within two edits, else "".
func didYouMean(name string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if d := distance(name, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is the number of inserted, deleted and replaced bytes between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(diagonal+cost, row[j]+1, row[j+1]+1)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
