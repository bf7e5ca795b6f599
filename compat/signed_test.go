package compat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/server"
)

// login is what a client signs with.
type login struct{ id, secret, token string }

// keyTable is all access keys of a server under test.
type keyTable map[string]sigv4.Key

// Lookup implements sigv4.Keys.
func (k keyTable) Lookup(_ context.Context, id, _ string) (sigv4.Key, error) {
	key, ok := k[id]
	if !ok {
		return sigv4.Key{}, sigv4.ErrNoKey
	}
	return key, nil
}

// verifying starts a server in this process that verifies the signatures of a permanent key, of two
// temporary ones, one of which has ended, and of none that is disabled.
func verifying(t *testing.T) (endpoint string) {
	t.Helper()
	now := clock.System{}.Now()
	key := sigv4.Key{Secret: secret.NewText("secret/with+signs"), Account: "123456789012", Active: true}
	temporary, ended, disabled := key, key, key
	temporary.Token, temporary.Expires = secret.NewText("token/with+signs=="), now.Add(time.Hour)
	ended.Token, ended.Expires = temporary.Token, now.Add(-time.Second)
	disabled.Active = false

	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- server.Run(ctx, server.Config{
			Listen: "127.0.0.1:0", MemoryBytes: 256 << 20, Logger: slog.New(slog.DiscardHandler), Registry: metrics.NewRegistry(),
			Keys:  keyTable{"AKIDPERMANENT": key, "ASIATEMPORARY": temporary, "ASIAENDED": ended, "AKIDDISABLED": disabled},
			Ready: func(a net.Addr) { ready <- a },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-ready:
		return "http://" + a.String()
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return ""
}

// whoIsLetIn runs a client with credentials of every kind. call returns what its last line says.
func whoIsLetIn(t *testing.T, call func(t *testing.T, endpoint string, l login) string) {
	t.Helper()
	endpoint := verifying(t)
	f := func(name string, l login, want string) {
		t.Helper()
		if got := call(t, endpoint, l); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	const (
		secret, token = "secret/with+signs", "token/with+signs=="
		accepted      = "accepted"
		other         = "InvalidSignatureException: The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
		invalid = "UnrecognizedClientException: The security token included in the request is invalid."
	)
	f("permanent key", login{"AKIDPERMANENT", secret, ""}, accepted)
	f("temporary key", login{"ASIATEMPORARY", secret, token}, accepted)
	f("wrong secret", login{"AKIDPERMANENT", secret + "x", ""}, other)
	f("wrong secret of a temporary key", login{"ASIATEMPORARY", "x", token}, other)
	f("wrong token", login{"ASIATEMPORARY", secret, token + "x"}, invalid)
	f("no token", login{"ASIATEMPORARY", secret, ""}, invalid)
	f("a token too much", login{"AKIDPERMANENT", secret, token}, invalid)
	f("key that ended", login{"ASIAENDED", secret, token}, "ExpiredTokenException: The security token included in the request is expired")
	f("disabled key", login{"AKIDDISABLED", secret, ""}, invalid)
	f("no such key", login{"AKIDNOBODY", secret, ""}, invalid)
}

// program returns a call that runs a client program with a stream of its own.
func program(name string, args ...string) func(t *testing.T, endpoint string, l login) string {
	n := 0
	return func(t *testing.T, endpoint string, l login) string {
		n++
		out, err := runProgram(t, l, name, append(args, endpoint, fmt.Sprint("stream-", n))...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(bytes.TrimSpace(out))
	}
}

func TestSignedBoto3(t *testing.T) {
	t.Parallel()
	whoIsLetIn(t, program(installed(t, "build/venv/bin/python"), "compat/boto3/signed.py"))
}

func TestSignedJavaScript(t *testing.T) {
	t.Parallel()
	installed(t, "compat/js/node_modules/@aws-sdk/client-kinesis/package.json")
	whoIsLetIn(t, program("node", "compat/js/signed.mjs"))
}

func TestSignedAWSCLI(t *testing.T) {
	t.Parallel()
	aws := installed(t, "build/venv/bin/aws")
	whoIsLetIn(t, func(t *testing.T, endpoint string, l login) string {
		out, err := runProgram(t, l, aws, "--endpoint-url", endpoint, "kinesis", "list-streams", "--limit", "7")
		if err == nil {
			return "accepted"
		}
		text := strings.ReplaceAll(string(bytes.TrimSpace(out)), ") when calling the ListStreams operation", "")
		_, text, _ = strings.Cut(text, "An error occurred (")
		return text
	})
}

func TestSignedGo(t *testing.T) {
	t.Parallel()
	n := 0
	whoIsLetIn(t, func(t *testing.T, endpoint string, l login) string {
		n++
		client := goClient(endpoint, credentials.NewStaticCredentialsProvider(l.id, l.secret, l.token))
		err := goRoundTrip(t.Context(), client, fmt.Sprint("stream-", n))
		var refused smithy.APIError
		if errors.As(err, &refused) {
			return refused.ErrorCode() + ": " + refused.ErrorMessage()
		}
		if err != nil {
			t.Fatal(err)
		}
		return "accepted"
	})
}

func goRoundTrip(ctx context.Context, client *kinesis.Client, stream string) error {
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: aws.Int32(1)}); err != nil {
		return err
	}
	sent := bytes.Repeat([]byte("bytes"), 1000)
	put, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{
		StreamName: &stream, Records: []types.PutRecordsRequestEntry{{Data: sent, PartitionKey: aws.String("ä ö")}},
	})
	if err != nil {
		return err
	}
	iterator, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: put.Records[0].ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return err
	}
	got, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator.ShardIterator})
	if err != nil {
		return err
	}
	if len(got.Records) != 1 || !bytes.Equal(got.Records[0].Data, sent) {
		return fmt.Errorf("%d records came back, or another one", len(got.Records))
	}
	return nil
}
