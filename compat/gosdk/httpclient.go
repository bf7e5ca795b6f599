package gosdk

import (
	"io"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// HTTPClient is the SDK's own HTTP client with one flaw of its surroundings kept out, so that calls
// that are made once do not fail by chance.
//
// The SDK closes a request's body once it has the response's header. A server on the same machine is
// often that fast before net/http has looked for the body's end, and the closed body's WriteTo then
// returns io.EOF where it should return nil: net/http takes that for a failed write and drops the
// connection under the response. By default the SDK calls again, so a put is stored twice. Without
// WriteTo net/http uses Read, for which io.EOF is right.
func HTTPClient() *Client { return &Client{sdk: awshttp.NewBuildableClient()} }

// Client is what HTTPClient returns. It is safe for concurrent use.
type Client struct{ sdk *awshttp.BuildableClient }

// Do sends the request.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.sdk.Do(r)
}
