package policy

import (
	"errors"
	"fmt"
	"strings"
)

// The two ways in which a document is refused. An API answers them with its own errors: IAM with
// MalformedPolicyDocument and LimitExceeded.
var (
	// ErrMalformed says that a document is not a policy of its kind.
	ErrMalformed = errors.New("policy: malformed document")
	// ErrTooLarge says that a document has more characters than a policy of its kind may have.
	ErrTooLarge = errors.New("policy: document too large")
)

// Error says why a document was refused, and where. It is ErrMalformed or ErrTooLarge.
type Error struct {
	// Message is what AWS answers to such a document: IAM's words for what IAM stores, and those
	// of services that store resource-based policies. They are often general.
	Message string
	// Detail says what exactly is wrong, in the words of IAM Access Analyzer's policy checks where
	// it has a check for it. "" if the message says it all.
	Detail string
	// Path leads to the element, such as Statement[1].Condition; "" is the document.
	Path string
	// Line and Column are where the element stands, from 1; a column is a character. 0 if the whole
	// document is meant.
	Line, Column int
	kind         error
}

// Unwrap returns ErrMalformed or ErrTooLarge.
func (e *Error) Unwrap() error { return e.kind }

func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	if e.Detail != "" && !strings.HasSuffix(e.Message, ".") {
		b.WriteByte(':')
	}
	if e.Detail != "" {
		b.WriteString(" " + e.Detail)
	}
	return b.String()
}

// refused is an error whose place the reader of the document adds, and whose message too if it is "".
func refused(message, detail string) *Error {
	return &Error{Message: message, Detail: detail, kind: ErrMalformed}
}
