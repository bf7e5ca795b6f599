package policy_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/auth/policy"
)

// statementOf makes a document of one statement.
func statementOf(s string) string { return `{"Version": "2012-10-17", "Statement": ` + s + `}` }

// refuses checks that a document is refused with an error.
func refuses(t *testing.T, kind policy.Kind, document, want string) {
	t.Helper()
	p, err := policy.Parse(kind, []byte(document), policy.Options{})
	if p != nil || err == nil {
		t.Errorf("%s: got a policy, want %s", document, want)
		return
	}
	if got := err.Error(); got != want {
		t.Errorf("%s:\n got %s\nwant %s", document, got, want)
	}
	var e *policy.Error
	if !errors.As(err, &e) || e.Message == "" || !errors.Is(err, policy.ErrMalformed) || errors.Is(err, policy.ErrTooLarge) {
		t.Errorf("%s: got %#v, want an Error of ErrMalformed", document, err)
	}
}

func TestDocumentErrors(t *testing.T) {
	f := func(kind policy.Kind, document, want string) { t.Helper(); refuses(t, kind, document, want) }
	f(policy.Identity, ``, `line 1, column 1: Syntax errors in policy. Fix the JSON syntax error: unexpected end of JSON input.`)
	f(policy.Identity, "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\" []\n}", `line 3, column 15: Syntax errors in policy. Fix the JSON syntax error: invalid character '[' after object key.`)
	f(policy.Trust, `{"Version": `, `line 1, column 13: This policy contains invalid Json: Fix the JSON syntax error: unexpected end of JSON input.`)
	f(policy.Identity, `{} {}`, `line 1, column 4: Syntax errors in policy. Fix the JSON syntax error: invalid character '{' after top-level value.`)
	f(policy.Identity, "{\"\xff\"}", `line 1, column 3: Syntax errors in policy. The document is not UTF-8.`)
	f(policy.Identity, `{"Id": "żółw"}`, `line 1, column 9: The specified value for policyDocument is invalid. It must contain only printable ASCII characters.`)
	f(policy.Identity, `[]`, `line 1, column 1: Syntax errors in policy. The text does not match the expected JSON data type Object.`)
	f(policy.Identity, strings.Repeat(`[`, 20)+strings.Repeat(`]`, 20), `line 1, column 17: Syntax errors in policy. The document nests too deeply.`)
	f(policy.Identity, `{}`, `line 1, column 1: Version: Policy document must be version 2012-10-17 or greater.`)
	f(policy.Identity, `{"Version": "2008-10-17", "Statement": []}`, `line 1, column 13: Version: Policy document must be version 2012-10-17 or greater.`)
	f(policy.Boundary, `{"Version": "2008-10-17", "Statement": []}`, `line 1, column 13: Version: Policy document must be version 2012-10-17 or greater.`)
	f(policy.Resource, `{"Version": "2012-10-18", "Statement": []}`, `line 1, column 13: Version: Syntax errors in policy. The version 2012-10-18 is not valid. Use one of the following versions: 2012-10-17, 2008-10-17`)
	f(policy.Resource, `{"Version": 2012, "Statement": []}`, `line 1, column 13: Version: Syntax errors in policy. The text does not match the expected JSON data type String.`)
	f(policy.Resource, `{"Id": {}, "Statement": []}`, `line 1, column 8: Id: Syntax errors in policy. The text does not match the expected JSON data type String.`)
	f(policy.Identity, `{"Version": "2012-10-17"}`, `line 1, column 1: Syntax errors in policy. Add a statement to the policy`)
	f(policy.Identity, `{"Version": "2012-10-17", "Statement": []}`, `line 1, column 1: Syntax errors in policy. Add a statement to the policy`)
	f(policy.Identity, `{"Version": "2012-10-17", "Statements": []}`, `line 1, column 27: Statements: Syntax errors in policy. The policy element Statements is not valid.`)
	f(policy.Trust, `{"Version": "2012-10-17", "Statements": []}`, `line 1, column 27: Statements: Unknown field Statements: The policy element Statements is not valid.`)
	f(policy.Identity, `{"Version": "2012-10-17", "Version": "2012-10-17"}`, `line 1, column 27: Syntax errors in policy. The policy element Version appears more than once.`)
	f(policy.Identity, `{"Version": "2012-10-17", "Statement": ["x"]}`, `line 1, column 41: Statement[0]: Syntax errors in policy. The text does not match the expected JSON data type Object.`)
}

func TestStatementErrors(t *testing.T) {
	identity := func(statement, want string) { t.Helper(); refuses(t, policy.Identity, statementOf(statement), want) }
	identity(`{}`, `line 1, column 40: Statement: Syntax errors in policy. Add an Effect element to the policy statement with a value of Allow or Deny.`)
	identity(`{"Effect": "allow"}`, `line 1, column 51: Statement.Effect: Syntax errors in policy. The effect allow is not valid. Use Allow or Deny.`)
	identity(`{"Effect": true}`, `line 1, column 51: Statement.Effect: Syntax errors in policy. The text does not match the expected JSON data type String.`)
	identity(`{"Effect": "Allow"}`, `line 1, column 40: Statement: Policy statement must contain actions. Add an Action or NotAction element to the policy statement.`)
	identity(`{"Effect": "Allow", "Action": []}`, `line 1, column 40: Statement: Policy statement must contain actions. Add an Action or NotAction element to the policy statement.`)
	identity(`{"Effect": "Allow", "Action": "*"}`, `line 1, column 40: Statement: Policy statement must contain resources. Add a Resource or NotResource element to the policy statement.`)
	identity(`{"Effect": "Allow", "Action": "*", "Resource": []}`, `line 1, column 87: Statement.Resource: Policy statement must contain resources. Add a Resource or NotResource element to the policy statement.`)
	identity(`{"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}`, `line 1, column 75: Statement.NotAction: Syntax errors in policy. The policy elements Action and NotAction can not be used in the same statement. Remove one of these elements.`)
	identity(`{"Effect": "Allow", "Action": "*", "NotResource": "*", "Resource": "*"}`, `line 1, column 95: Statement.Resource: Syntax errors in policy. The policy elements Resource and NotResource can not be used in the same statement. Remove one of these elements.`)
	identity(`{"Effect": "Allow", "Effect": "Deny"}`, `line 1, column 60: Syntax errors in policy. The policy element Effect appears more than once.`)
	identity(`{"Effect": "Allow", "Actions": "*"}`, `line 1, column 60: Statement.Actions: Syntax errors in policy. The policy element Actions is not valid.`)
	identity(`{"Sid": "a b"}`, `line 1, column 48: Statement.Sid: Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*`)
	identity(`{"Sid": 1}`, `line 1, column 48: Statement.Sid: Syntax errors in policy. The text does not match the expected JSON data type String.`)
	identity(`[{"Sid": "a", "Effect": "Deny", "Action": "*", "Resource": "*"},
  {"Sid": "a"}]`, `line 2, column 11: Statement[1].Sid: Statement IDs (SID) in a single policy must be unique.`)
	identity(`{"Action": {}}`, `line 1, column 51: Statement.Action: Syntax errors in policy. The text does not match the expected JSON data type String.`)
	identity(`{"Action": ["*", 1]}`, `line 1, column 57: Statement.Action[1]: Syntax errors in policy. The text does not match the expected JSON data type String.`)
	identity(`{"Action": "PutRecord"}`, `line 1, column 51: Statement.Action: Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. PutRecord`)
	identity(`{"Action": "a:b:c"}`, `line 1, column 51: Statement.Action: Actions/Condition can contain only one colon. a:b:c`)
	identity(`{"Action": "kine*:Put"}`, `line 1, column 51: Statement.Action: Vendor kine* is not valid`)
	identity(`{"Action": ":Put"}`, `line 1, column 51: Statement.Action: Vendor  is not valid`)
	identity(`{"Resource": "stream"}`, `line 1, column 53: Statement.Resource: Resource stream must be in ARN format or "*". Add the required prefix (arn) to the resource ARN.`)
	identity(`{"Resource": ["*", "**"]}`, `line 1, column 59: Statement.Resource[1]: Resource ** must be in ARN format or "*". Add the required prefix (arn) to the resource ARN.`)
	identity(`{"Resource": "arn:amazon:kinesis"}`, `line 1, column 53: Statement.Resource: Partition "amazon" is not valid for resource "arn:amazon:kinesis:*:*:*".`)
	identity(`{"Resource": "arn:aws"}`, `line 1, column 53: Statement.Resource: Resource vendor must be fully qualified and cannot contain regexes.`)
	identity(`{"Resource": "arn:aws:kine*:us-east-1:*:x"}`, `line 1, column 53: Statement.Resource: Resource vendor must be fully qualified and cannot contain regexes.`)
	identity(`{"Resource": "arn:aws:kinesis:us-east-1:${aws:PrincipalAccount}:x"}`, `line 1, column 53: Statement.Resource: The policy failed legacy parsing: Policy variables can only be used in the last field of a resource ARN, behind the fifth colon.`)
	identity(`{"Resource": "arn:aws:kinesis:us-east-1:*:${aws:username"}`, `line 1, column 53: Statement.Resource: Syntax errors in policy. A policy variable begins with ${ and lacks its }.`)
}

// TestPrincipalErrors is about principals, and about what kinds of policies differ in.
func TestPrincipalErrors(t *testing.T) {
	f := func(kind policy.Kind, document, want string) { t.Helper(); refuses(t, kind, document, want) }
	f(policy.Identity, statementOf(`{"Principal": "*"}`), `line 1, column 41: Statement.Principal: Policy document should not specify a principal. The policy type identity-based policy does not support the Principal element. Remove the Principal element.`)
	f(policy.Session, statementOf(`{"NotPrincipal": "*"}`), `line 1, column 41: Statement.NotPrincipal: Policy document should not specify a principal. The policy type session policy does not support the NotPrincipal element. Remove the NotPrincipal element.`)
	f(policy.Trust, statementOf(`{"NotPrincipal": "*"}`), `line 1, column 41: Statement.NotPrincipal: Has prohibited field NotPrincipal: The policy type role trust policy does not support the NotPrincipal element. Remove the NotPrincipal element.`)
	f(policy.Trust, statementOf(`{"Resource": "*"}`), `line 1, column 41: Statement.Resource: Has prohibited field Resource: The policy type role trust policy does not support the Resource element. Remove the Resource element.`)
	f(policy.Trust, statementOf(`{"Action": "kinesis:PutRecord"}`), `line 1, column 51: Statement.Action: AssumeRole policy may only specify STS AssumeRole actions. kinesis:PutRecord`)
	f(policy.Trust, statementOf(`{"Action": "*"}`), `line 1, column 51: Statement.Action: AssumeRole policy may only specify STS AssumeRole actions. *`)
	f(policy.Resource, statementOf(`{"Effect": "Allow", "Action": "*"}`), `line 1, column 40: Statement: Missing required field Principal: Add a Principal element to the policy statement.`)
	f(policy.Resource, statementOf(`{"Effect": "Allow", "Principal": "*"}`), `line 1, column 40: Statement: Missing required field Action: Add an Action or NotAction element to the policy statement.`)
	f(policy.Resource, statementOf(`{"Effect": "Allow", "Principal": {}}`), `line 1, column 73: Statement.Principal: Missing required field Principal: Add a Principal element to the policy statement.`)
	f(policy.Resource, statementOf(`{"Principal": "*", "NotPrincipal": "*"}`), `line 1, column 59: Statement.NotPrincipal: Syntax errors in policy. The policy elements Principal and NotPrincipal can not be used in the same statement. Remove one of these elements.`)
	f(policy.Resource, statementOf(`{"Principal": "111122223333"}`), `line 1, column 54: Statement.Principal: Invalid principal in policy: The Principal element contents are not valid. Specify a key-value pair in the Principal element.`)
	f(policy.Resource, statementOf(`{"Principal": {"CanonicalUser": "x"}}`), `line 1, column 72: Statement.Principal.CanonicalUser: Syntax errors in policy. The principal key CanonicalUser is not valid.`)
	for kind, texts := range map[string][]string{
		"AWS": {"", "1111", "arn:aws:iam::111122223333:user/*", "arn:aws:iam::111122223333:group/x", "arn:aws:iam::1:root", "arn:aws:kinesis::111122223333:user/x", "arn:aws:iam:us-east-1:111122223333:root",
			"arn:aws:sts::111122223333:assumed-role/app", "arn:aws:sts::111122223333:assumed-role/app/s/t", "arn:aws:iam::111122223333:oidc-provider/x", "firehose.amazonaws.com", "AIDA123", "arn:aws:iam::111122223333:user/"},
		"Service":   {"", "*", "firehose", "*.amazonaws.com", "Firehose.amazonaws.com"},
		"Federated": {"", "*", "arn:aws:iam::111122223333:oidc-provider/*"},
	} {
		for _, text := range texts {
			path := "Statement.Principal." + kind
			f(policy.Resource, "{\"Statement\":\n{\"Principal\": {\""+kind+"\":\n\""+text+`"}}}`, `line 3, column 1: `+path+`: Invalid principal in policy: "`+kind+`":"`+text+`"`)
		}
	}
}

func TestConditionErrors(t *testing.T) {
	condition := func(condition, want string) {
		t.Helper()
		refuses(t, policy.Identity, statementOf(`{"Condition":`+"\n"+condition+`}`), want)
	}
	condition(`[]`, `line 2, column 1: Statement.Condition: Syntax errors in policy. The text does not match the expected JSON data type Object.`)
	condition(`{"StringEqual": {}}`, `line 2, column 2: Statement.Condition.StringEqual: Syntax errors in policy. The condition operator StringEqual is not valid. Use a valid condition operator.`)
	condition(`{"ForSomeValues:StringEquals": {}}`, `line 2, column 2: Statement.Condition.ForSomeValues:StringEquals: Syntax errors in policy. The condition operator ForSomeValues:StringEquals is not valid. Use a valid condition operator.`)
	condition(`{"NullIfExists": {}}`, `line 2, column 2: Statement.Condition.NullIfExists: Syntax errors in policy. The Null condition operator cannot be used with the IfExists suffix. Update the operator or the suffix.`)
	condition(`{"Bool": true}`, `line 2, column 10: Statement.Condition.Bool: Syntax errors in policy. The text does not match the expected JSON data type Object.`)
	condition(`{"Bool": {"SecureTransport": true}}`, `line 2, column 11: Statement.Condition.Bool.SecureTransport: Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. The condition key format is not valid. Use the format service:keyname.`)
	condition(`{"Bool": {"a:b": true, "A:b": false}}`, `line 2, column 24: Statement.Condition.Bool: Syntax errors in policy. The condition key A:b appears more than once with different capitalization in the same condition block. Remove the duplicate condition keys.`)
	condition(`{"Bool": {"a:b": "maybe"}}`, `line 2, column 18: Statement.Condition.Bool.a:b: Syntax errors in policy. The text does not match the expected JSON data type Boolean: maybe`)
	condition(`{"Null": {"a:b": "1"}}`, `line 2, column 18: Statement.Condition.Null.a:b: Syntax errors in policy. The text does not match the expected JSON data type Boolean: 1`)
	condition(`{"StringEquals": {"a:b": ["x", null]}}`, `line 2, column 32: Statement.Condition.StringEquals.a:b[1]: Syntax errors in policy. The text does not match the expected JSON data type String.`)
	condition(`{"StringEquals": {"a:b": {"c": "d"}}}`, `line 2, column 26: Statement.Condition.StringEquals.a:b: Syntax errors in policy. The text does not match the expected JSON data type String.`)
	condition(`{"NumericEquals": {"a:b": "ten"}}`, `line 2, column 27: Statement.Condition.NumericEquals.a:b: Syntax errors in policy. The text does not match the expected JSON data type Number: ten`)
	condition(`{"NumericEquals": {"a:b": 1e3}}`, `line 2, column 27: Statement.Condition.NumericEquals.a:b: Syntax errors in policy. The text does not match the expected JSON data type Number: 1e3`)
	condition(`{"NumericEquals": {"a:b": "${aws:EpochTime}"}}`, `line 2, column 27: Statement.Condition.NumericEquals.a:b: Syntax errors in policy. Policy variables can only be used with String and ARN operators.`)
	condition(`{"DateEquals": {"a:b": "2026-02-30"}}`, `line 2, column 24: Statement.Condition.DateEquals.a:b: Syntax errors in policy. The text does not match the expected JSON data type Date: 2026-02-30`)
	condition(`{"IpAddress": {"a:b": ["10.0.0.0/8", "10.0.0/8"]}}`, `line 2, column 38: Statement.Condition.IpAddress.a:b[1]: Syntax errors in policy. The condition value 10.0.0/8 is not an IP address or a range in CIDR notation.`)
	condition(`{"IpAddress": {"a:b": "fe80::1%eth0"}}`, `line 2, column 23: Statement.Condition.IpAddress.a:b: Syntax errors in policy. The condition value fe80::1%eth0 is not an IP address or a range in CIDR notation.`)
	condition(`{"BinaryEquals": {"a:b": "x"}}`, `line 2, column 26: Statement.Condition.BinaryEquals.a:b: Syntax errors in policy. The condition value x is not base64.`)
}

// TestParse gives documents that are policies.
func TestParse(t *testing.T) {
	f := func(kind policy.Kind, document string) {
		t.Helper()
		p, err := policy.Parse(kind, []byte(document), policy.Options{Name: "n"})
		if err != nil {
			t.Errorf("%s: %v", document, err)
			return
		}
		if p.Kind() != kind || p.Name() != "n" {
			t.Errorf("got %v %q", p.Kind(), p.Name())
		}
	}
	f(policy.Identity, "\n\t "+statementOf(`{"Effect": "Allow", "Action": "*", "Resource": "*"}`)+" \n")
	f(policy.Identity, `{"Id": "x y", "Statement": [{"Resource": "arn:aws-us-gov:s3:::b/*", "Action": ["s3:*", "*:*"], "Effect": "Deny", "Sid": ""}, {"Sid": "", "Effect": "Deny", "NotAction": "a:", "NotResource": "arn:*:s3"}], "Version": "2012-10-17"}`)
	f(policy.Session, `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`)
	f(policy.Trust, `{"Version": "2008-10-17", "Statement": {"Effect": "Allow", "Principal": {"Federated": "accounts.google.com", "AWS": []}, "NotAction": "sts:TagSession"}}`)
	f(policy.Resource, statementOf(`{"Sid": "żółw 1", "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::111122223333:role/a/b", "arn:aws:sts::111122223333:federated-user/x"], "Service": "s.amazonaws.com.cn"}, "Action": "kinesis:*"}`))
	f(policy.Identity, statementOf(`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAllValues:Null": {"a:b": true}, "ArnLikeIfExists": {"a:b": "x"}, "IpAddress": {"aws:SourceIp": ["::ffff:10.0.0.0/104", "10.1.2.3/8", "::1"]}, "NumericEquals": {"a:b": [1, -1.50, "3"]}, "StringEquals": {"a:b": [true, 1.0]}}}`))
}

func TestParseSize(t *testing.T) {
	f := func(kind policy.Kind, characters, maxSize int, ok bool) {
		t.Helper()
		empty := statementOf(`{"Effect": "Allow", "Principal": "*", "Action": "sts:*", "Condition": {"StringEquals": {"a:b": ""}}}`)
		if kind != policy.Trust && kind != policy.Resource {
			empty = strings.Replace(empty, `"Principal": "*"`, `"Resource": "*"`, 1)
		}
		fill := characters - len(strings.ReplaceAll(empty, " ", ""))
		document := strings.Replace(empty, `""`, `"`+strings.Repeat("x ", fill)+`"`, 1)
		_, err := policy.Parse(kind, []byte(document), policy.Options{MaxSize: maxSize})
		if ok != (err == nil) || err != nil && !errors.Is(err, policy.ErrTooLarge) {
			t.Errorf("%s of %d characters: got %v", kind, characters, err)
		}
	}
	for kind, size := range map[policy.Kind]int{policy.Identity: 6144, policy.Boundary: 6144, policy.Session: 2048, policy.Trust: 2048, policy.Resource: 20480} {
		f(kind, size, 0, true)
		f(kind, size+1, 0, false)
	}
	f(policy.Identity, 10240, 10240, true)
	f(policy.Identity, 10241, 10240, false)
	_, err := policy.Parse(policy.Identity, []byte(statementOf(`{"Effect": "Allow", "Action": "*", "Resource": "*"}`)+strings.Repeat(" ", 131072)), policy.Options{})
	if !errors.Is(err, policy.ErrTooLarge) || err.Error() != "Cannot exceed quota for PolicySize: 6144" {
		t.Errorf("a document of white space: got %v", err)
	}
}

// FuzzParse gives any bytes to the parser. What is a policy must decide any request without a panic,
// and alike in Decide and Explain; what is none must say why and where.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/decisions.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if kind, document, ok := strings.Cut(line, ": {"); ok && len(kind) < 10 {
			f.Add(uint8(kinds[kind]), statementOf("{"+strings.TrimSpace(document)), "alice")
		}
	}
	f.Add(uint8(policy.Resource), `{"Statement":[{"Effect":"Deny","NotPrincipal":{"AWS":["*"]},"NotAction":"*:?","NotResource":"arn:aws:x:::${a:b, 'c'}"}]}`, "firehose")
	f.Fuzz(func(t *testing.T, kind uint8, document, caller string) {
		k := policy.Kind(kind % 5)
		p, err := policy.Parse(k, []byte(document), policy.Options{})
		if err != nil {
			var e *policy.Error
			if !errors.As(err, &e) || e.Message == "" || errors.Is(err, policy.ErrMalformed) == errors.Is(err, policy.ErrTooLarge) {
				t.Fatalf("got %#v", err)
			}
			if lines := strings.Count(document, "\n") + 1; errors.Is(err, policy.ErrMalformed) && (e.Line < 1 || e.Line > lines || e.Column < 1 || e.Column > len(document)+1) {
				t.Fatalf("line %d, column %d of %d lines: %v", e.Line, e.Column, lines, err)
			}
			return
		}
		principal, ok := callers[caller]
		if !ok {
			principal = policy.Principal{Type: policy.User, ARN: caller, Account: "111122223333", Name: caller}
		}
		r := policy.Request{Principal: principal, Action: "kinesis:PutRecord", Resource: "arn:aws:kinesis:us-east-1:111122223333:stream/" + caller, UserAgent: caller, Time: noon}
		for _, policies := range []policy.Policies{{Identity: []*policy.Policy{p}}, {Boundary: p}, {Session: []*policy.Policy{p}}, {Resource: p}} {
			d, x := policies.Decide(&r), policies.Explain(&r)
			if d != x.Decision || x.String() == "" {
				t.Fatalf("Decide says %v, Explain %v", d, x)
			}
			idle := policies.Resource == nil && (policies.Identity == nil || k == policy.Trust || k == policy.Resource)
			if idle && d.Allowed() && principal.Type != policy.Root {
				t.Fatalf("a %s allows %v in a place where it grants nothing", k, r)
			}
		}
	})
}
