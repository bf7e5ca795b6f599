package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// SourceDefault is the source of a value that nothing set.
const SourceDefault = "default"

// Inputs are what a configuration is loaded from. The zero value loads the defaults.
type Inputs struct {
	// File is the YAML file to read; "" means the one named by HEADRACE_CONFIG, if any.
	File string
	// Environ holds NAME=value strings as os.Environ returns them.
	Environ []string
	// Flags holds the text of every key that was given as a flag, by the key's name.
	Flags map[string]string
}

// Loaded is a valid configuration and where each value came from.
type Loaded struct {
	Config
	// Sources says by key name where the value came from: default, file:line, a variable or a flag.
	Sources map[string]string
	// Warnings are sentences for the operator: variables that look like ours and are not.
	Warnings []string
}

// layer is one origin of values: texts by key, and for each key the words that name its source.
type layer struct {
	values  map[string]string
	sources map[string]string
}

// Load reads every layer, lays them over each other and validates the result. Its errors name the
// key, the value and where it came from.
func Load(in Inputs) (*Loaded, error) {
	env, warnings := environLayer(in.Environ)
	file, err := fileLayer(in)
	if err != nil {
		return nil, err
	}
	merged := koanf.New(".")
	sources := map[string]string{}
	for _, l := range []layer{defaultLayer(), file, env, flagLayer(in.Flags)} {
		if err := merged.Load(confmap.Provider(anyMap(l.values), "."), nil); err != nil {
			return nil, fmt.Errorf("merge configuration: %w", err)
		}
		maps.Copy(sources, l.sources)
	}
	loaded := &Loaded{Config: Default(), Sources: sources, Warnings: warnings}
	return loaded, loaded.assign(merged)
}

// assign parses the merged texts into the struct.
func (l *Loaded) assign(merged *koanf.Koanf) error {
	for _, s := range settings(&l.Config) {
		if err := s.value.Set(merged.String(s.key)); err != nil {
			return &KeyError{Key: s.key, Source: l.Sources[s.key], Err: err}
		}
	}
	err := l.Validate()
	var bad *KeyError
	if errors.As(err, &bad) {
		bad.Source = l.Sources[bad.Key]
	}
	return err
}

func defaultLayer() layer {
	l := newLayer()
	for _, k := range Keys() {
		l.set(k.Name, k.Default, SourceDefault)
	}
	return l
}

func flagLayer(flags map[string]string) layer {
	l := newLayer()
	for name, text := range flags {
		l.set(name, text, "flag --"+Key{Name: name}.Flag())
	}
	return l
}

// environLayer reads the HEADRACE_* variables and warns of those that are no key's. A warning shows
// the name alone: the value is not ours and may be anything.
func environLayer(environ []string) (layer, []string) {
	names := map[string]string{}
	for _, k := range Keys() {
		names[k.Env()] = k.Name
	}
	l := newLayer()
	var warnings []string
	provider := env.Provider("", env.Opt{
		Prefix:      Prefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, text string) (string, any) {
			key, known := names[name]
			switch {
			case known && text == "": // as compose files and shells pass what is not set
			case known:
				l.set(key, text, "environment variable "+name)
			case name != FileVariable:
				warnings = append(warnings, fmt.Sprintf("environment variable %s is no configuration key%s",
					name, didYouMean(name, slices.Sorted(maps.Keys(names)))))
			}
			return "", nil
		},
	})
	_, _ = provider.Read() // the transform collects; Read itself cannot fail
	slices.Sort(warnings)
	return l, warnings
}

// fileLayer reads the one configuration file, if there is one.
func fileLayer(in Inputs) (layer, error) {
	path := in.File
	if path == "" {
		for _, entry := range in.Environ {
			if v, ok := strings.CutPrefix(entry, FileVariable+"="); ok {
				path = v
			}
		}
	}
	if path == "" {
		return newLayer(), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return layer{}, fmt.Errorf("read configuration: %w", err)
	}
	return parseFile(path, text)
}

func newLayer() layer {
	return layer{values: map[string]string{}, sources: map[string]string{}}
}

func (l layer) set(key, text, source string) {
	l.values[key], l.sources[key] = text, source
}

func anyMap(texts map[string]string) map[string]any {
	m := make(map[string]any, len(texts))
	for k, v := range texts {
		m[k] = v
	}
	return m
}
