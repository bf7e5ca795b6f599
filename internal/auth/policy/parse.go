package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Versions of the policy language. The older one has no variables.
const (
	version2008 = "2008-10-17"
	version2012 = "2012-10-17"
)

// Parse reads a policy document. Elements that its kind does not have, elements that AWS does not
// know and elements that come twice are refused, and so is what could never fit by its form, such
// as a date that is none. What a document names (actions, condition keys, principals) may not
// exist; Parse does not know.
//
// The error is an *Error.
func Parse(kind Kind, text []byte, o Options) (*Policy, error) {
	if o.MaxSize <= 0 {
		o.MaxSize = kind.MaxSize()
	}
	if len(text) > maxDocument || size(text) > o.MaxSize {
		return nil, &Error{Message: fmt.Sprintf("Cannot exceed quota for PolicySize: %d", o.MaxSize), kind: ErrTooLarge}
	}
	r := reader{document: document{kind: kind, text: text}, policy: &Policy{kind: kind, name: o.Name}}
	n, err := r.parse()
	if err != nil {
		return nil, err
	}
	if i := bytes.IndexFunc(text, notLatin1); i >= 0 && kind != Resource {
		return nil, r.at(i, "", refused("The specified value for policyDocument is invalid. It must contain only printable ASCII characters.", ""))
	}
	if err := r.read(&n); err != nil {
		return nil, err
	}
	return r.policy, nil
}

// notLatin1 reports whether IAM stores no document with the character, its message notwithstanding.
func notLatin1(c rune) bool { return c > 0xff || c < ' ' && c != '\t' && c != '\n' && c != '\r' }

// reader makes a policy of a document.
type reader struct {
	document
	policy    *Policy
	variables bool
	sids      map[string]bool
}

// read reads the document.
func (r *reader) read(n *node) error {
	if n.kind != nodeObject {
		return r.mismatch(n, "Object", "")
	}
	// Version decides how strings are read, wherever it stands.
	version, at := version2008, n.offset
	var statements *node
	for i := range n.object {
		m := &n.object[i]
		switch m.name {
		case "Version":
			if m.value.kind != nodeString {
				return r.mismatch(&m.value, "String", "Version")
			}
			version, at = m.value.text, m.value.offset
		case "Id":
			if m.value.kind != nodeString {
				return r.mismatch(&m.value, "String", "Id")
			}
		case "Statement":
			statements = &m.value
		default:
			return r.unknown(m, m.name)
		}
	}
	switch {
	case version != version2008 && version != version2012:
		return r.at(at, "Version", refused("", fmt.Sprintf("The version %s is not valid. Use one of the following versions: %s, %s", version, version2012, version2008)))
	case version == version2008 && (r.kind == Identity || r.kind == Boundary):
		return r.at(at, "Version", refused("Policy document must be version 2012-10-17 or greater.", ""))
	case statements == nil || statements.kind == nodeList && len(statements.list) == 0:
		return r.missing(n, "Statement", "Add a statement to the policy", "")
	}
	r.variables = version == version2012
	r.sids = map[string]bool{}
	return r.each(statements, "Statement", r.statement)
}

// each calls fn for every element of a list, or once for a value in its place.
func (r *reader) each(n *node, path string, fn func(n *node, path string) error) error {
	if n.kind != nodeList {
		return fn(n, path)
	}
	for i := range n.list {
		if err := fn(&n.list[i], fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

// eachString is each for strings.
func (r *reader) eachString(n *node, path string, fn func(text string) error) error {
	return r.each(n, path, func(n *node, path string) error {
		if n.kind != nodeString {
			return r.mismatch(n, "String", path)
		}
		if err := fn(n.text); err != nil {
			return r.at(n.offset, path, err)
		}
		return nil
	})
}

func (r *reader) mismatch(n *node, want, path string) error {
	return r.at(n.offset, path, refused("", fmt.Sprintf("The text does not match the expected JSON data type %s.", want)))
}

// unknown says that a member is no element of policies.
func (r *reader) unknown(m *member, path string) error {
	message := ""
	if r.kind.hasPrincipals() {
		message = "Unknown field " + m.name
	}
	return r.at(m.offset, path, refused(message, fmt.Sprintf("The policy element %s is not valid.", m.name)))
}

// missing says that n lacks an element.
func (r *reader) missing(n *node, name, detail, path string) error {
	message := ""
	switch {
	case r.kind.hasPrincipals():
		message = "Missing required field " + name
	case name == "Action":
		message = "Policy statement must contain actions."
	case name == "Resource":
		message = "Policy statement must contain resources."
	}
	return r.at(n.offset, path, refused(message, detail))
}

// prohibited says that an element is not one of this kind of policy.
func (r *reader) prohibited(m *member, path string) error {
	message := "Policy document should not specify a principal."
	if r.kind.hasPrincipals() {
		message = "Has prohibited field " + m.name
	}
	return r.at(m.offset, path, refused(message, fmt.Sprintf("The policy type %s does not support the %s element. Remove the %s element.", r.kind, m.name, m.name)))
}

// statement reads one statement.
func (r *reader) statement(n *node, path string) error {
	if n.kind != nodeObject {
		return r.mismatch(n, "Object", path)
	}
	var s statement
	s.line, _ = r.place(n.offset)
	effect := false
	for i := range n.object {
		m := &n.object[i]
		effect = effect || m.name == "Effect"
		if err := r.element(&s, m, path+"."+m.name); err != nil {
			return err
		}
	}
	switch {
	case !effect:
		return r.missing(n, "Effect", "Add an Effect element to the policy statement with a value of Allow or Deny.", path)
	case s.principals == nil && r.kind.hasPrincipals():
		return r.missing(n, "Principal", "Add a Principal element to the policy statement.", path)
	case len(s.actions) == 0:
		return r.missing(n, "Action", "Add an Action or NotAction element to the policy statement.", path)
	case s.resources == nil && !r.kind.hasPrincipals():
		return r.missing(n, "Resource", "Add a Resource or NotResource element to the policy statement.", path)
	}
	r.policy.statements = append(r.policy.statements, s)
	return nil
}

// element reads one element of a statement.
func (r *reader) element(s *statement, m *member, path string) error {
	switch m.name {
	case "Sid":
		return r.sid(s, &m.value, path)
	case "Effect":
		return r.effect(s, &m.value, path)
	case "Principal", "NotPrincipal":
		return r.principal(s, m, path)
	case "Action", "NotAction":
		return r.action(s, m, path)
	case "Resource", "NotResource":
		return r.resource(s, m, path)
	case "Condition":
		return r.conditions(s, &m.value, path)
	}
	return r.unknown(m, path)
}

// both says that an element and its opposite stand in one statement.
func (r *reader) both(m *member, path string) error {
	name := strings.TrimPrefix(m.name, "Not")
	return r.at(m.offset, path, refused("", fmt.Sprintf("The policy elements %s and Not%s can not be used in the same statement. Remove one of these elements.", name, name)))
}

func (r *reader) sid(s *statement, n *node, path string) error {
	switch {
	case n.kind != nodeString:
		return r.mismatch(n, "String", path)
	case n.text != "" && r.sids[n.text]:
		return r.at(n.offset, path, refused("Statement IDs (SID) in a single policy must be unique.", ""))
	case r.kind != Resource && strings.IndexFunc(n.text, notAlphanumeric) >= 0:
		return r.at(n.offset, path, refused("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*", ""))
	}
	r.sids[n.text] = true
	s.sid = n.text
	return nil
}

func notAlphanumeric(c rune) bool {
	return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
}

func (r *reader) effect(s *statement, n *node, path string) error {
	switch {
	case n.kind != nodeString:
		return r.mismatch(n, "String", path)
	case n.text != "Allow" && n.text != "Deny":
		return r.at(n.offset, path, refused("", fmt.Sprintf("The effect %s is not valid. Use Allow or Deny.", n.text)))
	}
	s.deny = n.text == "Deny"
	return nil
}

// principal reads "*" or an object of lists by type.
func (r *reader) principal(s *statement, m *member, path string) error {
	not := m.name == "NotPrincipal"
	switch {
	case !r.kind.hasPrincipals(), not && r.kind == Trust:
		return r.prohibited(m, path)
	case s.principals != nil:
		return r.both(m, path)
	}
	s.principals, s.notPrincipals = &principals{}, not
	n := &m.value
	if n.kind == nodeString && n.text == "*" {
		s.principals.everyone = true
		s.principals.texts = []string{"*"}
		return nil
	}
	if n.kind != nodeObject {
		return r.at(n.offset, path, refused("Invalid principal in policy", "The Principal element contents are not valid. Specify a key-value pair in the Principal element."))
	}
	for i := range n.object {
		kind := &n.object[i]
		err := r.eachString(&kind.value, path+"."+kind.name, func(text string) error { return s.principals.add(kind.name, text) })
		if err != nil {
			return err
		}
	}
	if len(s.principals.texts) == 0 {
		return r.missing(n, m.name, "Add a Principal element to the policy statement.", path)
	}
	return nil
}

func (r *reader) action(s *statement, m *member, path string) error {
	if s.actions != nil {
		return r.both(m, path)
	}
	s.notActions = m.name == "NotAction"
	return r.eachString(&m.value, path, func(text string) error {
		p, err := r.actionPattern(text)
		s.actions = append(s.actions, p)
		return err
	})
}

// actionPattern reads "*" or service:action with wildcards behind the colon.
func (r *reader) actionPattern(text string) (pattern, error) {
	service, action, ok := strings.Cut(text, ":")
	switch {
	case !ok && text != "*":
		return pattern{}, refused("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", text)
	case strings.Contains(action, ":"):
		return pattern{}, refused("Actions/Condition can contain only one colon.", text)
	case service != "*" && (service == "" || strings.IndexFunc(service, notVendor) >= 0):
		return pattern{}, refused(fmt.Sprintf("Vendor %s is not valid", service), "")
	case r.kind == Trust && !strings.EqualFold(service, "sts"):
		return pattern{}, refused("AssumeRole policy may only specify STS AssumeRole actions.", text)
	}
	return syntax{wildcards: true}.compile(text)
}

func notVendor(c rune) bool { return notAlphanumeric(c) && c != '-' && c != '.' }

func (r *reader) resource(s *statement, m *member, path string) error {
	switch {
	case r.kind == Trust:
		return r.prohibited(m, path)
	case s.resources != nil:
		return r.both(m, path)
	}
	s.notResources = m.name == "NotResource"
	err := r.eachString(&m.value, path, func(text string) error {
		p, err := newResourcePattern(text, syntax{variables: r.variables, wildcards: true})
		s.resources = append(s.resources, p)
		return err
	})
	if err == nil && len(s.resources) == 0 {
		// An empty list is not a missing element, which would be every resource.
		return r.missing(&m.value, "Resource", "Add a Resource or NotResource element to the policy statement.", path)
	}
	return err
}

// conditions reads operators with their keys and values.
func (r *reader) conditions(s *statement, n *node, path string) error {
	if n.kind != nodeObject {
		return r.mismatch(n, "Object", path)
	}
	for i := range n.object {
		m := &n.object[i]
		path := path + "." + m.name
		base, err := newCondition(m.name)
		if err != nil {
			return r.at(m.offset, path, err)
		}
		if m.value.kind != nodeObject {
			return r.mismatch(&m.value, "Object", path)
		}
		keys := m.value.object
		for i := range keys {
			same := func(m member) bool { return strings.EqualFold(m.name, keys[i].name) }
			if slices.ContainsFunc(keys[:i], same) {
				return r.at(keys[i].offset, path, refused("", fmt.Sprintf("The condition key %s appears more than once with different capitalization in the same condition block. Remove the duplicate condition keys.", keys[i].name)))
			}
			if err := r.condition(s, base, &keys[i], path+"."+keys[i].name); err != nil {
				return err
			}
		}
	}
	return nil
}

// condition reads a key and its values.
func (r *reader) condition(s *statement, c condition, m *member, path string) error {
	if service, key, _ := strings.Cut(m.name, ":"); service == "" || key == "" {
		return r.at(m.offset, path, refused("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
			"The condition key format is not valid. Use the format service:keyname."))
	}
	c.key = newContextKey(m.name)
	err := r.each(&m.value, path, func(n *node, path string) error {
		if n.kind != nodeString && n.kind != nodeNumber && n.kind != nodeBool {
			return r.mismatch(n, "String", path)
		}
		v, err := c.newOperand(n.text, r.variables)
		if err != nil {
			return r.at(n.offset, path, err)
		}
		c.values = append(c.values, v)
		return nil
	})
	s.conditions = append(s.conditions, c)
	return err
}
