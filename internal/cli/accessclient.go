package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/admin"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/config"
)

// Access is a connection to the calls by which who may call a Headrace is administered.
type Access interface {
	// Call does one operation. A refusal is an *admin.Error.
	Call(ctx context.Context, operation string, c admin.Call) (*admin.Result, error)
}

// accessHelp is part of the help of the groups that administer a server.
const accessHelp = `These commands call a running headrace serve, which must know who asks: the root of an account, or a
user or role whose policies allow it. The credentials are those of AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, or of a profile (--profile, AWS_PROFILE). The root of the first account may act
for all accounts, with --account; others act for their own.

The server is the one on this machine, http://127.0.0.1:4566, unless --endpoint or AWS_ENDPOINT_URL
names another.`

// accessFlags are the flags of every command that administers a server.
type accessFlags struct {
	target  Target
	account string
}

// accessGroup returns a group of such commands.
func (a *App) accessGroup(use, short, long string) (*cobra.Command, *accessFlags) {
	group := a.group(use, short, long+"\n\n"+accessHelp)
	f := new(accessFlags)
	flags := group.PersistentFlags()
	flags.StringVar(&f.target.Endpoint, "endpoint", "", "`URL` of the server")
	flags.StringVar(&f.target.Profile, "profile", "", "profile of ~/.aws/config to use")
	flags.StringVar(&f.account, "account", "", "`account` to act for, instead of one's own")
	return group, f
}

// callAccess connects and does one call; doing says what, for errors.
func (a *App) callAccess(cmd *cobra.Command, f *accessFlags, doing, operation string, c admin.Call) (*admin.Result, error) {
	server, err := a.ConnectAccess(cmd.Context(), f.target)
	if err != nil {
		return nil, err
	}
	c.Account = f.account
	out, err := server.Call(cmd.Context(), operation, c)
	return out, accessFailed(doing, err)
}

// accessFailed is failed for these calls.
func accessFailed(doing string, err error) error {
	var refusal *admin.Error
	if errors.As(err, &refusal) && refusal.RequestID != "" {
		return fmt.Errorf("%s: %w (request id %s)", doing, err, refusal.RequestID)
	}
	return failed(doing, err)
}

// connectAccess makes a client of a server's calls.
func connectAccess(ctx context.Context, t Target) (Access, error) {
	if t.Profile == "" && os.Getenv("AWS_PROFILE") == "" && os.Getenv("AWS_ACCESS_KEY_ID") == "" {
		return nil, errors.New("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with --profile")
	}
	load := []func(*awsconfig.LoadOptions) error{awsconfig.WithLogger(logging.Nop{})}
	if t.Profile != "" {
		load = append(load, awsconfig.WithSharedConfigProfile(t.Profile))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	c := &accessClient{endpoint: t.Endpoint, region: cfg.Region, credentials: cfg.Credentials, clock: clock.System{}, http: cfg.HTTPClient}
	if c.endpoint == "" {
		c.endpoint = aws.ToString(cfg.BaseEndpoint)
	}
	if c.endpoint == "" {
		c.endpoint = endpointURL(config.Default().Listen)
	}
	if c.region == "" {
		c.region = config.Default().Region
	}
	if c.http == nil {
		c.http = awshttp.NewBuildableClient()
	}
	return c, nil
}

// accessClient signs calls and sends them.
type accessClient struct {
	endpoint, region string
	credentials      aws.CredentialsProvider
	clock            clock.Clock
	http             aws.HTTPClient // trusts AWS_CA_BUNDLE, if there is one
}

// callTimeout is how long a call may take, answer and all.
const callTimeout = time.Minute

// maxAnswer bounds what is read of an answer: a thousand users with their policies are a few MiB.
const maxAnswer = 256 << 20

// Call implements Access.
func (c *accessClient) Call(ctx context.Context, operation string, in admin.Call) (*admin.Result, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode call: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.endpoint, "/")+admin.Path+operation, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "headrace")
	if err := c.sign(ctx, r, body); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return parseAnswer(resp, answer)
}

func (c *accessClient) sign(ctx context.Context, r *http.Request, body []byte) error {
	creds, err := c.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("find credentials: %w", err)
	}
	hash := hashOf(body)
	r.Header.Set("X-Amz-Content-Sha256", hash)
	if err := v4.NewSigner().SignHTTP(ctx, creds, r, hash, admin.SigningName, c.region, c.clock.Now()); err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	return nil
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func parseAnswer(resp *http.Response, body []byte) (*admin.Result, error) {
	if resp.StatusCode == http.StatusOK {
		out := new(admin.Result)
		if err := json.Unmarshal(body, out); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		return out, nil
	}
	refusal := &admin.Error{RequestID: resp.Header.Get("X-Amzn-Requestid")}
	if err := json.Unmarshal(body, refusal); err != nil || refusal.Code == "" {
		return nil, fmt.Errorf("the server does not take these calls: it answers %s", resp.Status)
	}
	return nil, refusal
}
