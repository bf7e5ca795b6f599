package cli

import (
	"context"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/server"
)

// serve runs the server as the configuration says.
func serve(ctx context.Context, s Service) error {
	c := s.Config
	return server.Run(ctx, server.Config{
		Listen:          c.Listen,
		MemoryBytes:     c.MemoryBytes(),
		MaxBodyBytes:    int64(c.Limits.RequestBody),
		TransitionDelay: c.TransitionDelay,
		DefaultAccount:  c.Account,
		Caps:            server.Caps{Streams: c.Limits.Streams, Shards: c.Limits.Shards},
		DrainTimeout:    c.DrainTimeout,
		Logger:          s.Logger,
		Registry:        prometheus.NewRegistry(),
		Build:           metrics.Build{Version: s.Build.version(), Commit: s.Build.Commit, GoVersion: runtime.Version()},
		Ready:           s.Ready,
	})
}
