package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/awsapi/kinesis"
)

// guardedServer is a server that verifies signatures and asks policies, and its keyring.
type guardedServer struct {
	t    *testing.T
	url  string
	keys *keyring.Keyring
	root aws.Credentials
}

const (
	home  = "111122223333"
	other = "444455556666"
	mill  = "arn:aws:kinesis:eu-west-1:111122223333:stream/mill"
	race  = "arn:aws:kinesis:eu-west-1:111122223333:channel/race"
)

func guard(t *testing.T, change ...func(*Config)) *guardedServer {
	t.Helper()
	g := &guardedServer{t: t}
	cfg := Config{
		MemoryBytes: 64 << 20, DefaultAccount: home, Logger: discard(), Registry: newRegistry(),
		Access: Access{ShowKey: func(_, id, secret string) { g.root = aws.Credentials{AccessKeyID: id, SecretAccessKey: secret} }},
	}.withDefaults()
	for _, f := range change {
		f(&cfg)
	}
	ctx, fail := context.WithCancelCause(t.Context())
	sys, err := assemble(ctx, cfg, fail)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sys.handler)
	t.Cleanup(func() {
		server.Close()
		if err := sys.close(); err != nil {
			t.Error(err)
		}
		fail(nil)
	})
	g.url, g.keys = server.URL, sys.keys
	g.ok(g.keys.CreateAccount(t.Context(), other, "other"))
	return g
}

func (g *guardedServer) ok(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// user makes a user with a policy, none if it is empty, and returns a key.
func (g *guardedServer) user(account, name, policy string) aws.Credentials {
	g.t.Helper()
	_, err := g.keys.CreateUser(g.t.Context(), account, name)
	g.ok(err)
	if policy != "" {
		g.ok(g.keys.PutUserPolicy(g.t.Context(), account, name, "p", policy))
	}
	key, err := g.keys.CreateAccessKey(g.t.Context(), keyring.Whose{Account: account, User: name})
	g.ok(err)
	return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret.Reveal()}
}

// statement is a policy of one statement.
func statement(effect, action, resource, more string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":%q,"Resource":%q%s}]}`, effect, action, resource, more)
}

// call makes a call signed by who, unsigned if that is empty, and returns the status and the answer.
func (g *guardedServer) call(who aws.Credentials, operation, body string) (int, map[string]any) {
	g.t.Helper()
	resp := g.send(who, operation, body)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	g.ok(err)
	out := map[string]any{}
	if len(bytes.TrimSpace(answer)) > 0 {
		g.ok(json.Unmarshal(answer, &out))
	}
	return resp.StatusCode, out
}

// send makes a call and returns its answer, whose body is to be closed.
func (g *guardedServer) send(who aws.Credentials, operation, body string) *http.Response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.url, strings.NewReader(body))
	g.ok(err)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	if who.AccessKeyID != "" {
		sum := sha256.Sum256([]byte(body))
		g.ok(v4.NewSigner().SignHTTP(g.t.Context(), who, req, hex.EncodeToString(sum[:]), "kinesis", "eu-west-1", time.Now()))
	}
	resp, err := http.DefaultClient.Do(req)
	g.ok(err)
	return resp
}

// consumer registers a consumer of the stream mill and returns its ARN.
func (g *guardedServer) consumer(name string) string {
	g.t.Helper()
	out := g.allowed(g.root, "RegisterStreamConsumer", `{"StreamARN":"`+mill+`","ConsumerName":"`+name+`"}`)
	return fmt.Sprint(out["Consumer"].(map[string]any)["ConsumerARN"])
}

// allowed and denied make a call and expect it to be one or the other.
func (g *guardedServer) allowed(who aws.Credentials, operation, body string) map[string]any {
	g.t.Helper()
	status, out := g.call(who, operation, body)
	if status != http.StatusOK {
		g.t.Errorf("%s %s: %d %v; want success", operation, body, status, out)
	}
	return out
}

func (g *guardedServer) denied(who aws.Credentials, code, text, operation, body string) {
	g.t.Helper()
	status, out := g.call(who, operation, body)
	message := fmt.Sprint(out["message"])
	if status != http.StatusBadRequest || out["__type"] != code || !strings.Contains(message, text) {
		g.t.Errorf("%s %s: %d %v; want %s with %q", operation, body, status, out, code, text)
	}
}

// valid are inputs that pass validation, one an operation.
var valid = map[string]string{
	"AddTagsToStream":               `{"StreamName":"mill","Tags":{"a":"b"}}`,
	"CreateChannel":                 `{"ChannelName":"c","ServiceExecutionRoleARN":"arn:aws:iam::123456789012:role/r","StreamConfigurationList":[{"StreamARN":"` + mill + `","RecordConfiguration":{"RecordFormatType":"JSON"}}]}`,
	"CreateStream":                  `{"StreamName":"race","ShardCount":1,"Tags":{"a":"b"}}`,
	"DecreaseStreamRetentionPeriod": `{"StreamName":"mill","RetentionPeriodHours":24}`,
	"DeleteChannel":                 `{"ChannelARN":"` + race + `"}`,
	"DeleteResourcePolicy":          `{"ResourceARN":"` + mill + `"}`,
	"DeleteStream":                  `{"StreamName":"mill"}`,
	"DeregisterStreamConsumer":      `{"StreamARN":"` + mill + `","ConsumerName":"wheel"}`,
	"DescribeAccountSettings":       `{}`,
	"DescribeChannel":               `{"ChannelARN":"` + race + `"}`,
	"DescribeLimits":                `{}`,
	"DescribeStream":                `{"StreamName":"mill"}`,
	"DescribeStreamConsumer":        `{"ConsumerARN":"` + mill + `/consumer/wheel:1"}`,
	"DescribeStreamSummary":         `{"StreamARN":"` + mill + `"}`,
	"DisableEnhancedMonitoring":     `{"StreamName":"mill","ShardLevelMetrics":["ALL"]}`,
	"EnableEnhancedMonitoring":      `{"StreamName":"mill","ShardLevelMetrics":["IncomingBytes"]}`,
	"GetRecords":                    `{"ShardIterator":"AAAA"}`,
	"GetResourcePolicy":             `{"ResourceARN":"` + mill + `"}`,
	"GetShardIterator":              `{"StreamName":"mill","ShardId":"shardId-000000000000","ShardIteratorType":"LATEST"}`,
	"IncreaseStreamRetentionPeriod": `{"StreamName":"mill","RetentionPeriodHours":48}`,
	"ListChannels":                  `{}`,
	"ListShards":                    `{"StreamName":"mill"}`,
	"ListStreamConsumers":           `{"StreamARN":"` + mill + `"}`,
	"ListStreams":                   `{}`,
	"ListTagsForResource":           `{"ResourceARN":"` + mill + `"}`,
	"ListTagsForStream":             `{"StreamName":"mill"}`,
	"MergeShards":                   `{"StreamName":"mill","ShardToMerge":"shardId-000000000000","AdjacentShardToMerge":"shardId-000000000001"}`,
	"PutRecord":                     `{"StreamName":"mill","PartitionKey":"k","Data":"eA=="}`,
	"PutRecords":                    `{"StreamName":"mill","Records":[{"PartitionKey":"k","Data":"eA=="}]}`,
	"PutResourcePolicy":             `{"ResourceARN":"` + mill + `","Policy":"{}"}`,
	"RegisterStreamConsumer":        `{"StreamARN":"` + mill + `","ConsumerName":"wheel","Tags":{"a":"b"}}`,
	"RemoveTagsFromStream":          `{"StreamName":"mill","TagKeys":["a"]}`,
	"SplitShard":                    `{"StreamName":"mill","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"7"}`,
	"StartStreamEncryption":         `{"StreamName":"mill","EncryptionType":"KMS","KeyId":"alias/aws/kinesis"}`,
	"StopStreamEncryption":          `{"StreamName":"mill","EncryptionType":"KMS","KeyId":"alias/aws/kinesis"}`,
	"SubscribeToShard":              `{"ConsumerARN":"` + mill + `/consumer/wheel:1","ShardId":"shardId-000000000000","StartingPosition":{"Type":"LATEST"}}`,
	"TagResource":                   `{"ResourceARN":"` + mill + `","Tags":{"a":"b"}}`,
	"UntagResource":                 `{"ResourceARN":"` + mill + `","TagKeys":["a"]}`,
	"UpdateAccountSettings":         `{"MinimumThroughputBillingCommitment":{"Status":"ENABLED"}}`,
	"UpdateChannel":                 `{"ChannelARN":"` + race + `"}`,
	"UpdateMaxRecordSize":           `{"StreamARN":"` + mill + `","MaxRecordSizeInKiB":2048}`,
	"UpdateShardCount":              `{"StreamName":"mill","TargetShardCount":2,"ScalingType":"UNIFORM_SCALING"}`,
	"UpdateStreamMode":              `{"StreamARN":"` + mill + `","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`,
	"UpdateStreamWarmThroughput":    `{"StreamARN":"` + mill + `","WarmThroughputMiBps":1}`,

	"UpdateStreamRecordDistributionStrategy": `{"StreamARN":"` + mill + `","RecordDistributionStrategy":"AUTO"}`,
}

// TestEveryOperationIsGuarded calls every operation there is unsigned, with a key that is not known, with
// a wrong secret, and as a user whom nothing allows anything: none of them has an effect.
func TestEveryOperationIsGuarded(t *testing.T) {
	g := guard(t)
	g.allowed(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":1}`)
	nobody := g.user(home, "nobody", "")
	all := g.user(home, "all", statement("Allow", "kinesis:*", "*", ""))
	wrong := nobody
	wrong.SecretAccessKey += "x"
	built := 0
	for _, operation := range kinesis.OperationNames() {
		body, ok := valid[operation]
		if !ok {
			if status, out := g.call(g.root, operation, "{}"); status != http.StatusBadRequest || out["__type"] != "UnknownOperationException" {
				t.Errorf("%s is built, and this test has no input for it", operation)
			}
			continue
		}
		built++
		g.denied(aws.Credentials{}, "MissingAuthenticationTokenException", "Missing Authentication Token", operation, body)
		g.denied(aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "x"}, "UnrecognizedClientException", "The security token included in the request is invalid.", operation, body)
		g.denied(wrong, "InvalidSignatureException", "The request signature we calculated does not match", operation, body)
		g.denied(nobody, "AccessDeniedException",
			"User: arn:aws:iam::"+home+":user/nobody is not authorized to perform: kinesis:"+operation, operation, body)
		if status, out := g.call(all, operation, body); out["__type"] == "AccessDeniedException" {
			t.Errorf("%s as a user who may do everything: %d %v", operation, status, out)
		}
		g.call(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":1}`) // if it was deleted
	}
	if built != len(valid) {
		t.Errorf("%d operations are built, and there are inputs for %d", built, len(valid))
	}
}

func TestPolicies(t *testing.T) {
	g := guard(t)
	g.allowed(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":1,"Tags":{"team":"water"}}`)
	g.allowed(g.root, "CreateStream", `{"StreamName":"race","ShardCount":1}`)
	writer := g.user(home, "writer", statement("Allow", "kinesis:Put*", mill, ""))
	put := func(stream string) string {
		return fmt.Sprintf(`{"StreamName":%q,"PartitionKey":"k","Data":"eA=="}`, stream)
	}
	g.allowed(writer, "PutRecord", put("mill"))
	g.denied(writer, "AccessDeniedException", "kinesis:PutRecord on resource: arn:aws:kinesis:eu-west-1:"+home+":stream/race because no identity-based policy allows", "PutRecord", put("race"))
	g.denied(writer, "AccessDeniedException", "kinesis:DescribeStream", "DescribeStream", `{"StreamName":"mill"}`)

	// An ARN that is written in an odd way is the stream's all the same.
	all := g.user(home, "all", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"kinesis:*","Resource":"`+mill+`"}]}`)
	g.denied(all, "AccessDeniedException", "with an explicit deny in an identity-based policy", "DescribeStreamSummary", `{"StreamName":"mill"}`)
	odd := "arn:aws:x:kinesis:eu-west-1:" + home + ":stream/mill"
	g.denied(all, "AccessDeniedException", "explicit deny", "DescribeStreamSummary", `{"StreamARN":"`+odd+`"}`)
	g.denied(all, "AccessDeniedException", "explicit deny", "GetResourcePolicy", `{"ResourceARN":"`+odd+`"}`)
	g.allowed(all, "DescribeStreamSummary", `{"StreamName":"race"}`)

	// Iterators and page tokens are of their streams.
	reader := g.user(home, "reader", statement("Allow", "kinesis:Get*", "arn:aws:kinesis:*:*:stream/race", ""))
	iterator := func(who aws.Credentials, stream string) string {
		return fmt.Sprint(g.allowed(who, "GetShardIterator", `{"StreamName":"`+stream+`","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)["ShardIterator"])
	}
	g.allowed(reader, "GetRecords", `{"ShardIterator":"`+iterator(reader, "race")+`"}`)
	g.denied(reader, "AccessDeniedException", "stream/mill", "GetRecords", `{"ShardIterator":"`+iterator(g.root, "mill")+`"}`)

	// Conditions see tags of the stream and of the request.
	tagged := g.user(home, "tagged", statement("Allow", "kinesis:*", "*", `,"Condition":{"StringEquals":{"aws:ResourceTag/team":"water"}}`))
	g.allowed(tagged, "ListShards", `{"StreamName":"mill"}`)
	g.denied(tagged, "AccessDeniedException", "", "ListShards", `{"StreamName":"race"}`)
	maker := g.user(home, "maker", statement("Allow", "kinesis:CreateStream", "*", ""))
	g.allowed(maker, "CreateStream", `{"StreamName":"plain","ShardCount":1}`)
	g.denied(maker, "AccessDeniedException", "kinesis:AddTagsToStream", "CreateStream", `{"StreamName":"dyed","ShardCount":1,"Tags":{"a":"b"}}`)

	// What is changed holds at once: a policy, and a key.
	g.ok(g.keys.PutUserPolicy(t.Context(), home, "writer", "p", statement("Allow", "kinesis:Put*", "*", "")))
	g.allowed(writer, "PutRecord", put("race"))
	g.ok(g.keys.SetAccessKeyActive(t.Context(), keyring.Whose{Account: home, User: "writer"}, writer.AccessKeyID, false))
	g.denied(writer, "UnrecognizedClientException", "", "PutRecord", put("race"))
}

// TestCrossAccount asks both sides: the caller's account and the stream's.
func TestCrossAccount(t *testing.T) {
	g := guard(t)
	g.allowed(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":1}`)
	guest := g.user(other, "guest", statement("Allow", "kinesis:*", mill, ""))
	stranger := g.user(other, "stranger", "")
	put := `{"StreamARN":"` + mill + `","PartitionKey":"k","Data":"eA=="}`
	share := func(effect, principal, action string) string {
		return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Principal":{"AWS":%q},"Action":%q,"Resource":%q}]}`, effect, principal, action, mill)
	}
	policy := func(document string) {
		t.Helper()
		body, err := json.Marshal(map[string]string{"ResourceARN": mill, "Policy": document})
		g.ok(err)
		g.allowed(g.root, "PutResourcePolicy", string(body))
	}
	g.denied(guest, "AccessDeniedException", "because no resource-based policy allows", "PutRecord", put)
	g.denied(guest, "AccessDeniedException", "", "DescribeStreamSummary", `{"StreamARN":"`+mill+`"}`)

	policy(share("Allow", other, "kinesis:PutRecord"))
	out := g.allowed(guest, "PutRecord", put)
	if out["ShardId"] != "shardId-000000000000" {
		t.Errorf("PutRecord answered %v", out)
	}
	g.denied(stranger, "AccessDeniedException", "because no identity-based policy allows", "PutRecord", put)
	g.denied(guest, "AccessDeniedException", "", "PutRecords", `{"StreamARN":"`+mill+`","Records":[{"PartitionKey":"k","Data":"eA=="}]}`)
	// Without the ARN it is the guest's own account, where there is no such stream.
	g.denied(guest, "AccessDeniedException", "arn:aws:kinesis:eu-west-1:"+other+":stream/mill", "PutRecord", `{"StreamName":"mill","PartitionKey":"k","Data":"eA=="}`)
	// The record is in the owner's stream.
	it := g.allowed(g.root, "GetShardIterator", `{"StreamName":"mill","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)["ShardIterator"]
	records, _ := g.allowed(g.root, "GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, it))["Records"].([]any)
	if len(records) != 1 {
		t.Errorf("the owner reads %d records, want the guest's", len(records))
	}

	// A policy that denies everybody everything can still be taken away, by the owner's root alone.
	policy(share("Deny", "*", "kinesis:*"))
	g.denied(g.root, "AccessDeniedException", "with an explicit deny in a resource-based policy", "DescribeStream", `{"StreamName":"mill"}`)
	admin := g.user(home, "admin", statement("Allow", "*", "*", ""))
	g.denied(admin, "AccessDeniedException", "explicit deny", "DeleteResourcePolicy", `{"ResourceARN":"`+mill+`"}`)
	g.allowed(g.root, "DeleteResourcePolicy", `{"ResourceARN":"`+mill+`"}`)
	g.allowed(g.root, "DescribeStream", `{"StreamName":"mill"}`)
	if status, out := g.call(g.root, "PutResourcePolicy", `{"ResourceARN":"`+mill+`","Policy":"{\"Statement\":[]}"}`); status != 400 || out["__type"] != "InvalidArgumentException" {
		t.Errorf("a policy without statements: %d %v", status, out)
	}
}

// TestRoles becomes a role, does what the role may, and loses it with the role's policy and sessions.
func TestRoles(t *testing.T) {
	g := guard(t)
	ctx := t.Context()
	g.allowed(g.root, "CreateStream", `{"StreamName":"mill","ShardCount":1}`)
	_, err := g.keys.CreateRole(ctx, home, "reader", keyring.RoleSpec{Trust: `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + other + `:user/guest"},"Action":"sts:AssumeRole"}]}`})
	g.ok(err)
	g.ok(g.keys.PutRolePolicy(ctx, home, "reader", "p", statement("Allow", "kinesis:Describe*", "*", "")))
	guest := g.user(other, "guest", statement("Allow", "sts:AssumeRole", "arn:aws:iam::"+home+":role/reader", ""))
	stranger := g.user(other, "stranger", statement("Allow", "sts:AssumeRole", "*", ""))
	assume := func(who aws.Credentials, extra string) (int, string) {
		t.Helper()
		body := "Action=AssumeRole&Version=2011-06-15&RoleSessionName=night&RoleArn=arn:aws:iam::" + home + ":role/reader" + extra
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, strings.NewReader(body))
		g.ok(err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		sum := sha256.Sum256([]byte(body))
		g.ok(v4.NewSigner().SignHTTP(ctx, who, req, hex.EncodeToString(sum[:]), "sts", "eu-west-1", time.Now()))
		resp, err := http.DefaultClient.Do(req)
		g.ok(err)
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		g.ok(err)
		return resp.StatusCode, string(answer)
	}
	element := func(xml, name string) string {
		_, rest, _ := strings.Cut(xml, "<"+name+">")
		value, _, _ := strings.Cut(rest, "</")
		return value
	}
	session := func(extra string) aws.Credentials {
		t.Helper()
		status, answer := assume(guest, extra)
		if status != http.StatusOK {
			t.Fatalf("AssumeRole: %d %s", status, answer)
		}
		return aws.Credentials{AccessKeyID: element(answer, "AccessKeyId"), SecretAccessKey: element(answer, "SecretAccessKey"), SessionToken: element(answer, "SessionToken")}
	}
	for _, who := range []aws.Credentials{stranger, g.root} {
		if status, answer := assume(who, ""); status != http.StatusForbidden || !strings.Contains(answer, "<Code>AccessDenied</Code>") {
			t.Errorf("AssumeRole of a stranger: %d %s", status, answer)
		}
	}
	reader := session("")
	g.allowed(reader, "DescribeStream", `{"StreamName":"mill"}`)
	g.denied(reader, "AccessDeniedException", "User: arn:aws:sts::"+home+":assumed-role/reader/night is not authorized to perform: kinesis:DeleteStream", "DeleteStream", `{"StreamName":"mill"}`)
	narrow := session("&Policy=" + strings.ReplaceAll(statement("Allow", "kinesis:DescribeLimits", "*", ""), `"`, "%22"))
	g.allowed(narrow, "DescribeLimits", `{}`)
	g.denied(narrow, "AccessDeniedException", "", "DescribeStream", `{"StreamName":"mill"}`)
	stolen := reader
	stolen.SessionToken = narrow.SessionToken
	g.denied(stolen, "UnrecognizedClientException", "", "DescribeStream", `{"StreamName":"mill"}`)

	g.ok(g.keys.EndRoleSessions(ctx, home, "reader"))
	if status, out := g.call(reader, "DescribeStream", `{"StreamName":"mill"}`); status != http.StatusBadRequest || out["__type"] == nil {
		t.Errorf("a session that was ended: %d %v", status, out)
	}
}
