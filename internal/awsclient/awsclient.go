// Package awsclient is what our own clients of AWS's API share: the command line's, and those that
// tests are written with. It is no client itself: the AWS SDK for Go is.
package awsclient

import (
	"io"
	"net/http"
)

// HTTP is an SDK's HTTP client under which connections are not lost by chance. It is safe for
// concurrent use if Next is.
//
// The SDK closes a request's body once it has the response's header. A server on the same machine is
// often that fast before net/http has looked for the body's end, and the closed body's WriteTo then
// returns io.EOF where it should return nil: net/http takes that for a failed write and drops the
// connection under the response. By default the SDK calls again, so a put is stored twice. Without
// WriteTo net/http uses Read, for which io.EOF is right.
type HTTP struct {
	// Next sends the requests.
	Next interface {
		Do(*http.Request) (*http.Response, error)
	}
}

// Do sends the request, whose body it leaves alone but for the method WriteTo.
func (c HTTP) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(r.Context()) // a copy: the caller's request keeps its body
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.Next.Do(r)
}
