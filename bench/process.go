package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server started for a measurement.
type process struct {
	cmd  *exec.Cmd
	addr string
	data string // its data directory, "" if it has none
	key  key    // for its signatures, if it verifies them
}

// startCeiling starts this program as one of the bare servers.
func startCeiling(ctx context.Context, self string, args ...string) (*process, error) {
	p, line, err := startSelf(ctx, self, append([]string{"ceiling"}, args...)...)
	if err == nil {
		p.addr = line
	}
	return p, err
}

// startSelf starts this program as a server and returns the line that it prints when it serves.
func startSelf(ctx context.Context, self string, args ...string) (*process, string, error) {
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start server of %s: %w", args[0], err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	p := &process{cmd: cmd}
	if err != nil {
		p.stop()
		return nil, "", fmt.Errorf("read address of %s: %w", args[0], err)
	}
	return p, strings.TrimSpace(line), nil
}

// startHeadrace starts the binary under test on a free port and waits until it is healthy.
func startHeadrace(ctx context.Context, binary string, args ...string) (*process, error) {
	return startSaying(ctx, io.Discard, binary, args...)
}

// startSaying is startHeadrace for whoever wants what the server prints.
func startSaying(ctx context.Context, said io.Writer, binary string, args ...string) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	cmd := exec.CommandContext(ctx, binary, append(args, "--listen", addr)...)
	cmd.Stdout, cmd.Stderr = said, os.Stderr
	return start(ctx, cmd, addr, "/-/healthy", time.Minute)
}

// startServe starts `headrace serve` on a data directory. It believes callers: see startVerifying.
func (o options) startServe(ctx context.Context, data string, args ...string) (*process, error) {
	return o.startData(ctx, io.Discard, data, append([]string{"--insecure-auth"}, args...))
}

func (o options) startData(ctx context.Context, said io.Writer, data string, args []string) (*process, error) {
	args = append([]string{"serve", "--log-level", "error", "--data", data, "--memory", fmt.Sprintf("%dMiB", o.memory>>20)}, args...)
	p, err := startSaying(ctx, said, o.headrace, args...)
	if err != nil {
		return nil, err
	}
	p.data = data
	return p, nil
}

// start starts a server and waits until it answers a GET of page, whatever it says.
func start(ctx context.Context, cmd *exec.Cmd, addr, page string, limit time.Duration) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, addr: addr}
	if err := p.waitUp(ctx, page, limit); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// waitUp polls a page every millisecond, which is how a start-up time of tens of milliseconds can be
// told. A health page must say that all is well; of others any answer will do.
func (p *process) waitUp(ctx context.Context, page string, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		resp, err := http.Get("http://" + p.addr + page)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK || page == "/" {
				return nil
			}
		}
		pause(ctx, time.Millisecond)
	}
	return errors.Join(fmt.Errorf("%s does not answer after %v", p.addr, limit), ctx.Err())
}

// rss returns the process's resident memory in bytes.
func (p *process) rss() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS for process %d", p.cmd.Process.Pid)
}

// diskReads returns how many bytes the process has had read from a disk, 0 if that is not told.
func (p *process) diskReads() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "read_bytes: "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}

// cpu returns the processor time the process has used, in user and kernel mode.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name, which may hold anything, ends at the last parenthesis; utime and stime are the
	// twelfth and thirteenth fields after it, in hundredths of a second.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time of %d: %w", p.cmd.Process.Pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// settle waits until the process has come to rest, so that what it does after its answers (flushes,
// merges) is not done on another's time. It does not wait for ever.
func (p *process) settle(ctx context.Context) error {
	const look, rest, longest = 200 * time.Millisecond, 10 * time.Millisecond, 20 * time.Second
	last, err := p.cpu()
	for begin := time.Now(); err == nil && ctx.Err() == nil && time.Since(begin) < longest; {
		pause(ctx, look)
		var now time.Duration
		if now, err = p.cpu(); now-last <= rest {
			break
		}
		last = now
	}
	return errors.Join(err, ctx.Err())
}

// manifests returns the number of the newest manifest in the data directory, 0 if there is none.
// Every flush stores one.
func (p *process) manifests() int {
	if p.data == "" {
		return 0
	}
	entries, err := os.ReadDir(filepath.Join(p.data, "blocks", "manifest+"))
	if err != nil {
		return 0
	}
	newest := 0
	for _, e := range entries {
		if n, err := strconv.ParseInt(e.Name(), 16, 64); err == nil {
			newest = max(newest, int(n))
		}
	}
	return newest
}

// stop kills the process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // the kill is its error
}

// drain asks the process to end and waits until it has.
func (p *process) drain() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}
