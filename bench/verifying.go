package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/server"
)

// serveVerifying runs Headrace's server on a data directory with every signature verified, and so every
// body hashed. It prints its address, and an access key and its secret, and serves until it is killed.
func serveVerifying(args []string) error {
	flags := flag.NewFlagSet("verifying", flag.ContinueOnError)
	data := flags.String("data", "", "data directory")
	memory := flags.Int64("memory", 2<<30, "memory budget in bytes")
	wal := flags.Int64("wal", 2<<30, "size of the write-ahead log in bytes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	const segments = 8
	var own key
	return server.Run(ctx, server.Config{
		Listen: "127.0.0.1:0", Data: *data, Ring: server.Ring{Segments: segments, SegmentBytes: *wal / segments},
		MemoryBytes: *memory, MaxBodyBytes: 16 << 20, DefaultAccount: "000000000000",
		Connections: 8192, PerAddress: 2048,
		Access:   server.Access{ShowKey: func(_, id, secret string) { own = key{id, secret} }},
		Caps:     server.Caps{Streams: 1000, Shards: 20_000},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Registry: metrics.NewRegistry(),
		Build:    metrics.Build{Version: "bench"},
		Ready:    func(a net.Addr) { fmt.Println(a, own.id, own.secret) },
	})
}

// startVerifying starts this program as that server.
func (o options) startVerifying(ctx context.Context, data string, wal int64) (*process, error) {
	if err := os.MkdirAll(filepath.Dir(data), 0o700); err != nil {
		return nil, err
	}
	p, line, err := startSelf(ctx, o.self, "verifying", "-data", data, "-memory", fmt.Sprint(o.memory), "-wal", fmt.Sprint(wal))
	if err != nil {
		return nil, err
	}
	said := strings.Fields(line)
	if len(said) != 3 {
		p.stop()
		return nil, fmt.Errorf("start a server that verifies: it says %q", line)
	}
	p.addr, p.key, p.data = said[0], key{said[1], said[2]}, data
	return p, nil
}
