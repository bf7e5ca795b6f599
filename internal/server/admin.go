package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/headrace/headrace/internal/admin"
	adminapi "github.com/headrace/headrace/internal/api/admin"
	"github.com/headrace/headrace/internal/audit"
	"github.com/headrace/headrace/internal/auth/access"
	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/metrics"
)

// administration is the calls that say who may call. Where everybody is believed they are refused: keys
// that a stranger makes there would be good in serve, on the same directory.
func administration(cfg Config, keys *keyring.Keyring, decider *access.Decider, bounds rates, meters *metrics.Metrics, written *auditor, now clock.Clock) http.Handler {
	api := adminapi.Config{
		Keys: keys, Admit: bounds.admit, Allow: bounds.allow, Clock: now,
		Authorize: func(r *http.Request, caller sigv4.Identity, action, resource string) error {
			q := requestOf(r, caller.AccessKeyID, caller.SessionToken, caller.Region)
			q.Action, q.Resource = action, resource
			_, err := decider.Decide(q)
			if denied, ok := errors.AsType[*access.DeniedError](err); ok {
				return &admin.Error{Code: "AccessDenied", Message: denied.Message}
			}
			return err
		},
		Failed: func(e adminapi.Event, err error) {
			cfg.Logger.Error("a request failed on our side", "request", e.RequestID, "service", admin.SigningName, "operation", e.Operation, "error", err)
		},
	}
	if !cfg.Access.AnyCredentials && cfg.Keys == nil {
		api.Authenticate = sigv4.NewVerifier(ring{keys}, now)
	}
	operations := newOperations(meters)
	api.Done = func(e adminapi.Event) {
		operations.of(admin.SigningName, e.Operation).Done(e.Code, e.Duration)
		written.administered(e)
	}
	calls := adminapi.NewHandler(api)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		boundCall(w)
		calls.ServeHTTP(w, r)
	})
}

// boundCall keeps a client that holds back its body, or does not take its answer, from holding one of the
// few places for ever. Answers may be a few MiB.
func boundCall(w http.ResponseWriter) {
	now := clock.System{}.Now() // sockets follow the machine's clock
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(now.Add(pageTimeout)) // a transport without deadlines has none to set
	_ = control.SetWriteDeadline(now.Add(pageTimeout + time.Minute))
}

// administrationSource is where events of these calls come from. It is not AWS's IAM.
const administrationSource = admin.SigningName

// administered writes a call down: all of them, and the refusals of strangers.
func (a *auditor) administered(e adminapi.Event) {
	if a == nil || e.Operation == "" && !denials[e.Code] {
		return
	}
	event := audit.Event{
		Time: a.clock.Now(), Source: administrationSource, Name: e.Operation,
		Region: e.Identity.Region, Account: e.Account, Identity: callerOf(e),
		SourceIP: peerOf(e.Request), UserAgent: e.Request.UserAgent(),
		ErrorCode: e.Code, RequestID: e.RequestID, ReadOnly: readsOnly(e.Operation), TLS: tlsOf(e.Request),
	}
	var hidden []string
	event.Parameters, hidden = audit.Redact(e.Parameters, secretMember)
	event.ErrorMessage = audit.Hide(e.Message, hidden)
	if !event.ReadOnly {
		event.Response, _ = audit.Redact(e.Answer, secretMember)
	}
	a.log.Record(event)
}

// callerOf says who called, or who the caller claims to be.
func callerOf(e adminapi.Event) audit.Identity {
	c := e.Caller
	if c == nil {
		claimed, err := sigv4.Parse(e.Request)
		if err != nil {
			return audit.Unknown("")
		}
		return audit.Unknown(claimed.AccessKeyID)
	}
	id := audit.Identity{Type: "Root", PrincipalID: c.UserID, ARN: c.ARN, AccountID: c.Account, AccessKeyID: e.Identity.AccessKeyID}
	switch c.Kind {
	case keyring.UserCaller:
		id.Type, id.UserName = "IAMUser", c.Name
	case keyring.RoleCaller:
		id.Type = "AssumedRole"
	}
	return id
}
