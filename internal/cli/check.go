package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/check"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/server"
)

// checkReport is what check prints as JSON.
type checkReport struct {
	Sound    bool
	Findings []check.Finding
	Read     check.Report
}

// errDamaged makes check fail when it found something.
var errDamaged = errors.New("the data directory is damaged")

// check is the command that looks for damage in a data directory.
func (a *App) check() *cobra.Command {
	out := &output{format: formatTable}
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Look for damage in a data directory that no server uses",
		Long: `Read everything in a data directory and say what is damaged or missing where, a line for
each finding: the file below the directory, the offset in it in bytes, and what is wrong.
Every checksum is compared, every record of every block file is decoded, and the log, the
block files and the snapshots are compared with each other as a starting server would.

An encrypted directory takes its node key: the file node.key in it, or where --node-key says.
A KMS is asked if that names one.

Nothing is changed or repaired. What a crash or a power cut leaves behind is no damage. No
server may use the directory meanwhile.

The exit code is 0 if the directory is sound, 1 if it is damaged or could not be read to the
end, and 2 if it is in use or no data directory, or if its node key is missing.`,
		Example: `  headrace check /var/lib/headrace
  headrace check /var/lib/headrace --node-key /etc/headrace/node.key
  headrace check ./headrace-data -o json`,
		Args: arguments("DIR"),
	}
	load := a.configFlags(cmd, "node-key")
	out.flag(cmd, formatTable, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		report := checkReport{Findings: []check.Finding{}}
		key := func() (secret.Key, error) { return server.ReadNodeKey(cmd.Context(), loaded.NodeKey, args[0]) }
		report.Read, err = check.Directory(cmd.Context(), args[0], key, func(f check.Finding) {
			if out.format == formatTable {
				fmt.Fprintln(a.Out, f)
			}
			report.Findings = append(report.Findings, f)
		})
		switch {
		case errors.Is(err, check.ErrInUse), errors.Is(err, check.ErrNoData), errors.Is(err, check.ErrEncrypted), errors.Is(err, encryption.ErrOtherKey):
			return usagef(cmd, "%w", err)
		case err != nil:
			return err
		}
		report.Sound = len(report.Findings) == 0
		if err := a.printCheck(out, args[0], report); err != nil {
			return err
		}
		if !report.Sound {
			return fmt.Errorf("check %s: %w: findings: %d", args[0], errDamaged, len(report.Findings))
		}
		return nil
	}
	return cmd
}

func (a *App) printCheck(out *output, path string, r checkReport) error {
	if out.format == formatJSON {
		return out.object(a.Out, r)
	}
	if !r.Sound {
		return nil
	}
	groups := "no groups"
	if r.Read.Next > r.Read.First {
		groups = fmt.Sprintf("groups %d to %d", r.Read.First, r.Read.Next-1)
	}
	_, err := fmt.Fprintf(a.Out, "%s is sound\n\n  write-ahead log   %d files, %s\n  objects           %d, of them %d block files\n  shard logs        %d\n",
		path, r.Read.Segments, groups, r.Read.Objects, r.Read.BlockFiles, r.Read.Shards)
	return err
}
