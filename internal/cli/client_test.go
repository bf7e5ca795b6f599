package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/headrace/headrace/internal/clock"
)

// isolate hides the AWS configuration of whoever runs the tests.
func isolate(t *testing.T) {
	for _, name := range []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
}

func TestConnectChoosesTheEndpoint(t *testing.T) {
	f := func(target Target, env, want, region string) {
		t.Helper()
		isolate(t)
		if name, value, ok := strings.Cut(env, "="); ok {
			t.Setenv(name, value)
		}
		c, err := connect(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		o := c.Admin.(*kinesis.Client).Options()
		got := "AWS"
		if o.BaseEndpoint != nil {
			got = *o.BaseEndpoint
		}
		if got != want || o.Region != region {
			t.Errorf("%+v with %s: got %s in %s, want %s in %s", target, env, got, o.Region, want, region)
		}
	}
	const local = "http://127.0.0.1:4566"
	f(Target{}, "", local, "us-east-1")
	f(Target{Region: "eu-west-1"}, "", local, "eu-west-1")
	f(Target{}, "AWS_REGION=eu-west-2", local, "eu-west-2")
	f(Target{}, "AWS_ENDPOINT_URL=http://a:1", "http://a:1", "us-east-1")
	f(Target{}, "AWS_ENDPOINT_URL_KINESIS=http://k:1", "http://k:1", "us-east-1")
	f(Target{Endpoint: "http://e:1"}, "AWS_ENDPOINT_URL=http://a:1", "http://e:1", "us-east-1")
	f(Target{AWS: true}, "AWS_ENDPOINT_URL=http://a:1", "AWS", "us-east-1")
}

func TestConnectCredentials(t *testing.T) {
	f := func(key string, want string) {
		t.Helper()
		isolate(t)
		t.Setenv("AWS_ACCESS_KEY_ID", key)
		t.Setenv("AWS_SECRET_ACCESS_KEY", key)
		c, err := connect(t.Context(), Target{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Admin.(*kinesis.Client).Options().Credentials.Retrieve(t.Context())
		if err != nil || got.AccessKeyID != want {
			t.Errorf("with %q: got %q, %v, want %q", key, got.AccessKeyID, err, want)
		}
	}
	f("", "test")
	f("123456789012", "123456789012")
}

// One line, with the code, the message and the request id that AWS answered.
func TestErrorsOfTheService(t *testing.T) {
	isolate(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("x-amzn-RequestId", "id-1")
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"ResourceNotFoundException","message":"Stream x under account 000000000000 not found."}`)
	}))
	defer srv.Close()
	run := func(args ...string) (int, string) {
		var out, stderr strings.Builder
		app := &App{In: strings.NewReader("a\n"), Out: &out, Err: &stderr, Clock: clock.System{}, Connect: connect}
		return app.Run(t.Context(), append(args, "--endpoint", srv.URL)), stderr.String()
	}
	const answer = ": ResourceNotFoundException: Stream x under account 000000000000 not found. (request id id-1)\n"
	f := func(want string, args ...string) {
		t.Helper()
		if code, got := run(args...); code != ExitFailure || got != "headrace: "+want+answer {
			t.Errorf("%q: got %d, %q, want %q", args, code, got, want+answer)
		}
	}
	f("create stream x", "stream", "create", "x")
	f("list streams", "stream", "ls")
	f("describe stream x", "stream", "describe", "x")
	f("put records to stream x", "stream", "put", "x")
	f("list shards of stream x", "stream", "tail", "x")
	f("list shards of stream x", "stream", "split", "x", "shardId-000000000000")
	f("merge shards a and b", "stream", "merge", "x", "a", "b")
	if code, got := run("stream", "hot", "x"); code != ExitFailure || !strings.HasPrefix(got, "headrace: look for what is hot in stream x: 400 Bad Request: {") {
		t.Errorf("hot: got %d, %q", code, got)
	}
	srv.Close()
	if code, got := run("stream", "ls"); code != ExitFailure || !strings.HasSuffix(got, "; is headrace running there?\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("nobody there: got %d, %q", code, got)
	}
}
