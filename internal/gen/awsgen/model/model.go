// Package model reads the service models AWS publishes for its client libraries
// (service-2.json, documentation removed) into Go values: metadata, operations and shapes in the
// order the model gives them. It is strict: a key it does not know is an error, so nothing a model
// says is dropped in silence. It does not generate code (emit does) and knows no protocol.
//
//	s, err := model.Parse("kinesis", text)
//	for _, op := range s.Operations.List() { ... op.Value.Input.Shape ... }
package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Service is one API: everything its model says except documentation.
type Service struct {
	// Name is the model's name in the botocore data directory, such as "kinesis-video-media".
	Name string `json:"-"`
	// Version is the version of the model's own format, "2.0".
	Version    string           `json:"version"`
	Metadata   Metadata         `json:"metadata"`
	Operations Named[Operation] `json:"operations"`
	Shapes     Named[Shape]     `json:"shapes"`
}

// Metadata says how the service is addressed, signed and spoken to.
type Metadata struct {
	APIVersion         string            `json:"apiVersion"`
	Auth               []string          `json:"auth"`
	AWSQueryCompatible *struct{}         `json:"awsQueryCompatible"`
	EndpointPrefix     string            `json:"endpointPrefix"`
	GlobalEndpoint     string            `json:"globalEndpoint"`
	JSONVersion        string            `json:"jsonVersion"`
	Protocol           string            `json:"protocol"`
	ProtocolSettings   map[string]string `json:"protocolSettings"`
	Protocols          []string          `json:"protocols"`
	ServiceAbbrev      string            `json:"serviceAbbreviation"`
	ServiceFullName    string            `json:"serviceFullName"`
	ServiceID          string            `json:"serviceId"`
	SignatureVersion   string            `json:"signatureVersion"`
	SigningName        string            `json:"signingName"`
	TargetPrefix       string            `json:"targetPrefix"`
	UID                string            `json:"uid"`
	XMLNamespace       string            `json:"xmlNamespace"`
}

// Signer is the service name inside a SigV4 credential scope.
func (m Metadata) Signer() string {
	if m.SigningName != "" {
		return m.SigningName
	}
	return m.EndpointPrefix
}

// Operation is one call of the API. Output is nil where AWS answers with an empty body.
type Operation struct {
	Name                string                   `json:"name"`
	HTTP                HTTP                     `json:"http"`
	Input               *Ref                     `json:"input"`
	Output              *Ref                     `json:"output"`
	Errors              []Ref                    `json:"errors"`
	Auth                []string                 `json:"auth"`
	AuthType            string                   `json:"authtype"`
	EndpointDiscovery   *EndpointDiscovery       `json:"endpointdiscovery"`
	EndpointOperation   bool                     `json:"endpointoperation"`
	Idempotent          bool                     `json:"idempotent"`
	ReadOnly            bool                     `json:"readonly"`
	RequestCompression  *RequestCompression      `json:"requestcompression"`
	StaticContextParams map[string]StaticContext `json:"staticContextParams"`
	ContextParams       map[string]ContextPath   `json:"operationContextParams"`
}

// HTTP is the binding of an operation to a request line, and the status of its success if the
// model names one.
type HTTP struct {
	Method       string `json:"method"`
	RequestURI   string `json:"requestUri"`
	ResponseCode int    `json:"responseCode"`
}

// EndpointDiscovery marks operations whose endpoint clients may look up first.
type EndpointDiscovery struct {
	Required bool `json:"required"`
}

// RequestCompression lists the encodings a client may apply to a request body.
type RequestCompression struct {
	Encodings []string `json:"encodings"`
}

// StaticContext is a constant (text or boolean) handed to the client's endpoint rules.
type StaticContext struct {
	Value any `json:"value"`
}

// ContextPath selects the input values handed to the client's endpoint rules.
type ContextPath struct {
	Path string `json:"path"`
}

// ContextParam names the endpoint rule parameter a member's value is handed to.
type ContextParam struct {
	Name string `json:"name"`
}

// Ref is the use of a shape: as member, list element, map key or value, input, output or error,
// with what that use adds.
type Ref struct {
	Shape            string        `json:"shape"`
	Box              bool          `json:"box"`
	ContextParam     *ContextParam `json:"contextParam"`
	Deprecated       bool          `json:"deprecated"`
	DeprecatedSince  string        `json:"deprecatedSince"`
	DeprecatedNote   string        `json:"deprecatedMessage"`
	EventPayload     bool          `json:"eventpayload"`
	EventHeader      bool          `json:"eventheader"`
	Flattened        bool          `json:"flattened"`
	IdempotencyToken bool          `json:"idempotencyToken"`
	JSONValue        bool          `json:"jsonvalue"`
	Location         string        `json:"location"`
	LocationName     string        `json:"locationName"`
	ResultWrapper    string        `json:"resultWrapper"`
	Streaming        bool          `json:"streaming"`
	TimestampFormat  string        `json:"timestampFormat"`
}

// Locations a member may be bound to in HTTP; the empty location is the body.
const (
	InURI         = "uri"
	InHeader      = "header"
	InHeaders     = "headers"
	InQuerystring = "querystring"
	InStatusCode  = "statusCode"
)

// Type is the kind of a shape.
type Type string

// The shape kinds. Events, event streams, unions, enums and errors are marks on these, not kinds.
const (
	Structure Type = "structure"
	List      Type = "list"
	Map       Type = "map"
	String    Type = "string"
	Blob      Type = "blob"
	Timestamp Type = "timestamp"
	Integer   Type = "integer"
	Long      Type = "long"
	Float     Type = "float"
	Double    Type = "double"
	Boolean   Type = "boolean"
)

// Shape is one named type of the API with its constraints.
type Shape struct {
	Type Type `json:"type"`

	// Of structures.
	Members  Named[Ref] `json:"members"`
	Required []string   `json:"required"`
	Payload  string     `json:"payload"`
	XMLOrder []string   `json:"xmlOrder"`
	Union    bool       `json:"union"`
	Event    bool       `json:"event"`
	// EventStream marks the structure whose members are the events of a stream.
	EventStream bool `json:"eventstream"`

	// Of errors, which are structures.
	Exception bool       `json:"exception"`
	Fault     bool       `json:"fault"`
	Error     *Error     `json:"error"`
	Retryable *Retryable `json:"retryable"`

	// Of lists and maps.
	Member    *Ref `json:"member"`
	Key       *Ref `json:"key"`
	Value     *Ref `json:"value"`
	Flattened bool `json:"flattened"`

	// Of scalars. Min and Max bound a number's value and anything else's length.
	Min             *json.Number `json:"min"`
	Max             *json.Number `json:"max"`
	Pattern         string       `json:"pattern"`
	Enum            []string     `json:"enum"`
	TimestampFormat string       `json:"timestampFormat"`
	Box             bool         `json:"box"`
	Sensitive       bool         `json:"sensitive"`
	Streaming       bool         `json:"streaming"`

	Deprecated     bool   `json:"deprecated"`
	DeprecatedNote string `json:"deprecatedMessage"`
	// Synthetic marks shapes the model's publisher added for older clients.
	Synthetic bool `json:"synthetic"`
}

// Error is what an error shape says about the wire. Code is the name older protocols use, which
// for services that are query-compatible differs from the shape's.
type Error struct {
	Code           string `json:"code"`
	HTTPStatusCode int    `json:"httpStatusCode"`
	SenderFault    bool   `json:"senderFault"`
}

// Retryable says that clients retry the error, and whether they slow down first.
type Retryable struct {
	Throttling bool `json:"throttling"`
}

// IsRequired reports whether the structure requires the member.
func (s *Shape) IsRequired(member string) bool {
	for _, r := range s.Required {
		if r == member {
			return true
		}
	}
	return false
}

// Parse reads one stripped model and checks it: unknown keys, references to shapes that do not
// exist and required members that do not exist are errors.
func Parse(name string, text []byte) (*Service, error) {
	s := &Service{Name: name}
	if err := strict(text, s); err != nil {
		return nil, fmt.Errorf("parse model %s: %w", name, err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("check model %s: %w", name, err)
	}
	return s, nil
}

// strict decodes one JSON value, the whole of text, refusing unknown keys.
func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("text after the value: %v", err)
	}
	return nil
}
