package cli

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/config"
)

// serve is the command that runs the server on a directory.
func (a *App) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve --data DIR",
		Short: "Run Headrace on a data directory",
		Long: `Run Headrace on a data directory: a put is answered when its record is on the disk, and
everything answered is there again after a crash or a power cut.

Every call but health needs a signature that a key of the keyring made, and policies that allow
it. --insecure-auth believes whoever calls, as dev does: for one machine, never for a network.
Without TLS it listens on loopback only, unless --insecure-listen says that the network may be
trusted to read along.

With --tls-cert and --tls-key, --tls-acme-domains or --tls-mode self-signed the port has TLS
beside cleartext, which then only this machine may use: see --tls-cleartext.

The first start makes the root key of the account and prints it, once. Secrets are sealed with
the node's key, which is made with it: the file node.key in the data directory, or where
--node-key says. Keep it apart from backups of the directory, and do not lose it: without it
the server does not start. Whoever has lost the root key gets another one with --new-root-key.

With the URI of a KMS's key as --node-key the node's key lies in the directory wrapped, and the
KMS is asked to unwrap it at each start: aws-kms://arn:aws:kms:..., with credentials as AWS's
SDKs find them, or hcvault://HOST/transit/keys/NAME, with VAULT_TOKEN.

--encrypt encrypts everything that a new data directory keeps under the node's key. A directory
stays as it was made. Keep the key out of it with --node-key: whoever loses the key of an
encrypted directory has lost the data.

The first SIGINT or SIGTERM stops listening and lets requests in flight finish; a second
one ends the program at once. Logs go to stderr.`,
		Example: `  headrace serve --data /var/lib/headrace
  headrace serve --data /var/lib/headrace --encrypt --node-key /etc/headrace/node.key
  headrace serve --data /var/lib/headrace --encrypt --node-key hcvault://vault.example:8200/transit/keys/headrace
  headrace serve --data ./data --config headrace.yaml --wal-size 8GiB
  headrace serve --data ./data --tls-cert tls.crt --tls-key tls.key`,
		Args: arguments(),
	}
	load := a.configFlags(cmd)
	insecure := cmd.Flags().Bool("insecure-listen", false, "listen beyond loopback without TLS, or without knowing who calls")
	anybody := cmd.Flags().Bool("insecure-auth", false, "verify no signature and ask no policy: whoever calls may do everything")
	newKey := cmd.Flags().Bool("new-root-key", false, "replace the root keys of the account by a new one, and print it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		if loaded.Data == "" {
			return usagef(cmd, "no data directory: give --data DIR")
		}
		if why := exposed(loaded.Config, !*anybody); why != "" && !*insecure {
			return usagef(cmd, "%s is reached from outside this machine, %s", loaded.Listen, why)
		}
		return a.start(cmd, loaded, Service{
			Profile: Profile{InsecureListen: *insecure, InsecureAuth: *anybody, WAL: serveWAL},
			ShowKey: a.showKey, NewRootKey: *newKey,
		})
	}
	return cmd
}

// exposed says why a configuration must not be served to a network that nobody vouches for; "" when it
// may be.
func exposed(c config.Config, verified bool) string {
	switch {
	case onLoopback(c.Listen):
		return ""
	case !verified:
		return "and signatures are not verified: listen on loopback or give --insecure-listen"
	case c.TLS.Source(config.TLSOff) == config.TLSOff:
		return "and in cleartext: set up TLS, listen on loopback or give --insecure-listen"
	}
	return ""
}

// showKey prints a root key for the one time that it is shown.
func (a *App) showKey(account, accessKeyID, secretAccessKey string) {
	fmt.Fprintf(a.Out, `The root key of account %s. It is not shown again: keep it now.

  AWS_ACCESS_KEY_ID      %s
  AWS_SECRET_ACCESS_KEY  %s

`, account, accessKeyID, secretAccessKey)
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
