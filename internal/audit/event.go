package audit

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Event is one call, in the words of AWS CloudTrail's event record. What is empty is left out, or
// null where CloudTrail always has the field.
type Event struct {
	// Time is when the call was answered.
	Time time.Time
	// Source is the service, such as kinesis.amazonaws.com, and Name the operation.
	Source, Name string
	// Region and Account are where the call was made to act.
	Region, Account string
	// Identity is who made it.
	Identity Identity
	// SourceIP and UserAgent are where it came from, as the connection and the caller say.
	SourceIP, UserAgent string
	// ErrorCode and ErrorMessage are AWS's; empty for a call that succeeded.
	ErrorCode, ErrorMessage string
	// Parameters and Response are JSON objects, nil for none. Whoever makes them leaves out what must
	// not be written down: see Redact.
	Parameters, Response json.RawMessage
	// Resources are what the call was about.
	Resources []Resource
	// RequestID is the one that the caller got.
	RequestID string
	// ReadOnly is a call that changes nothing. Data is one that puts or gets records; the others
	// manage what holds them.
	ReadOnly, Data bool
	// TLS is how the call was encrypted; nil if it was not.
	TLS *TLS
}

// Identity is who made a call.
type Identity struct {
	// Type is CloudTrail's: Root, IAMUser, AssumedRole, AWSAccount; Unknown for a caller whose
	// signature was refused.
	Type        string `json:"type"`
	PrincipalID string `json:"principalId,omitempty"`
	ARN         string `json:"arn,omitempty"`
	AccountID   string `json:"accountId,omitempty"`
	// AccessKeyID is the key that signed, or that an Unknown caller claims.
	AccessKeyID string `json:"accessKeyId,omitempty"`
	UserName    string `json:"userName,omitempty"`
}

// unknown is the type of a caller that nobody vouches for.
const unknown = "Unknown"

// Unknown is a caller whose signature was refused, and the key that it claimed.
func Unknown(claimed string) Identity { return Identity{Type: unknown, AccessKeyID: claimed} }

// Resource is something that a call was about.
type Resource struct {
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type,omitempty"` // AWS::Kinesis::Stream
	ARN       string `json:"ARN"`
}

// TLS is how a call was encrypted, spelled as CloudTrail does: TLSv1.3, TLS_AES_128_GCM_SHA256.
type TLS struct {
	Version     string `json:"tlsVersion"`
	CipherSuite string `json:"cipherSuite"`
	Host        string `json:"clientProvidedHostHeader,omitempty"`
}

// The most of a field that is written; CloudTrail cuts longer ones, too.
const (
	maxText       = 1 << 10
	maxParameters = 16 << 10
	maxResources  = 4
	// maxLine is more than a line of such fields has, all of them escaped.
	maxLine = 128 << 10
)

// record is the order and the spelling of CloudTrail's fields.
type record struct {
	Version     string          `json:"eventVersion"`
	Identity    Identity        `json:"userIdentity"`
	Time        string          `json:"eventTime"`
	Source      string          `json:"eventSource"`
	Name        string          `json:"eventName"`
	Region      string          `json:"awsRegion"`
	SourceIP    string          `json:"sourceIPAddress"`
	UserAgent   string          `json:"userAgent"`
	Code        string          `json:"errorCode,omitempty"`
	Message     string          `json:"errorMessage,omitempty"`
	Parameters  json.RawMessage `json:"requestParameters"`
	Response    json.RawMessage `json:"responseElements"`
	RequestID   string          `json:"requestID"`
	EventID     string          `json:"eventID"`
	ReadOnly    bool            `json:"readOnly"`
	Resources   []Resource      `json:"resources,omitempty"`
	Type        string          `json:"eventType"`
	Management  bool            `json:"managementEvent"`
	RecipientID string          `json:"recipientAccountId,omitempty"`
	Category    string          `json:"eventCategory"`
	TLS         *TLS            `json:"tlsDetails,omitempty"`
}

// eventVersion is the version of CloudTrail's record that has these fields.
const eventVersion = "1.11"

// line returns the event as one line of JSON with its end.
func (e Event) line() ([]byte, error) {
	r := record{
		Version: eventVersion, Identity: e.Identity, Time: e.Time.UTC().Format(time.RFC3339),
		Source: e.Source, Name: e.Name, Region: e.Region, SourceIP: e.SourceIP, UserAgent: cut(e.UserAgent),
		Code: e.ErrorCode, Message: cut(firstLine(e.ErrorMessage)),
		Parameters: bounded(e.Parameters, "requestParameters"), Response: bounded(e.Response, "responseElements"),
		RequestID: e.RequestID, EventID: newID(), ReadOnly: e.ReadOnly,
		Type: "AwsApiCall", Management: !e.Data, RecipientID: e.Account, Category: "Management",
	}
	if e.Data {
		r.Category = "Data"
	}
	r.Identity.AccessKeyID = cut(r.Identity.AccessKeyID)
	for _, about := range e.Resources[:min(len(e.Resources), maxResources)] {
		about.ARN = cut(about.ARN)
		r.Resources = append(r.Resources, about)
	}
	if e.TLS != nil {
		r.TLS = &TLS{Version: e.TLS.Version, CipherSuite: e.TLS.CipherSuite, Host: cut(e.TLS.Host)}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("encode audit event: %w", err)
	}
	if b.Len() > maxLine {
		return nil, fmt.Errorf("encode audit event: %d bytes are more than a line may have", b.Len())
	}
	return b.Bytes(), nil
}

// firstLine is the part of an error's text that says what is wrong. AWS's error for a wrong signature
// goes on with the request as it should have been signed, and a session token is in there.
func firstLine(s string) string {
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return s[:i]
	}
	return s
}

// cut shortens a text to maxText bytes, between two characters.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// bounded returns an object, or what CloudTrail puts in the place of one that is too large.
func bounded(object json.RawMessage, name string) json.RawMessage {
	switch {
	case len(object) == 0:
		return json.RawMessage("null")
	case len(object) > maxParameters:
		return fmt.Appendf(nil, `{"omitted":true,"originalSize":%d,"reason":"%s too large"}`, len(object), name)
	}
	return object
}

// newID returns a random UUID.
func newID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
