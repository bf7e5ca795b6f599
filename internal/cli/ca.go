package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/certificate"
)

// ca is the group of commands about the certificate authority of development servers.
func (a *App) ca() *cobra.Command {
	group := a.group("ca", "Trust the certificates of a development server",
		`A server with a self-signed certificate, which "headrace dev" has unless told otherwise, has a
certificate authority of its own: in its data directory, or without one in memory for as long
as it runs.`)
	group.AddCommand(a.caExport())
	return group
}

// caExport is the command that prints an authority's certificate.
func (a *App) caExport() *cobra.Command {
	var endpoint string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the certificate that clients must trust",
		Long: `Print the certificate of a server's own certificate authority, in PEM, for clients to trust:
from the data directory if there is one, else from the server that runs at the address of the
"listen" setting, or at --endpoint. Its fingerprint goes to stderr.

A certificate that comes over the network is worth what the network is worth: compare the
fingerprint with the one of another export, made beside the server.

Whoever has the key of that authority can pretend to be any server to a client that trusts
it. Name the file to the clients that need it; do not add it to a system's store.`,
		Example: `  headrace ca export > ca.pem
  eval "$(headrace env --ca ca.pem)"
  headrace ca export --data /var/lib/headrace > ca.pem`,
		Args: arguments(),
	}
	load := a.configFlags(cmd, "listen", "data")
	cmd.Flags().StringVar(&endpoint, "endpoint", "", "`URL` of a running server to ask instead")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		var text []byte
		switch {
		case endpoint != "":
			text, err = authorityOf(cmd.Context(), endpoint)
		case loaded.Data != "":
			text, err = certificate.Export(loaded.Data)
		default:
			text, err = authorityOf(cmd.Context(), endpointURL(loaded.Listen))
		}
		if err != nil {
			return fmt.Errorf("export certificate authority: %w", err)
		}
		if block, _ := pem.Decode(text); block != nil {
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
				a.progress("SHA-256 fingerprint %s", certificate.Fingerprint(cert))
			}
		}
		_, err = a.Out.Write(text)
		return err
	}
	return cmd
}

// authorityOf returns the certificate of the authority that a running server sends with its own.
func authorityOf(ctx context.Context, endpoint string) ([]byte, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not a URL", endpoint)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// What to trust is what is asked for. The chain is looked at below.
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	root := chain[len(chain)-1]
	if len(chain) != 2 || root.CheckSignatureFrom(root) != nil || chain[0].CheckSignatureFrom(root) != nil {
		return nil, errors.New("the server has no certificate authority of its own; its certificate is " + chain[0].Subject.String())
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}), nil
}
