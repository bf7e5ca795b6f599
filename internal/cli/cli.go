// Package cli is the headrace program's command line: it reads arguments, runs one command and
// returns an exit code. `dev` runs the server in this process; the stream commands are ordinary AWS
// clients, so they work against AWS as well; the rest prints what a person or script needs to
// connect.
//
// It is not the server (package server) and holds no behaviour of any service. It touches neither
// os.Exit nor signals nor the process's streams: cmd/headrace passes those in.
//
// Exit codes: 0 done, 1 failed, 2 called or configured wrongly. An error is one line on stderr.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/config"
)

// Exit codes.
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2
)

// App is the program with everything it touches outside itself. In, Out, Err, Environ, Clock, Serve,
// Connect and ConnectAccess must be set.
type App struct {
	// In is read by `stream put`, Out takes results, Err takes logs, progress and errors.
	In       io.Reader
	Out, Err io.Writer
	// Environ holds NAME=value strings as os.Environ returns them.
	Environ []string
	// Build says what program this is.
	Build Build
	// Clock tells the time.
	Clock clock.Clock
	// Serve runs the server until ctx is done and it has drained.
	Serve func(ctx context.Context, s Service) error
	// Connect makes the client of the stream commands.
	Connect func(ctx context.Context, t Target) (*Client, error)
	// ConnectAccess makes the client of the commands that administer who may call.
	ConnectAccess func(ctx context.Context, t Target) (Access, error)
}

// Service is what the server is started with.
type Service struct {
	Config config.Config
	Build  Build
	Logger *slog.Logger
	// Profile is what the configuration leaves open.
	Profile Profile
	// ShowKey is given the first root key, if one is to be made; NewRootKey asks for another one.
	ShowKey    func(account, accessKeyID, secretAccessKey string)
	NewRootKey bool
	// Ready is called once with the address when requests are being served.
	Ready func(net.Addr)
}

// Profile is what dev and serve make of a configuration that leaves things open.
type Profile struct {
	// Dev serves a developer's own machine.
	Dev bool
	// InsecureListen takes everybody without TLS where TLS is on as well.
	InsecureListen bool
	// InsecureAuth believes all callers, as Dev does.
	InsecureAuth bool
	// WAL is the size of the write-ahead log.
	WAL config.Size
}

// tls returns the port's TLS with nothing left open.
func (p Profile) tls(t config.TLS) config.TLS {
	mode, cleartext := config.TLSOff, config.LoopbackPeers
	if p.Dev {
		mode = config.TLSSelfSigned
	}
	if p.Dev || p.InsecureListen {
		cleartext = config.AnyPeer
	}
	t.Mode = t.Source(mode)
	t.Cleartext = t.Cleartext.Or(cleartext)
	if t.Mode == config.TLSOff {
		t.Cleartext = config.AnyPeer
	}
	return t
}

// metricsFrom returns who may read /metrics where the configuration leaves it open.
func (p Profile) metricsFrom() config.Peers {
	if p.Dev {
		return config.AnyPeer
	}
	return config.LoopbackPeers
}

// New returns the real program on the given streams and environment.
func New(in io.Reader, out, err io.Writer, environ []string, build Build) *App {
	return &App{
		In: in, Out: out, Err: err, Environ: environ, Build: build,
		Clock: clock.System{}, Serve: run, Connect: connect, ConnectAccess: connectAccess,
	}
}

// Run runs the command that args, without the program's name, ask for and returns the exit code.
// When ctx is done, a running command finishes what it must and returns.
func (a *App) Run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(a.Err, "headrace: %s\n", oneLine(err))
	var usage *usageError
	if errors.As(err, &usage) {
		return ExitUsage
	}
	return ExitFailure
}

// root builds the tree of commands.
func (a *App) root() *cobra.Command {
	root := a.group("headrace", "Amazon Kinesis that you run yourself",
		`Headrace is Amazon Kinesis that you run yourself: AWS's clients talk to it unchanged.

  headrace dev               start it, in memory, on port 4566
  eval "$(headrace env)"     point this shell's AWS clients at it
  headrace stream create clicks --shards 2 --wait`)
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok && bad.GetFlag().Name == "node-key" {
			return usagef(cmd, "--node-key: %w", bad.Unwrap()) // which does not repeat what may be a secret
		}
		return usagef(cmd, "%v", err)
	})
	root.AddCommand(a.dev(), a.serve(), a.check(), a.backup(), a.restore(), a.stream(), a.policy(), a.env(), a.ca(), a.health(), a.version(), a.config())
	root.AddCommand(a.account(), a.user(), a.key(), a.role(), a.access(), a.nodeKey())
	return root
}

// group returns a command that only holds others. Named alone it prints its help.
func (a *App) group(use, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return usagef(cmd, "unknown command %q%s", args[0], hint)
		},
		SuggestionsMinimumDistance: 2,
	}
}

// usageError is a mistake in how the program was called or configured.
type usageError struct {
	err     error
	command string // whose help to read, "" for none
}

func (e *usageError) Error() string {
	if e.command == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("%v (see %s --help)", e.err, e.command)
}

func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), command: cmd.CommandPath()}
}

// arguments returns a check that each named argument is there. A name in brackets is optional.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for i, name := range names {
			if i >= len(args) && !strings.HasPrefix(name, "[") {
				return usagef(cmd, "missing argument %s", name)
			}
		}
		if len(args) > len(names) {
			return usagef(cmd, "unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// oneLine keeps an error on one line whatever a server put into its message.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\x1b", "")), " ")
}
