package cli

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/secret/kms"
	"github.com/headrace/headrace/internal/server"
)

// wrapReport is what node-key wrap prints as JSON.
type wrapReport struct {
	Data, KeyID, Under string
}

// nodeKey is the group of commands about the node's key.
func (a *App) nodeKey() *cobra.Command {
	group := a.group("node-key", "Have a KMS keep the node's key",
		`The node's key seals the secrets in a data directory, and everything in an encrypted one. Where
the node-key setting is the URI of a KMS's key it lies in the directory wrapped by that key.`)
	group.AddCommand(a.nodeKeyWrap())
	return group
}

// nodeKeyWrap is the command that has another key of a KMS wrap the node's key.
func (a *App) nodeKeyWrap() *cobra.Command {
	var under string
	out := &output{format: formatTable}
	cmd := &cobra.Command{
		Use:   "wrap DIR --under URI",
		Short: "Wrap a data directory's node key with a key of a KMS",
		Long: `Wrap the node's key of a data directory with a key of a KMS: another one than until now, the
newest version of the same one, or the first if the key lay in a file or a variable.
--node-key says where it is until now, --under what wraps it from now on:

  aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID   credentials as AWS's SDKs find them
  hcvault://HOST[:PORT]/transit/keys/NAME       VAULT_TOKEN, VAULT_CACERT

The node's key itself stays as it is, so nothing else is written anew, and a server may use the
directory meanwhile: give it the new URI as node-key before its next start. The new wrapping is
tried before it takes the old one's place, whole or not at all. Backups hold the wrapping that
there was when they were taken: keep the old key of the KMS as long as you keep them.

A file that held the key until now still holds it: remove it when the server has started.

The exit code is 0 if the key is wrapped, 1 if not, 2 if the command was called wrongly: the
node's key is missing, or it is not that of the directory.`,
		Example: `  headrace node-key wrap /var/lib/headrace --node-key hcvault://old.example:8200/transit/keys/headrace \
    --under aws-kms://arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555
  headrace node-key wrap /var/lib/headrace --under hcvault://vault.example:8200/transit/keys/headrace`,
		Args: arguments("DIR"),
	}
	load := a.configFlags(cmd, "node-key")
	cmd.Flags().StringVar(&under, "under", "", "`URI` of the KMS's key")
	out.flag(cmd, formatTable, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		if under == "" {
			return usagef(cmd, "give the key to wrap it with: --under URI")
		}
		id, err := server.WrapNodeKey(cmd.Context(), loaded.NodeKey, args[0], under)
		switch {
		case errors.Is(err, kms.ErrURI), errors.Is(err, os.ErrNotExist), errors.Is(err, encryption.ErrOtherKey):
			return usagef(cmd, "%w", err)
		case err != nil:
			return err
		}
		r := wrapReport{Data: args[0], KeyID: id, Under: under}
		return out.result(a.Out, r, "the node key %s of %s is wrapped\n\n  next      headrace serve --data %s --node-key %s", r.KeyID, r.Data, r.Data, r.Under)
	}
	return cmd
}
