// Package admin is the API by which who may call is administered: JSON calls below /_headrace/access/, one
// function an operation, on the keyring. docs/reference/access.md describes them.
//
// They are not AWS's: IAM's own protocol is another, and most of it is about things that do not exist here.
// Names, errors and texts are IAM's where IAM has them. Every call is signed, and nothing is done for a
// caller whose signature was not verified.
package admin

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/admin"
	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
)

// Config says what the API stands on. Keys is required.
type Config struct {
	Keys *keyring.Keyring
	// Authenticate verifies the signatures of Keys. Without it nobody is verified, and all calls are refused.
	Authenticate Authenticator
	// Admit says whether to take a request at all, before anybody knows who sent it, and Allow whether a
	// caller who has been verified may make one more. Nil takes all.
	Admit func(*http.Request) bool
	Allow func(sigv4.Identity) bool
	// Authorize decides by policies whether a principal that is not a root may do an action with a resource.
	// Its refusals are *admin.Error. Without it only roots may do anything.
	Authorize func(r *http.Request, caller sigv4.Identity, action, resource string) error
	// Clock measures requests for events; nil means clock.System.
	Clock clock.Clock
	// Failed is told of faults, of which the client does not get to see more than that there was one.
	Failed func(Event, error)
	// Done is told of every call.
	Done func(Event)
}

// Authenticator verifies signatures: a sigv4.Verifier.
type Authenticator interface {
	Begin(c *sigv4.Check, r *http.Request, rules sigv4.Rules) error
}

// Event is one finished call.
type Event struct {
	RequestID string
	// Operation is the operation's name, empty if there is none of the name that the client gave.
	Operation string
	// Caller is who called and Identity how, Account the account that the call acts in; nil and empty unless
	// the signature was verified.
	Caller   *keyring.Caller
	Identity sigv4.Identity
	Account  string
	// Code and Message are those of the refusal.
	Code, Message string
	Duration      time.Duration
	// Request is the request without its body. Parameters and Answer are JSON objects; a secret that was
	// made is in Answer. None of them may be kept.
	Request            *http.Request
	Parameters, Answer []byte
}

// maxCalls is how many calls are in hand at a time: each holds its body and its answer. maxLists is how
// many of them may be GetAccess, whose answers can be many MiB; further ones wait.
const (
	maxCalls = 32
	maxLists = 4
)

// Handler serves the calls. Make one with NewHandler.
type Handler struct {
	cfg          Config
	turns, lists chan struct{}
}

// NewHandler returns the handler of everything below admin.Path.
func NewHandler(cfg Config) *Handler {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	return &Handler{cfg: cfg, turns: make(chan struct{}, maxCalls), lists: make(chan struct{}, maxLists)}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := h.cfg.Clock.Now()
	c := &call{h: h, event: Event{RequestID: newRequestID(), Request: r}}
	if name := strings.TrimPrefix(r.URL.Path, admin.Path); operations()[name] != nil {
		c.event.Operation = name // what strangers invent is nobody's name
	}
	w.Header()["x-amzn-RequestId"] = []string{c.event.RequestID}
	defer c.end()
	result, err := c.serve(w, r)
	if err != nil {
		status, e := c.public(err)
		c.event.Code, c.event.Message = e.Code, e.Message
		reply(w, status, e)
	} else {
		c.event.Answer = reply(w, http.StatusOK, result)
	}
	if h.cfg.Done != nil {
		c.event.Duration = h.cfg.Clock.Now().Sub(begun)
		h.cfg.Done(c.event)
	}
}

// call is one request.
type call struct {
	h     *Handler
	event Event
	// everywhere says that the call names no account.
	everywhere bool
	// held are the places that the call has taken.
	held []chan struct{}
}

// end gives the call's places back.
func (c *call) end() {
	for _, place := range c.held {
		<-place
	}
}

func newRequestID() string {
	var id [16]byte
	rand.Read(id[:])          // never fails
	id[6] = id[6]&0x0f | 0x40 // UUID version 4
	id[8] = id[8]&0x3f | 0x80 // RFC 9562 variant
	s := hex.EncodeToString(id[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// statusError is a refusal with a status of its own.
type statusError struct {
	status  int
	refusal *admin.Error
}

func (e *statusError) Error() string { return e.refusal.Error() }

func refuse(status int, code, message string) error {
	return &statusError{status, &admin.Error{Code: code, Message: message}}
}

// errNobody says that the server believes everybody, which is no ground to let anybody make keys on.
var errNobody = &admin.Error{Code: "AccessDenied", Message: "This server does not verify who calls, so nobody may administer access"}

var errThrottled = refuse(http.StatusServiceUnavailable, "Throttling", "Rate exceeded")

// serve takes a request through the checks to its operation.
func (c *call) serve(w http.ResponseWriter, r *http.Request) (*admin.Result, error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "These calls are made with POST")
	}
	if c.h.cfg.Admit != nil && !c.h.cfg.Admit(r) {
		return nil, errThrottled
	}
	select {
	case c.h.turns <- struct{}{}:
		c.held = append(c.held, c.h.turns)
	default:
		return nil, errThrottled
	}
	if err := c.authenticate(w, r); err != nil {
		return nil, err
	}
	if c.h.cfg.Allow != nil && !c.h.cfg.Allow(c.event.Identity) {
		return nil, errThrottled
	}
	do := operations()[c.event.Operation]
	if do == nil {
		return nil, refuse(http.StatusNotFound, "InvalidAction", "There is no such operation")
	}
	in, err := decode(c.event.Parameters)
	if err != nil {
		return nil, err
	}
	if c.everywhere = in.Account == ""; c.everywhere {
		in.Account = c.event.Caller.Account
	}
	c.event.Account = in.Account
	if err := c.authorize(in); err != nil {
		return nil, err
	}
	if c.event.Operation == admin.GetAccess {
		select {
		case c.h.lists <- struct{}{}:
			c.held = append(c.held, c.h.lists)
		case <-r.Context().Done():
			return nil, errThrottled
		}
	}
	return do(r.Context(), c.h.cfg.Keys, in, c)
}

// authenticate reads the body and finds out who sent it. Of a caller whose headers are wrong it reads none.
func (c *call) authenticate(w http.ResponseWriter, r *http.Request) error {
	if c.h.cfg.Authenticate == nil {
		return errNobody
	}
	var check sigv4.Check
	if err := c.h.cfg.Authenticate.Begin(&check, r, sigv4.Rules{Service: admin.SigningName}); err != nil {
		return err
	}
	body, err := io.ReadAll(check.Body(http.MaxBytesReader(w, r.Body, admin.MaxBody)))
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		return refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "A call has at most "+strconv.Itoa(admin.MaxBody)+" bytes")
	}
	if refusal := new(sigv4.Refusal); err != nil && !errors.As(err, &refusal) {
		return refuse(http.StatusBadRequest, "RequestTimeout", "The request body did not arrive")
	}
	if err != nil {
		return err
	}
	id, err := check.Finish()
	if err != nil {
		return err
	}
	cred, err := c.h.cfg.Keys.Lookup(id.AccessKeyID, id.SessionToken)
	if err != nil {
		return &sigv4.Refusal{Reason: sigv4.UnknownKey} // it went a moment ago
	}
	c.h.cfg.Keys.Used(cred, c.h.cfg.Clock.Now())
	c.event.Caller, c.event.Identity, c.event.Account, c.event.Parameters = cred.Caller, id, cred.Caller.Account, body
	return nil
}

// decode reads a call. A member that is not known is refused: it would have been meant for something.
func decode(body []byte) (*admin.Call, error) {
	in := new(admin.Call)
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return nil, refuse(http.StatusBadRequest, "MalformedInput", "The body is not a JSON object of this operation's parameters")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, refuse(http.StatusBadRequest, "MalformedInput", "There is something behind the JSON object")
	}
	return in, nil
}

// operator reports whether the caller is the root of the operator account, which may act for all.
func (c *call) operator() bool {
	return c.event.Caller.Kind == keyring.Root && c.event.Caller.Account == c.h.cfg.Keys.Operator()
}

// authorize lets roots do everything in their accounts, the operator's in all, and others what policies
// allow them. Making accounts is the operator's alone, and keys of a root are made by roots only: whoever
// has one may do everything. As with IAM, sessions without a role may do nothing here, or a key that was
// stolen for an hour would make others that stay.
func (c *call) authorize(in *admin.Call) error {
	caller := c.event.Caller
	action, resource := "headrace:"+c.event.Operation, resourceOf(c.h.cfg.Keys, c.event.Operation, in)
	denied := &admin.Error{Code: "AccessDenied", Message: "User: " + caller.ARN + " is not authorized to perform: " + action + " on resource: " + resource}
	switch {
	case caller.Session != nil && (caller.Kind != keyring.RoleCaller || caller.Session.Unverified):
		return denied
	case c.operator():
		return nil
	case c.event.Operation == admin.CreateAccount || in.Account != caller.Account:
		return denied
	case caller.Kind == keyring.Root:
		return nil
	case c.h.cfg.Authorize == nil || resource == keyring.RootARN(in.Account):
		return denied
	}
	return c.h.cfg.Authorize(c.event.Request, c.event.Identity, action, resource)
}

// resourceOf returns the ARN of what a call is about, which is IAM's for it. Names of users and roles are
// the same in either case, but policies compare them letter by letter: the name that was created counts.
func resourceOf(k *keyring.Keyring, operation string, in *admin.Call) string {
	user, role := in.UserName, in.RoleName
	switch operation {
	case admin.GetAccess, admin.CreateAccount, admin.UpdateAccount:
		return "arn:aws:iam::" + in.Account + ":*"
	case admin.CreateUser, admin.DeleteUser, admin.PutUserPolicy, admin.DeleteUserPolicy, admin.ReplaceUserPolicies:
		return userARN(k, in.Account, user)
	case admin.CreateRole, admin.UpdateRole, admin.DeleteRole, admin.PutRolePolicy, admin.DeleteRolePolicy, admin.ReplaceRolePolicies:
		return roleARN(k, in.Account, role)
	case admin.PutProvider, admin.DeleteProvider:
		return (&keyring.Provider{Account: in.Account, URL: in.URL}).ARN()
	case admin.UpdateAccessKey, admin.DeleteAccessKey:
		w, err := owner(k, in)
		if err != nil { // a key that is not there is nobody's, so it is not the root's
			return keyring.UserARN(in.Account, user)
		}
		user = w.User
	case admin.EndSessions:
		if role != "" {
			return roleARN(k, in.Account, role)
		}
	}
	if user == "" {
		return keyring.RootARN(in.Account)
	}
	return userARN(k, in.Account, user)
}

func userARN(k *keyring.Keyring, account, name string) string {
	if u, err := k.User(account, name); err == nil {
		name = u.Name
	}
	return keyring.UserARN(account, name)
}

func roleARN(k *keyring.Keyring, account, name string) string {
	if r, err := k.Role(account, name); err == nil {
		name = r.Name
	}
	return keyring.RoleARN(account, name)
}

// public returns the status and the error that the client gets.
func (c *call) public(err error) (int, *admin.Error) {
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status, s.refusal
	}
	if e, ok := errors.AsType[*admin.Error](err); ok {
		return http.StatusForbidden, e
	}
	if r, ok := errors.AsType[*sigv4.Refusal](err); ok {
		e := r.For(sigv4.Query) // IAM's protocol
		return e.HTTPStatus(), &admin.Error{Code: e.Code, Message: e.Message}
	}
	if e, ok := errors.AsType[*keyring.Error](err); ok {
		status, code := nameOf(e.Kind)
		return status, &admin.Error{Code: code, Message: e.Message}
	}
	if c.h.cfg.Failed != nil {
		c.h.cfg.Failed(c.event, err)
	}
	return http.StatusInternalServerError, &admin.Error{Code: "InternalFailure", Message: "Internal service failure."}
}

// nameOf returns the status and code that IAM has for a refusal.
func nameOf(k keyring.Kind) (status int, code string) {
	switch k {
	case keyring.NotFound:
		return http.StatusNotFound, "NoSuchEntity"
	case keyring.Exists:
		return http.StatusConflict, "EntityAlreadyExists"
	case keyring.LimitExceeded:
		return http.StatusConflict, "LimitExceeded"
	case keyring.Conflict:
		return http.StatusConflict, "DeleteConflict"
	case keyring.MalformedPolicy:
		return http.StatusBadRequest, "MalformedPolicyDocument"
	case keyring.NoRoom:
		return http.StatusServiceUnavailable, "Throttling"
	}
	return http.StatusBadRequest, "ValidationError"
}

// reply sends one JSON object and returns it. Secrets may be in it, so nobody on the way may keep it.
func reply(w http.ResponseWriter, status int, v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // answers hold nothing that JSON lacks
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone if this fails
	return body
}
