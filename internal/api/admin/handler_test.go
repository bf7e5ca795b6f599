package admin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/headrace/headrace/internal/admin"
	api "github.com/headrace/headrace/internal/api/admin"
	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	coordinatormem "github.com/headrace/headrace/internal/coordinator/mem"
	"github.com/headrace/headrace/internal/secret"
)

const (
	acct  = "111122223333"
	other = "444455556666"
	doc   = `{"Version":"2012-10-17","Statement":[]}`
)

// world is the API behind a port, with signatures verified.
type world struct {
	t     *testing.T
	keys  *keyring.Keyring
	clock *clock.Manual
	cfg   api.Config
	url   string
	root  *keyring.NewKey
	creds map[string]aws.Credentials // by access key

	mu    sync.Mutex
	done  []api.Event
	fault error
}

// ring gives the verifier the keyring's keys.
type ring struct{ *keyring.Keyring }

func (r ring) Lookup(_ context.Context, accessKeyID, token string) (sigv4.Key, error) {
	cred, err := r.Keyring.Lookup(accessKeyID, token)
	switch {
	case errors.Is(err, keyring.ErrExpired):
		return sigv4.Key{}, sigv4.ErrExpired
	case err != nil:
		return sigv4.Key{}, sigv4.ErrNoKey
	}
	return sigv4.Key{Secret: cred.Secret, Account: cred.Caller.Account, Principal: cred.Caller.ARN, Token: secret.NewText(token), Expires: cred.Expires, Active: true}, nil
}

func newWorld(t *testing.T, change ...func(*api.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(time.Unix(1795428000, 0)), creds: map[string]aws.Credentials{}}
	var err error
	w.keys, err = keyring.Open(t.Context(), keyring.Config{Coordinator: coordinatormem.New(), Key: secret.NewKey(), Clock: w.clock})
	w.ok(err)
	t.Cleanup(func() { w.keys.Close() })
	w.root, err = w.keys.Bootstrap(t.Context(), acct, "main")
	w.ok(err)
	w.know(w.root.ID, w.root.Secret.Reveal(), "")
	w.cfg = api.Config{
		Keys: w.keys, Authenticate: sigv4.NewVerifier(ring{w.keys}, w.clock), Clock: w.clock,
		Failed: func(_ api.Event, err error) { w.mu.Lock(); w.fault = err; w.mu.Unlock() },
		Done:   func(e api.Event) { w.mu.Lock(); w.done = append(w.done, e); w.mu.Unlock() },
	}
	for _, f := range change {
		f(&w.cfg)
	}
	server := httptest.NewServer(api.NewHandler(w.cfg))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// know lets requests be signed with a key.
func (w *world) know(id, secretKey, token string) string {
	w.creds[id] = aws.Credentials{AccessKeyID: id, SecretAccessKey: secretKey, SessionToken: token}
	return id
}

// sign signs a request for a service with one of the keys, as the SDK does.
func (w *world) sign(r *http.Request, key, body, service string) {
	w.t.Helper()
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	w.ok(v4.NewSigner().SignHTTP(w.t.Context(), w.creds[key], r, hash, service, "eu-west-1", w.clock.Now()))
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// send sends a signed body and returns status and answer.
func (w *world) send(key, operation, body string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+admin.Path+operation, strings.NewReader(body))
	w.ok(err)
	w.sign(r, key, body, admin.SigningName)
	return w.answer(r)
}

func (w *world) answer(r *http.Request) (int, string) {
	w.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	w.ok(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.ok(err)
	if h := resp.Header; len(h.Get("X-Amzn-Requestid")) != 36 || h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
		w.t.Errorf("%s answered with headers %v", r.URL, h)
	}
	return resp.StatusCode, string(text)
}

// events are the calls that were reported.
func (w *world) events() []api.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

// newKey makes an access key that requests can be signed with.
func (w *world) newKey(c admin.Call) string {
	w.t.Helper()
	k := w.do(w.root.ID, admin.CreateAccessKey, c).AccessKey
	return w.know(k.AccessKeyID, k.SecretAccessKey, "")
}

// do calls an operation that must succeed.
func (w *world) do(key, operation string, c admin.Call) *admin.Result {
	w.t.Helper()
	body, err := json.Marshal(c)
	w.ok(err)
	status, text := w.send(key, operation, string(body))
	out := new(admin.Result)
	if status != http.StatusOK || json.Unmarshal([]byte(text), out) != nil {
		w.t.Fatalf("%s: %d %s", operation, status, text)
	}
	return out
}

// refused checks a refusal.
func (w *world) refused(key, operation string, c admin.Call, status int, code, message string) {
	w.t.Helper()
	body, err := json.Marshal(c)
	w.ok(err)
	got, text := w.send(key, operation, string(body))
	var e admin.Error
	if err := json.Unmarshal([]byte(text), &e); err != nil || got != status || e.Code != code || e.Message != message {
		w.t.Errorf("%s: got %d %s\nwant %d %s: %s", operation, got, text, status, code, message)
	}
}

// TestOperations does every operation once.
func TestOperations(t *testing.T) {
	w := newWorld(t)
	key := w.root.ID
	w.do(key, admin.CreateAccount, admin.Call{Account: other, AccountName: "second"})
	w.do(key, admin.UpdateAccount, admin.Call{Account: other, AccountName: "renamed"})
	w.do(key, admin.CreateUser, admin.Call{UserName: "alice"})
	w.do(key, admin.PutUserPolicy, admin.Call{UserName: "alice", PolicyName: "p", PolicyDocument: doc})
	w.do(key, admin.ReplaceUserPolicies, admin.Call{UserName: "alice", Policies: map[string]string{"p": doc, "q": doc}})
	w.do(key, admin.DeleteUserPolicy, admin.Call{UserName: "alice", PolicyName: "q"})
	first := w.do(key, admin.CreateAccessKey, admin.Call{UserName: "alice"}).AccessKey
	second := w.do(key, admin.RotateAccessKey, admin.Call{UserName: "alice"})
	w.do(key, admin.UpdateAccessKey, admin.Call{AccessKeyID: first.AccessKeyID, Status: admin.Inactive})
	third := w.do(key, admin.RotateAccessKey, admin.Call{UserName: "alice"})
	if second.Replaced != "" || third.Replaced != first.AccessKeyID || len(third.AccessKey.SecretAccessKey) != 40 {
		t.Errorf("rotated to %+v and %+v", second, third)
	}
	w.do(key, admin.DeleteAccessKey, admin.Call{UserName: "alice", AccessKeyID: third.AccessKey.AccessKeyID})
	w.do(key, admin.CreateRole, admin.Call{RoleName: "deployer", TrustPolicy: doc, MaxSessionDuration: 7200, Description: "d"})
	w.do(key, admin.UpdateRole, admin.Call{RoleName: "deployer", TrustPolicy: doc, Description: "e"})
	w.do(key, admin.PutRolePolicy, admin.Call{RoleName: "deployer", PolicyName: "p", PolicyDocument: doc})
	w.do(key, admin.ReplaceRolePolicies, admin.Call{RoleName: "deployer", Policies: map[string]string{"r": doc}})
	w.do(key, admin.PutProvider, admin.Call{URL: "https://idp.example", Audiences: []string{"app"}, Keys: `{"keys":[]}`})
	w.do(key, admin.EndSessions, admin.Call{UserName: "alice"})
	w.do(key, admin.EndSessions, admin.Call{RoleName: "deployer"})
	w.do(key, admin.EndSessions, admin.Call{})

	there := w.do(key, admin.GetAccess, admin.Call{}).Accounts
	if len(there) != 2 || there[1].AccountName != "renamed" || !there[0].Operator || len(there[0].RootKeys) != 1 {
		t.Fatalf("got %+v", there)
	}
	u := there[0].Users[0]
	if u.UserName != "alice" || u.Arn != "arn:aws:iam::"+acct+":user/alice" || !reflect.DeepEqual(u.Policies, map[string]string{"p": doc}) ||
		len(u.AccessKeys) != 1 || u.AccessKeys[0].AccessKeyID != second.AccessKey.AccessKeyID || u.AccessKeys[0].Status != admin.Active {
		t.Errorf("got %+v", u)
	}
	r := there[0].Roles[0]
	if r.RoleName != "deployer" || r.MaxSessionDuration != 3600 || r.Description != "e" || !reflect.DeepEqual(r.Policies, map[string]string{"r": doc}) {
		t.Errorf("got %+v", r)
	}
	if p := there[0].Providers[0]; p.URL != "https://idp.example" || p.Keys != `{"keys":[]}` {
		t.Errorf("got %+v", p)
	}
	if one := w.do(key, admin.GetAccess, admin.Call{Account: other}).Accounts; len(one) != 1 || one[0].Account != other {
		t.Errorf("one account is %+v", one)
	}

	w.do(key, admin.DeleteProvider, admin.Call{URL: "https://idp.example"})
	w.do(key, admin.DeleteRolePolicy, admin.Call{RoleName: "deployer", PolicyName: "r"})
	w.do(key, admin.DeleteRole, admin.Call{RoleName: "deployer"})
	w.do(key, admin.DeleteAccessKey, admin.Call{AccessKeyID: second.AccessKey.AccessKeyID})
	w.do(key, admin.DeleteUserPolicy, admin.Call{UserName: "alice", PolicyName: "p"})
	w.do(key, admin.DeleteUser, admin.Call{UserName: "alice"})
	for _, e := range w.events() {
		if e.Code != "" || e.Operation == "" || e.Caller.ARN != "arn:aws:iam::"+acct+":root" || e.Identity.AccessKeyID != key || e.Identity.Region != "eu-west-1" || !json.Valid(e.Parameters) || !json.Valid(e.Answer) {
			t.Errorf("%s was reported as %+v", e.Operation, e)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	key := w.root.ID
	w.do(key, admin.CreateUser, admin.Call{UserName: "alice"})
	made := w.do(key, admin.CreateAccessKey, admin.Call{UserName: "alice"}).AccessKey
	w.refused(key, admin.CreateUser, admin.Call{UserName: "alice"}, 409, "EntityAlreadyExists", "User with name alice already exists.")
	w.refused(key, admin.DeleteUser, admin.Call{UserName: "bob"}, 404, "NoSuchEntity", "The user with name bob cannot be found.")
	w.refused(key, admin.DeleteUser, admin.Call{UserName: "alice"}, 409, "DeleteConflict", "Cannot delete entity, must delete access keys first.")
	w.refused(key, admin.PutUserPolicy, admin.Call{UserName: "alice", PolicyName: "p", PolicyDocument: "{"}, 400, "MalformedPolicyDocument", "Syntax errors in policy.")
	w.do(key, admin.CreateAccessKey, admin.Call{UserName: "alice"})
	w.refused(key, admin.CreateAccessKey, admin.Call{UserName: "alice"}, 409, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	w.refused(key, admin.CreateUser, admin.Call{UserName: "a b"}, 400, "ValidationError", "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	w.refused(key, admin.UpdateAccessKey, admin.Call{AccessKeyID: made.AccessKeyID, Status: "Off"}, 400, "ValidationError", "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]")
	w.refused(key, admin.DeleteAccessKey, admin.Call{UserName: "bob", AccessKeyID: made.AccessKeyID}, 404, "NoSuchEntity", "The Access Key with id "+made.AccessKeyID+" cannot be found.")
	w.refused(key, admin.EndSessions, admin.Call{UserName: "a", RoleName: "b"}, 400, "ValidationError", "UserName and RoleName exclude each other")
	w.refused(key, "Nothing", admin.Call{}, 404, "InvalidAction", "There is no such operation")
	f := func(body string, status int, code string) {
		t.Helper()
		got, text := w.send(key, admin.CreateUser, body)
		if got != status || !strings.Contains(text, `"__type":"`+code+`"`) {
			t.Errorf("%.40s: got %d %s, want %d %s", body, got, text, status, code)
		}
	}
	f("", 400, "MalformedInput")
	f("[]", 400, "MalformedInput")
	f(`{"UserName":7}`, 400, "MalformedInput")
	f(`{"UserName":"x"} {}`, 400, "MalformedInput")
	f(`{"UserNmae":"x"}`, 400, "MalformedInput")
	f(`{"UserName":"`+strings.Repeat("x", admin.MaxBody)+`"}`, 413, "RequestEntityTooLarge")
	if users := w.keys.Users(acct); len(users) != 1 {
		t.Errorf("a refused call made %v", users)
	}

	resp, err := http.Get(w.url + admin.Path + admin.GetAccess)
	w.ok(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %s, allowed is %q", resp.Status, resp.Header.Get("Allow"))
	}
	for _, e := range w.events() {
		if e.Code == "InvalidAction" && e.Operation != "" {
			t.Errorf("an operation that strangers invent was reported by its name: %q", e.Operation)
		}
	}
}

// TestSignatures changes what was signed, and what it was signed with.
func TestSignatures(t *testing.T) {
	w := newWorld(t)
	const mismatch = "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	f := func(name string, status int, code, message string, change func(r *http.Request) *http.Request) {
		t.Helper()
		const body = `{"UserName":"alice"}`
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+admin.Path+admin.CreateUser, strings.NewReader(body))
		w.ok(err)
		w.sign(r, w.root.ID, body, admin.SigningName)
		got, text := w.answer(change(r))
		var e admin.Error
		if err := json.Unmarshal([]byte(text), &e); err != nil || got != status || e.Code != code || message != "" && e.Message != message {
			t.Errorf("%s: got %d %s\nwant %d %s: %s", name, got, text, status, code, message)
		}
	}
	f("no signature", 403, "MissingAuthenticationToken", "Request is missing Authentication Token", func(r *http.Request) *http.Request {
		r.Header.Del("Authorization")
		return r
	})
	f("another body", 403, "SignatureDoesNotMatch", mismatch, func(r *http.Request) *http.Request {
		r.Body = io.NopCloser(strings.NewReader(`{"UserName":"mally"}`))
		return r
	})
	f("another operation", 403, "SignatureDoesNotMatch", mismatch, func(r *http.Request) *http.Request {
		r.URL.Path = admin.Path + admin.DeleteUser
		return r
	})
	f("another service", 403, "SignatureDoesNotMatch", "", func(r *http.Request) *http.Request {
		r.Header.Del("Authorization")
		w.sign(r, w.root.ID, `{"UserName":"alice"}`, "kinesis")
		return r
	})
	f("an unsigned body", 403, "SignatureDoesNotMatch", "", func(r *http.Request) *http.Request {
		r.Header.Del("Authorization")
		r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		w.ok(v4.NewSigner().SignHTTP(t.Context(), w.creds[w.root.ID], r, "UNSIGNED-PAYLOAD", admin.SigningName, "eu-west-1", w.clock.Now()))
		return r
	})
	stranger := aws.Credentials{AccessKeyID: "AKIANOBODYNOBODYNOBO", SecretAccessKey: "x"}
	f("an unknown key", 403, "InvalidClientTokenId", "The security token included in the request is invalid.", func(r *http.Request) *http.Request {
		r.Header.Del("Authorization")
		w.ok(v4.NewSigner().SignHTTP(t.Context(), stranger, r, r.Header.Get("X-Amz-Content-Sha256"), admin.SigningName, "eu-west-1", w.clock.Now()))
		return r
	})
	f("long ago", 403, "SignatureDoesNotMatch", "", func(r *http.Request) *http.Request {
		w.clock.Advance(6 * time.Minute)
		return r
	})
	if users := w.keys.Users(acct); len(users) != 0 {
		t.Errorf("somebody made %v", users)
	}
	for _, e := range w.events() {
		if e.Caller != nil || e.Account != "" || e.Parameters != nil {
			t.Errorf("%s reported a caller that was not verified: %+v", e.Code, e)
		}
	}

	nobody := newWorld(t, func(c *api.Config) { c.Authenticate = nil })
	nobody.refused(nobody.root.ID, admin.GetAccess, admin.Call{}, 403, "AccessDenied", "This server does not verify who calls, so nobody may administer access")
}

func TestRates(t *testing.T) {
	admit, allow := true, true
	w := newWorld(t, func(c *api.Config) {
		c.Admit = func(*http.Request) bool { return admit }
		c.Allow = func(id sigv4.Identity) bool { return allow || id.Account != acct }
	})
	w.do(w.root.ID, admin.GetAccess, admin.Call{})
	admit = false
	w.refused(w.root.ID, admin.GetAccess, admin.Call{}, 503, "Throttling", "Rate exceeded")
	admit, allow = true, false
	w.refused(w.root.ID, admin.GetAccess, admin.Call{}, 503, "Throttling", "Rate exceeded")
}

var operations = []string{
	admin.GetAccess, admin.CreateAccount, admin.UpdateAccount, admin.CreateUser, admin.DeleteUser, admin.PutUserPolicy, admin.DeleteUserPolicy,
	admin.ReplaceUserPolicies, admin.CreateAccessKey, admin.RotateAccessKey, admin.UpdateAccessKey, admin.DeleteAccessKey, admin.CreateRole,
	admin.UpdateRole, admin.DeleteRole, admin.PutRolePolicy, admin.DeleteRolePolicy, admin.ReplaceRolePolicies, admin.EndSessions,
	admin.PutProvider, admin.DeleteProvider,
}

// session issues credentials that requests can be signed with.
func (w *world) session(g keyring.Grant) string {
	w.t.Helper()
	g.Lifetime, g.Session.Issued = time.Hour, w.clock.Now()
	s, err := w.keys.Issue(g)
	w.ok(err)
	return w.know(s.AccessKeyID, s.Secret.Reveal(), s.Token)
}

// sessionOf issues what GetSessionToken does.
func (w *world) sessionOf(key string) string {
	w.t.Helper()
	cred, err := w.keys.Lookup(key, "")
	w.ok(err)
	c := cred.Caller
	return w.session(keyring.Grant{Principal: c.PrincipalID, Kind: c.Kind, Account: c.Account, Name: c.Name, Session: keyring.Session{Parent: key}})
}

// TestWhoMay walks every operation with every sort of principal.
func TestWhoMay(t *testing.T) {
	w := newWorld(t)
	operator := w.root.ID
	w.do(operator, admin.CreateAccount, admin.Call{Account: other})
	second := w.newKey(admin.Call{Account: other})
	w.do(operator, admin.CreateUser, admin.Call{UserName: "alice"})
	alice := w.newKey(admin.Call{UserName: "alice"})
	rootSession, aliceSession := w.sessionOf(operator), w.sessionOf(alice)

	denied := func(key, arn, operation, account string) {
		t.Helper()
		body, err := json.Marshal(admin.Call{Account: account, UserName: "x", RoleName: "x"})
		w.ok(err)
		status, text := w.send(key, operation, string(body))
		want := `{"__type":"AccessDenied","message":"User: ` + arn + ` is not authorized to perform: headrace:` + operation + ` on resource: arn:aws:iam::` + account + `:`
		if status != 403 || !strings.HasPrefix(text, want) {
			t.Errorf("%s by %s: %d %s", operation, arn, status, text)
		}
	}
	for _, operation := range operations {
		denied(second, "arn:aws:iam::"+other+":root", operation, acct)
		denied(alice, "arn:aws:iam::"+acct+":user/alice", operation, acct)
		denied(alice, "arn:aws:iam::"+acct+":user/alice", operation, other)
		denied(rootSession, "arn:aws:iam::"+acct+":root", operation, acct)
		denied(aliceSession, "arn:aws:iam::"+acct+":user/alice", operation, acct)
	}
	denied(second, "arn:aws:iam::"+other+":root", admin.CreateAccount, other)
	w.do(second, admin.CreateUser, admin.Call{UserName: "own"})
	if there := w.do(second, admin.GetAccess, admin.Call{}).Accounts; len(there) != 1 || there[0].Account != other {
		t.Errorf("another root sees %+v", there)
	}
}

// TestPolicies asks for users and roles, with the resources that calls are about.
func TestPolicies(t *testing.T) {
	var asked []string
	var verdict error
	w := newWorld(t, func(c *api.Config) {
		c.Authorize = func(r *http.Request, id sigv4.Identity, action, resource string) error {
			asked = append(asked, id.Principal+" "+action+" "+strings.TrimPrefix(resource, "arn:aws:iam::"+acct+":"))
			return verdict
		}
	})
	w.do(w.root.ID, admin.CreateUser, admin.Call{UserName: "Alice"})
	alice := w.newKey(admin.Call{UserName: "alice"})
	w.do(w.root.ID, admin.CreateRole, admin.Call{RoleName: "Deployer", TrustPolicy: doc})
	role, err := w.keys.Role(acct, "Deployer")
	w.ok(err)
	session := w.session(keyring.Grant{Principal: role.ID, Kind: keyring.RoleCaller, Account: acct, Name: role.Name, SessionName: "s"})

	f := func(operation string, c admin.Call, resource string) {
		t.Helper()
		for key, arn := range map[string]string{alice: "arn:aws:iam::" + acct + ":user/Alice", session: "arn:aws:sts::" + acct + ":assumed-role/Deployer/s"} {
			asked = nil
			body, err := json.Marshal(c)
			w.ok(err)
			status, text := w.send(key, operation, string(body))
			var e admin.Error
			w.ok(json.Unmarshal([]byte(text), &e))
			if resource == "" {
				if asked != nil || status != 403 || e.Code != "AccessDenied" {
					t.Errorf("%s: policies were asked %q, and the answer was %d %s", operation, asked, status, text)
				}
				continue
			}
			if want := []string{arn + " headrace:" + operation + " " + resource}; !reflect.DeepEqual(asked, want) {
				t.Errorf("policies were asked %q, want %q", asked, want)
			}
			if refused := verdict != nil; refused != (e.Code == "AccessDenied" && e.Message == "no") {
				t.Errorf("%s after %v: %d %s", operation, verdict, status, text)
			}
		}
	}
	verdict = &admin.Error{Code: "AccessDenied", Message: "no"}
	f(admin.GetAccess, admin.Call{}, "*")
	f(admin.UpdateAccount, admin.Call{}, "*")
	f(admin.CreateUser, admin.Call{UserName: "bob"}, "user/bob")
	f(admin.PutUserPolicy, admin.Call{UserName: "aLICE"}, "user/Alice")
	f(admin.CreateAccessKey, admin.Call{UserName: "ALICE"}, "user/Alice")
	f(admin.UpdateAccessKey, admin.Call{AccessKeyID: alice}, "user/Alice")
	f(admin.DeleteAccessKey, admin.Call{AccessKeyID: alice, UserName: "bob"}, "user/bob")
	f(admin.DeleteAccessKey, admin.Call{AccessKeyID: "AKIANOBODYNOBODYNOBO"}, "user/")
	f(admin.PutRolePolicy, admin.Call{RoleName: "deployer"}, "role/Deployer")
	f(admin.CreateRole, admin.Call{RoleName: "new"}, "role/new")
	f(admin.EndSessions, admin.Call{RoleName: "deployer"}, "role/Deployer")
	f(admin.EndSessions, admin.Call{UserName: "alice"}, "user/Alice")
	f(admin.PutProvider, admin.Call{URL: "https://idp.example/t"}, "oidc-provider/idp.example/t")

	// No policy lets anybody but a root have the root's keys, make accounts, or act elsewhere.
	verdict = nil
	f(admin.CreateAccount, admin.Call{Account: "999999999999"}, "")
	f(admin.CreateAccessKey, admin.Call{}, "")
	f(admin.RotateAccessKey, admin.Call{}, "")
	f(admin.UpdateAccessKey, admin.Call{AccessKeyID: w.root.ID, Status: admin.Inactive}, "")
	f(admin.DeleteAccessKey, admin.Call{AccessKeyID: w.root.ID}, "")
	f(admin.EndSessions, admin.Call{}, "")
	f(admin.GetAccess, admin.Call{Account: other}, "")
	f(admin.GetAccess, admin.Call{}, "*")

	verdict = errors.New("no decision")
	w.refused(alice, admin.CreateUser, admin.Call{UserName: "carol"}, 500, "InternalFailure", "Internal service failure.")
	if !errors.Is(w.fault, verdict) {
		t.Errorf("the fault was reported as %v", w.fault)
	}
}

// TestSecretsStayInTheirAnswers looks for secrets in everything but the answer that gives them out.
func TestSecretsStayInTheirAnswers(t *testing.T) {
	w := newWorld(t)
	made := w.do(w.root.ID, admin.CreateAccessKey, admin.Call{}).AccessKey
	_, text := w.send(w.root.ID, admin.GetAccess, "{}")
	if strings.Contains(text, made.SecretAccessKey) || strings.Contains(text, w.root.Secret.Reveal()) || !strings.Contains(text, made.AccessKeyID) {
		t.Errorf("got %s", text)
	}
}

// TestTooManyAtOnce holds bodies back. Those of strangers are not waited for.
func TestTooManyAtOnce(t *testing.T) {
	w := newWorld(t)
	h := api.NewHandler(w.cfg)
	call := func(body io.Reader) *http.Request {
		r := httptest.NewRequest(http.MethodPost, admin.Path+admin.GetAccess, body)
		w.sign(r, w.root.ID, "{}", admin.SigningName)
		return r
	}
	block := make(chan struct{})
	var wg sync.WaitGroup
	entered := make(chan struct{}, 100)
	for range 32 {
		r := call(waiting{entered, block})
		wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), r) })
	}
	for range 32 {
		<-entered
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, call(bytes.NewReader([]byte("{}"))))
	if rec.Code != http.StatusServiceUnavailable {
		t.Errorf("one call too many: %d", rec.Code)
	}
	close(block)
	wg.Wait()
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, call(bytes.NewReader([]byte("{}"))))
	if rec.Code != http.StatusOK {
		t.Errorf("after they have gone: %d", rec.Code)
	}
	rec = httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, admin.Path+admin.GetAccess, unread{t})
	h.ServeHTTP(rec, r)
	if rec.Code != http.StatusForbidden {
		t.Errorf("a stranger: %d", rec.Code)
	}
}

// unread is a body that nobody should read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body of a stranger was read")
	return 0, io.EOF
}

// waiting is a body that does not come until block is closed.
type waiting struct {
	entered chan<- struct{}
	block   <-chan struct{}
}

func (w waiting) Read([]byte) (int, error) {
	w.entered <- struct{}{}
	<-w.block
	return 0, io.EOF
}

// TestApply brings a server to what a file declares, and finds nothing to do the second time.
func TestApply(t *testing.T) {
	w := newWorld(t)
	declared, err := admin.Parse("f", []byte(`accounts:
  `+acct+`: {name: main, users: {alice: {policies: {p: {Version: 2012-10-17, Statement: []}}}}, roles: {r: {trust: {Statement: []}, max-session: 3h}}}
  `+other+`: {providers: {"https://idp.example/": {audiences: [a, b], keys-url: "https://idp.example/keys"}}}
`), nil)
	w.ok(err)
	apply := func(want int, prune bool) {
		t.Helper()
		steps := admin.Plan(declared, w.do(w.root.ID, admin.GetAccess, admin.Call{}).Accounts, prune)
		for _, s := range steps {
			w.do(w.root.ID, s.Operation, s.Call)
		}
		if len(steps) != want {
			t.Errorf("%d steps, want %d: %v", len(steps), want, steps)
		}
	}
	apply(5, false)
	apply(0, true)
	w.do(w.root.ID, admin.CreateUser, admin.Call{UserName: "stray"})
	w.do(w.root.ID, admin.CreateAccessKey, admin.Call{UserName: "stray"})
	w.do(w.root.ID, admin.PutUserPolicy, admin.Call{UserName: "stray", PolicyName: "p", PolicyDocument: doc})
	w.do(w.root.ID, admin.PutUserPolicy, admin.Call{UserName: "alice", PolicyName: "q", PolicyDocument: doc})
	apply(1, false)
	apply(3, true)
	apply(0, true)
}
