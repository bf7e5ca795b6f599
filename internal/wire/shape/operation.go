package shape

import "context"

// Operation is one operation of a service as wire sees it: how to make its structures and what to
// do with them.
type Operation struct {
	// Name is the model's name, such as PutRecords.
	Name string
	// NewInput returns an empty input structure; wire pools them.
	NewInput func() Shape
	// NewOutput returns an empty output structure. It is nil for an operation that has no output
	// in the model, whose response has an empty body.
	NewOutput func() Shape
	// Handle does the operation: in is decoded and valid, out is empty. Both structures belong to
	// the request and go back to a pool after it. An error that is an *Error reaches the client,
	// any other becomes InternalFailure.
	Handle func(ctx context.Context, call *Call, in, out Shape) error
	// Transient says that Handle keeps no string and no blob of in: they alias the request's
	// buffer, which then serves the next request. Without it they stay valid for ever, at the price
	// of a copy of the body.
	Transient bool
	// Reserves says that Handle calls Call.Reserve. The answers of other operations are expected to be as
	// large as the last one was.
	Reserves bool
	// Unsigned says that callers need no credentials: the input holds the proof of who they are. Call
	// names nobody then.
	Unsigned bool
	// Needs says which permissions a call needs. A handler that asks for permissions takes no
	// operation without it.
	Needs Needs
	// Streaming marks an operation that answers with an event stream, which begins with out; Handle
	// says with Call.Push what follows.
	Streaming bool
}

// Call says who called and lets a handler keep resources until its answer is on the wire. It
// belongs to one request at a time and is not safe for concurrent use.
type Call struct {
	// Account is the caller's 12-digit account id.
	Account string
	// Region is the region of the credential scope.
	Region string
	// AccessKeyID is the key that signed the request, and SessionToken the token that belongs to a
	// temporary one, as sent. Both alias the request's headers.
	AccessKeyID, SessionToken string
	// RequestID is the x-amzn-RequestId of the response.
	RequestID string

	// Room waits for the memory of an answer of so many bytes. Whoever serves the call sets it; nil means
	// that memory does not matter.
	Room func(int64) error

	expected int64
	done     []func()
	push     func(context.Context, Events) error
}

// Reserve says how large the answer may be in bytes, and waits for memory for it. A handler of an operation
// that Reserves calls it once, before it makes the answer or holds anything that takes memory, and returns the
// error if there is one.
func (c *Call) Reserve(n int64) error {
	if c.Room == nil {
		return nil
	}
	return c.Room(n)
}

// Expect says how large the answer that was reserved for is in bytes, or a little more.
func (c *Call) Expect(n int64) { c.expected = n }

// Expected returns what was said to Expect, 0 if nothing was.
func (c *Call) Expected() int64 { return c.expected }

// OnDone registers f to run when the output has been encoded, or the call has failed; with an event stream,
// when that has ended. What the output aliases must live until then. Functions run in reverse order.
func (c *Call) OnDone(f func()) { c.done = append(c.done, f) }

// Done runs the registered functions once and forgets them. Whoever made the call must call it
// exactly when the output is no longer needed, also after an error or a panic of the handler. The
// functions that are left still run when one of them panics.
func (c *Call) Done() {
	if len(c.done) == 0 {
		return
	}
	last := len(c.done) - 1
	f := c.done[last]
	c.done[last] = nil
	c.done = c.done[:last]
	defer c.Done()
	f()
}

// Reset empties the call for another request, keeping its memory. Registered functions that did not
// run are dropped.
func (c *Call) Reset() {
	done := c.done
	clear(done)
	*c = Call{done: done[:0]}
}

// AsReserving returns o with Reserves set.
func (o Operation) AsReserving() Operation {
	o.Reserves = true
	return o
}

// AsTransient returns o with Transient set.
func (o Operation) AsTransient() Operation {
	o.Transient = true
	return o
}
