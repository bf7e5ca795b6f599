package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/headrace/headrace/internal/admin"
	"github.com/headrace/headrace/internal/auth/keyring"
)

// administer makes one of the calls that say who may call.
func administer(t *testing.T, url string, who aws.Credentials, operation string, c admin.Call) (int, *admin.Result, *admin.Error) {
	t.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+admin.Path+operation, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(t.Context(), who, req, hex.EncodeToString(sum[:]), admin.SigningName, "eu-west-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := client(t, "HTTP/1.1").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	result, refusal := new(admin.Result), new(admin.Error)
	if resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, result)
	} else {
		err = json.Unmarshal(text, refusal)
	}
	if err != nil {
		t.Fatalf("%s: %s: %v", operation, text, err)
	}
	return resp.StatusCode, result, refusal
}

// made are the credentials of a key that was made.
func made(r *admin.Result) aws.Credentials {
	return aws.Credentials{AccessKeyID: r.AccessKey.AccessKeyID, SecretAccessKey: r.AccessKey.SecretAccessKey}
}

// TestAdministration makes a user with a policy over the port, and calls as that user.
func TestAdministration(t *testing.T) {
	g := guard(t)
	f := func(who aws.Credentials, operation string, c admin.Call, want string) *admin.Result {
		t.Helper()
		_, result, refusal := administer(t, g.url, who, operation, c)
		if refusal.Code != want {
			t.Errorf("%s: %v, want %q", operation, refusal, want)
		}
		return result
	}
	f(g.root, admin.CreateUser, admin.Call{UserName: "miller"}, "")
	miller := made(f(g.root, admin.CreateAccessKey, admin.Call{UserName: "miller"}, ""))
	f(miller, admin.GetAccess, admin.Call{}, "AccessDenied")
	if status, answer := g.call(miller, "ListStreams", "{}"); status != 400 || answer["__type"] != "AccessDeniedException" {
		t.Errorf("before the policy: %d %v", status, answer)
	}
	f(g.root, admin.PutUserPolicy, admin.Call{UserName: "miller", PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["kinesis:ListStreams","headrace:*"],"Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.1"}}},
		{"Effect":"Deny","Action":"headrace:DeleteUser","Resource":"*"}]}`}, "")
	if status, answer := g.call(miller, "ListStreams", "{}"); status != 200 {
		t.Errorf("after it: %d %v", status, answer)
	}
	f(miller, admin.CreateUser, admin.Call{UserName: "apprentice"}, "")
	f(miller, admin.DeleteUser, admin.Call{UserName: "apprentice"}, "AccessDenied")
	f(miller, admin.CreateAccessKey, admin.Call{}, "AccessDenied")
	f(miller, admin.GetAccess, admin.Call{Account: other}, "AccessDenied")
	f(g.root, admin.PutUserPolicy, admin.Call{UserName: "miller", PolicyName: "p", PolicyDocument: `{"Statement":[]}`}, "MalformedPolicyDocument")
	f(g.root, admin.UpdateAccessKey, admin.Call{AccessKeyID: miller.AccessKeyID, Status: admin.Inactive}, "")
	f(miller, admin.GetAccess, admin.Call{}, "InvalidClientTokenId")
	miller.SecretAccessKey = "another"
	f(miller, admin.GetAccess, admin.Call{}, "InvalidClientTokenId")
	wrong := g.root
	wrong.SecretAccessKey = "another"
	f(wrong, admin.GetAccess, admin.Call{}, "SignatureDoesNotMatch")
	if there := f(g.root, admin.GetAccess, admin.Call{}, "").Accounts; len(there) != 2 {
		t.Errorf("the operator sees %v", there)
	}
}

// TestPolicySizes keeps policies of every size that IAM keeps, lets them decide, and refuses larger ones
// with IAM's errors.
func TestPolicySizes(t *testing.T) {
	g := guard(t)
	f := func(operation string, c admin.Call, code, message string) {
		t.Helper()
		if _, _, refusal := administer(t, g.url, g.root, operation, c); refusal.Code != code || refusal.Message != message {
			t.Errorf("%s: %v, want %s: %s", operation, refusal, code, message)
		}
	}
	sized := func(size int) string {
		document := statement("Allow", "kinesis:ListStreams", "*", `,"Sid":"`)
		document = strings.Replace(document, `"Sid":"`, `"Sid":"`+strings.Repeat("a", size-len(document)-1)+`"`, 1)
		if len(document) != size {
			t.Fatalf("made %d characters, want %d", len(document), size)
		}
		return document
	}
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + home + `"},"Action":"sts:AssumeRole"}]}`
	f(admin.CreateUser, admin.Call{UserName: "miller"}, "", "")
	f(admin.PutUserPolicy, admin.Call{UserName: "miller", PolicyName: "p", PolicyDocument: sized(2048)}, "", "")
	f(admin.PutUserPolicy, admin.Call{UserName: "miller", PolicyName: "p", PolicyDocument: sized(2049)}, "LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user miller")
	f(admin.CreateRole, admin.Call{RoleName: "grinder", TrustPolicy: trust}, "", "")
	f(admin.PutRolePolicy, admin.Call{RoleName: "grinder", PolicyName: "p", PolicyDocument: sized(10240)}, "", "")
	f(admin.PutRolePolicy, admin.Call{RoleName: "grinder", PolicyName: "p", PolicyDocument: sized(10241)}, "LimitExceeded", "Maximum policy size of 10240 bytes exceeded for role grinder")
	f(admin.UpdateRole, admin.Call{RoleName: "grinder", TrustPolicy: strings.Replace(trust, home, home+`","Sid":"`+strings.Repeat("a", 2048), 1)}, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048")

	role, err := g.keys.Role(home, "grinder")
	g.ok(err)
	issued, err := g.keys.Issue(keyring.Grant{Principal: role.ID, Kind: keyring.RoleCaller, Account: home, Name: role.Name, SessionName: "s", Lifetime: time.Hour, Session: keyring.Session{Issued: time.Now()}})
	g.ok(err)
	session := aws.Credentials{AccessKeyID: issued.AccessKeyID, SecretAccessKey: issued.Secret.Reveal(), SessionToken: issued.Token}
	if status, answer := g.call(session, "ListStreams", "{}"); status != 200 {
		t.Errorf("the role's large policy does not decide: %d %v", status, answer)
	}
}

// TestAdministrationNeedsSignatures calls servers that believe everybody.
func TestAdministrationNeedsSignatures(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"any credentials": nil,
		"fixed keys":      func(c *Config) { c.Access, c.Keys = Access{}, ring{} },
	} {
		r := start(t, change)
		status, _, refusal := administer(t, r.url, aws.Credentials{AccessKeyID: "000000000000", SecretAccessKey: "x"}, admin.CreateUser, admin.Call{UserName: "mallory"})
		if status != http.StatusForbidden || refusal.Code != "AccessDenied" {
			t.Errorf("%s: %d %v", name, status, refusal)
		}
	}
}

// TestAdministrationIsWrittenDown looks into the audit log, for what was done and for secrets.
func TestAdministrationIsWrittenDown(t *testing.T) {
	var shown []shownKey
	var dir string
	r, read := audited(t, func(c *Config) {
		c.Access = Access{}
		showing(&shown)(c)
		dir = c.Audit.Directory
	})
	root := aws.Credentials{AccessKeyID: shown[0].id, SecretAccessKey: shown[0].secret}
	administer(t, r.url, root, admin.CreateUser, admin.Call{UserName: "alice"})
	_, result, _ := administer(t, r.url, root, admin.CreateAccessKey, admin.Call{UserName: "alice"})
	alice := made(result)
	administer(t, r.url, root, admin.DeleteUser, admin.Call{UserName: "alice"})
	administer(t, r.url, alice, admin.GetAccess, admin.Call{})
	administer(t, r.url, aws.Credentials{AccessKeyID: alice.AccessKeyID, SecretAccessKey: "x"}, admin.GetAccess, admin.Call{})
	events := read("calls", 4)
	f := func(event map[string]any, path string, want any) {
		t.Helper()
		if got := member(event, path); got != want {
			t.Errorf("%s: %s is %v, want %v", event["eventName"], path, got, want)
		}
	}
	f(events[0], "eventName", "CreateUser")
	f(events[0], "eventSource", "headrace")
	f(events[0], "awsRegion", "eu-west-1")
	f(events[0], "userIdentity.type", "Root")
	f(events[0], "userIdentity.arn", "arn:aws:iam::000000000000:root")
	f(events[0], "userIdentity.accessKeyId", root.AccessKeyID)
	f(events[0], "requestParameters.userName", "alice")
	f(events[0], "recipientAccountId", "000000000000")
	f(events[0], "readOnly", false)
	f(events[1], "responseElements.accessKey.accessKeyId", alice.AccessKeyID)
	f(events[1], "responseElements.accessKey.secretAccessKey", "HIDDEN_DUE_TO_SECURITY_REASONS")
	f(events[2], "errorCode", "DeleteConflict")
	f(events[2], "errorMessage", "Cannot delete entity, must delete access keys first.")
	f(events[3], "eventName", "GetAccess")
	f(events[3], "errorCode", "AccessDenied")
	f(events[3], "userIdentity.type", "IAMUser")
	f(events[3], "userIdentity.userName", "alice")
	f(events[3], "readOnly", true)
	refused := read("refused", 1)
	f(refused[0], "userIdentity.type", "Unknown")
	f(refused[0], "userIdentity.accessKeyId", alice.AccessKeyID)
	f(refused[0], "errorCode", "SignatureDoesNotMatch")
	f(refused[0], "requestParameters", nil)

	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{root.SecretAccessKey, alice.SecretAccessKey} {
			if strings.Contains(string(text), s) || strings.Contains(r.log.String(), s) {
				t.Errorf("a secret is in %s, or in the log", file)
			}
		}
	}
	if _, text := r.get("/metrics"); !strings.Contains(text, `operation="CreateAccessKey",service="headrace"`) && !strings.Contains(text, `service="headrace",operation="CreateAccessKey"`) {
		t.Error("the metrics do not count the calls")
	}
}
