package cli

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/headrace/headrace/internal/config"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/server"
)

// ringSegments is how many files the write-ahead log has.
const ringSegments = 8

// run runs the server as the configuration says.
func run(ctx context.Context, s Service) error {
	c := s.Config
	memory, limited := c.MemoryBytes(), c.Limits.Mode == config.AWSLimits
	restore := limitHeap(memory)
	defer restore()
	return server.Run(ctx, server.Config{
		Listen:             c.Listen,
		TLS:                s.Profile.tls(c.TLS),
		Connections:        c.Limits.Connections,
		PerAddress:         c.Limits.ConnectionsPerAddress,
		RequestsPerAddress: c.Limits.RequestsPerAddress,
		RequestsPerKey:     c.Limits.RequestsPerKey,
		Audit: server.Audit{
			On: c.Audit.Mode.Or(!s.Profile.Dev), Directory: c.Audit.Directory, DataEvents: c.Audit.DataEvents,
			FileBytes: int64(c.Audit.FileSize), TotalBytes: int64(c.Audit.TotalSize), FileAge: c.Audit.FileAge,
		},
		Dev:             s.Profile.Dev,
		Origins:         c.Controls.Origins.Items(),
		MetricsFrom:     c.Metrics.From.Or(s.Profile.metricsFrom()),
		Data:            c.Data,
		Encrypt:         c.Encrypt,
		Ring:            server.Ring{Segments: ringSegments, SegmentBytes: c.WALBytes(s.Profile.WAL) / ringSegments &^ (4<<10 - 1)},
		MemoryBytes:     memory,
		Disk:            server.DiskLimits{StreamBytes: c.Limits.StreamBytes, LowWater: c.Limits.LowWater},
		MaxBodyBytes:    int64(c.Limits.RequestBody),
		SlowRequests:    c.Log.Slow,
		TransitionDelay: c.TransitionDelay,
		DefaultAccount:  c.Account,
		Access: server.Access{
			NodeKey:        c.NodeKey,
			AnyCredentials: s.Profile.Dev || s.Profile.InsecureAuth,
			ShowKey:        s.ShowKey,
			NewRootKey:     s.NewRootKey,
		},
		Caps:         caps(c.Limits),
		Limits:       server.Limits{AWS: limited, Scaling: c.OnDemand.Scaling.Or(limited), MostShards: c.OnDemand.Shards},
		DrainTimeout: c.DrainTimeout,
		Logger:       s.Logger,
		Registry:     metrics.NewRegistry(),
		Build:        metrics.Build{Version: s.Build.version(), Commit: s.Build.commit(), GoVersion: runtime.Version()},
		Ready:        s.Ready,
	})
}

// awsOnDemandStreams is how many on-demand streams AWS lets an account have in a region.
const awsOnDemandStreams = 50

// caps are the bounds on what callers create.
func caps(l config.Limits) server.Caps {
	c := server.Caps{Streams: l.Streams, Shards: l.Shards}
	if l.Mode == config.AWSLimits {
		c.OnDemandStreams = min(l.Streams, awsOnDemandStreams)
	}
	return c
}

// limitHeap keeps the garbage collector from letting the heap grow to twice the memory budget before
// it looks: records are long-lived, so by its usual measure a full store would take twice its size.
// Records hold no pointers, which makes the more frequent collections cheap. A limit that the user
// set with GOMEMLIMIT stays.
func limitHeap(budget int64) (restore func()) {
	const overhead = 64 << 20 // connections, tables, the runtime
	if old := debug.SetMemoryLimit(-1); old != unlimited {
		return func() {}
	}
	debug.SetMemoryLimit(budget + budget/8 + overhead)
	return func() { debug.SetMemoryLimit(unlimited) }
}

// unlimited is the memory limit of a process that has none.
const unlimited = 1<<63 - 1
