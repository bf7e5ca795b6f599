package policy_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/auth/policy"
)

var update = flag.Bool("update", false, "rewrite testdata/explanations.txt")

// TestMessage compares messages with those that AWS documents for denied requests.
func TestMessage(t *testing.T) {
	f := func(d policy.Decision, caller, action, resource, want string) {
		t.Helper()
		r, err := requestOf(caller, action, resource, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Message(&r); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	const alice = "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: kinesis:"
	const orders = " on resource: arn:aws:kinesis:us-east-1:111122223333:stream/orders"
	f(policy.Decision{}, "alice", "PutRecord", "stream/orders", alice+"PutRecord"+orders+" because no identity-based policy allows the kinesis:PutRecord action")
	f(policy.Decision{Kind: policy.Session}, "alice", "ListStreams", "*", alice+"ListStreams because no session policy allows the kinesis:ListStreams action")
	f(policy.Decision{Kind: policy.Boundary}, "alice", "PutRecord", "stream/orders", alice+"PutRecord"+orders+" because no permissions boundary allows the kinesis:PutRecord action")
	f(policy.Decision{Kind: policy.Resource}, "alice", "PutRecord", "stream/orders", alice+"PutRecord"+orders+" because no resource-based policy allows the kinesis:PutRecord action")
	f(policy.Decision{Outcome: policy.Explicit}, "alice", "PutRecord", "stream/orders", alice+"PutRecord"+orders+" with an explicit deny in an identity-based policy")
	f(policy.Decision{Outcome: policy.Explicit, Kind: policy.Boundary}, "alice", "PutRecord", "stream/orders", alice+"PutRecord"+orders+" with an explicit deny in a permissions boundary")
	f(policy.Decision{Outcome: policy.Explicit, Kind: policy.Resource}, "alice", "PutRecord", "stream/orders", alice+"PutRecord"+orders+" with an explicit deny in a resource-based policy")
	const app = "User: arn:aws:sts::111122223333:assumed-role/app/s1 is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/x"
	f(policy.Decision{Kind: policy.Trust}, "app", "sts:AssumeRole", "arn:aws:iam::111122223333:role/x", app+" because no role trust policy allows the sts:AssumeRole action")
	f(policy.Decision{Outcome: policy.Explicit, Kind: policy.Trust}, "app", "sts:AssumeRole", "arn:aws:iam::111122223333:role/x", app+" with an explicit deny in the role trust policy")
	f(policy.Decision{Kind: policy.Resource}, "anyone", "PutRecord", "stream/orders", "User: anonymous is not authorized to perform: kinesis:PutRecord"+orders+" because no resource-based policy allows the kinesis:PutRecord action")
}

func TestParsePrincipal(t *testing.T) {
	f := func(text string, want policy.Principal) {
		t.Helper()
		got, err := policy.ParsePrincipal(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s:\n got %+v\nwant %+v", text, got, want)
		}
	}
	const iam, sts = "arn:aws:iam::111122223333:", "arn:aws:sts::111122223333:"
	f("*", policy.Principal{})
	f("111122223333", policy.Principal{Type: policy.Root, ARN: iam + "root", Account: "111122223333", ID: "111122223333"})
	f(iam+"root", policy.Principal{Type: policy.Root, ARN: iam + "root", Account: "111122223333", ID: "111122223333"})
	f("arn:aws-cn:iam::111122223333:root", policy.Principal{Type: policy.Root, ARN: "arn:aws-cn:iam::111122223333:root", Account: "111122223333", ID: "111122223333"})
	f(iam+"user/a/b/c", policy.Principal{Type: policy.User, ARN: iam + "user/a/b/c", Account: "111122223333", Name: "c"})
	f(iam+"role/a/b", policy.Principal{Type: policy.RoleSession, ARN: sts + "assumed-role/b/session", Account: "111122223333", Entity: iam + "role/a/b"})
	f(sts+"assumed-role/b/s@x", policy.Principal{Type: policy.RoleSession, ARN: sts + "assumed-role/b/s@x", Account: "111122223333", Entity: iam + "role/b"})
	f(sts+"federated-user/u", policy.Principal{Type: policy.FederatedUser, ARN: sts + "federated-user/u", Account: "111122223333", Entity: iam + "user/u"})
	f("firehose.amazonaws.com", policy.Principal{Type: policy.Service, ARN: "firehose.amazonaws.com"})
	f(iam+"oidc-provider/idp.example.com/x", policy.Principal{Type: policy.WebIdentity, ARN: iam + "oidc-provider/idp.example.com/x"})
	for _, text := range []string{"", "alice", "arn:aws:iam::111122223333:group/x", "arn:aws:iam::111122223333:user/", iam + "user/*", "arn:gov:iam::111122223333:root", sts + "assumed-role/x", "arn:aws:iam::1111:root", "arn:aws:kinesis:us-east-1:111122223333:stream/x"} {
		if got, err := policy.ParsePrincipal(text); err != policy.ErrPrincipal {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

// TestKeys shows what a request has for each condition key, as a variable of a resource.
func TestKeys(t *testing.T) {
	session := callers["app"]
	session.Provider, session.SourceIdentity = "idp.example.com", "alice@example.com"
	requests := map[string]policy.Request{
		"session": {Principal: session, Time: noon, SourceIP: netip.MustParseAddr("::ffff:203.0.113.9"), SecureTransport: true, UserAgent: "kpl", Region: "us-east-1",
			RequestTags: []policy.Tag{{Key: "team", Value: "1"}, {Key: "Team", Value: "2"}}, ResourceTags: []policy.Tag{{Key: "Env", Value: "prod"}}},
		"anonymous": {Resource: "arn:aws:kinesis:us-east-1:111122223333:stream/x"},
		"service":   {Principal: callers["firehose"]},
		"user":      {Principal: callers["alice"], Resource: "arn:aws:kinesis:us-east-1:444455556666:stream/x", RequestTags: []policy.Tag{{Key: "one"}}},
		"owner":     {Principal: callers["alice"], ResourceAccount: "777788889999", TagKeys: []string{"k"}, RequestTags: []policy.Tag{{Key: "one"}}},
	}
	f := func(request, key, want string) {
		t.Helper()
		p, err := policy.Parse(policy.Identity, []byte(statementOf(`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"x:want": "<${`+key+`, 'absent'}>"}}}`)), policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := requests[request]
		r.Keys = []policy.Key{{Name: "x:want", Values: []string{"<" + want + ">"}}}
		policies := policy.Policies{Identity: []*policy.Policy{p}}
		if x := policies.Explain(&r); !x.Policies[0].Statements[0].Applies {
			t.Errorf("%s of %s is not %s", key, request, want)
		}
	}
	f("session", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/service/app")
	f("session", "aws:PrincipalAccount", "111122223333")
	f("session", "aws:ResourceAccount", "111122223333")
	f("session", "aws:PrincipalType", "AssumedRole")
	f("session", "aws:userid", "AROA0123456789APP:s1")
	f("session", "aws:username", "absent")
	f("session", "aws:PrincipalTag/TEAM", "red")
	f("session", "aws:RequestTag/team", "1")
	f("session", "aws:RequestTag/Team", "2")
	f("session", "aws:RequestTag/TEAM", "1")
	f("session", "aws:ResourceTag/env", "prod")
	f("session", "aws:TagKeys", "absent") // two values
	f("session", "aws:CurrentTime", "2026-06-15T12:00:00Z")
	f("session", "aws:EpochTime", "1781524800")
	f("session", "aws:TokenIssueTime", "2026-06-15T11:00:00Z")
	f("session", "aws:MultiFactorAuthPresent", "false")
	f("session", "aws:MultiFactorAuthAge", "absent")
	f("session", "aws:SourceIp", "203.0.113.9")
	f("session", "aws:SecureTransport", "true")
	f("session", "aws:UserAgent", "kpl")
	f("session", "aws:RequestedRegion", "us-east-1")
	f("session", "aws:FederatedProvider", "idp.example.com")
	f("session", "aws:SourceIdentity", "alice@example.com")
	f("session", "aws:ViaAWSService", "false")
	f("session", "aws:PrincipalIsAWSService", "false")
	f("session", "aws:PrincipalServiceName", "absent")
	f("session", "aws:PrincipalOrgID", "absent")
	f("session", "kinesis:FisActionId", "absent")
	f("anonymous", "aws:PrincipalAccount", "anonymous")
	f("anonymous", "aws:userid", "anonymous")
	f("anonymous", "aws:PrincipalType", "Anonymous")
	f("anonymous", "aws:PrincipalArn", "absent")
	f("anonymous", "aws:PrincipalIsAWSService", "absent")
	f("anonymous", "aws:UserAgent", "absent")
	f("user", "aws:ResourceAccount", "444455556666")
	f("user", "aws:TagKeys", "one")
	f("user", "aws:TokenIssueTime", "absent")
	f("user", "aws:MultiFactorAuthPresent", "absent")
	f("owner", "aws:ResourceAccount", "777788889999")
	f("owner", "aws:TagKeys", "k")
	f("service", "aws:PrincipalServiceName", "firehose.amazonaws.com")
	f("service", "aws:PrincipalIsAWSService", "true")
	f("service", "aws:PrincipalArn", "absent")
	f("service", "aws:PrincipalType", "absent")
	f("service", "aws:CurrentTime", "absent")
	f("service", "aws:SourceIp", "absent")
}

// explained are cases that between them have every sentence of an explanation.
var explained = []struct {
	title, policies, request string
}{
	{"an identity-based policy allows", `identity: [{"Sid": "Read", "Effect": "Allow", "Action": ["kinesis:Get*", "kinesis:List*"], "Resource": "*"}, {"Sid": "Write", "Effect": "Allow", "Action": "kinesis:Put*", "Resource": "arn:aws:kinesis:*:*:stream/${aws:username}"}]`, "alice GetRecords stream/orders"},
	{"nothing allows", `identity: [{"Effect": "Allow", "Action": "kinesis:Get*", "Resource": "arn:aws:kinesis:*:*:stream/${aws:username}"}, {"Effect": "Deny", "NotAction": "kinesis:*", "NotResource": ["arn:aws:kinesis:*:*:stream/${aws:username}", "arn:aws:kinesis:*:*:stream/o*"]},
 {"Effect": "Allow", "Action": "kinesis:*", "NotResource": "arn:aws:kinesis:*:*:stream/${aws:username}"},
 {"Effect": "Allow", "Action": "kinesis:*", "Resource": "*", "Condition": {"StringEquals": {"aws:username": ["alice", "bob"]}, "ForAnyValue:StringLike": {"aws:TagKeys": "env*"}, "StringLike": {"aws:TagKeys": "a*"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "DateLessThan": {"aws:CurrentTime": "2026-01-01"}, "Null": {"aws:TokenIssueTime": "true"}, "Bool": {"aws:SecureTransport": false}, "StringNotEquals": {"aws:ResourceTag/owner": ""}}}]`, "app PutRecord stream/orders aws:TagKeys=x|y"},
	{"a Deny", `identity: {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringLike": {"aws:username": "${aws:username}*"}, "Null": {"aws:TagKeys": true}, "StringNotEquals": {"aws:username": []}}}
identity: {"Sid": "NoDelete", "Effect": "Deny", "Action": "kinesis:Delete*", "Resource": "*"}`, "alice DeleteStream stream/orders"},
	{"the root user", `resource: {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "kinesis:*"}`, "root DeleteStream stream/orders"},
	{"the account is named", `resource: {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kinesis:*"}`, "alice GetRecords stream/orders"},
	{"the user is named", `resource: {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"}, "Action": "kinesis:*"}`, "alice GetRecords stream/orders"},
	{"the role is named", `resource: [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/service/app"}, "Action": "kinesis:*"}, {"Effect": "Deny", "NotPrincipal": "*", "Action": "*"}]`, "app GetRecords stream/orders"},
	{"a boundary", `identity: {"Effect": "Allow", "Action": "*", "Resource": "*"}
boundary: {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}`, "alice GetRecords stream/orders"},
	{"a session policy", `identity: {"Effect": "Allow", "Action": "*", "Resource": "*"}
session: {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}`, "app GetRecords stream/orders"},
	{"both accounts", `identity: {"Effect": "Allow", "Action": "*", "Resource": "*"}
resource: {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "kinesis:*"}`, "mallory GetRecords stream/orders"},
	{"the resource's account not", `identity: {"Effect": "Allow", "Action": "*", "Resource": "*"}`, "mallory GetRecords stream/orders"},
	{"the caller's account not", `resource: {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "kinesis:*"}`, "mallory GetRecords stream/orders"},
	{"a service", `resource: {"Effect": "Allow", "Principal": {"Service": "firehose.amazonaws.com"}, "Action": "kinesis:*"}`, "firehose PutRecord stream/orders"},
	{"an anonymous caller", `resource: {"Effect": "Allow", "Principal": {"Service": "firehose.amazonaws.com"}, "Action": "kinesis:*"}`, "anyone PutRecord stream/orders"},
	{"a trust policy", `identity: {"Effect": "Allow", "Action": "*", "Resource": "*"}
trust: {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole"}`, "alice sts:AssumeRole arn:aws:iam::111122223333:role/x"},
	{"a trust policy for others", `identity: {"Effect": "Allow", "Action": "*", "Resource": "*"}
trust: {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "sts:AssumeRole"}`, "alice sts:AssumeRole arn:aws:iam::111122223333:role/x"},
	{"no policy at all", ``, "alice GetRecords stream/orders"},
}

// TestExplain compares explanations with testdata/explanations.txt.
func TestExplain(t *testing.T) {
	var out strings.Builder
	for _, x := range explained {
		c := tableCase{title: x.title}
		for _, line := range strings.Split(strings.ReplaceAll(x.policies, "\n ", "\v"), "\n") {
			if kind, text, ok := strings.Cut(line, ": "); ok {
				if err := c.add(kind, strings.ReplaceAll(text, "\v", "\n")); err != nil {
					t.Fatalf("%s: %v", x.title, err)
				}
			}
		}
		words := strings.Fields(x.request)
		r, err := requestOf(words[0], words[1], words[2], words[3:])
		if err != nil {
			t.Fatal(err)
		}
		c.decide(t, &r)
		fmt.Fprintf(&out, "=== %s: %s\n%s\n", x.title, x.request, c.policies.Explain(&r))
	}
	const file = "testdata/explanations.txt"
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("differs from %s (go test -update rewrites it):\n%s", file, out.String())
	}
}

// busyPolicies are policies with one of everything that a decision meets.
func busyPolicies(t testing.TB) (policy.Policies, policy.Request) {
	t.Helper()
	parse := func(kind policy.Kind, statements string) *policy.Policy {
		p, err := policy.Parse(kind, []byte(statementOf(statements)), policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := policy.Policies{
		Identity: []*policy.Policy{
			parse(policy.Identity, `[{"Effect": "Allow", "Action": ["kinesis:Get*", "kinesis:List*", "kinesis:Describe*"], "Resource": "*"},
			  {"Effect": "Allow", "Action": "kinesis:Delete*", "Resource": "arn:aws:kinesis:*:111122223333:stream/dev-*"}]`),
			parse(policy.Identity, `[{"Effect": "Allow", "Action": ["kinesis:PutRecord", "kinesis:PutRecords"], "Resource": "arn:aws:kinesis:*:*:stream/${aws:PrincipalTag/team, 'none'}-*-?",
			    "Condition": {"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "us-east-1"], "aws:ResourceTag/env": "${aws:PrincipalTag/Env, 'prod'}"},
			      "StringLike": {"aws:UserAgent": ["*Boto3/*", "*aws-cli/?.*"]}, "StringEqualsIgnoreCase": {"aws:PrincipalTag/team": "${aws:ResourceTag/Team}"}}},
			  {"Effect": "Deny", "NotAction": ["kinesis:*"], "NotResource": "arn:aws:kinesis:*:*:stream/${aws:username}"},
			  {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "203.0.113.0/24", "2001:db8::/32"]}}},
			  {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"DateGreaterThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}, "NumericGreaterThan": {"aws:EpochTime": "1893456000"}}},
			  {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}, "Null": {"aws:TokenIssueTime": "false"}}}]`),
		},
		Boundary: parse(policy.Boundary, `{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAllValues:StringLike": {"aws:TagKeys": ["team", "env*"]}, "NumericLessThan": {"x:number": "10.5"}, "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/*"}, "DateLessThan": {"x:date": "2027-01-01T00:00:00+01:00"}, "IpAddress": {"x:address": "192.0.2.0/24"}, "BoolIfExists": {"x:bool": "true"}}}`),
		Resource: parse(policy.Resource, `[{"Effect": "Deny", "NotPrincipal": {"AWS": ["444455556666"]}, "Action": "kinesis:DeleteStream"}, {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "kinesis:GetRecords"}]`),
	}
	r, err := requestOf("alice", "PutRecords", "stream/blue-orders-1", []string{"x:number=9", "x:date=2026-06-15T12:00:00Z", "x:address=192.0.2.7", "x:bool=true"})
	if err != nil {
		t.Fatal(err)
	}
	r.RequestTags = []policy.Tag{{Key: "team", Value: "x"}, {Key: "environment", Value: "y"}}
	r.ResourceTags = []policy.Tag{{Key: "env", Value: "prod"}, {Key: "team", Value: "Blue"}}
	return p, r
}

func TestDecideAllocations(t *testing.T) {
	p, r := busyPolicies(t)
	if d := p.Decide(&r); !d.Allowed() {
		t.Fatal(p.Explain(&r))
	}
	if n := testing.AllocsPerRun(100, func() { p.Decide(&r) }); n != 0 {
		t.Errorf("a decision makes %v allocations, want none", n)
	}
}

// BenchmarkDecide decides with the policies that TestDecideAllocations uses, and with one that is
// more like what people write.
func BenchmarkDecide(b *testing.B) {
	p, r := busyPolicies(b)
	plain, err := policy.Parse(policy.Identity, []byte(statementOf(`[{"Effect": "Allow", "Action": ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:PutRecord", "kinesis:PutRecords"], "Resource": ["arn:aws:kinesis:us-east-1:111122223333:stream/orders", "arn:aws:kinesis:us-east-1:111122223333:stream/blue-*"]},
	  {"Effect": "Allow", "Action": "kinesis:ListStreams", "Resource": "*"}]`)), policy.Options{})
	if err != nil {
		b.Fatal(err)
	}
	f := func(name string, p policy.Policies) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !p.Decide(&r).Allowed() {
					b.Fatal("denied")
				}
			}
		})
	}
	f("plain", policy.Policies{Identity: []*policy.Policy{plain}})
	f("busy", p)
}

// BenchmarkParse reads a policy of a usual size.
func BenchmarkParse(b *testing.B) {
	text := []byte(statementOf(`[{"Effect": "Allow", "Action": ["kinesis:Get*", "kinesis:Put*"], "Resource": "arn:aws:kinesis:*:*:stream/${aws:username}-*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, {"Effect": "Deny", "Action": "kinesis:Delete*", "Resource": "*"}]`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Parse(policy.Identity, text, policy.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestZeroValues shows that what nobody filled in denies.
func TestZeroValues(t *testing.T) {
	var p policy.Policies
	if d := p.Decide(&policy.Request{}); d.Allowed() || d != (policy.Decision{Kind: policy.Resource}) {
		t.Errorf("got %+v", d)
	}
	if (policy.Decision{}).Allowed() {
		t.Error("the zero decision allows")
	}
	// A policy in a field for another kind grants nothing there.
	everything, err := policy.Parse(policy.Identity, []byte(statementOf(`{"Effect": "Allow", "Action": "*", "Resource": "*"}`)), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.Resource = everything
	if d := p.Decide(&policy.Request{}); d != (policy.Decision{Kind: policy.Resource}) {
		t.Errorf("got %+v", d)
	}
	// A user whose account was forgotten is of no account, so both sides must allow.
	everyone, err := policy.Parse(policy.Resource, []byte(statementOf(`{"Effect": "Allow", "Principal": "*", "Action": "*"}`)), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.Resource = everyone
	if d := p.Decide(&policy.Request{Principal: policy.Principal{Type: policy.User}, Time: time.Unix(0, 0)}); d.Allowed() {
		t.Errorf("got %+v", d)
	}
}
