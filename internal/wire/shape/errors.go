package shape

import "fmt"

// Error is a modelled error of a service: what a handler returns and wire sends to the client.
type Error struct {
	// Code is the error's shape name, such as ResourceNotFoundException.
	Code string
	// Message is the text for the client; it may be empty.
	Message string
	// Status is the HTTP status; 0 means 400, or 500 for a fault.
	Status int
	// Fault marks an error that is the server's, not the client's.
	Fault bool
	// QueryCode is the error's name in the query protocol, for services whose older protocol has
	// another one; "" means Code.
	QueryCode string
}

// Error returns "Code: Message".
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// HTTPStatus returns Status, or its default.
func (e *Error) HTTPStatus() int {
	switch {
	case e.Status != 0:
		return e.Status
	case e.Fault:
		return 500
	}
	return 400
}

// SerializationError says that a document could not be read into its shape. AWS answers both of its
// kinds with the code SerializationException, but an unparsable document without a message.
type SerializationError struct {
	// Message is AWS's text for a value of the wrong type. It is empty for a document that is not
	// well-formed.
	Message string
	// Mistyped says that the document is well-formed although there is no Message: for some values of
	// query documents AWS has no words.
	Mistyped bool
	// Detail says for logs what is wrong with a document that is not well-formed.
	Detail string
	// Offset is the byte of the document where reading stopped, for a document that is not
	// well-formed.
	Offset int
}

// Unparsable reports whether the document is not well-formed, as opposed to well-formed with a value
// of the wrong type.
func (e *SerializationError) Unparsable() bool { return e.Message == "" && !e.Mistyped }

// Error returns a text for logs; clients get Message.
func (e *SerializationError) Error() string {
	if e.Unparsable() {
		return fmt.Sprintf("unparsable document: %s at byte %d", e.Detail, e.Offset)
	}
	return "wrong type in document: " + e.Message
}
