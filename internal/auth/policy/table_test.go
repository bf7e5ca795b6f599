package policy_test

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/auth/policy"
)

// kinds are the kinds of policies by the words of the table.
var kinds = map[string]policy.Kind{
	"identity": policy.Identity, "boundary": policy.Boundary, "session": policy.Session, "trust": policy.Trust, "resource": policy.Resource,
}

// callers are the callers of the table by name.
var callers = func() map[string]policy.Principal {
	out := map[string]policy.Principal{}
	for name, text := range map[string]string{
		"root":      "arn:aws:iam::111122223333:root",
		"alice":     "arn:aws:iam::111122223333:user/alice",
		"bob":       "arn:aws:iam::111122223333:user/dev/bob",
		"app":       "arn:aws:sts::111122223333:assumed-role/app/s1",
		"fed":       "arn:aws:sts::111122223333:federated-user/alice",
		"mallory":   "arn:aws:iam::444455556666:user/mallory",
		"otherroot": "arn:aws:iam::444455556666:root",
		"otherapp":  "arn:aws:sts::444455556666:assumed-role/app/s1",
		"firehose":  "firehose.amazonaws.com",
		"idp":       "arn:aws:iam::111122223333:oidc-provider/idp.example.com",
		"anyone":    "*",
	} {
		p, err := policy.ParsePrincipal(text)
		if err != nil {
			panic(err)
		}
		switch p.Type {
		case policy.User:
			p.ID = "AIDA0123456789" + strings.ToUpper(name)
			p.Tags = []policy.Tag{{Key: "team", Value: "blue"}, {Key: "Level", Value: "7"}}
		case policy.RoleSession:
			p.ID = "AROA0123456789" + strings.ToUpper(name) + ":s1"
			p.Issued = noon.Add(-time.Hour)
			p.Tags = []policy.Tag{{Key: "team", Value: "red"}}
		case policy.FederatedUser:
			p.ID = "111122223333:alice"
			p.Issued = noon.Add(-time.Hour)
		}
		out[name] = p
	}
	app := out["app"]
	app.Entity = "arn:aws:iam::111122223333:role/service/app" // a role with a path
	out["app"] = app
	return out
}()

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// requestOf builds the request of a line: caller, action, resource and keys.
func requestOf(caller, action, resource string, keys []string) (policy.Request, error) {
	p, ok := callers[caller]
	if !ok {
		return policy.Request{}, fmt.Errorf("no caller is called %q", caller)
	}
	if !strings.HasPrefix(resource, "arn:") && resource != "*" {
		resource = "arn:aws:kinesis:us-east-1:111122223333:" + resource
	}
	if !strings.Contains(action, ":") {
		action = "kinesis:" + action
	}
	r := policy.Request{
		Principal: p, Action: action, Resource: resource,
		Time: noon, SourceIP: netip.MustParseAddr("203.0.113.9"), SecureTransport: true,
		UserAgent: "aws-cli/2.9", Region: "us-east-1",
		ResourceTags: []policy.Tag{{Key: "env", Value: "prod"}, {Key: "owner", Value: ""}},
	}
	for _, k := range keys {
		name, value, ok := strings.Cut(k, "=")
		if !ok {
			return r, fmt.Errorf("%q is not KEY=VALUE", k)
		}
		values := strings.Split(value, "|")
		if value == "-" {
			values = nil
		}
		r.Keys = append(r.Keys, policy.Key{Name: name, Values: values})
	}
	return r, nil
}

// tableCase is the policies of one case of the table.
type tableCase struct {
	title    string
	policies policy.Policies
	texts    reference
}

// add parses a line such as `identity: {...}` and keeps it in both forms.
func (c *tableCase) add(kind, text string) error {
	k, ok := kinds[kind]
	if !ok {
		return fmt.Errorf("no kind of policy is called %q", kind)
	}
	if !strings.Contains(text, `"Statement"`) {
		text = `{"Version": "2012-10-17", "Statement": ` + text + `}`
	}
	p, err := policy.Parse(k, []byte(text), policy.Options{Name: kind})
	if err != nil {
		return err
	}
	switch k {
	case policy.Identity:
		c.policies.Identity, c.texts.identity = append(c.policies.Identity, p), append(c.texts.identity, text)
	case policy.Session:
		c.policies.Session, c.texts.session = append(c.policies.Session, p), append(c.texts.session, text)
	case policy.Boundary:
		c.policies.Boundary, c.texts.boundary = p, text
	default:
		c.policies.Resource, c.texts.resource, c.texts.trust = p, text, k == policy.Trust
	}
	return nil
}

// decide decides a request in every way there is. They must agree.
func (c *tableCase) decide(t *testing.T, r *policy.Request) string {
	t.Helper()
	d := c.policies.Decide(r)
	x := c.policies.Explain(r)
	if x.Decision != d {
		t.Errorf("%s: Decide says %+v, Explain %+v", c.title, d, x.Decision)
	}
	got := map[policy.Outcome]string{policy.Allow: "allow", policy.Explicit: "deny", policy.Implicit: "none"}[d.Outcome]
	if d.Allowed() != (got == "allow") {
		t.Errorf("%s: Allowed is %v with outcome %v", c.title, d.Allowed(), d.Outcome)
	}
	c.texts.request = r
	if want := c.texts.decide(); got != want {
		t.Errorf("%s: %s by %s, %s on %s: the package says %s, the reference %s\n%s", c.title, r.Principal.ARN, r.Principal.Type, r.Action, r.Resource, got, want, x)
	}
	return got
}

// TestDecisions runs testdata/decisions.txt. Its format is explained at its top.
func TestDecisions(t *testing.T) {
	text, err := os.ReadFile("testdata/decisions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var c *tableCase
	var kind, document string
	finish := func(line int) {
		if document != "" {
			if err := c.add(kind, document); err != nil {
				t.Fatalf("line %d: %s: %v", line, c.title, err)
			}
		}
		document = ""
	}
	begin := regexp.MustCompile(`^([a-z]+): (.*)$`)
	count := 0
	for i, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		switch m := begin.FindStringSubmatch(line); {
		case strings.HasPrefix(line, "#") || len(words) == 0:
			finish(i)
		case words[0] == "==":
			finish(i)
			c = &tableCase{title: strings.TrimPrefix(line, "== ")}
		case m != nil:
			finish(i)
			kind, document = m[1], m[2]
		case strings.HasPrefix(line, " "):
			document += line
		default:
			finish(i)
			if len(words) < 4 {
				t.Fatalf("line %d: want VERDICT CALLER ACTION RESOURCE [KEY=VALUE...], got %q", i+1, line)
			}
			r, err := requestOf(words[1], words[2], words[3], words[4:])
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			count++
			if got := c.decide(t, &r); got != words[0] {
				t.Errorf("line %d: %s: got %s, want %q\n%s", i+1, c.title, got, line, c.policies.Explain(&r))
			}
		}
	}
	if count < 200 {
		t.Errorf("the table has %d decisions, want 200 or more", count)
	}
}
