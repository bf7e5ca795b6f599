package cli

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/admin"
	"github.com/headrace/headrace/internal/awsclient"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/config"
)

type options = func(*kinesis.Options)

// Admin is what commands that change or list streams call. *kinesis.Client is one.
type Admin interface {
	CreateStream(context.Context, *kinesis.CreateStreamInput, ...options) (*kinesis.CreateStreamOutput, error)
	DescribeStreamSummary(context.Context, *kinesis.DescribeStreamSummaryInput, ...options) (*kinesis.DescribeStreamSummaryOutput, error)
	ListStreams(context.Context, *kinesis.ListStreamsInput, ...options) (*kinesis.ListStreamsOutput, error)
	SplitShard(context.Context, *kinesis.SplitShardInput, ...options) (*kinesis.SplitShardOutput, error)
	MergeShards(context.Context, *kinesis.MergeShardsInput, ...options) (*kinesis.MergeShardsOutput, error)
}

// Reader is what reading a stream takes. *kinesis.Client is one.
type Reader interface {
	ListShards(context.Context, *kinesis.ListShardsInput, ...options) (*kinesis.ListShardsOutput, error)
	GetShardIterator(context.Context, *kinesis.GetShardIteratorInput, ...options) (*kinesis.GetShardIteratorOutput, error)
	GetRecords(context.Context, *kinesis.GetRecordsInput, ...options) (*kinesis.GetRecordsOutput, error)
}

// Writer is what writing to a stream takes. *kinesis.Client is one.
type Writer interface {
	PutRecords(context.Context, *kinesis.PutRecordsInput, ...options) (*kinesis.PutRecordsOutput, error)
}

// Client is a connection to Kinesis, Headrace's or AWS's.
type Client struct {
	Admin
	Reader
	Writer
	// Own makes one of Headrace's own calls, a GET below /_headrace/, signed by the same credentials, and
	// returns the answer.
	Own func(ctx context.Context, path string) ([]byte, error)
}

// Target says which Kinesis the stream commands talk to.
type Target struct {
	// Endpoint is a URL, "" to let the environment and the profile say.
	Endpoint string
	// AWS is set to reach AWS itself, whatever endpoint the environment names.
	AWS bool
	// Profile names a profile of ~/.aws/config, "" for the environment's.
	Profile string
	// Region is a region name, "" for the environment's or the profile's.
	Region string
}

// targetHelp is part of the help of the stream group.
const targetHelp = `The commands are AWS clients. They talk to the Headrace on this machine,
http://127.0.0.1:4566, unless told otherwise, and never to AWS by accident:

  --endpoint URL            this endpoint
  AWS_ENDPOINT_URL_KINESIS  else this one, or AWS_ENDPOINT_URL, or the profile's endpoint_url
  --aws                     AWS itself, whatever those say; needs credentials of its own

Credentials and region are found as the AWS CLI finds them (--profile, AWS_PROFILE,
AWS_ACCESS_KEY_ID, AWS_REGION ...). Without any of those variables the credentials are
test/test, which "headrace dev" takes, and the region is us-east-1.`

// targetFlags adds the flags that choose a Target to every command below group.
func targetFlags(group *cobra.Command) *Target {
	t := new(Target)
	f := group.PersistentFlags()
	f.StringVar(&t.Endpoint, "endpoint", "", "`URL` of the service")
	f.BoolVar(&t.AWS, "aws", false, "talk to AWS itself")
	f.StringVar(&t.Profile, "profile", "", "profile of ~/.aws/config to use")
	f.StringVar(&t.Region, "region", "", "region to sign for")
	return t
}

// loadAWS finds region and credentials by the rules of targetHelp.
func loadAWS(ctx context.Context, t Target) (aws.Config, error) {
	load := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithRetryer(newRetryer),
		awsconfig.WithLogger(logging.Nop{}), // errors are reported in one line, by callError
	}
	if t.Profile != "" {
		load = append(load, awsconfig.WithSharedConfigProfile(t.Profile))
	}
	if t.Region != "" {
		load = append(load, awsconfig.WithRegion(t.Region))
	}
	if !t.AWS && t.Profile == "" && os.Getenv("AWS_PROFILE") == "" && os.Getenv("AWS_ACCESS_KEY_ID") == "" {
		load = append(load, awsconfig.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(testAccessKey, testSecretKey, "")))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return cfg, fmt.Errorf("load AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = config.Default().Region
	}
	return cfg, nil
}

// connect makes a client by the rules of targetHelp.
func connect(ctx context.Context, t Target) (*Client, error) {
	cfg, err := loadAWS(ctx, t)
	if err != nil {
		return nil, err
	}
	c := kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		o.HTTPClient = awsclient.HTTP{Next: o.HTTPClient}
		switch {
		case t.AWS:
			o.BaseEndpoint = nil
		case t.Endpoint != "":
			o.BaseEndpoint = aws.String(t.Endpoint)
		case o.BaseEndpoint == nil: // neither the environment nor the profile names one
			o.BaseEndpoint = aws.String(endpointURL(config.Default().Listen))
		}
	})
	return &Client{Admin: c, Reader: c, Writer: c, Own: func(ctx context.Context, path string) ([]byte, error) {
		return ownCall(ctx, c.Options(), path)
	}}, nil
}

// maxOwn bounds the answer of one of our own calls: a stream has at most 10,000 open shards.
const maxOwn = 64 << 20

// ownCall makes one of our own calls to where the options say that Kinesis is.
func ownCall(ctx context.Context, o kinesis.Options, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(aws.ToString(o.BaseEndpoint), "/")+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	keys, err := o.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	nothing := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(nothing[:]), admin.SigningName, o.Region, clock.System{}.Now()); err != nil {
		return nil, err
	}
	resp, err := o.HTTPClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOwn))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body[:min(len(body), 1<<10)])))
	}
	return body, nil
}

// newRetryer retries as SDKs do, except when nobody listens at the endpoint, or somebody with a
// certificate that is not trusted: a person who has not started the server, or not said whom to trust,
// wants to hear that at once.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		hopeless := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			var network *net.OpError
			var untrusted *tls.CertificateVerificationError
			if errors.As(err, &network) && network.Op == "dial" || errors.As(err, &untrusted) {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})
		o.Retryables = append([]retry.IsErrorRetryable{hopeless}, o.Retryables...)
	})
}

// callError is a failed call in one line: what was asked, what was answered, the request's id.
type callError struct {
	doing string
	err   error
}

// failed wraps the error of an SDK call; doing is a verb and its object. Nil stays nil.
func failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	return &callError{doing, err}
}

func (e *callError) Unwrap() error { return e.err }

func (e *callError) Error() string {
	var (
		api     smithy.APIError
		answer  *awshttp.ResponseError
		network *net.OpError
	)
	switch {
	case errors.Is(e.err, context.Canceled):
		return e.doing + ": interrupted"
	case errors.As(e.err, &api):
		text := fmt.Sprintf("%s: %s: %s", e.doing, api.ErrorCode(), api.ErrorMessage())
		if errors.As(e.err, &answer) && answer.ServiceRequestID() != "" {
			text += " (request id " + answer.ServiceRequestID() + ")"
		}
		return text
	case errors.As(e.err, &network) && network.Op == "dial":
		return fmt.Sprintf("%s: cannot reach %v: %v; is headrace running there?", e.doing, network.Addr, network.Err)
	}
	return fmt.Sprintf("%s: %v", e.doing, e.err)
}

// hasCode reports whether err is an AWS error of this code.
func hasCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}
