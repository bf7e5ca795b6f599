package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicySimulate compares what simulate prints with testdata/simulate.txt.
func TestPolicySimulate(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file("write.json", `{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Write", "Effect": "Allow", "Action": ["kinesis:PutRecord", "kinesis:PutRecords"],
     "Resource": "arn:aws:kinesis:*:*:stream/${aws:username}-*"},
    {"Sid": "Inside", "Effect": "Deny", "Action": "*", "Resource": "*",
     "Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}
  ]
}`)
	file("all.json", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`)
	file("get.json", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kinesis:Get*", "Resource": "*"}}`)
	file("shared.json", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "kinesis:GetRecords"}}`)
	file("trust.json", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": "x"}}}}`)
	file("bad.json", "{\"Version\": \"2012-10-17\",\n  \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resorce\": \"*\"}}")
	file("tagged.json", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}, "StringEquals": {"aws:RequestedRegion": "eu-west-1"}, "Bool": {"aws:SecureTransport": "true"}, "DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}}}}`)

	var all strings.Builder
	f := func(wantCode int, args ...string) {
		t.Helper()
		line := strings.Join(args, " ")
		for i, arg := range args {
			if i > 0 && strings.HasSuffix(arg, ".json") {
				args[i] = filepath.Join(dir, arg)
			}
		}
		code, out, stderr := newFake(1).run(t.Context(), "", append([]string{"policy", "simulate"}, args...)...)
		if code != wantCode || (code != 0) != (strings.Count(stderr, "\n") == 1) || (code == ExitUsage) != (out == "") {
			t.Errorf("%s: exit code %d, want %d; stdout %q; stderr %q", line, code, wantCode, out, stderr)
		}
		all.WriteString("=== " + line + "\n" + strings.ReplaceAll(out+stderr, dir+string(filepath.Separator), ""))
	}
	const alice, orders = "arn:aws:iam::111122223333:user/alice", "arn:aws:kinesis:us-east-1:111122223333:stream/alice-orders"
	f(ExitOK, "--principal", alice, "--action", "kinesis:PutRecord", "--resource", orders, "--policy", "write.json", "--context", "aws:SourceIp=10.1.2.3")
	f(ExitFailure, "--principal", alice, "--action", "kinesis:PutRecord", "--resource", orders, "--policy", "write.json")
	f(ExitFailure, "--principal", alice, "--action", "kinesis:PutRecord", "--resource", orders, "--resource", "arn:aws:kinesis:us-east-1:111122223333:stream/bob-orders", "--policy", "write.json", "--context", "aws:SourceIp=10.1.2.3", "-o", "json")
	f(ExitOK, "--principal", "arn:aws:iam::444455556666:role/r", "--action", "kinesis:GetRecords", "--resource", orders, "--policy", "all.json", "--session-policy", "get.json", "--permissions-boundary", "get.json", "--resource-policy", "shared.json")
	f(ExitFailure, "--principal", "arn:aws:iam::444455556666:role/r", "--action", "kinesis:PutRecord", "--resource", orders, "--policy", "all.json", "--session-policy", "get.json", "--resource-policy", "shared.json")
	f(ExitOK, "--principal", alice, "--action", "sts:AssumeRole", "--resource", "arn:aws:iam::111122223333:role/r", "--policy", "all.json", "--trust-policy", "trust.json", "--context", "sts:ExternalId=x")
	f(ExitOK, "--principal", alice, "--action", "kinesis:ListStreams", "--resource", "*", "--policy", "tagged.json", "--context", "aws:TagKeys=a", "--context", "AWS:tagkeys=b", "--context", "aws:RequestedRegion=eu-west-1", "--context", "aws:CurrentTime=2026-06-15T12:00:00Z")
	f(ExitOK, "--principal", "111122223333", "--action", "kinesis:ListStreams", "--resource", "*")
	f(ExitUsage, "--principal", alice, "--action", "kinesis:PutRecord", "--resource", orders, "--policy", "all.json", "--policy", "bad.json")
	f(ExitUsage, "--principal", alice, "--action", "kinesis:PutRecord", "--resource", orders, "--policy", "shared.json")
	f(ExitUsage, "--action", "kinesis:PutRecord", "--resource", orders)
	f(ExitUsage, "--principal", alice, "--resource", orders)
	f(ExitUsage, "--principal", alice, "--action", "kinesis:PutRecord")
	f(ExitUsage, "--principal", "alice", "--action", "kinesis:PutRecord", "--resource", orders)
	f(ExitUsage, "--principal", alice, "--action", "kinesis:*", "--resource", orders)
	f(ExitUsage, "--principal", alice, "--action", "kinesis:PutRecord", "--resource", "orders")
	f(ExitUsage, "--principal", alice, "--action", "kinesis:PutRecord", "--resource", orders, "--context", "SourceIp=10.1.2.3")
	f(ExitUsage, "--principal", alice, "--action", "kinesis:PutRecord", "--resource", orders, "--resource-policy", "shared.json", "--trust-policy", "trust.json")
	golden(t, "simulate.txt", all.String())

	code, _, stderr := newFake(1).run(t.Context(), "", "policy", "simulate", "--principal", alice, "--action", "kinesis:PutRecord", "--resource", orders, "--policy", filepath.Join(dir, "none.json"))
	if code != ExitUsage || !strings.HasPrefix(stderr, "headrace: read policy: open ") {
		t.Errorf("a missing file: exit code %d, stderr %q", code, stderr)
	}
	file("now.json", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}, "StringEquals": {"aws:RequestedRegion": "us-east-1"}}}}`)
	if code, out, _ := newFake(1).run(t.Context(), "", "policy", "simulate", "--principal", alice, "--action", "kinesis:PutRecord", "--resource", orders, "--policy", filepath.Join(dir, "now.json")); code != ExitOK {
		t.Errorf("the time and the region are not filled in: exit code %d, %s", code, out)
	}
	code, out, _ := newFake(1).run(t.Context(), "", "policy", "simulate", "--principal", "111122223333", "--action", "kinesis:ListStreams", "--resource", "*", "-o", "json")
	var s simulation
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != ExitOK || !s.Allowed || len(s.Resources) != 1 || s.Resources[0].Policies == nil {
		t.Errorf("got %d, %s (%v)", code, out, err)
	}
}
