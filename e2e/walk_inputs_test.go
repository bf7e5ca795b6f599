package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	headrace "github.com/headrace/headrace/internal/server"
)

// account is the one that serve makes at its first start.
const account = "000000000000"

// furnish makes, as root, everything that somebody could do something to, and the callers.
func (w *walk) furnish() {
	w.t.Helper()
	const may = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":%q,"Resource":"*"}]}`
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:user/alice"},"Action":"sts:AssumeRole"}]}`
	policy := fmt.Sprintf(may, "kinesis:Describe*")
	w.administer("CreateAccount", map[string]any{"Account": "111122223333", "AccountName": "other"})
	users := map[string]aws.Credentials{}
	for _, name := range []string{"alice", "idle", "disabled", "rotates", "switches", "loses"} {
		w.administer("CreateUser", map[string]any{"UserName": name})
		made := w.administer("CreateAccessKey", map[string]any{"UserName": name})["AccessKey"].(map[string]any)
		users[name] = aws.Credentials{AccessKeyID: made["AccessKeyId"].(string), SecretAccessKey: made["SecretAccessKey"].(string)}
	}
	w.administer("CreateUser", map[string]any{"UserName": "leaves"})
	w.administer("PutUserPolicy", map[string]any{"UserName": "alice", "PolicyName": "p", "PolicyDocument": policy})
	w.administer("UpdateAccessKey", map[string]any{"AccessKeyId": users["disabled"].AccessKeyID, "Status": "Inactive"})
	for _, name := range []string{"reader", "leaves"} {
		w.administer("CreateRole", map[string]any{"RoleName": name, "TrustPolicy": trust})
	}
	w.administer("PutRolePolicy", map[string]any{"RoleName": "reader", "PolicyName": "p", "PolicyDocument": policy})
	w.administer("PutOpenIDConnectProvider", map[string]any{"Url": "https://idp.example", "Audiences": []string{"a"}, "KeysUrl": "https://idp.example/keys"})
	w.kinesis("UpdateAccountSettings", map[string]any{"MinimumThroughputBillingCommitment": map[string]any{"Status": "ENABLED"}})
	w.alice = users["alice"]
	wrong, stolen := users["idle"], w.root
	wrong.SecretAccessKey += "x"
	stolen.SecretAccessKey = users["idle"].SecretAccessKey
	w.callers = []caller{
		{"nobody", aws.Credentials{}, "MissingAuthenticationTokenException", "MissingAuthenticationToken"},
		{"a key of nobody", aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "x"}, "UnrecognizedClientException", "InvalidClientTokenId"},
		{"a disabled key", users["disabled"], "UnrecognizedClientException", "InvalidClientTokenId"},
		{"a user with a wrong secret", wrong, "InvalidSignatureException", "SignatureDoesNotMatch"},
		{"root with a user's secret", stolen, "InvalidSignatureException", "SignatureDoesNotMatch"},
		{"a user whom nothing allows anything", users["idle"], "AccessDeniedException", "AccessDenied"},
	}
	w.inputs = map[string]map[string]map[string]any{
		"kinesis":  w.streamCalls("mill"),
		"sts":      tokenCalls(),
		"headrace": accessCalls(policy, trust, users),
	}
}

// kinesis makes a call as root, which must succeed.
func (w *walk) kinesis(operation string, in map[string]any) map[string]any {
	w.t.Helper()
	return w.must(headrace.Route{Method: "POST", Path: "/", Service: "kinesis", Operation: operation, Target: target + operation}, typeJSON, in)
}

// administer makes one of the calls below /_headrace/access/ as root, which must succeed.
func (w *walk) administer(operation string, in map[string]any) map[string]any {
	w.t.Helper()
	return w.must(headrace.Route{Method: "POST", Path: "/_headrace/access/" + operation, Service: "headrace", Operation: operation}, "application/json", in)
}

func (w *walk) must(r headrace.Route, contentType string, in map[string]any) map[string]any {
	w.t.Helper()
	got := w.call(w.root, r, contentType, in)
	if got.status != http.StatusOK {
		w.t.Fatalf("%s by root: %v", r.Operation, got)
	}
	out := map[string]any{}
	if len(got.body) > 0 {
		w.ok(json.Unmarshal(got.body, &out))
	}
	return out
}

// state is everything that root sees of what a call can change, but for when keys were last used.
func (w *walk) state() string {
	w.t.Helper()
	mill, nothing := map[string]any{"StreamName": "mill"}, map[string]any{}
	seen := []any{
		w.kinesis("ListStreams", nothing), w.kinesis("DescribeLimits", nothing), w.kinesis("DescribeStream", mill),
		w.kinesis("DescribeStreamSummary", mill), w.kinesis("ListTagsForStream", mill),
		w.kinesis("ListStreamConsumers", map[string]any{"StreamARN": arnOf("mill")}),
		w.kinesis("DescribeAccountSettings", nothing), w.kinesis("DescribeStreamSummary", map[string]any{"StreamName": "mill-warm"}),
		w.kinesis("GetResourcePolicy", map[string]any{"ResourceARN": arnOf("mill")}),
		w.administer("GetAccess", nothing),
	}
	for shard := range 2 {
		iterator := w.iterator("mill", fmt.Sprintf("shardId-%012d", shard))
		seen = append(seen, w.kinesis("GetRecords", map[string]any{"ShardIterator": iterator})["Records"])
	}
	var lines []string
	for _, one := range seen {
		line, err := json.Marshal(one)
		w.ok(err)
		lines = append(lines, string(line))
	}
	return regexp.MustCompile(`,?"LastUsedDate":"[^"]*"`).ReplaceAllString(strings.Join(lines, "\n"), "")
}

func (w *walk) iterator(stream, shard string) string {
	w.t.Helper()
	out := w.kinesis("GetShardIterator", map[string]any{"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"})
	return out["ShardIterator"].(string)
}

func arnOf(stream string) string { return "arn:aws:kinesis:us-east-1:" + account + ":stream/" + stream }

// streamCalls makes a stream with all that a stream may have, and returns an input for every operation
// that works on it.
func (w *walk) streamCalls(stream string) map[string]map[string]any {
	w.t.Helper()
	name, arn := map[string]any{"StreamName": stream}, map[string]any{"ResourceARN": arnOf(stream)}
	with := func(base map[string]any, more ...any) map[string]any {
		out := map[string]any{}
		for k, v := range base {
			out[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			out[more[i].(string)] = more[i+1]
		}
		return out
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kinesis:%s","Resource":"` + arnOf(stream) + `"}]}`
	tags := map[string]string{"team": "water"}
	w.kinesis("CreateStream", with(name, "ShardCount", 2, "Tags", tags))
	w.kinesis("IncreaseStreamRetentionPeriod", with(name, "RetentionPeriodHours", 48))
	w.kinesis("PutResourcePolicy", with(arn, "Policy", fmt.Sprintf(policy, "PutRecord")))
	for _, key := range []string{"0", "340282366920938463463374607431768211455"} {
		w.kinesis("PutRecord", with(name, "PartitionKey", "k", "ExplicitHashKey", key, "Data", []byte("first")))
	}
	made := w.kinesis("RegisterStreamConsumer", map[string]any{"StreamARN": arnOf(stream), "ConsumerName": "wheel"})
	consumer := made["Consumer"].(map[string]any)["ConsumerARN"]
	// Warm throughput is for streams on demand.
	w.kinesis("CreateStream", map[string]any{"StreamName": stream + "-warm", "StreamModeDetails": map[string]any{"StreamMode": "ON_DEMAND"}})
	channel := map[string]any{"ChannelARN": "arn:aws:kinesis:us-east-1:" + account + ":channel/race"}
	record := map[string]any{"PartitionKey": "k", "Data": []byte("x")}
	const first, second = "shardId-000000000000", "shardId-000000000001"
	return map[string]map[string]any{
		"AddTagsToStream": with(name, "Tags", map[string]string{"a": "b"}),
		"CreateChannel": {
			"ChannelName": "race", "ServiceExecutionRoleARN": "arn:aws:iam::" + account + ":role/reader",
			"StreamConfigurationList": []any{map[string]any{"StreamARN": arnOf(stream), "RecordConfiguration": map[string]any{"RecordFormatType": "JSON"}}},
		},
		"CreateStream":                  {"StreamName": stream + "-race", "ShardCount": 1, "Tags": tags},
		"DecreaseStreamRetentionPeriod": with(name, "RetentionPeriodHours", 24),
		"DeleteChannel":                 channel,
		"DeleteResourcePolicy":          arn,
		"DeleteStream":                  with(name, "EnforceConsumerDeletion", true),
		"DeregisterStreamConsumer":      {"ConsumerARN": consumer},
		"DescribeAccountSettings":       {},
		"DescribeChannel":               channel,
		"DescribeLimits":                {},
		"DescribeStream":                name,
		"DescribeStreamConsumer":        {"ConsumerARN": consumer},
		"DescribeStreamSummary":         {"StreamARN": arnOf(stream)},
		"DisableEnhancedMonitoring":     with(name, "ShardLevelMetrics", []string{"ALL"}),
		"EnableEnhancedMonitoring":      with(name, "ShardLevelMetrics", []string{"ALL"}),
		"GetRecords":                    {"ShardIterator": w.iterator(stream, first)},
		"GetResourcePolicy":             arn,
		"GetShardIterator":              with(name, "ShardId", first, "ShardIteratorType", "LATEST"),
		"IncreaseStreamRetentionPeriod": with(name, "RetentionPeriodHours", 72),
		"ListChannels":                  {},
		"ListShards":                    name,
		"ListStreamConsumers":           {"StreamARN": arnOf(stream)},
		"ListStreams":                   {},
		"ListTagsForResource":           arn,
		"ListTagsForStream":             name,
		"MergeShards":                   with(name, "ShardToMerge", first, "AdjacentShardToMerge", second),
		"PutRecord":                     with(name, "PartitionKey", "k", "Data", []byte("x")),
		"PutRecords":                    with(name, "Records", []any{record}),
		"PutResourcePolicy":             with(arn, "Policy", fmt.Sprintf(policy, "GetRecords")),
		"RegisterStreamConsumer":        {"StreamARN": arnOf(stream), "ConsumerName": "pond", "Tags": tags},
		"RemoveTagsFromStream":          with(name, "TagKeys", []string{"team"}),
		"SplitShard":                    with(name, "ShardToSplit", first, "NewStartingHashKey", "7"),
		"StartStreamEncryption":         with(name, "EncryptionType", "KMS", "KeyId", "alias/aws/kinesis"),
		"StopStreamEncryption":          with(name, "EncryptionType", "KMS", "KeyId", "alias/aws/kinesis"),
		"SubscribeToShard":              {"ConsumerARN": consumer, "ShardId": first, "StartingPosition": map[string]string{"Type": "TRIM_HORIZON"}},
		"TagResource":                   with(arn, "Tags", map[string]string{"a": "b"}),
		"UntagResource":                 with(arn, "TagKeys", []string{"team"}),
		"UpdateAccountSettings":         {"MinimumThroughputBillingCommitment": map[string]any{"Status": "DISABLED"}},
		"UpdateChannel":                 channel,
		"UpdateMaxRecordSize":           {"StreamARN": arnOf(stream), "MaxRecordSizeInKiB": 2048},
		"UpdateShardCount":              with(name, "TargetShardCount", 4, "ScalingType", "UNIFORM_SCALING"),
		"UpdateStreamMode":              {"StreamARN": arnOf(stream), "StreamModeDetails": map[string]any{"StreamMode": "ON_DEMAND"}},
		"UpdateStreamWarmThroughput":    {"StreamName": stream + "-warm", "WarmThroughputMiBps": 5},

		"UpdateStreamRecordDistributionStrategy": {"StreamARN": arnOf(stream + "-warm"), "RecordDistributionStrategy": "AUTO"},
	}
}

// tokenCalls returns an input for every operation of the Security Token Service that is built.
func tokenCalls() map[string]map[string]any {
	role := "arn:aws:iam::" + account + ":role/reader"
	return map[string]map[string]any{
		"AssumeRole":                {"RoleArn": role, "RoleSessionName": "night"},
		"AssumeRoleWithWebIdentity": {"RoleArn": role, "RoleSessionName": "night", "WebIdentityToken": "header.claims.signature"},
		"GetCallerIdentity":         {},
		"GetSessionToken":           {},
	}
}

// form is a call in the query protocol. Those here have texts alone.
func form(r headrace.Route, in map[string]any) string {
	values := url.Values{"Action": {r.Operation}, "Version": {r.Version}}
	for k, v := range in {
		values.Set(k, fmt.Sprint(v))
	}
	return values.Encode()
}

// accessCalls returns an input for every call that administers access. All of them work, one after the
// other in the order of their names.
func accessCalls(policy, trust string, users map[string]aws.Credentials) map[string]map[string]any {
	all := map[string]map[string]any{
		"CreateAccount":               {"Account": "999999999999", "AccountName": "more"},
		"UpdateAccount":               {"AccountName": "renamed"},
		"CreateAccessKey":             {"UserName": "idle"},
		"RotateAccessKey":             {"UserName": "rotates"},
		"UpdateAccessKey":             {"AccessKeyId": users["switches"].AccessKeyID, "Status": "Inactive"},
		"DeleteAccessKey":             {"AccessKeyId": users["loses"].AccessKeyID},
		"EndSessions":                 {"UserName": "alice"},
		"GetAccess":                   {},
		"PutOpenIDConnectProvider":    {"Url": "https://other.example", "Audiences": []string{"a"}, "KeysUrl": "https://other.example/keys"},
		"DeleteOpenIDConnectProvider": {"Url": "https://idp.example"},
	}
	for _, kind := range []string{"User", "Role"} {
		named := func(name string, more ...any) map[string]any {
			out := map[string]any{kind + "Name": name}
			for i := 0; i < len(more); i += 2 {
				out[more[i].(string)] = more[i+1]
			}
			return out
		}
		has := map[string]string{"User": "alice", "Role": "reader"}[kind]
		all["Create"+kind] = named("mallory")
		all["Delete"+kind] = named("leaves")
		all["Put"+kind+"Policy"] = named(has, "PolicyName", "q", "PolicyDocument", policy)
		all["Delete"+kind+"Policy"] = named(has, "PolicyName", "p")
		all["Replace"+kind+"Policies"] = named(has, "Policies", map[string]string{"r": policy})
	}
	all["CreateRole"]["TrustPolicy"] = trust
	all["UpdateRole"] = map[string]any{"RoleName": "reader", "TrustPolicy": trust, "Description": "changed"}
	return all
}
