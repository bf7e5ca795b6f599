package cli

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/config"
)

// dev is the command that runs the server in memory.
func (a *App) dev() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run Headrace for development and tests",
		Long: `Run Headrace for development and tests: in memory, where nothing survives when it stops,
or with --data in a directory, where a put is answered when its record is on the disk.

Any credentials are taken: their form is checked, not their truth. An access key of 12
digits is the account; each account and region is a name space of its own.

The port has TLS as well, with a certificate of its own authority: "headrace ca export"
prints what clients must trust.

The first SIGINT or SIGTERM stops listening and lets requests in flight finish; a second
one ends the program at once. Logs go to stderr.

Every setting is a flag, an environment variable or a line of one YAML file, in this
order of precedence: --transition-delay, HEADRACE_TRANSITION_DELAY, transition-delay.`,
		Example: `  headrace dev
  headrace dev --listen 127.0.0.1:0 --memory 512MiB
  headrace dev --data ./headrace-data
  headrace dev --config headrace.yaml --transition-delay 2s`,
		Args: arguments(),
	}
	load := a.configFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		return a.start(cmd, loaded, Service{Profile: Profile{Dev: true, WAL: devWAL}})
	}
	return cmd
}

// The write-ahead log is written once when it is made, which a development directory should not be
// felt to do; a server's takes bursts.
const (
	devWAL   config.Size = 64 << 20
	serveWAL config.Size = 2 << 30
)

// start runs the server of either profile, which s begins to describe, until it has drained.
func (a *App) start(cmd *cobra.Command, loaded *config.Loaded, s Service) error {
	logger := newLogger(a.Err, loaded.Log)
	for _, w := range loaded.Warnings {
		logger.Warn("ignored configuration", "what", w)
	}
	s.Config, s.Build, s.Logger = loaded.Config, a.Build, logger
	s.Ready = func(addr net.Addr) { a.greet(loaded.Config, s.Profile, addr) }
	if err := a.Serve(cmd.Context(), s); err != nil {
		return fmt.Errorf("run server: %w", err)
	}
	logger.Info("stopped")
	return nil
}

// greet tells a person how to connect. Test containers wait for its last line.
func (a *App) greet(c config.Config, profile Profile, addr net.Addr) {
	url := endpointURL(addr.String())
	connect := `eval "$(headrace env%s)"`
	if runtime.GOOS == "windows" {
		connect = "headrace env%s | Invoke-Expression"
	}
	flags := ""
	if host, port, err := net.SplitHostPort(addr.String()); err == nil && url != endpointURL(config.Default().Listen) {
		flags = " --listen " + net.JoinHostPort(host, port)
	}
	encrypted := ""
	if t := profile.tls(c.TLS); t.Mode != config.TLSOff {
		secure := "https" + strings.TrimPrefix(url, "http")
		encrypted = "\n  TLS       " + secure
		if t.Mode == config.TLSSelfSigned {
			encrypted += fmt.Sprintf(" (to trust it: headrace ca export%s > ca.pem)", flags)
		}
		if t.Cleartext == config.NoPeer {
			url, encrypted = secure, ""
		}
	}
	if c.Region != config.Default().Region {
		flags += " --region " + c.Region
	}
	how := fmt.Sprintf(connect, flags)
	if !profile.Dev && !profile.InsecureAuth {
		// Version 1 of the AWS command line and boto3 read the second name of the region alone.
		how = fmt.Sprintf("with an access key of this server, and AWS_ENDPOINT_URL=%s AWS_REGION=%s AWS_DEFAULT_REGION=%[2]s", url, c.Region)
	}
	where := "in memory: nothing survives when it stops"
	if c.Data != "" {
		where = "on disk in " + c.Data
	}
	fmt.Fprintf(a.Out, `Headrace %s, %s.

  address   %s%s
  connect   %s
  then      aws kinesis create-stream --stream-name clicks --shard-count 2
            aws kinesis put-record --stream-name clicks --partition-key a --data aGVsbG8=

Ready.
`, a.Build.version(), where, url, encrypted, how)
}

func newLogger(w io.Writer, c config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == config.FormatJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// warn prints warnings of commands that have no log.
func (a *App) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(a.Err, "headrace: warning: %s\n", w)
	}
}

// localURL returns the URL at which a process on this machine reaches the server of a configuration.
func localURL(c config.Config) string {
	url := endpointURL(c.Listen)
	if c.TLS.Source(config.TLSOff) != config.TLSOff && c.TLS.Cleartext == config.NoPeer {
		return "https" + strings.TrimPrefix(url, "http")
	}
	return url
}

// endpointURL returns the URL at which a process on this machine reaches a listen address.
func endpointURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "http://" + listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
