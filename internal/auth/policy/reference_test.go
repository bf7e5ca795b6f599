package policy_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/auth/policy"
)

// The reference is a second evaluator, written from AWS's documentation and not from the first: it reads
// the JSON anew for every decision, turns wildcards into regular expressions and puts the whole request
// into a map of texts. It is slow, and shares nothing with the package but the types of a request.

// reference holds what a decision is made of. Policies are JSON texts.
type reference struct {
	identity, session []string
	boundary          string
	resource          string // or the trust policy
	trust             bool
	request           *policy.Request
	context           map[string][]string // by key in lower case
}

// contextOf spells out the request's keys.
func contextOf(r *policy.Request) map[string][]string {
	p := r.Principal
	c := map[string][]string{
		"aws:securetransport": {fmt.Sprint(r.SecureTransport)},
		"aws:viaawsservice":   {"false"},
	}
	set := func(key, value string) {
		if value != "" {
			c[key] = []string{value}
		}
	}
	set("aws:useragent", r.UserAgent)
	set("aws:requestedregion", r.Region)
	set("aws:resourceaccount", ownerOf(r))
	if !r.Time.IsZero() {
		set("aws:currenttime", r.Time.UTC().Format(time.RFC3339Nano))
		set("aws:epochtime", fmt.Sprint(r.Time.Unix()))
	}
	if r.SourceIP.IsValid() {
		set("aws:sourceip", r.SourceIP.String())
	}
	tags := func(prefix string, tags []policy.Tag) {
		for _, t := range slices.Backward(tags) { // so that the first of several wins
			c[prefix+strings.ToLower(t.Key)] = []string{t.Value}
		}
	}
	tags("aws:requesttag/", r.RequestTags)
	tags("aws:resourcetag/", r.ResourceTags)
	tags("aws:principaltag/", p.Tags)
	for _, t := range r.RequestTags {
		c["aws:tagkeys"] = append(c["aws:tagkeys"], t.Key)
	}
	if r.TagKeys != nil {
		c["aws:tagkeys"] = r.TagKeys
	}
	set("aws:federatedprovider", p.Provider)
	set("aws:sourceidentity", p.SourceIdentity)
	set("aws:username", p.Name)
	set("aws:userid", p.ID)
	set("aws:principalaccount", p.Account)
	switch p.Type {
	case policy.Anonymous:
		c["aws:userid"], c["aws:principalaccount"] = []string{"anonymous"}, []string{"anonymous"}
		set("aws:principaltype", "Anonymous")
	case policy.Root:
		set("aws:principalarn", p.ARN)
		set("aws:principaltype", "Account")
	case policy.User:
		set("aws:principalarn", p.ARN)
		set("aws:principaltype", "User")
	case policy.FederatedUser:
		set("aws:principalarn", p.ARN)
		set("aws:principaltype", "FederatedUser")
	case policy.RoleSession:
		set("aws:principalarn", p.Entity)
		set("aws:principaltype", "AssumedRole")
	case policy.Service:
		set("aws:principalservicename", p.ARN)
	}
	if p.Type != policy.Anonymous {
		set("aws:principalisawsservice", fmt.Sprint(p.Type == policy.Service))
	}
	if !p.Issued.IsZero() {
		set("aws:tokenissuetime", p.Issued.UTC().Format(time.RFC3339Nano))
		set("aws:multifactorauthpresent", "false")
	}
	for _, k := range r.Keys {
		c[strings.ToLower(k.Name)] = k.Values
	}
	return c
}

// ownerOf returns the account that owns the resource.
func ownerOf(r *policy.Request) string {
	if r.ResourceAccount != "" {
		return r.ResourceAccount
	}
	if f := strings.SplitN(r.Resource, ":", 6); len(f) == 6 && f[4] != "" {
		return f[4]
	}
	return r.Principal.Account
}

// decide returns "allow", "deny" or "none".
func (f *reference) decide() string {
	f.context = contextOf(f.request)
	p := f.request.Principal
	denied := false
	side := func(docs []string) bool {
		allowed := false
		for _, doc := range docs {
			for _, s := range statementsOf(doc) {
				if f.statementMatches(doc, s) {
					denied = denied || s["Effect"] == "Deny"
					allowed = allowed || s["Effect"] == "Allow"
				}
			}
		}
		return allowed
	}
	identity := side(f.identity)
	boundary := f.boundary == "" || side([]string{f.boundary})
	session := side(f.session)
	if len(f.session) == 0 {
		session = p.Type != policy.FederatedUser
	}
	grants := map[string]bool{}
	if f.resource != "" {
		for _, s := range statementsOf(f.resource) {
			how := f.named(s)
			if how == "" || !f.statementMatches(f.resource, s) {
				continue
			}
			if s["Effect"] == "Deny" {
				denied = true
			} else {
				grants[how] = true
			}
		}
	}
	ok := false
	switch caller := (identity || p.Type == policy.Root) && boundary && session; {
	case p.Type == policy.Anonymous || p.Type == policy.Service || p.Type == policy.WebIdentity:
		ok = len(grants) > 0
	case p.Account != ownerOf(f.request):
		ok = caller && len(grants) > 0
	case f.trust:
		ok = grants["self"] || grants["entity"] && boundary && session || grants["account"] && caller
	default:
		ok = grants["self"] || grants["entity"] && boundary && session || caller
	}
	switch {
	case denied:
		return "deny"
	case ok:
		return "allow"
	}
	return "none"
}

// statementsOf returns the statements of a document.
func statementsOf(doc string) []map[string]any {
	var whole struct{ Statement any }
	if err := json.Unmarshal([]byte(doc), &whole); err != nil {
		panic(err)
	}
	var out []map[string]any
	for _, s := range listOf(whole.Statement) {
		out = append(out, s.(map[string]any))
	}
	return out
}

func listOf(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

func textsOf(v any) []string {
	var out []string
	for _, x := range listOf(v) {
		switch x := x.(type) {
		case string:
			out = append(out, x)
		case float64:
			out = append(out, big.NewFloat(x).Text('f', -1))
		default:
			out = append(out, fmt.Sprint(x))
		}
	}
	return out
}

// named says as what a statement names the caller: "self", "entity", "account" or "".
func (f *reference) named(s map[string]any) string {
	if not, ok := s["NotPrincipal"]; ok {
		if f.spared(not, s["Effect"] == "Deny") {
			return ""
		}
		return "self"
	}
	how := f.namedBy(s["Principal"])
	for _, h := range []string{"self", "entity", "account"} {
		if how[h] {
			return h
		}
	}
	return ""
}

// namedBy returns everything of the caller that an element names.
func (f *reference) namedBy(element any) map[string]bool {
	p := f.request.Principal
	how := map[string]bool{}
	if element == "*" {
		how["self"] = true
		return how
	}
	id, _, _ := strings.Cut(p.ID, ":")
	for kind, v := range element.(map[string]any) {
		for _, text := range textsOf(v) {
			switch {
			case kind == "Service" && p.Type == policy.Service, kind == "Federated" && p.Type == policy.WebIdentity:
				how["self"] = how["self"] || text == p.ARN
			case kind != "AWS" || p.Type == policy.Service || p.Type == policy.WebIdentity:
			case text == "*":
				how["self"] = true
			case p.Type == policy.Anonymous:
			case text == p.Account || strings.HasSuffix(text, ":iam::"+p.Account+":root"):
				how["account"] = true
				if p.Type == policy.Root {
					how["self"] = true
				}
			case text == p.ARN || p.Type == policy.User && text == id:
				how["self"] = true
			case text == p.Entity || p.Type == policy.RoleSession && text == id:
				how["entity"] = true
			}
		}
	}
	return how
}

// spared says whether a NotPrincipal element keeps its statement from the caller.
func (f *reference) spared(element any, deny bool) bool {
	p := f.request.Principal
	how := f.namedBy(element)
	everyone := element == "*"
	if m, ok := element.(map[string]any); ok && p.Type != policy.Service && p.Type != policy.WebIdentity {
		everyone = slices.Contains(textsOf(m["AWS"]), "*")
	}
	switch {
	case !deny, p.Type == policy.Anonymous, p.Type == policy.Service, p.Type == policy.WebIdentity:
		return len(how) > 0
	case f.boundary != "":
		return false
	case everyone:
		return true
	}
	return how["account"] && how["self"] && (how["entity"] || p.Entity == "")
}

// statementMatches says whether a statement is about the request, whoever makes it.
func (f *reference) statementMatches(doc string, s map[string]any) bool {
	variables := strings.Contains(doc, `"2012-10-17"`)
	if v, ok := s["Action"]; ok && !f.actionIn(v) {
		return false
	}
	if v, ok := s["NotAction"]; ok && f.actionIn(v) {
		return false
	}
	if v, ok := s["Resource"]; ok {
		if in, _ := f.resourceIn(v, variables); !in {
			return false
		}
	}
	if v, ok := s["NotResource"]; ok {
		in, unresolved := f.resourceIn(v, variables)
		if in || unresolved && s["Effect"] == "Allow" {
			return false
		}
	}
	block, _ := s["Condition"].(map[string]any)
	for op, keys := range block {
		for key, v := range keys.(map[string]any) {
			if !f.condition(op, key, textsOf(v), variables) {
				return false
			}
		}
	}
	return true
}

func (f *reference) actionIn(v any) bool {
	return slices.ContainsFunc(textsOf(v), func(a string) bool {
		re, _ := f.regexp(strings.ToLower(a), false, true)
		return re.MatchString(strings.ToLower(f.request.Action))
	})
}

// resourceIn says whether the resource is in a list, and whether a variable of the list has no value.
func (f *reference) resourceIn(v any, variables bool) (in, unresolved bool) {
	for _, text := range textsOf(v) {
		if text == "*" {
			return true, false
		}
		for strings.Count(strings.ReplaceAll(text, "${aws:", "${aws_"), ":") < 5 {
			text += ":*"
		}
		like, ok := f.arnLike(text, f.request.Resource, variables)
		if in = in || like; in {
			return true, false
		}
		unresolved = unresolved || !ok
	}
	return false, unresolved
}

// regexp turns a text with wildcards and variables into a regular expression. It is false if a variable
// has no value.
func (f *reference) regexp(text string, variables, wildcards bool) (*regexp.Regexp, bool) {
	var b strings.Builder
	for text != "" {
		if variables && strings.HasPrefix(text, "${") {
			end := strings.Index(text, "}")
			if i := strings.Index(text, "'}"); strings.Contains(text[:end], "'") {
				end = i + 1
			}
			value, ok := f.variable(text[2:end])
			if !ok {
				return regexp.MustCompile(`$^x`), false
			}
			b.WriteString(regexp.QuoteMeta(value))
			text = text[end+1:]
			continue
		}
		r := []rune(text)[0]
		switch {
		case wildcards && r == '*':
			b.WriteString(".*")
		case wildcards && r == '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
		text = text[len(string(r)):]
	}
	return regexp.MustCompile(`(?s)\A(?:` + b.String() + `)\z`), true
}

// variable returns what stands between ${ and }.
func (f *reference) variable(body string) (string, bool) {
	if body == "*" || body == "?" || body == "$" {
		return body, true
	}
	name, fallback, defaulted := strings.Cut(body, ", ")
	if v := f.context[strings.ToLower(name)]; len(v) == 1 && v[0] != "" {
		return v[0], true
	}
	return strings.Trim(fallback, "'"), defaulted
}

// arnLike compares field by field.
func (f *reference) arnLike(pattern, text string, variables bool) (like, resolved bool) {
	// Colons of variables' names are no colons of the ARN.
	hidden := regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllStringFunc(pattern, func(v string) string { return strings.ReplaceAll(v, ":", "\x00") })
	want, got := strings.SplitN(hidden, ":", 6), strings.SplitN(text, ":", 6)
	if variables && len(want) < 6 && strings.Contains(pattern, "${") {
		re, ok := f.regexp(pattern, true, false) // whole ARNs from variables have no wildcards in these tests
		return ok && len(got) == 6 && got[0] == "arn" && re.MatchString(text), ok
	}
	like, resolved = len(want) == 6 && len(got) == 6 && got[0] == "arn", true
	for i := range want {
		re, ok := f.regexp(strings.ReplaceAll(want[i], "\x00", ":"), variables, true)
		resolved = resolved && ok
		like = like && re.MatchString(got[min(i, len(got)-1)])
	}
	return like && resolved, resolved
}

// condition says whether one line of a Condition element is true.
func (f *reference) condition(op, key string, want []string, variables bool) bool {
	have := f.context[strings.ToLower(key)]
	empty := !slices.ContainsFunc(have, func(v string) bool { return v != "" })
	op, set := strings.CutPrefix(op, "ForAllValues:")
	op, some := strings.CutPrefix(op, "ForAnyValue:")
	op, ifExists := strings.CutSuffix(op, "IfExists")
	positive, negated := strings.ReplaceAll(op, "Not", ""), strings.Contains(op, "Not")
	one := func(v string) bool {
		return negated != slices.ContainsFunc(want, func(w string) bool { return f.compare(positive, v, w, variables) })
	}
	switch {
	case op == "Null":
		return slices.ContainsFunc(want, func(w string) bool { return strings.EqualFold(w, fmt.Sprint(empty)) })
	case set:
		return empty || !slices.ContainsFunc(have, func(v string) bool { return !one(v) })
	case some:
		return !empty && slices.ContainsFunc(have, one)
	case len(have) == 0:
		return ifExists || negated
	case len(have) > 1:
		return false
	}
	return one(have[0])
}

// compare applies an operator that is not negated to one value of the request and one of the policy.
func (f *reference) compare(op, have, want string, variables bool) bool {
	switch {
	case op == "StringEquals" || op == "StringLike":
		re, ok := f.regexp(want, variables, op == "StringLike")
		return ok && re.MatchString(have)
	case op == "StringEqualsIgnoreCase":
		re, ok := f.regexp(want, variables, false)
		return ok && regexp.MustCompile(`(?i)`+re.String()).MatchString(have)
	case strings.HasPrefix(op, "Arn"):
		like, _ := f.arnLike(want, have, variables)
		return like
	case op == "Bool":
		re, ok := f.regexp(want, variables, false)
		return ok && (strings.EqualFold(have, "true") || strings.EqualFold(have, "false")) &&
			regexp.MustCompile(`(?i)`+re.String()).MatchString(have)
	case op == "BinaryEquals":
		b, _ := base64.StdEncoding.DecodeString(want)
		return string(b) == have
	case op == "IpAddress":
		return inNetwork(have, want)
	case strings.HasPrefix(op, "Numeric"):
		number := regexp.MustCompile(`^[+-]?\d+(\.\d+)?$`)
		if !number.MatchString(have) || !number.MatchString(want) {
			return false
		}
		h, _ := new(big.Rat).SetString(have)
		w, _ := new(big.Rat).SetString(want)
		return orderedAs(strings.TrimPrefix(op, "Numeric"), h.Cmp(w))
	}
	h, ok := dateOf(have)
	w, ok2 := dateOf(want)
	return ok && ok2 && orderedAs(strings.TrimPrefix(op, "Date"), h.Compare(w))
}

func inNetwork(have, want string) bool {
	ip := net.ParseIP(have)
	if !strings.Contains(want, "/") {
		return ip != nil && ip.Equal(net.ParseIP(want))
	}
	_, network, err := net.ParseCIDR(want)
	return err == nil && ip != nil && network.Contains(ip)
}

func orderedAs(op string, c int) bool {
	switch op {
	case "Equals":
		return c == 0
	case "LessThan":
		return c < 0
	case "LessThanEquals":
		return c <= 0
	case "GreaterThan":
		return c > 0
	case "GreaterThanEquals":
		return c >= 0
	}
	panic(op)
}

func dateOf(s string) (time.Time, bool) {
	if n, ok := new(big.Int).SetString(s, 10); ok && n.IsInt64() && !strings.HasPrefix(s, "-") {
		return time.Unix(n.Int64(), 0), true
	}
	for _, layout := range []string{"2006-01", "2006-01-02", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, strings.ToUpper(s)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
