// Package binarytest builds the shipped binary and runs it for tests that use Headrace as a user
// would: from outside, over its port. In-process tests have no use for it.
package binarytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Build compiles cmd/headrace into dir and returns the program's path. Call it from TestMain, so
// that a package's tests share one build.
func Build(dir string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "headrace")
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	cmd := exec.Command("go", "build", "-o", name, "./cmd/headrace")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build headrace: %w\n%s", err, out)
	}
	return name, nil
}

// Root returns the directory of the module that the test runs in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}

// Server is a running `headrace dev`. Its methods are safe for concurrent use.
type Server struct {
	// Endpoint is the URL that clients take.
	Endpoint string

	cmd    *exec.Cmd
	output *tail
	exited chan struct{} // closed once the process is gone
	err    error         // how it ended; read it after that
}

// startLimit is how long a server may take to print its address, stopLimit how long to exit once it
// was asked to. It takes well under 100 ms to start and, idle, to stop.
const (
	startLimit = 20 * time.Second
	stopLimit  = 30 * time.Second
)

// Start runs `headrace dev` with further arguments on a free port of 127.0.0.1 and returns when it
// serves. The server is stopped, and waited for, when the test ends; a server that does not exit
// cleanly fails the test.
func Start(t testing.TB, binary string, args ...string) *Server {
	t.Helper()
	s, err := Launch(binary, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("headrace did not stop cleanly: %v\n%s", err, s.Output())
		}
		if t.Failed() {
			t.Logf("headrace said:\n%s", s.Output())
		}
	})
	return s
}

// Command returns a run of the binary that is configured by args alone: HEADRACE_* variables of the
// environment are not handed on.
func Command(ctx context.Context, binary string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "HEADRACE_") })
	return cmd
}

// Launch is Start for callers without a test; the caller stops the server.
func Launch(binary string, args ...string) (*Server, error) {
	return LaunchProfile(binary, "dev", args...)
}

// LaunchProfile is Launch for a profile: dev or serve.
func LaunchProfile(binary, profile string, args ...string) (*Server, error) {
	return LaunchWith(nil, binary, profile, args...)
}

// LaunchWith is LaunchProfile with variables, as NAME=value, beside those of the environment.
func LaunchWith(environ []string, binary, profile string, args ...string) (*Server, error) {
	cmd := Command(context.Background(), binary, append([]string{profile, "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(cmd.Env, environ...)
	reader, writer := io.Pipe()
	s := &Server{cmd: cmd, output: new(tail), exited: make(chan struct{})}
	cmd.Stdout = io.MultiWriter(s.output, writer)
	cmd.Stderr = s.output
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start headrace: %w", err)
	}
	address := make(chan string, 1)
	go findAddress(reader, address)
	go func() {
		s.err = cmd.Wait()
		_ = writer.Close() // never fails
		close(s.exited)
	}()
	late := time.NewTimer(startLimit)
	defer late.Stop()
	select {
	case s.Endpoint = <-address:
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("headrace exited at start: %w\n%s", s.err, s.Output())
	case <-late.C:
		_ = cmd.Process.Kill()
		<-s.exited
		return nil, fmt.Errorf("headrace printed no address within %v:\n%s", startLimit, s.Output())
	}
}

var (
	endpoint = regexp.MustCompile(`https?://127\.0\.0\.1:\d+`)
	ready    = regexp.MustCompile(`^Ready\.`)
)

// findAddress sends the address that the server prints once it says that it is ready, and reads on
// to the end, or the server would block on a full pipe.
func findAddress(r io.Reader, address chan<- string) {
	url := ""
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		if url == "" {
			url = endpoint.FindString(scanner.Text())
		}
		if ready.MatchString(scanner.Text()) {
			address <- url
			break
		}
	}
	_, _ = io.Copy(io.Discard, r) // ends with the process
}

// Process returns the process's id.
func (s *Server) Process() int { return s.cmd.Process.Pid }

// Signal sends the process a signal. One that has exited takes none, which is no error.
func (s *Server) Signal(sig os.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal headrace: %w", err)
	}
	return nil
}

// Wait waits for the process to exit and returns nil if it exited with code 0, and *exec.ExitError
// if it did not. A process that is still there after limit is killed, which is an error of its own.
func (s *Server) Wait(limit time.Duration) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-s.exited:
		return s.err
	case <-late.C:
		_ = s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("headrace was still running after %v and was killed", limit)
	}
}

// Exited says whether the process is gone.
func (s *Server) Exited() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// Stop asks the server to drain and waits for it.
func (s *Server) Stop() error {
	if err := s.Signal(syscall.SIGTERM); err != nil {
		_ = s.cmd.Process.Kill() // a system without SIGTERM
	}
	return s.Wait(stopLimit)
}

// Output returns the end of what the server wrote.
func (s *Server) Output() string { return s.output.String() }

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 64 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if excess := len(t.buf) - tailBytes; excess > 0 {
		t.buf = append(t.buf[:0], t.buf[excess:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
