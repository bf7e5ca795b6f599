// Package server turns a configuration into a running Headrace: it wires engines, domains and APIs
// together (wiring.go), listens, serves every protocol on one port, in cleartext and in TLS, and drains
// on the way out.
//
// It is the only package that knows every other one. It holds no behaviour of any service: what a
// call does is in internal/api and below.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/config"
	"github.com/headrace/headrace/internal/listener"
	"github.com/headrace/headrace/internal/metrics"
)

// Config says how to serve. The zero values of the optional fields are sensible.
type Config struct {
	// Listen is the address of the one port, host:port; port 0 picks a free one.
	Listen string
	// TLS says how the port is encrypted: Mode and Cleartext are what the profile made of auto.
	TLS config.TLS
	// Connections is how many there may be at a time, PerAddress how many from one address.
	Connections, PerAddress int
	// RequestsPerAddress and RequestsPerKey are how many requests a second one address and one access
	// key may make; 0 sets no bound.
	RequestsPerAddress, RequestsPerKey int
	// Audit says what is written down about calls.
	Audit Audit
	// Dev adds the controls for development, which pages of Origins may use.
	Dev     bool
	Origins []string
	// MetricsFrom says who may read /metrics; AnyPeer, LoopbackPeers or NoPeer.
	MetricsFrom config.Peers
	// Data is the directory that everything is kept in; empty keeps it in memory.
	Data string
	// Encrypt makes a new data directory one in which everything is encrypted under the node's key. One
	// that exists stays as it was made: it is ErrEncrypted or ErrNotEncrypted if that is not this.
	Encrypt bool
	// Ring is the write-ahead log of a data directory.
	Ring Ring
	// MemoryBytes is the memory budget: stored records plus requests in flight.
	MemoryBytes int64
	// Disk bounds what is taken of the disk.
	Disk DiskLimits
	// MaxBodyBytes is the largest request body taken; 0 means wire.DefaultMaxBody.
	MaxBodyBytes int64
	// SlowRequests is how long a request takes that is logged as slow; 0 logs none.
	SlowRequests time.Duration
	// TransitionDelay is how long a stream stays CREATING, UPDATING or DELETING. 0 completes the
	// change before the call returns.
	TransitionDelay time.Duration
	// DefaultAccount is the account of access keys that are not themselves 12-digit account ids.
	DefaultAccount string
	// Access says how callers are known.
	Access Access
	// Keys are the access keys whose signatures are verified. Nil verifies none: every signature of
	// the right form is believed.
	Keys sigv4.Keys
	// Caps bound what callers can create.
	Caps Caps
	// Limits says whose limits hold for what streams take and give.
	Limits Limits
	// Clock is the wall clock; nil means the machine's. Tests live through days in minutes with another.
	Clock clock.Clock
	// DrainTimeout is how long requests in flight may go on after ctx is done; 0 means 10 s.
	DrainTimeout time.Duration
	// Logger receives what an operator must know.
	Logger *slog.Logger
	// Registry receives the metrics and answers /metrics.
	Registry *prometheus.Registry
	// Build says what program is running, for the metrics.
	Build metrics.Build
	// Ready, if set, is called once with the address when requests are being served.
	Ready func(net.Addr)
}

// Ring says how large the write-ahead log of a data directory is. The files of one that exists keep
// their size.
type Ring struct {
	// Segments is the number of files, SegmentBytes the size of each.
	Segments     int
	SegmentBytes int64
}

// Caps are hard bounds, by account and region.
type Caps struct {
	Streams         int
	OnDemandStreams int
	Shards          int
}

// Limits says what streams take and give.
type Limits struct {
	// AWS has AWS's limits hold.
	AWS bool
	// Scaling has on-demand streams split and merge with their load, into MostShards by themselves at most; 0
	// means 200.
	Scaling    bool
	MostShards int
}

const (
	// A client has this long to send its request's header; bodies have their own deadline in wire.
	readHeaderTimeout = 10 * time.Second
	// Idle connections are kept longer than the 60 s after which most SDKs drop theirs.
	idleTimeout = 3 * time.Minute
	// AWS's clients send a few KiB, most of it a session token.
	maxHeaderBytes      = 16 << 10
	defaultDrainTimeout = 10 * time.Second
	// KCL opens a stream a shard on one HTTP/2 connection.
	maxConcurrentStreams = 1 << 10
	// receiveWindow is how much of its requests' bodies an HTTP/2 client may send ahead of the
	// handlers that read them. Bodies are admitted against the memory budget by the handler.
	receiveWindow = 256 << 10
	// readFrame is the least that HTTP/2 allows: memory for a whole frame is taken when its length is
	// announced, and whoever announces a frame need not send it.
	readFrame = 16 << 10
	// A client on HTTP/2 that sends nothing for pingAfter is asked whether it is there, and one that
	// takes nothing of what is written to it for stuckAfter has gone.
	pingAfter, stuckAfter = time.Minute, 30 * time.Second
)

// withDefaults returns c with its zero values filled in.
func (c Config) withDefaults() Config {
	if c.DrainTimeout == 0 {
		c.DrainTimeout = defaultDrainTimeout
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	return c
}

// Run serves until ctx is done, then stops listening, ends event streams, lets requests in flight finish for
// DrainTimeout and closes everything in reverse order. It returns nil after a clean drain, and the
// cause when an engine fails.
func Run(ctx context.Context, cfg Config) (err error) {
	cfg = cfg.withDefaults()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	system, err := assemble(ctx, cfg, fail)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() {
		// After a failure everything closes with it once more; the cause is enough.
		if closed := system.close(); err == nil {
			err = closed
		}
	}()
	return serve(ctx, cfg, system, listener)
}

// serve owns the HTTP server and the domain runners for as long as ctx lives.
func serve(ctx context.Context, cfg Config, system *system, inner net.Listener) error {
	encrypted, started, err := openTLS(ctx, cfg, system, inner.Addr())
	if err != nil {
		return errors.Join(err, inner.Close())
	}
	connections := listener.New(inner, listener.Config{
		TLS: encrypted, Cleartext: cleartext(cfg.TLS.Cleartext),
		Connections: cfg.Connections, PerAddress: cfg.PerAddress,
		Refused: func(why listener.Refusal, peer net.Addr, err error) {
			system.port.Refused(string(why))
			cfg.Logger.Debug("a connection was refused", "why", why, "peer", peer, "error", err)
		},
	})
	system.port.CountOpen(connections.Open)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:   withTLS(system.handler),
		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxConcurrentStreams,
			MaxReceiveBufferPerConnection: receiveWindow,
			MaxReceiveBufferPerStream:     receiveWindow,
			MaxReadFrameSize:              readFrame,
			SendPingTimeout:               pingAfter,
			WriteByteTimeout:              stuckAfter,
		},
		ConnContext:       keepConn,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(connections) }()
	if err := started(ctx); err != nil {
		_ = srv.Close() // the error is the one to tell
		<-served
		return fmt.Errorf("set up TLS: %w", err)
	}
	system.ready.Store(true)
	if cfg.Ready != nil {
		cfg.Ready(inner.Addr())
	}
	select {
	case err := <-served: // the listener broke
		_ = srv.Close() // the listener's error is the one to tell
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	system.ready.Store(false)
	system.endStreams() // they would outlast any drain
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		cfg.Logger.Warn("requests were cut off", "after", cfg.DrainTimeout)
		_ = srv.Close() // what is left has had its time
	}
	<-served
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
