package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// maxDocument is the longest document that is read at all, in bytes: IAM's own constraint.
const maxDocument = 131072

// maxDepth is how deep a document may nest. A policy needs seven levels.
const maxDepth = 16

// nodeKind is a type of JSON.
type nodeKind uint8

const (
	nodeNull nodeKind = iota
	nodeBool
	nodeNumber
	nodeString
	nodeList
	nodeObject
)

// node is one JSON value and where it stands.
type node struct {
	kind   nodeKind
	offset int    // of its first byte
	text   string // of a string, what it says; of a number or Boolean, as it is written
	list   []node
	object []member
}

// member is a member of an object.
type member struct {
	name   string
	offset int // of the name
	value  node
}

// document is a JSON text with what is needed to say where something in it stands.
type document struct {
	kind Kind
	text []byte
	json *json.Decoder
}

// parse returns the value that the text is. Everything that is wrong with it as JSON is found here.
func (d *document) parse() (node, error) {
	if !utf8.Valid(d.text) {
		return node{}, d.invalid(invalidUTF8(d.text), "The document is not UTF-8.")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(d.text, &whole); err != nil {
		at := len(d.text)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && 0 < syntax.Offset && int(syntax.Offset) < len(d.text) {
			at = int(syntax.Offset) - 1
		}
		return node{}, d.invalid(at, "Fix the JSON syntax error: "+err.Error()+".")
	}
	d.json = json.NewDecoder(bytes.NewReader(d.text))
	d.json.UseNumber()
	return d.node(maxDepth)
}

func invalidUTF8(text []byte) int {
	at := 0
	for {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n <= 1 {
			return at
		}
		at += n
	}
}

// invalid says that the text is no JSON.
func (d *document) invalid(offset int, detail string) error {
	message := "Syntax errors in policy."
	if d.kind.hasPrincipals() {
		message = "This policy contains invalid Json"
	}
	return d.at(offset, "", refused(message, detail))
}

// token reads a token of a text that is known to be valid.
func (d *document) token() (json.Token, int) {
	at := int(d.json.InputOffset())
	for at < len(d.text) && bytes.IndexByte([]byte(" \t\r\n,:"), d.text[at]) >= 0 {
		at++
	}
	t, err := d.json.Token()
	if err != nil {
		panic(err)
	}
	return t, at
}

// node reads a value. Members that come twice are refused.
func (d *document) node(depth int) (node, error) {
	t, at := d.token()
	n := node{offset: at}
	switch t := t.(type) {
	case bool:
		n.kind, n.text = nodeBool, fmt.Sprint(t)
	case json.Number:
		n.kind, n.text = nodeNumber, t.String()
	case string:
		n.kind, n.text = nodeString, t
	case json.Delim:
		if depth == 0 {
			return n, d.invalid(at, "The document nests too deeply.")
		}
		var err error
		if t == '[' {
			n.kind = nodeList
			err = d.elements(&n, depth-1)
		} else {
			n.kind = nodeObject
			err = d.members(&n, depth-1)
		}
		if err != nil {
			return n, err
		}
		d.token() // the bracket that closes it
	}
	return n, nil
}

func (d *document) elements(n *node, depth int) error {
	for d.json.More() {
		e, err := d.node(depth)
		if err != nil {
			return err
		}
		n.list = append(n.list, e)
	}
	return nil
}

func (d *document) members(n *node, depth int) error {
	seen := map[string]bool{}
	for d.json.More() {
		name, at := d.token()
		m := member{name: name.(string), offset: at}
		if seen[m.name] {
			return d.at(at, "", refused("", fmt.Sprintf("The policy element %s appears more than once.", m.name)))
		}
		seen[m.name] = true
		var err error
		if m.value, err = d.node(depth); err != nil {
			return err
		}
		n.object = append(n.object, m)
	}
	return nil
}

// at says where an error is. An error that says so already is left as it is.
func (d *document) at(offset int, path string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		e = refused("", err.Error())
	}
	if e.Line > 0 {
		return e
	}
	e.Path = path
	e.Line, e.Column = d.place(offset)
	if e.Message == "" {
		e.Message = "Syntax errors in policy."
	}
	return e
}

// place returns the line and column of an offset, from 1.
func (d *document) place(offset int) (line, column int) {
	before := d.text[:offset]
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}

// size counts the characters of a document as AWS does, white space left out.
func size(text []byte) int {
	n := 0
	for _, c := range string(text) {
		if !unicode.IsSpace(c) {
			n++
		}
	}
	return n
}
