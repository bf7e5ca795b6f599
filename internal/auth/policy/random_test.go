package policy_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/auth/policy"
)

// choices makes decisions from bytes, 0 when there are none left, so that a fuzzer can steer them.
type choices struct{ data []byte }

func (c *choices) n(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return int(b) % n
}

func one[T any](c *choices, items ...T) T { return items[c.n(len(items))] }

// some returns up to three of the items, one of them alone instead of a list now and then.
func some(c *choices, items ...string) any {
	n := c.n(4)
	if n == 0 {
		return one(c, items...)
	}
	out := []string{}
	for range n {
		out = append(out, one(c, items...))
	}
	return out
}

// What random policies and requests are made of: small worlds, so that they meet.
var (
	someActions   = []string{"kinesis:GetRecords", "kinesis:PutRecord", "kinesis:PutRecords", "sts:AssumeRole"}
	actionTexts   = []string{"*", "kinesis:*", "kinesis:Get*", "kinesis:Put*", "KINESIS:putrecord", "kinesis:PutRecord?", "kinesis:*Record*s", "sts:AssumeRole"}
	someResources = []string{"stream/a", "stream/b", "stream/alice", "stream/a/consumer/c:1", "stream/ab*", "*", "stream/blue", "stream/größe"}
	resourceTexts = []string{
		"*", "arn:aws:kinesis:*:*:*", "arn:aws:kinesis:us-east-1:111122223333:stream/a*", "arn:aws:kinesis:*:*:stream/?", "arn:aws:kinesis",
		"arn:aws:kinesis:*:*:stream/${aws:username}", "arn:aws:kinesis:*:*:stream/${aws:PrincipalTag/team, 'a'}", "arn:aws:kinesis:*:*:*/*/*:?",
		"arn:aws:kinesis:*:*:stream/ab${*}", "arn:aws:kinesis:*:111122223333:stream/gr??e", "arn:aws:kinesis:us-*:*:stream/*a*", "arn:*:kinesis:*:444455556666:*b*",
		"arn:aws:kinesis:*:*:stream/${aws:username}*${aws:PrincipalTag/team}",
	}
	principalTexts = []string{
		"*", "111122223333", "444455556666", "arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::444455556666:user/mallory",
		"arn:aws:sts::111122223333:assumed-role/app/s1", "arn:aws:iam::111122223333:role/service/app", "AIDA0123456789ALICE", "AROA0123456789APP", "arn:aws:sts::111122223333:federated-user/alice",
	}
	someCallers = []string{"root", "alice", "bob", "app", "fed", "mallory", "otherroot", "otherapp", "firehose", "idp", "anyone"}
	stringKeys  = []string{"aws:username", "aws:PrincipalTag/team", "aws:ResourceTag/Team", "aws:RequestTag/team", "aws:TagKeys", "aws:TAGkeys", "x:key", "aws:userid", "aws:RequestedRegion", "aws:PrincipalType"}
	someTexts   = []string{"", "a", "b", "team", "Team", "blue", "BLUE", "alice", "us-east-1", "groß", "10", "2.50", "*", "a*b", "true", "2026-06-15T12:00:00Z", "203.0.113.9", "arn:aws:iam::111122223333:user/alice"}
	stringTexts = append([]string{"*", "?", "?*", "t*m", "*e*", "??ß", "${aws:username}", "${aws:PrincipalTag/team, 'a'}", "x${aws:username}*", "${*}", "${$}{", "User"}, someTexts...)
	arnKeys     = []string{"aws:PrincipalArn", "x:arn", "aws:username"}
	arnTexts    = []string{"*", "arn:aws:iam::*:user/*", "arn:*:*:*:*:*", "arn:aws:iam::111122223333:user/${aws:username}", "${aws:PrincipalArn}", "arn:aws:iam::111122223333:role/?*", "arn:aws:iam::1*:user/alice", "x"}
	numberKeys  = []string{"x:number", "aws:EpochTime", "aws:PrincipalTag/level"}
	numberTexts = []string{"0", "-0", "7", "7.0", "007", "-7.5", "10", "1781524800", "9007199254740993", "0.1"}
	dateKeys    = []string{"aws:CurrentTime", "aws:EpochTime", "aws:TokenIssueTime", "x:date"}
	dateTexts   = []string{"2026-06-15T12:00:00Z", "2026-06-15T14:00:00+02:00", "2026-06-15", "2026-06", "1781524800", "2026-06-15T11:00Z", "2030-01-01"}
	boolKeys    = []string{"aws:SecureTransport", "aws:MultiFactorAuthPresent", "aws:PrincipalIsAWSService", "aws:ViaAWSService", "x:bool"}
	boolTexts   = []string{"true", "false", "TRUE", "${x:bool}"}
	addressKeys = []string{"aws:SourceIp", "x:address"}
	networks    = []string{"203.0.113.9", "203.0.113.0/24", "0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32", "::/0", "203.0.113.77/24"}
)

// randomCondition returns an operator with keys and values.
func randomCondition(c *choices) (string, map[string]any) {
	var op string
	var keys, texts []string
	switch c.n(9) {
	case 0, 1, 2:
		op, keys, texts = one(c, "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"), stringKeys, stringTexts
	case 3:
		op, keys, texts = one(c, "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"), arnKeys, arnTexts
	case 4:
		op, keys, texts = one(c, "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"), numberKeys, numberTexts
	case 5:
		op, keys, texts = one(c, "DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"), dateKeys, dateTexts
	case 6:
		op, keys, texts = "Bool", boolKeys, boolTexts
	case 7:
		op, keys, texts = one(c, "IpAddress", "NotIpAddress"), addressKeys, networks
	case 8:
		return "Null", map[string]any{one(c, stringKeys...): some(c, "true", "false")}
	}
	op = one(c, "", "", "", "ForAllValues:", "ForAnyValue:") + op + one(c, "", "", "IfExists")
	block := map[string]any{}
	for range 1 + c.n(2) {
		key := one(c, keys...)
		if key == "aws:TAGkeys" && block["aws:TagKeys"] != nil || key == "aws:TagKeys" && block["aws:TAGkeys"] != nil {
			continue
		}
		block[key] = some(c, texts...)
	}
	return op, block
}

// randomStatement returns a statement of a policy of a kind.
func randomStatement(c *choices, kind policy.Kind) map[string]any {
	s := map[string]any{"Effect": one(c, "Allow", "Allow", "Deny")}
	s[one(c, "Action", "Action", "NotAction")] = some(c, actionTexts...)
	if kind == policy.Trust {
		delete(s, "NotAction")
		s["Action"] = "sts:AssumeRole"
	} else if kind != policy.Resource || c.n(3) > 0 {
		s[one(c, "Resource", "Resource", "NotResource")] = some(c, resourceTexts...)
	}
	if kind == policy.Trust || kind == policy.Resource {
		var p any = map[string]any{"AWS": some(c, principalTexts...)}
		switch c.n(6) {
		case 0:
			p = "*"
		case 1:
			p.(map[string]any)["Service"] = "firehose.amazonaws.com"
		case 2:
			p.(map[string]any)["Federated"] = callers["idp"].ARN
		}
		name := one(c, "Principal", "Principal", "Principal", "NotPrincipal")
		if kind == policy.Trust {
			name = "Principal"
		}
		s[name] = p
	}
	block := map[string]any{}
	for range c.n(3) {
		op, keys := randomCondition(c)
		block[op] = keys
	}
	if len(block) > 0 {
		s["Condition"] = block
	}
	return s
}

func randomPolicy(c *choices, kind policy.Kind) string {
	var statements []any
	for range 1 + c.n(3) {
		statements = append(statements, randomStatement(c, kind))
	}
	doc := map[string]any{"Version": "2012-10-17", "Statement": statements}
	old := kind == policy.Resource && c.n(8) == 0
	if old {
		doc["Version"] = "2008-10-17"
	}
	text, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	if old { // where this is neither true nor false
		return strings.ReplaceAll(string(text), "${x:bool}", "true")
	}
	return string(text)
}

// randomCase returns policies and a request.
func randomCase(t *testing.T, c *choices) (*tableCase, policy.Request) {
	t.Helper()
	out := &tableCase{title: "random"}
	add := func(kind string) {
		text := randomPolicy(c, kinds[kind])
		if err := out.add(kind, text); err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, text)
		}
	}
	for range c.n(3) {
		add("identity")
	}
	if c.n(4) == 0 {
		add("boundary")
	}
	if c.n(4) == 0 {
		add("session")
	}
	switch c.n(4) {
	case 0, 1:
		add("resource")
	case 2:
		add("trust")
	}
	return out, randomRequest(c)
}

func randomRequest(c *choices) policy.Request {
	resource := one(c, someResources...)
	if resource != "*" {
		resource = "arn:aws:kinesis:" + one(c, "us-east-1", "eu-west-1") + ":" + one(c, "111122223333", "111122223333", "444455556666") + ":" + resource
	}
	r := policy.Request{
		Principal: callers[one(c, someCallers...)], Action: one(c, someActions...), Resource: resource,
		Time: one(c, noon, noon.Add(time.Second), time.Time{}), SourceIP: one(c, netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8::1"), netip.Addr{}),
		SecureTransport: c.n(2) == 0, Region: one(c, "us-east-1", ""),
	}
	tags := func() []policy.Tag {
		var out []policy.Tag
		for range c.n(3) {
			out = append(out, policy.Tag{Key: one(c, "team", "Team", "level", "a"), Value: one(c, someTexts...)})
		}
		// Of keys that differ by case alone, which one counts is a rule of its own: TestTagKeys.
		if len(out) == 2 && out[0].Key != out[1].Key && (out[0].Key == "Team" || out[1].Key == "Team") {
			out = out[:1]
		}
		return out
	}
	r.RequestTags, r.ResourceTags = tags(), tags()
	for range c.n(3) {
		k := policy.Key{Name: one(c, "x:key", "X:Number", "x:date", "x:bool", "x:address", "x:arn", "aws:TagKeys")}
		for range c.n(3) {
			k.Values = append(k.Values, one(c, append(someTexts, numberTexts...)...))
		}
		r.Keys = []policy.Key{k}
	}
	return r
}

// TestDecideLikeReference compares decisions on random policies and requests with the reference.
func TestDecideLikeReference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	counts := map[string]int{}
	const cases = 4000
	for range cases {
		data := make([]byte, 200)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		c, r := randomCase(t, &choices{data})
		counts[c.decide(t, &r)]++
		if t.Failed() {
			t.Fatalf("the policies:\n%+v", c.texts)
		}
	}
	for _, verdict := range []string{"allow", "deny", "none"} {
		if counts[verdict] < cases/20 {
			t.Errorf("%d of %d decisions are %s: too few to prove anything", counts[verdict], cases, verdict)
		}
	}
}

// FuzzDecide lets the fuzzer choose policies and requests.
func FuzzDecide(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 8 {
		data := make([]byte, 120)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, r := randomCase(t, &choices{data})
		c.decide(t, &r)
		if t.Failed() {
			t.Fatalf("the policies:\n%+v", c.texts)
		}
	})
}
