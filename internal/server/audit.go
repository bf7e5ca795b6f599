package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/audit"
	"github.com/headrace/headrace/internal/auth/sigv4"
	awskinesis "github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
	"github.com/headrace/headrace/internal/wire"
	"github.com/headrace/headrace/internal/wire/shape"
)

// Audit says what is written down about calls. The zero value writes nothing.
type Audit struct {
	On bool
	// Directory is where; "" is the directory audit in the data directory.
	Directory string
	// DataEvents adds the calls that put and get records.
	DataEvents bool
	// FileBytes, FileAge and TotalBytes are audit.Config's.
	FileBytes, TotalBytes int64
	FileAge               time.Duration
}

// auditDir is where the audit log lies below the data directory.
const auditDir = "audit"

// auditor decides which calls are written down, and how. A nil one writes nothing.
type auditor struct {
	log        *audit.Log
	clock      clock.Clock
	dataEvents bool
}

// openAudit makes the audit log that the configuration asks for and leaves its goroutine to sys.
func openAudit(ctx context.Context, cfg Config, sys *system, now clock.Clock, port *metrics.Port) (*auditor, error) {
	if !cfg.Audit.On {
		return nil, nil
	}
	fs, dir, err := auditPlace(cfg, sys)
	if err != nil {
		return nil, err
	}
	log, err := audit.Open(audit.Config{
		FS: fs, Dir: dir, Clock: now,
		FileBytes: cfg.Audit.FileBytes, TotalBytes: cfg.Audit.TotalBytes, FileAge: cfg.Audit.FileAge,
		Events: audit.Events{
			Written: port.AuditWritten,
			Dropped: port.AuditDropped,
			Failed: func(err error) {
				if err != nil {
					cfg.Logger.Error("the audit log is not written; events are dropped until it is", "error", err)
					return
				}
				cfg.Logger.Info("the audit log is written again")
			},
		},
	})
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("another process writes there: %w", err)
	}
	if err != nil {
		return nil, err
	}
	sys.run(ctx, log.Run, func(err error) { cfg.Logger.Error("the audit log was not closed cleanly", "error", err) })
	return &auditor{log: log, clock: now, dataEvents: cfg.Audit.DataEvents}, nil
}

// auditPlace returns the directory that the configuration names.
func auditPlace(cfg Config, sys *system) (vfs.FS, string, error) {
	if cfg.Audit.Directory == "" {
		if sys.data == nil {
			return nil, "", errors.New("open audit log: without a data directory it needs a directory of its own: set audit.directory")
		}
		return sys.data, auditDir, nil
	}
	path, err := filepath.Abs(cfg.Audit.Directory)
	if err == nil {
		err = os.MkdirAll(path, 0o700)
	}
	if err != nil {
		return nil, "", fmt.Errorf("open audit log: %w", err)
	}
	fs, err := osfs.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("open audit log: %w", err)
	}
	sys.onClose(fs.Close)
	return fs, ".", nil
}

// dataOperations are the calls that put and get records, by service; AWS's endpoint rules call the
// same ones data.
var dataOperations = map[string]bool{
	"kinesis PutRecord": true, "kinesis PutRecords": true, "kinesis GetRecords": true,
	"kinesis GetShardIterator": true, "kinesis SubscribeToShard": true,
}

func isData(service, operation string) bool { return dataOperations[service+" "+operation] }

// denials are the error codes of AWS's services that mean that a caller may not, or is not who it says.
var denials = map[string]bool{
	"AccessDenied": true, "AccessDeniedException": true, "NotAuthorizedException": true, "KMSAccessDeniedException": true,
	"MissingAuthenticationToken": true, "MissingAuthenticationTokenException": true,
	"IncompleteSignature": true, "IncompleteSignatureException": true,
	"InvalidSignatureException": true, "SignatureDoesNotMatch": true, "RequestExpired": true,
	"UnrecognizedClientException": true, "InvalidClientTokenId": true, "InvalidAccessKeyId": true,
	"ExpiredToken": true, "ExpiredTokenException": true, "OptInRequired": true, "BadDigest": true,
	"InvalidIdentityToken": true, "IDPRejectedClaim": true,
}

// readsOnly says whether an operation changes nothing, which AWS's names tell.
func readsOnly(operation string) bool {
	for _, verb := range []string{"Describe", "List", "Get", "Subscribe"} {
		if strings.HasPrefix(operation, verb) {
			return true
		}
	}
	return false
}

// secretMember names what is never written down: records and what they are found by, whatever opens
// something, and every kind of password.
func secretMember(name string) bool {
	switch name {
	case "Data", "Records", "PartitionKey", "ExplicitHashKey", "ShardIterator", "NextShardIterator":
		return true
	}
	return strings.HasSuffix(name, "Token") || strings.HasSuffix(name, "TokenCode") ||
		strings.Contains(name, "Secret") || strings.Contains(name, "Password") || strings.Contains(name, "PrivateKey")
}

// wanted says whether a call is written down.
func (a *auditor) wanted(service, operation, code string) bool {
	return service != "" && (denials[code] || operation != "" && (a.dataEvents || !isData(service, operation)))
}

// note is what an event keeps of a call's structures.
type note struct {
	parameters, response json.RawMessage
	resources            []audit.Resource
	hidden               []string // texts that an error may repeat
}

// called makes the note of a call that is written down.
func (a *auditor) called(e *wire.Event, in, out shape.Shape, err error) any {
	var answered *shape.Error
	code := ""
	if errors.As(err, &answered) {
		code = answered.Code
	}
	if !a.wanted(e.Service, e.Operation, code) {
		return nil
	}
	document := documentOf(in)
	n := note{resources: resourcesOf(document, e)}
	n.parameters, n.hidden = audit.Redact(document, secretMember)
	if err == nil && out != nil && !readsOnly(e.Operation) && !isData(e.Service, e.Operation) {
		n.response, _ = audit.Redact(documentOf(out), secretMember)
	}
	return n
}

// documentOf returns a structure as JSON, without the records in it: there may be MiB of them, and
// they would be left out anyway.
func documentOf(s shape.Shape) []byte {
	switch in := s.(type) {
	case *awskinesis.PutRecordsInput:
		without := *in
		without.Records = nil
		s = &without
	case *awskinesis.PutRecordInput:
		without := *in
		without.Data = nil
		s = &without
	}
	var enc shape.Encoder
	enc.Reset(shape.JSON, nil)
	s.Encode(&enc)
	return enc.Bytes()
}

// resourcesOf finds what a call is about in its input.
func resourcesOf(document []byte, e *wire.Event) []audit.Resource {
	var named struct{ StreamName, StreamARN, ConsumerARN, ResourceARN string }
	if json.Unmarshal(document, &named) != nil || e.Service != "kinesis" {
		return nil
	}
	if named.StreamARN == "" && named.StreamName != "" {
		named.StreamARN = "arn:aws:kinesis:" + e.Region + ":" + e.Account + ":stream/" + named.StreamName
	}
	var found []audit.Resource
	for _, arn := range []string{named.StreamARN, named.ConsumerARN, named.ResourceARN} {
		if arn == "" {
			continue
		}
		kind := "AWS::Kinesis::Stream"
		if strings.Contains(arn, "/consumer/") {
			kind = "AWS::Kinesis::StreamConsumer"
		}
		found = append(found, audit.Resource{AccountID: accountIn(arn), Type: kind, ARN: arn})
	}
	return found
}

// accountIn returns the account of an ARN, and resourceIn what is in it; "" if that is not one.
func accountIn(arn string) string  { return partOf(arn, 4) }
func resourceIn(arn string) string { return partOf(arn, 5) }

func partOf(arn string, i int) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[i]
	}
	return ""
}

// done writes a call down.
func (a *auditor) done(e wire.Event) {
	if !a.wanted(e.Service, e.Operation, e.ErrorCode) {
		return
	}
	event := audit.Event{
		Time: a.clock.Now(), Source: e.Service + ".amazonaws.com", Name: e.Operation,
		Region: e.Region, Account: e.Account, Identity: identityOf(e),
		SourceIP: peerOf(e.Request), UserAgent: e.Request.UserAgent(),
		ErrorCode: e.ErrorCode, ErrorMessage: messageOf(e),
		RequestID: e.RequestID, ReadOnly: readsOnly(e.Operation), Data: isData(e.Service, e.Operation),
		TLS: tlsOf(e.Request),
	}
	if n, ok := e.Note.(note); ok {
		event.Parameters, event.Response, event.Resources = n.parameters, n.response, n.resources
		if len(n.resources) > 0 && n.resources[0].AccountID != "" {
			event.Account = n.resources[0].AccountID // which need not be the caller's
		}
	}
	a.log.Record(event)
}

// messageOf returns an error's text without the secrets that AWS's texts repeat: an Authorization
// header that is not complete, and the value of a parameter that is wrong. Of a data call, where that
// may be any part of a record, the text is written down for a denial only.
func messageOf(e wire.Event) string {
	if isData(e.Service, e.Operation) && !denials[e.ErrorCode] {
		return ""
	}
	text, _, _ := strings.Cut(e.ErrorMessage, "Authorization=")
	n, _ := e.Note.(note)
	return audit.Hide(strings.TrimSpace(text), n.hidden)
}

// identityOf says who called, or who the caller claims to be. CloudTrail has the ids of principals,
// which ours do not need, and the ARNs.
func identityOf(e wire.Event) audit.Identity {
	if e.Account == "" {
		return strangerOf(e)
	}
	id := audit.Identity{Type: "AWSAccount", ARN: e.Principal, AccountID: e.Account, AccessKeyID: e.AccessKeyID}
	kind, name, _ := strings.Cut(resourceIn(e.Principal), "/")
	switch kind {
	case "root":
		id.Type = "Root"
	case "user":
		id.Type, id.UserName = "IAMUser", name[strings.LastIndexByte(name, '/')+1:] // behind its path
	case "assumed-role":
		id.Type = "AssumedRole"
	case "federated-user":
		id.Type = "FederatedUser"
	}
	return id
}

// strangerOf is a caller without an account: one whose signature was refused, or one whom an identity
// provider vouches for, in the one call that needs no signature.
func strangerOf(e wire.Event) audit.Identity {
	if e.Operation == "AssumeRoleWithWebIdentity" && e.ErrorCode == "" {
		return audit.Identity{Type: "WebIdentityUser"}
	}
	claimed, err := sigv4.Parse(e.Request)
	if err != nil {
		return audit.Unknown("")
	}
	return audit.Unknown(claimed.AccessKeyID)
}

// peerOf returns the address at the other end of the connection.
func peerOf(r *http.Request) string {
	peer := addressOf(r)
	if !peer.IsValid() {
		return r.RemoteAddr
	}
	return peer.WithZone("").String()
}

// tlsOf describes a request's TLS as CloudTrail does.
func tlsOf(r *http.Request) *audit.TLS {
	if r.TLS == nil {
		return nil
	}
	return &audit.TLS{Version: strings.Replace(tls.VersionName(r.TLS.Version), "TLS ", "TLSv", 1), CipherSuite: suiteName(r.TLS), Host: r.Host}
}

// suiteName returns a cipher suite's name: of TLS 1.3 the standard's, of TLS 1.2 OpenSSL's, which is
// what CloudTrail has.
func suiteName(s *tls.ConnectionState) string {
	name := tls.CipherSuiteName(s.CipherSuite)
	if s.Version >= tls.VersionTLS13 {
		return name
	}
	name = strings.TrimPrefix(name, "TLS_")
	name = strings.NewReplacer("_WITH_", "-", "AES_", "AES", "CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305", "_CBC_", "-", "_", "-").Replace(name)
	return name
}
