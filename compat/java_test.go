package compat

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/binarytest"
)

const (
	javaInstalled = "build/java/.installed"
	spokeCBOR     = "application/x-amz-cbor-1.1"
	spokeJSON     = "application/x-amz-json-1.1"
)

// compileJava compiles compat/java into a directory and returns the class path to run it with.
func compileJava(root, into string) (string, error) {
	jars := filepath.Join(root, filepath.Dir(filepath.FromSlash(javaInstalled)), "*")
	sources, err := filepath.Glob(filepath.Join(root, "compat", "java", "*.java"))
	if err != nil {
		return "", err
	}
	cmd := exec.Command("javac", append([]string{"--release", "17", "-cp", jars, "-d", into}, sources...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the Java driver: %w\n%s", err, out)
	}
	return into + string(os.PathListSeparator) + jars, nil
}

// javaArgs returns the arguments that run the driver. What the JVM would do for a program that runs for
// days is left out.
func javaArgs(t *testing.T, properties ...string) []string {
	t.Helper()
	if _, err := exec.LookPath("javac"); err != nil {
		t.Skip("there is no JDK on this machine")
	}
	installed(t, javaInstalled)
	path, err := shared.java()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Daws.java.v1.disableDeprecationAnnouncement=true",
		"-Dorg.apache.commons.logging.Log=org.apache.commons.logging.impl.NoOpLog", // no settings files are no news
	}
	return append(append(args, properties...), "-cp", path, "Driver")
}

// TestMainJobJava runs the SDKs for Java as they come, which is with CBOR, and as they are told to speak
// JSON. The asynchronous client speaks HTTP/2.
func TestMainJobJava(t *testing.T) {
	t.Parallel()
	f := func(name, spoke string, properties ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _, _ := strings.Cut(name, " ")
			args := append(javaArgs(t, properties...), "main", client, endpointOf(t), shared.log, "java")
			out, err := runProgram(t, login{"test", "test", ""}, "java", args...)
			if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte(" by "+spoke)) {
				t.Fatalf("%s: %v; want it to speak %s\n%s", client, err, spoke, out)
			}
			t.Logf("%s", bytes.TrimSpace(out))
		})
	}
	f("v1", spokeCBOR)
	f("v1 JSON", spokeJSON, "-Dcom.amazonaws.sdk.disableCbor=true")
	f("v2", spokeCBOR)
	f("v2 JSON", spokeJSON, "-Daws.cborEnabled=false")
	f("v2-async", spokeCBOR+", HTTP/2")
}

// TestFanOutJava subscribes with the asynchronous client, the only one that can, in CBOR and in JSON.
func TestFanOutJava(t *testing.T) {
	t.Parallel()
	f := func(spoke string, properties ...string) {
		args := append(javaArgs(t, properties...), "fanout", endpointOf(t, slow), "fanout")
		out, err := runProgram(t, login{"test", "test", ""}, "java", args...)
		if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte(" by "+spoke)) {
			t.Fatalf("%v; want it to speak %s\n%s", err, spoke, out)
		}
		t.Logf("%s", bytes.TrimSpace(out))
	}
	f(spokeCBOR)
	f(spokeJSON, "-Daws.cborEnabled=false")
}

func TestSignedJava(t *testing.T) {
	t.Parallel()
	for _, client := range []string{"v1", "v2", "v2-async"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			args := javaArgs(t)
			// One process makes all calls: a JVM each would take long.
			ask, n := conversation(t, "java", append(args, "signed", client)...), 0
			call := func(t *testing.T, endpoint string, l login) string {
				n++
				return ask(t, strings.TrimSpace(fmt.Sprintf("%s stream-%d %s %s %s", endpoint, n, l.id, l.secret, l.token)))
			}
			whoIsLetIn(t, call)
			endpoint, root := serving(t)
			if got := call(t, endpoint, root); got != "accepted" {
				t.Errorf("the root key of serve: %s", got)
			}
			root.secret += "x"
			if got := call(t, endpoint, root); !strings.HasPrefix(got, "InvalidSignatureException: ") {
				t.Errorf("a wrong secret of the root key of serve: %s", got)
			}
		})
	}
}

// shownKey is an access key as headrace shows it.
var shownKey = regexp.MustCompile(`AWS_ACCESS_KEY_ID +(\S+)\s+AWS_SECRET_ACCESS_KEY +(\S+)`)

// serving starts `headrace serve` on a directory of its own and returns its root key.
func serving(t *testing.T) (endpoint string, root login) {
	t.Helper()
	s, err := binarytest.LaunchProfile(shared.binary, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--wal-size", "32MiB", "--memory", "128MiB")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("headrace did not stop cleanly: %v\n%s", err, s.Output())
		}
	})
	shown := shownKey.FindStringSubmatch(s.Output())
	if shown == nil {
		t.Fatalf("serve shows no root key:\n%s", s.Output())
	}
	return s.Endpoint, login{shown[1], shown[2], ""}
}

// conversation starts a program that answers a line with a line, and ends with its input.
func conversation(t *testing.T, program string, args ...string) func(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = shared.root, environment(login{})
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		_ = in.Close() // it may have gone
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", program, err, said.Bytes())
		}
	})
	lines := bufio.NewScanner(out)
	return func(t *testing.T, line string) string {
		t.Helper()
		if _, err := fmt.Fprintln(in, line); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("%s has no answer to %q: %v", program, line, lines.Err())
		}
		return lines.Text()
	}
}
