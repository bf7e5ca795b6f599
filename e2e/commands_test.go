package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/headrace/headrace/internal/binarytest"
	"github.com/headrace/headrace/internal/samplelog"
	"github.com/headrace/headrace/internal/strangers"
	"github.com/headrace/headrace/internal/testpoll"
)

// patience bounds everything a script waits for. Only the stalled clients need more.
const patience = 20 * time.Second

// world is what one script has started.
type world struct {
	tb      testing.TB
	server  *binarytest.Server
	held    map[string]*rawConn // by name, of hold
	stalled []*rawConn          // of stall and hoard
	crowd   *strangers.Crowd
	pipes   map[string]*os.File // by name, of pour
	keys    map[string][]string // by name, of signin
	environ []string            // of servers, beside the test's own
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// close lets go of all clients and stops the server, which must exit cleanly unless the script took
// care of its end.
func (w *world) close() {
	if w.crowd != nil {
		w.crowd.Leave()
	}
	for _, c := range w.stalled {
		c.close()
	}
	for _, c := range w.held {
		c.close()
	}
	for _, p := range w.pipes {
		_ = p.Close()
	}
	if w.server == nil {
		return
	}
	if err := w.server.Stop(); err != nil {
		w.tb.Errorf("the server did not stop cleanly: %v", err)
	}
	if w.tb.Failed() {
		w.tb.Logf("the server said:\n%s", w.server.Output())
	}
}

// running returns the script's server, which must have been started.
func (w *world) running(ts *testscript.TestScript) *binarytest.Server {
	if w.server == nil {
		ts.Fatalf("no server is running; start one with: server")
	}
	return w.server
}

// usage fails a script that calls a command wrongly.
func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

// server [serve] [flags]
//
// Starts `headrace dev`, or serve, with the flags on a free port and points the script's AWS clients at
// it. It is stopped at the script's end, and must then exit with code 0. After a sigkill there may be
// another.
func server(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	usage(ts, !neg && w.server == nil, "server [serve] [flags], one at a time")
	profile := "dev"
	if len(args) > 0 && args[0] == "serve" {
		profile, args = args[0], args[1:]
	}
	s, err := binarytest.LaunchWith(w.environ, binary, profile, args...)
	ts.Check(err)
	w.server = s
	ts.Setenv("AWS_ENDPOINT_URL", s.Endpoint)
	_, address, _ := strings.Cut(s.Endpoint, "://")
	ts.Setenv("ADDRESS", address)
	ts.Setenv("AWS_ACCESS_KEY_ID", "test")
	ts.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	ts.Setenv("AWS_REGION", "us-east-1")
}

// shownKey is an access key as headrace shows it.
var shownKey = regexp.MustCompile(`AWS_ACCESS_KEY_ID +(\S+)\n +AWS_SECRET_ACCESS_KEY +(\S+)`)

// signin root|stdout [NAME]
//
// Lets the script call with the access key that the server, or the last command, has shown, and as NAME
// later on: signin NAME.
func signin(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 1 || len(args) == 2), "signin root|stdout [NAME]")
	w := worldOf(ts)
	key, known := w.keys[args[0]]
	if !known {
		text := ""
		switch args[0] {
		case "root":
			text = w.running(ts).Output()
		case "stdout":
			text = ts.ReadFile("stdout")
		}
		if key = shownKey.FindStringSubmatch(text); key == nil {
			ts.Fatalf("no access key was shown, and none is known as %s", args[0])
		}
		if w.keys == nil {
			w.keys = map[string][]string{}
		}
		w.keys[args[len(args)-1]] = key
	}
	ts.Setenv("AWS_ACCESS_KEY_ID", key[1])
	ts.Setenv("AWS_SECRET_ACCESS_KEY", key[2])
}

// halt
//
// Is signal and exits in one. (The scripts' own stop ends the script.)
func halt(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "halt")
	signal(ts, false, nil)
	exits(ts, false, nil)
}

// signal
//
// Sends SIGTERM and does not wait.
func signal(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "signal")
	ts.Check(worldOf(ts).running(ts).Signal(syscall.SIGTERM))
}

// exits
//
// Waits until the server, which got a signal, is gone: the exit code must be 0. What it wrote is then
// stdout.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "exits")
	w := worldOf(ts)
	s := w.running(ts)
	w.server = nil
	err := s.Wait(patience)
	_, _ = ts.Stdout().Write([]byte(s.Output()))
	ts.Check(err)
}

// terminate
//
// Sends SIGTERM until the server is gone, which the signal must have ended: it did not exit by
// itself. One more signal is enough; it is repeated because nobody outside can tell when the
// program has seen the first.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "terminate")
	w := worldOf(ts)
	s := w.running(ts)
	testpoll.Until(failing{w.tb, ts}, patience, func() bool {
		ts.Check(s.Signal(syscall.SIGTERM))
		return s.Exited()
	}, "the server to end")
	var exit *exec.ExitError
	if err := s.Wait(patience); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		ts.Fatalf("the server ended with %v; want: ended by a signal", err)
	}
	w.server = nil
}

// sigkill
//
// Ends the server as kill -9 does: it has no time for anything.
func sigkill(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "sigkill")
	w := worldOf(ts)
	s := w.running(ts)
	w.server = nil
	ts.Check(s.Signal(os.Kill))
	_ = s.Wait(patience) // it was killed
}

// refused
//
// Waits until the server takes no connections any more.
func refused(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "refused")
	w := worldOf(ts)
	s := w.running(ts)
	testpoll.Until(failing{w.tb, ts}, patience, func() bool {
		c, err := dial(s.Endpoint)
		if err == nil {
			c.close()
		}
		return err != nil
	}, "connections to be refused")
}

// fails CODE PATTERN arguments
//
// Runs headrace, which must exit with the code, print the pattern, and print no more than one line
// about it on stderr.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 2, "fails CODE PATTERN arguments")
	err := ts.Exec("headrace", args[2:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("headrace did not run: %v", err)
	}
	if exit == nil || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("headrace ended with %v; want exit code %s", err, args[0])
	}
	said := ts.ReadFile("stderr")
	if !strings.HasPrefix(said, "headrace: ") || strings.Count(said, "\n") != 1 {
		ts.Fatalf("an error is one line that begins with headrace:, got:\n%s", said)
	}
	if !pattern(ts, args[1]).MatchString(said) {
		ts.Fatalf("the error does not match %q:\n%s", args[1], said)
	}
}

// eventually PATTERN arguments
// eventually -lines N arguments
//
// Runs headrace, which must succeed, until its output matches the pattern, or has that many lines.
// The transcript shows the last run.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "eventually PATTERN|-lines N arguments")
	var enough func([]byte) bool
	if args[0] == "-lines" {
		args = args[1:]
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		enough = func(out []byte) bool { return bytes.Count(out, []byte("\n")) >= n }
	} else {
		enough = pattern(ts, args[0]).Match
	}
	testpoll.Until(failing{worldOf(ts).tb, ts}, patience, func() bool {
		cmd := exec.Command(binary, args[1:]...)
		for _, name := range []string{"HOME", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		out, err := cmd.Output()
		ts.Check(err)
		return enough(out)
	}, "output like "+args[0])
	ts.Check(ts.Exec("headrace", args[1:]...))
}

// pattern compiles a pattern as the scripts' stdout command does: ^ and $ stand for a line's ends.
func pattern(ts *testscript.TestScript, text string) *regexp.Regexp {
	p, err := regexp.Compile("(?m)" + text)
	ts.Check(err)
	return p
}

// failing makes a failure of testpoll.Until one of the script's line.
type failing struct {
	testing.TB
	ts *testscript.TestScript
}

// Helper does nothing: the line that fails is the script's.
func (failing) Helper() {}

// Fatalf fails the script and does not return.
func (f failing) Fatalf(format string, args ...any) { f.ts.Fatalf(format, args...) }

// samplelog FILE
//
// Writes an access log: the one HEADRACE_SAMPLE_LOG names, or a generated one.
func sampleLog(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "samplelog FILE")
	log, source, err := samplelog.Load()
	ts.Check(err)
	ts.Logf("%d lines of %s", bytes.Count(log, []byte("\n")), source)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), log, 0o600))
}

// pour PIPE [FILE FROM TO]
//
// Writes the lines FROM to TO, counted from 1 and both included, of the file into a named pipe, which
// stays open; without a file it ends the pipe. @OTHER as FROM stands for the line after as many as
// that file has. A reader that has ended takes no lines, which is no error of this command's.
func pour(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 1 || len(args) == 4), "pour PIPE [FILE FROM TO]")
	w := worldOf(ts)
	pipe := w.pipes[args[0]]
	if len(args) == 1 {
		ts.Check(pipe.Close())
		delete(w.pipes, args[0])
		return
	}
	if pipe == nil {
		var err error
		pipe, err = os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0) // returns once there is a reader
		ts.Check(err)
		w.pipes = map[string]*os.File{args[0]: pipe}
	}
	var from int
	if other, ok := strings.CutPrefix(args[2], "@"); ok {
		from = 1 + strings.Count(ts.ReadFile(other), "\n")
		ts.Logf("from line %d", from)
	} else {
		var err error
		from, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	to, err := strconv.Atoi(args[3])
	ts.Check(err)
	lines := strings.SplitAfter(ts.ReadFile(args[1]), "\n")
	_, err = pipe.WriteString(strings.Join(lines[from-1:min(to, len(lines))], ""))
	if errors.Is(err, syscall.EPIPE) {
		ts.Logf("the reader of %s has ended", args[0])
		return
	}
	ts.Check(err)
}

// keyorder [-retried] WANT GOT
//
// Compares two files of lines whose first word is a key: each key has the same lines in the same
// order in both. So nothing was lost, invented, changed or repeated either. -retried allows that one
// call, whose answer was lost, was made again: its lines may be there twice, one after the other.
func keyOrder(ts *testscript.TestScript, neg bool, args []string) {
	same := func(want, got string) bool { return want == got }
	if len(args) > 0 && args[0] == "-retried" {
		same, args = retried, args[1:]
	}
	usage(ts, !neg && len(args) == 2, "keyorder [-retried] WANT GOT")
	want, got := byKey(ts.ReadFile(args[0])), byKey(ts.ReadFile(args[1]))
	wrong := 0
	for key, lines := range want {
		if !same(lines, got[key]) {
			wrong++
			if wrong == 1 {
				ts.Logf("key %s, want:\n%sgot:\n%s", key, lines, got[key])
			}
		}
		delete(got, key)
	}
	if wrong > 0 || len(got) > 0 {
		ts.Fatalf("%d of %d keys have other lines or another order, %d keys are new", wrong, len(want), len(got))
	}
}

// retried says whether got is want but for one run of lines that follows itself.
func retried(want, got string) bool {
	w, g := strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")
	same := 0
	for same < min(len(w), len(g)) && w[same] == g[same] {
		same++
	}
	extra := len(g) - len(w)
	return extra >= 0 && same >= extra && slices.Equal(g[same:], w[same-extra:])
}

// byKey returns the lines of every first word, in order.
func byKey(text string) map[string]string {
	lines := map[string][]string{}
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(line, " ")
		lines[key] = append(lines[key], line)
	}
	joined := map[string]string{}
	for key, l := range lines {
		joined[key] = strings.Join(l, "")
	}
	return joined
}

// footprint memory|binary MIB
//
// Fails when the server's resident memory, or the program's file, is larger than that many MiB.
func footprint(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "footprint memory|binary MIB")
	limit, err := strconv.ParseInt(args[1], 10, 32)
	ts.Check(err)
	size := int64(0)
	switch args[0] {
	case "memory":
		size = residentMemory(ts, worldOf(ts).running(ts).Endpoint)
	case "binary":
		info, err := os.Stat(binary)
		ts.Check(err)
		size = info.Size()
	default:
		ts.Fatalf("footprint of %q is not known", args[0])
	}
	ts.Logf("%s: %d MiB", args[0], size>>20)
	if size > limit<<20 {
		ts.Fatalf("%s takes %d MiB; want at most %d", args[0], size>>20, limit)
	}
}
