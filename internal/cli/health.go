package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
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

The address is that of the "listen" setting, found as "headrace dev" finds it.`,
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
			endpoint = endpointURL(loaded.Listen)
		}
		report := healthReport{Endpoint: strings.TrimSuffix(endpoint, "/")}
		healthErr := probe(cmd.Context(), report.Endpoint+"/-/healthy", timeout)
		readyErr := healthErr
		if healthErr == nil {
			readyErr = probe(cmd.Context(), report.Endpoint+"/-/ready", timeout)
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

// probe returns nil when url answers with a 2xx status in time.
func probe(ctx context.Context, url string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
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
