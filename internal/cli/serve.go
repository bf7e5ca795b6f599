package cli

import (
	"net"

	"github.com/spf13/cobra"
)

// serve is the command that runs the server on a directory.
func (a *App) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve --data DIR",
		Short: "Run Headrace on a data directory",
		Long: `Run Headrace on a data directory: a put is answered when its record is on the disk, and
everything answered is there again after a crash or a power cut.

Signatures are not verified yet: whoever reaches the port may do everything. So it listens on
loopback only, unless --insecure-listen says that the network may be trusted.

The first SIGINT or SIGTERM stops listening and lets requests in flight finish; a second
one ends the program at once. Logs go to stderr.`,
		Example: `  headrace serve --data /var/lib/headrace
  headrace serve --data ./data --config headrace.yaml --wal-size 8GiB`,
		Args: arguments(),
	}
	load := a.configFlags(cmd)
	insecure := cmd.Flags().Bool("insecure-listen", false, "listen beyond loopback although anyone there may do everything")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		switch {
		case loaded.Data == "":
			return usagef(cmd, "no data directory: give --data DIR")
		case !*insecure && !onLoopback(loaded.Listen):
			return usagef(cmd, "%s is reached from outside this machine, and signatures are not verified: listen on loopback or give --insecure-listen", loaded.Listen)
		}
		return a.start(cmd, loaded, serveWAL)
	}
	return cmd
}

// onLoopback reports whether a listen address is reached from this machine only.
func onLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
