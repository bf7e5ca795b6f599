package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/certificate"
)

// healthReport is what health prints as JSON.
type healthReport struct {
	Endpoint string
	Healthy  bool
	Ready    bool
}

// health is the command that asks a running server how it is.
func (a *App) health() *cobra.Command {
	var endpoint string
	var timeout time.Duration
	out := &output{format: formatTable}
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running Headrace whether it is healthy and ready",
		Long: `Ask a running Headrace whether it is healthy (the process works: /-/healthy) and ready
(it takes requests: /-/ready). The exit code is 0 when both are so and 1 otherwise, which
makes it a container's health check.

The address is that of the "listen" setting, found as "headrace dev" finds it. With TLS the
certificate must be good for the name in the URL; AWS_CA_BUNDLE names a file of authorities
to trust, as it does for AWS's clients.`,
		Example: `  headrace health
  headrace health --endpoint http://headrace:4566 -o json`,
		Args: arguments(),
	}
	load := a.configFlags(cmd, "listen")
	cmd.Flags().StringVar(&endpoint, "endpoint", "", "`URL` to ask instead of the listen address")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for each answer")
	out.flag(cmd, formatTable, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if endpoint == "" {
			loaded, err := load()
			if err != nil {
				return err
			}
			endpoint = localURL(loaded.Config)
		}
		client, err := trustingClient(a.getenv("AWS_CA_BUNDLE"))
		if err != nil {
			return err
		}
		report := healthReport{Endpoint: strings.TrimSuffix(endpoint, "/")}
		healthErr := probe(cmd.Context(), client, report.Endpoint+"/-/healthy", timeout)
		readyErr := healthErr
		if healthErr == nil {
			readyErr = probe(cmd.Context(), client, report.Endpoint+"/-/ready", timeout)
		}
		report.Healthy, report.Ready = healthErr == nil, readyErr == nil
		if err := a.printHealth(out, report); err != nil {
			return err
		}
		return readyErr
	}
	return cmd
}

func (a *App) printHealth(out *output, r healthReport) error {
	if out.format == formatJSON {
		return out.object(a.Out, r)
	}
	said := func(yes bool, word string) string {
		if yes {
			return word
		}
		return "not " + word
	}
	_, err := fmt.Fprintf(a.Out, "%s: %s, %s\n", r.Endpoint, said(r.Healthy, "healthy"), said(r.Ready, "ready"))
	return err
}

// trustingClient returns a client that trusts the authorities in a file instead of the system's, or
// the system's when there is none.
func trustingClient(file string) (*http.Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	if file != "" {
		roots, err := certificate.Pool(file)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: transport}, nil
}

// probe returns nil when url answers with a 2xx status in time.
func probe(ctx context.Context, client *http.Client, url string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only to show it
	if resp.StatusCode/100 != 2 {
		return errors.New("check health: " + url + ": " + resp.Status + " " + string(body))
	}
	return nil
}
