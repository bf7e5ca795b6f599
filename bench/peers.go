package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What is compared, exactly, and where it is installed. Both keep everything in memory.
const (
	kinesalite   = "kinesalite@3.3.3"
	kinesisLocal = "kinesis-local@0.6.2"
	peersDir     = "build/peers"
)

// errUnreached says that a peer cannot be had here.
var errUnreached = errors.New("cannot be installed")

// installPeers installs the peers once. Everything they need comes from the npm registry.
func installPeers(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(peersDir, "node_modules", "kinesis-local", "main.js")); err == nil {
		return nil
	}
	if err := os.MkdirAll(peersDir, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", peersDir, kinesalite, kinesisLocal)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		_ = os.RemoveAll(filepath.Join(peersDir, "node_modules")) // half of it would look like all of it
		return fmt.Errorf("%w: npm install: %w: %.200s", errUnreached, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// startPeer starts one of the peers on a free port.
func startPeer(ctx context.Context, name string) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "node", "main.js")
	if name == kinesalite {
		cmd = exec.CommandContext(ctx, "node", "cli.js", "--port", strconv.Itoa(port), "--shardLimit", "1000",
			"--createStreamMs", "1", "--deleteStreamMs", "1", "--updateStreamMs", "1")
	}
	pkg, _, _ := strings.Cut(name, "@")
	cmd.Dir = filepath.Join(peersDir, "node_modules", pkg)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard // they complain of the load
	if name == kinesisLocal {
		secure, err := freePort()
		if err != nil {
			return nil, err
		}
		cmd.Env = append(os.Environ(), "LOG_LEVEL=ERROR", "SHARD_LIMIT=1000", "CREATE_STREAM_DURATION=1ms", "DELETE_STREAM_DURATION=1ms",
			"KINESIS_MOCK_PLAIN_PORT="+strconv.Itoa(port), "KINESIS_MOCK_TLS_PORT="+strconv.Itoa(secure))
	}
	return start(ctx, cmd, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), "/", 30*time.Second)
}

// peers compares durable puts with those of two servers that people use today, which keep records in
// memory.
func peers(ctx context.Context, o options) error {
	err := installPeers(ctx)
	if errors.Is(err, errUnreached) || errors.Is(err, exec.ErrNotFound) {
		fmt.Fprintf(o.out, "\nBeside others: skipped: %v\n", err)
		o.report.skip("beside "+kinesalite+" and "+kinesisLocal, err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	for _, c := range []struct {
		records, conns int
		what           string
	}{{500, o.conns, "PutRecords 500x1 KiB"}, {1, 64, "PutRecord 1 KiB, 64 connections"}} {
		if err := peersCase(ctx, o, c.records, c.conns, c.what); err != nil {
			return err
		}
	}
	return nil
}

func peersCase(ctx context.Context, o options, records, conns int, what string) error {
	dir, done, err := o.tempDir()
	if err != nil {
		return err
	}
	defer done()
	p, err := o.startServe(ctx, filepath.Join(dir, "data"), o.walFor(records)...)
	if err != nil {
		return err
	}
	defer p.stop()
	ours := &target{name: "headrace serve, on disk", process: p, shards: benchShards}
	c := comparison{title: "Beside others", records: records, conns: conns, targets: []*target{ours}}
	for _, name := range []string{kinesalite, kinesisLocal} {
		c.targets = append(c.targets, &target{name: name + ", in memory", shards: benchShards,
			start: func(ctx context.Context) (*process, error) { return startPeer(ctx, name) }})
	}
	if err := c.run(ctx, o); err != nil {
		return err
	}
	better := ours.ratio(c.targets[1])
	if r := ours.ratio(c.targets[2]); r < better {
		better = r
	}
	o.report.ratio(what+", to the better of kinesalite and kinesis-local", better, 12, "%.1f")
	return nil
}
