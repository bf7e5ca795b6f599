package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/server"
)

// restoreReport is what restore prints as JSON.
type restoreReport struct {
	Data    string
	Taken   time.Time
	Objects int
	Bytes   int64
	// ShardLogs are all, Jumped those that go on above every sequence number given before.
	ShardLogs, Jumped int
	// NodeKey names the KMS's key that wraps the node's key, if that was in the backup.
	NodeKey string `json:",omitempty"`
}

// errNodeKey says that nobody said where the node's key is.
var errNodeKey = errors.New("no key is named")

// restore is the command that makes a data directory of a backup.
func (a *App) restore() *cobra.Command {
	out := &output{format: formatTable}
	cmd := &cobra.Command{
		Use:   "restore FILE --data DIR",
		Short: "Make a data directory of a backup",
		Long: `Make a data directory of a backup that "headrace backup" took, or of stdin with - for FILE.
DIR must not exist or be empty. Every checksum is compared before anything counts; what was
made is removed if anything fails, and no server starts on a directory that was restored in
part.

The node's key is not in a backup. Put it back as DIR/node.key before the server starts, or
say where it is with --node-key. One that a KMS wraps is in it, wrapped, and restored with the
rest. A backup of an encrypted server is encrypted under that key: restoring it takes the key,
or the KMS, too, and makes an encrypted directory.

Shards that were open go on at sequence numbers above every one that any shard had until now.
So a consumer whose checkpoint is later than the backup goes on with the next record that is
put. What was put after the backup is lost. The clock of this machine must be right: a second
restore counts on being later than the first.

The exit code is 0 if the directory is restored, 1 if not, 2 if the command was called wrongly:
FILE is no backup, its node key is missing, or DIR is not empty. Progress goes to stderr.`,
		Example: `  headrace restore /mnt/backup/headrace.tar --data /var/lib/headrace
  zstd -d < headrace.tar.zst | headrace restore - --data ./restored
  headrace restore encrypted.tar --data ./restored --node-key /etc/headrace/node.key
  headrace check ./restored`,
		Args: arguments("FILE"),
	}
	load := a.configFlags(cmd, "data", "node-key")
	out.flag(cmd, formatTable, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		if loaded.Data == "" {
			return usagef(cmd, "no data directory: give --data DIR")
		}
		err = a.restoreFrom(cmd.Context(), out, args[0], loaded.Data, loaded.NodeKey)
		for _, wrong := range []error{os.ErrNotExist, backup.ErrNotBackup, backup.ErrVersion, backup.ErrNotEmpty, backup.ErrUnfinished, backup.ErrEncrypted, encryption.ErrOtherKey} {
			if errors.Is(err, wrong) {
				return usagef(cmd, "%w", err)
			}
		}
		return err
	}
	return cmd
}

// restoreFrom restores a file, or stdin, and reports it.
func (a *App) restoreFrom(ctx context.Context, out *output, file, data, nodeKey string) error {
	from := &moved{from: a.In, to: a.Err}
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("read backup: %w", err)
		}
		defer f.Close()
		from.from = f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			from.size = info.Size()
		}
	}
	key := func() (secret.Key, error) {
		key, err := server.ReadNodeKey(ctx, nodeKey, data)
		if nodeKey == "" && errors.Is(err, os.ErrNotExist) {
			err = errNodeKey // DIR/node.key cannot be there yet
		}
		return key, err
	}
	restored, err := backup.RestoreDirectory(ctx, data, from, key, a.Clock)
	switch {
	case ctx.Err() != nil:
		return failed("restore to "+data, ctx.Err())
	case err != nil:
		return err
	}
	r := restoreReport{Data: data, Taken: restored.Taken, Objects: restored.Objects, Bytes: restored.Bytes,
		ShardLogs: restored.Shards, Jumped: restored.Jumped, NodeKey: restored.KeyURI}
	next := fmt.Sprintf("  next      put the node's key back: %s\n  then      headrace serve --data %s", filepath.Join(r.Data, "node.key"), r.Data)
	if r.NodeKey != "" {
		next = fmt.Sprintf("  next      headrace serve --data %s --node-key %s", r.Data, r.NodeKey)
	}
	return out.result(a.Out, r, "%s is restored as it was at %s: %d objects, %s, %d shard logs\n\n%s",
		r.Data, r.Taken.Format(time.RFC3339), r.Objects, byteSize(r.Bytes), r.ShardLogs, next)
}
