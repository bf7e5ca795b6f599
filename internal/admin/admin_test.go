package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const sample = `# who may call
accounts:
  000000000012:
    name: production
    users:
      alice:
        policies:
          read:
            Version: 2012-10-17
            Statement:
              - {Effect: Allow, Action: "kinesis:Get*", Resource: ["*"], Condition: {NumericLessThan: {"aws:x": 0012}, Bool: {"aws:SecureTransport": true}}}
          raw: '{"Version":"2012-10-17","Statement":[]}'
      bob:
    roles:
      deployer:
        description: of the pipeline
        trust:
          Statement: {Effect: Allow, Principal: {AWS: 000000000012}, Action: sts:AssumeRole}
        max-session: 2h
    providers:
      https://idp.example/tenant:
        audiences: [app, 7]
        keys-file: keys.json
  444455556666: {}
`

func open(name string) ([]byte, error) {
	if name == "keys.json" {
		return []byte(`{"keys": []}`), nil
	}
	return nil, errors.New("no such file")
}

func TestParse(t *testing.T) {
	d, err := Parse("access.yaml", []byte(sample), open)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Accounts) != 2 || d.Accounts[0].Account != "000000000012" || d.Accounts[0].Name != "production" || d.Accounts[1].Named {
		t.Fatalf("got %+v", d.Accounts)
	}
	a := d.Accounts[0]
	want := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kinesis:Get*","Resource":["*"],"Condition":{"NumericLessThan":{"aws:x":"0012"},"Bool":{"aws:SecureTransport":"true"}}}]}`
	if got := a.Users[0].Policies["read"]; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := a.Users[0].Policies["raw"]; got != `{"Version":"2012-10-17","Statement":[]}` {
		t.Errorf("got %s", got)
	}
	if len(a.Users) != 2 || a.Users[1].Name != "bob" {
		t.Errorf("got users %+v", a.Users)
	}
	r := a.Roles[0]
	if r.Trust != `{"Statement":{"Effect":"Allow","Principal":{"AWS":"000000000012"},"Action":"sts:AssumeRole"}}` || r.MaxSession != 2*time.Hour || r.Description != "of the pipeline" {
		t.Errorf("got %+v", r)
	}
	p := a.Providers[0]
	if p.URL != "https://idp.example/tenant" || strings.Join(p.Audiences, " ") != "app 7" || p.Keys != `{"keys": []}` {
		t.Errorf("got %+v", p)
	}
}

func TestParseRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := Parse("f", []byte(text), open)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error that says %q", text, err, want)
		}
	}
	const head = "accounts:\n  111122223333:\n"
	f("", "it declares nothing")
	f("# only this\n", "it declares nothing")
	f("a: [", "read f: line 1")
	f("accounts: {}\n---\naccounts: {}\n", "a second document")
	f("- a\n", "f:1: want names and what they stand for")
	f("account: {}\n", `f:1: unknown key "account": want one of accounts`)
	f("accounts:\n  12: {}\n", `f:2: "12" is not an account of twelve digits`)
	f(head+"    groups: {}\n", `f:3: unknown key "groups": want one of name, providers, roles, users`)
	f(head+"    users:\n      a: {}\n      a: {}\n", "f:5: a is there twice")
	f(head+"    users: [a]\n", "f:3: want names")
	f(head+"    name: [a]\n", "f:3: want a text")
	f(head+"    users:\n      a:\n        policies:\n          p: 'no json'\n", "f:6: a policy that is a text must be JSON")
	f(head+"    users:\n      a:\n        policies:\n          p: [a]\n", "f:6: want a policy")
	f(head+"    users:\n      a:\n        policies:\n          p: {Statement: ~}\n", "f:6: a policy has no empty values")
	f(head+"    roles:\n      r: {}\n", "f:4: role r has no trust policy")
	f(head+"    roles:\n      r: {trust: {}, max-session: soon}\n", `f:4: "soon" is not a duration`)
	f(head+"    providers:\n      https://x: {}\n", "f:4: provider https://x has no audiences")
	f(head+"    providers:\n      https://x: {audiences: a}\n", "f:4: want a list of client ids")
	f(head+"    providers:\n      https://x: {audiences: [a], keys-file: other}\n", "f:4: no such file")
	f("x: &a {}\naccounts: *a\n", `f:1: unknown key "x"`)
	f("accounts: &a\n  111122223333: *a\n", "aliases")
	f(head+"    users:\n      a:\n        policies:\n          p: {S: "+strings.Repeat("[", 30)+strings.Repeat("]", 30)+"}\n", "does not nest so deep")
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("accounts: {111122223333: {users: {a: {policies: {p: {A: &x [*x]}}}}}}")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse("f", []byte(text), open)
		if err != nil {
			return
		}
		for _, a := range d.Accounts {
			for _, u := range a.Users {
				for name, document := range u.Policies {
					if !json.Valid([]byte(document)) {
						t.Fatalf("policy %s became %q", name, document)
					}
				}
			}
		}
		Plan(d, nil, true)
	})
}

// lines returns what a plan says.
func lines(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintln(&b, s.Change)
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	declared, err := Parse("f", []byte(sample), open)
	if err != nil {
		t.Fatal(err)
	}
	f := func(there []Account, prune bool, want string) {
		t.Helper()
		if got := lines(Plan(declared, there, prune)); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	f(nil, true, `+ 000000000012 account
+ 000000000012 provider https://idp.example/tenant
+ 000000000012 user alice
~ 000000000012 user alice: policies +raw +read
+ 000000000012 user bob
+ 000000000012 role deployer
+ 444455556666 account
`)
	there := []Account{{
		Account: "000000000012", AccountName: "production",
		Users: []User{
			{UserName: "Alice", Policies: map[string]string{
				"raw":  `{ "Statement": [], "Version": "2012-10-17" }`,
				"read": `{"Version":"2012-10-17","Statement":[{"Resource":["*"],"Effect":"Allow","Action":"kinesis:Get*","Condition":{"Bool":{"aws:SecureTransport":"true"},"NumericLessThan":{"aws:x":"0012"}}}]}`,
			}},
			{UserName: "bob"},
		},
		Roles: []Role{{
			RoleName: "deployer", Description: "of the pipeline", MaxSessionDuration: 7200,
			TrustPolicy: `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"000000000012"}}}`,
		}},
		Providers: []Provider{{URL: "https://idp.example/tenant", Audiences: []string{"app", "7"}, Keys: `{"keys":[]}`}},
	}, {Account: "444455556666", AccountName: "kept"}, {Account: "999999999999", Users: []User{{UserName: "untouched"}}}}
	f(there, true, "")

	there[0].AccountName = "old"
	there[0].Users[0].Policies = map[string]string{"read": "{}", "old": "{}"}
	there[0].Users[1].Policies = map[string]string{"extra": "{}"}
	there[0].Users = append(there[0].Users, User{UserName: "carol", Policies: map[string]string{"p": "{}"}, AccessKeys: []AccessKey{{AccessKeyID: "AKIA1"}}})
	there[0].Roles[0].Description, there[0].Roles[0].MaxSessionDuration, there[0].Roles[0].TrustPolicy = "", 3600, "{}"
	there[0].Roles = append(there[0].Roles, Role{RoleName: "stale", Policies: map[string]string{"p": "{}"}})
	there[0].Providers[0].URL, there[0].Providers[0].Audiences, there[0].Providers[0].Keys = "https://idp.example/tenant/", nil, ""
	there[0].Providers = append(there[0].Providers, Provider{URL: "https://gone.example"})
	want := `~ 000000000012 account: name
~ 000000000012 provider https://idp.example/tenant: url, audiences, keys
~ 000000000012 user alice: policies -old +raw ~read
~ 000000000012 user bob: policies -extra
~ 000000000012 role deployer: trust policy, description, max-session
`
	f(there, false, want)
	f(there, true, want+`- 000000000012 user carol: access key AKIA1
~ 000000000012 user carol: policies -p
- 000000000012 user carol
~ 000000000012 role stale: policies -p
- 000000000012 role stale
- 000000000012 provider https://gone.example
`)
}
