package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Build says what program this is. Empty fields are taken from what the Go tool recorded.
type Build struct{ Version, Commit string }

func (b Build) version() string {
	if b.Version != "" {
		return b.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func (b Build) commit() string {
	if b.Commit != "" {
		return b.Commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

// version is the command that says what program this is.
func (a *App) version() *cobra.Command {
	out := &output{format: formatTable}
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version, commit, Go version and platform",
		Example: "  headrace version -o json",
		Args:    arguments(),
	}
	out.flag(cmd, formatTable, formatJSON)
	cmd.RunE = func(*cobra.Command, []string) error {
		v := struct{ Version, Commit, Go, Platform string }{
			a.Build.version(), a.Build.commit(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH,
		}
		if out.format == formatJSON {
			return out.object(a.Out, v)
		}
		_, err := fmt.Fprintf(a.Out, "headrace %s\ncommit   %s\ngo       %s\nplatform %s\n", v.Version, v.Commit, v.Go, v.Platform)
		return err
	}
	return cmd
}
