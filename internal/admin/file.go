package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Declared is what an access file says there should be.
type Declared struct {
	Accounts []DeclaredAccount
}

// DeclaredAccount is an account of an access file.
type DeclaredAccount struct {
	Account   string
	Name      string
	Named     bool // a name was given
	Users     []DeclaredUser
	Roles     []DeclaredRole
	Providers []DeclaredProvider
}

// DeclaredUser is a user with all inline policies that it should have, as JSON.
type DeclaredUser struct {
	Name     string
	Policies map[string]string
}

// DeclaredRole is a role as it should be.
type DeclaredRole struct {
	Name, Description string
	Trust             string
	MaxSession        time.Duration
	Policies          map[string]string
}

// DeclaredProvider is an identity provider as it should be.
type DeclaredProvider struct {
	URL       string
	Audiences []string
	KeysURL   string
	Keys      string
}

// Parse reads an access file. open reads the files that it names, of keys. Errors name the line.
//
// It walks the nodes of the document, because only they know their lines, and because YAML's own types
// lose text: an account 000000000012 would be an octal number, and a policy's Version a date.
func Parse(name string, text []byte, open func(file string) ([]byte, error)) (*Declared, error) {
	p := &parser{name: name, open: open}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	err := d.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF) || err == nil && doc.Content[0].Tag == "!!null":
		return nil, fmt.Errorf("read %s: it declares nothing", name)
	case err != nil:
		return nil, fmt.Errorf("read %s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: there is a second document", name)
	}
	out := new(Declared)
	p.fields(doc.Content[0], map[string]func(*yaml.Node){
		"accounts": func(n *yaml.Node) {
			p.entries(n, func(key string, at, n *yaml.Node) { out.Accounts = append(out.Accounts, p.account(key, at, n)) })
		},
	})
	if p.err != nil {
		return nil, p.err
	}
	return out, nil
}

// parser reads nodes and keeps the first error.
type parser struct {
	name string
	open func(file string) ([]byte, error)
	err  error
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("read %s:%d: %s", p.name, n.Line, fmt.Sprintf(format, args...))
	}
}

// entries calls f for each entry of a mapping. Nothing at all is an empty mapping.
func (p *parser) entries(n *yaml.Node, f func(key string, at, value *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		p.fail(n, "want names and what they stand for")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && p.err == nil; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || value.Kind == yaml.AliasNode:
			p.fail(key, "want a name; aliases and merges are not taken")
		case seen[key.Value]:
			p.fail(key, "%s is there twice", key.Value)
		default:
			seen[key.Value] = true
			f(key.Value, key, value)
		}
	}
}

// fields reads a mapping whose names are known.
func (p *parser) fields(n *yaml.Node, known map[string]func(*yaml.Node)) {
	p.entries(n, func(key string, at, value *yaml.Node) {
		read := known[key]
		if read == nil {
			var names []string
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			p.fail(at, "unknown key %q: want one of %s", key, strings.Join(names, ", "))
			return
		}
		read(value)
	})
}

// text reads a scalar into a string.
func (p *parser) text(into *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			p.fail(n, "want a text")
			return
		}
		*into = n.Value
	}
}

func (p *parser) account(id string, at, n *yaml.Node) DeclaredAccount {
	a := DeclaredAccount{Account: id}
	if len(id) != 12 || strings.Trim(id, "0123456789") != "" {
		p.fail(at, "%q is not an account of twelve digits", id)
	}
	p.fields(n, map[string]func(*yaml.Node){
		"name": func(n *yaml.Node) { a.Named = true; p.text(&a.Name)(n) },
		"users": func(n *yaml.Node) {
			p.entries(n, func(key string, _, n *yaml.Node) { a.Users = append(a.Users, p.user(key, n)) })
		},
		"roles": func(n *yaml.Node) {
			p.entries(n, func(key string, at, n *yaml.Node) { a.Roles = append(a.Roles, p.role(key, at, n)) })
		},
		"providers": func(n *yaml.Node) {
			p.entries(n, func(key string, at, n *yaml.Node) { a.Providers = append(a.Providers, p.provider(key, at, n)) })
		},
	})
	return a
}

func (p *parser) user(name string, n *yaml.Node) DeclaredUser {
	u := DeclaredUser{Name: name, Policies: map[string]string{}}
	p.fields(n, map[string]func(*yaml.Node){"policies": p.policies(u.Policies)})
	return u
}

func (p *parser) role(name string, at, n *yaml.Node) DeclaredRole {
	r := DeclaredRole{Name: name, MaxSession: time.Hour, Policies: map[string]string{}}
	p.fields(n, map[string]func(*yaml.Node){
		"description": p.text(&r.Description),
		"trust":       func(n *yaml.Node) { r.Trust = p.document(n) },
		"max-session": func(n *yaml.Node) {
			var text string
			p.text(&text)(n)
			d, err := time.ParseDuration(text)
			if err != nil || d%time.Second != 0 {
				p.fail(n, "%q is not a duration such as 2h", text)
			}
			r.MaxSession = d
		},
		"policies": p.policies(r.Policies),
	})
	if r.Trust == "" {
		p.fail(at, "role %s has no trust policy: say under trust who may assume it", name)
	}
	return r
}

func (p *parser) provider(url string, at, n *yaml.Node) DeclaredProvider {
	d := DeclaredProvider{URL: url}
	p.fields(n, map[string]func(*yaml.Node){
		"audiences": func(n *yaml.Node) {
			if n.Kind != yaml.SequenceNode {
				p.fail(n, "want a list of client ids")
				return
			}
			for _, item := range n.Content {
				var text string
				p.text(&text)(item)
				d.Audiences = append(d.Audiences, text)
			}
		},
		"keys-url": p.text(&d.KeysURL),
		"keys-file": func(n *yaml.Node) {
			var file string
			p.text(&file)(n)
			if p.err != nil {
				return
			}
			text, err := p.open(file)
			if err != nil {
				p.fail(n, "%v", err)
				return
			}
			d.Keys = string(text)
		},
	})
	if len(d.Audiences) == 0 {
		p.fail(at, "provider %s has no audiences: name the client ids whose tokens are accepted", url)
	}
	return d
}

// policies reads inline policies by their names.
func (p *parser) policies(into map[string]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		p.entries(n, func(key string, _, n *yaml.Node) { into[key] = p.document(n) })
	}
}

// document returns a policy as JSON: written as YAML, or as JSON in a text.
func (p *parser) document(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		var v any
		if err := json.Unmarshal([]byte(n.Value), &v); err != nil {
			p.fail(n, "a policy that is a text must be JSON")
			return ""
		}
		return n.Value
	}
	if n.Kind != yaml.MappingNode {
		p.fail(n, "want a policy")
		return ""
	}
	var b bytes.Buffer
	p.json(&b, n, 0)
	return b.String()
}

// maxNesting bounds how deep a policy may nest; AWS's language needs five levels.
const maxNesting = 20

// json writes a node of a policy. Every scalar becomes a text: policies know nothing else, and YAML would
// make numbers of accounts and dates of versions.
func (p *parser) json(b *bytes.Buffer, n *yaml.Node, depth int) {
	if depth > maxNesting {
		p.fail(n, "a policy does not nest so deep")
	}
	if p.err != nil {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		separator := byte('{')
		p.entries(n, func(key string, _, value *yaml.Node) {
			b.WriteByte(separator)
			separator = ','
			b.Write(quoted(key))
			b.WriteByte(':')
			p.json(b, value, depth+1)
		})
		if separator == '{' {
			b.WriteByte('{')
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			p.json(b, item, depth+1)
		}
		b.WriteByte(']')
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			p.fail(n, "a policy has no empty values")
			return
		}
		b.Write(quoted(n.Value))
	default:
		p.fail(n, "aliases are not taken")
	}
}

// quoted returns a JSON string.
func quoted(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
