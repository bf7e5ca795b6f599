package compat

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/headrace/headrace/compat/gosdk"
	"github.com/headrace/headrace/internal/awsclient"
	"github.com/headrace/headrace/internal/binarytest"
	"github.com/headrace/headrace/internal/samplelog"
)

// world is what the clients of this package's tests share.
type world struct {
	binary string // the shipped binary
	root   string // of the module
	log    string // file holding the access log
	// java compiles the driver of the Java clients, once, and returns its class path.
	java func() (string, error)
}

var shared world

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "headrace-compat")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if shared.root, err = binarytest.Root(); err != nil {
		return 0, err
	}
	if shared.binary, err = binarytest.Build(dir); err != nil {
		return 0, err
	}
	log, source, err := samplelog.Load()
	if err != nil {
		return 0, err
	}
	fmt.Printf("compat: the main job runs on %d lines of %s\n", bytes.Count(log, []byte("\n")), source)
	shared.log = filepath.Join(dir, "access.log")
	if err := os.WriteFile(shared.log, log, 0o600); err != nil {
		return 0, err
	}
	shared.java = sync.OnceValues(func() (string, error) { return compileJava(shared.root, filepath.Join(dir, "java")) })
	return m.Run(), nil
}

// anyone is who may call a server that believes every signature.
var anyone = credentials.NewStaticCredentialsProvider("test", "test", "")

// slow makes streams stay CREATING for a while, so that waiters have something to wait for.
const slow = "--transition-delay=300ms"

// TestMonitoring has Prometheus's own parsers read the alert rules and the dashboard of the guide.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	client(t, installed(t, "build/promcheck"), "docs/guide/alerts.yaml", "docs/guide/grafana.json")
}

func TestMainJobAWSCLI(t *testing.T) {
	t.Parallel()
	python, aws := installed(t, "build/venv/bin/python"), installed(t, "build/venv/bin/aws")
	client(t, python, "compat/awscli/main_job.py", aws, endpointOf(t), shared.log, "awscli")
}

func TestSurfaceAWSCLI(t *testing.T) {
	t.Parallel()
	python, aws := installed(t, "build/venv/bin/python"), installed(t, "build/venv/bin/aws")
	// Its waiters look again only after ten seconds, so here they need not wait.
	client(t, python, "compat/awscli/surface.py", aws, endpointOf(t), "surface")
}

func TestMainJobBoto3(t *testing.T) {
	t.Parallel()
	python := installed(t, "build/venv/bin/python")
	client(t, python, "compat/boto3/main_job.py", endpointOf(t), shared.log, "boto3")
}

func TestSurfaceBoto3(t *testing.T) {
	t.Parallel()
	python := installed(t, "build/venv/bin/python")
	client(t, python, "compat/boto3/surface.py", endpointOf(t, slow), "surface")
}

func TestTokensBoto3(t *testing.T) {
	t.Parallel()
	python := installed(t, "build/venv/bin/python")
	client(t, python, "compat/boto3/tokens.py", endpointOf(t))
}

// TestTokensAWSCLI asks who calls, as scripts do first, by way of a role.
func TestTokensAWSCLI(t *testing.T) {
	t.Parallel()
	program := installed(t, "build/venv/bin/aws")
	file := filepath.Join(t.TempDir(), "config")
	text := "[profile deploy]\nrole_arn = arn:aws:iam::111122223333:role/deployer\ncredential_source = Environment\nrole_session_name = cli\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	endpoint := endpointOf(t)
	for profile, want := range map[string]string{"": "arn:aws:iam::000000000000:root", "deploy": "arn:aws:sts::111122223333:assumed-role/deployer/cli"} {
		cmd := exec.CommandContext(t.Context(), program, "sts", "get-caller-identity", "--query", "Arn", "--output", "text")
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_CONFIG_FILE=" + file, "AWS_ENDPOINT_URL=" + endpoint, "AWS_REGION=us-east-1",
			"AWS_DEFAULT_REGION=us-east-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
		}
		if profile != "" { // said aloud, or the variables with the credentials win
			cmd.Args = append(cmd.Args, "--profile", profile)
		}
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("profile %q: %v\n%s\nwant %s", profile, err, out, want)
		}
	}
}

func TestMainJobJavaScript(t *testing.T) {
	t.Parallel()
	installed(t, "compat/js/node_modules/@aws-sdk/client-kinesis/package.json")
	client(t, "node", "compat/js/main_job.mjs", endpointOf(t), shared.log, "javascript")
}

func TestSurfaceJavaScript(t *testing.T) {
	t.Parallel()
	installed(t, "compat/js/node_modules/@aws-sdk/client-kinesis/package.json")
	client(t, "node", "compat/js/surface.mjs", endpointOf(t, slow), "surface")
}

func TestMainJobGo(t *testing.T) {
	t.Parallel()
	log, err := os.ReadFile(shared.log)
	if err != nil {
		t.Fatal(err)
	}
	report, err := gosdk.MainJob(t.Context(), goClient(endpointOf(t), anyone), log, "go")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
}

func TestSurfaceGo(t *testing.T) {
	t.Parallel()
	report, err := gosdk.Surface(t.Context(), goClient(endpointOf(t, slow), anyone), "surface")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
}

func TestTokensGo(t *testing.T) {
	t.Parallel()
	endpoint := endpointOf(t)
	tokens := sts.New(sts.Options{
		BaseEndpoint: aws.String(endpoint), Region: "us-east-1", RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:  awsclient.HTTP{Next: awshttp.NewBuildableClient()},
	})
	report, err := gosdk.Tokens(t.Context(), tokens, goClient(endpoint, credentials.NewStaticCredentialsProvider("test", "test", "")))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
}

func TestFanOutBoto3(t *testing.T) {
	t.Parallel()
	python := installed(t, "build/venv/bin/python")
	client(t, python, "compat/boto3/fanout.py", endpointOf(t, slow), "fanout")
}

func TestFanOutJavaScript(t *testing.T) {
	t.Parallel()
	installed(t, "compat/js/node_modules/@aws-sdk/client-kinesis/package.json")
	client(t, "node", "compat/js/fanout.mjs", endpointOf(t, slow), "fanout")
}

func TestFanOutGo(t *testing.T) {
	t.Parallel()
	report, err := gosdk.FanOut(t.Context(), goClient(endpointOf(t, slow), anyone), "fanout")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
}

// TestReadmeCommands runs the commands for the AWS CLI in the README the way a reader does: in a shell
// that has nothing else set.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the commands are for a POSIX shell")
	}
	aws := installed(t, "build/venv/bin/aws")
	readme, err := os.ReadFile(filepath.Join(shared.root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "```\nexport ")
	commands, _, ended := strings.Cut(rest, "\n```")
	if !found || !ended || strings.Count(commands, "aws kinesis") < 2 {
		t.Fatal("README.md has no block of an export and commands of the AWS CLI")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", "export "+strings.ReplaceAll(commands, "http://127.0.0.1:4566", endpointOf(t)))
	cmd.Env = []string{
		"PATH=" + filepath.Dir(aws) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true",
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`"SequenceNumber"`)) {
		t.Errorf("%v\n%s", err, out)
	}
}

// goClient makes each call once: a call that fails in the main job is a failure of it.
func goClient(endpoint string, who aws.CredentialsProvider) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		BaseEndpoint:     aws.String(endpoint),
		Region:           "us-east-1",
		Credentials:      who,
		RetryMaxAttempts: 1,
		HTTPClient:       awsclient.HTTP{Next: awshttp.NewBuildableClient()},
	})
}

// endpointOf starts a server of the test's own.
func endpointOf(t *testing.T, args ...string) string {
	return binarytest.Start(t, shared.binary, args...).Endpoint
}

// installed returns the absolute path of something `make compat-setup` installs, and skips the
// test, saying so, where a registry was out of reach.
func installed(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(shared.root, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not installed: run `make compat-setup` where the package registries are reached", name)
	}
	return path
}

// client runs a client program that must succeed, with any credentials.
func client(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := runProgram(t, login{"test", "test", ""}, program, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
	t.Logf("%s", bytes.TrimSpace(out))
}

// runProgram runs a client program from the module's root with the environment a user would have, and
// returns what it wrote.
func runProgram(t *testing.T, l login, program string, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = shared.root
	cmd.Env = environment(l)
	return cmd.CombinedOutput()
}

// environment is what a user who is logged in would have, and no settings of the machine.
func environment(l login) []string {
	env := append(os.Environ(),
		"AWS_ACCESS_KEY_ID="+l.id, "AWS_SECRET_ACCESS_KEY="+l.secret, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_MAX_ATTEMPTS=1", // of the AWS CLI; the others set it themselves
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
		"AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true", "PYTHONDONTWRITEBYTECODE=1")
	if l.token != "" {
		env = append(env, "AWS_SESSION_TOKEN="+l.token)
	}
	return env
}
