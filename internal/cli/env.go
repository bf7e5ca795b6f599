package cli

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/config"
)

// The credentials that examples and client commands use. Headrace in memory takes any.
const (
	testAccessKey = "test"
	testSecretKey = "test"
)

// shells are the shells env can print for, and how each sets a variable.
var shells = []struct{ name, line string }{
	{"sh", "export %s='%s'\n"},
	{"fish", "set -gx %s '%s'\n"},
	{"powershell", "$Env:%s = '%s'\n"},
	{"cmd", "set \"%s=%s\"\n"},
}

// env is the command that prints how to point AWS clients here.
func (a *App) env() *cobra.Command {
	var shell, profile, endpoint, ca string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print what points AWS clients at Headrace",
		Long: `Print the environment variables that point the AWS CLI and current AWS SDKs at Headrace,
in the syntax of your shell, or with --profile a block for ~/.aws/config.

The address is that of the "listen" setting, found as "headrace dev" finds it, or the one
that --endpoint names. With --ca it is reached by TLS, and the clients are told to trust the
authorities in that file: AWS_CA_BUNDLE for the AWS CLI and most SDKs, NODE_EXTRA_CA_CERTS
for the one of JavaScript.`,
		Example: `  eval "$(headrace env)"                                       # sh, bash, zsh
  headrace ca export > ca.pem && eval "$(headrace env --ca ca.pem)"   # by TLS
  headrace env --shell fish | source                           # fish
  headrace env --shell powershell | Invoke-Expression          # PowerShell
  for /f "delims=" %i in ('headrace env --shell cmd') do %i    # cmd
  headrace env --profile >> ~/.aws/config                      # then: aws --profile headrace ...`,
		Args: arguments(),
	}
	load := a.configFlags(cmd, "listen", "region")
	cmd.Flags().StringVar(&shell, "shell", "", "`shell` to print for: sh, fish, powershell or cmd (default: found from SHELL)")
	cmd.Flags().StringVar(&profile, "profile", "", "print an AWS profile of this `name` instead")
	cmd.Flags().Lookup("profile").NoOptDefVal = "headrace"
	cmd.Flags().StringVar(&endpoint, "endpoint", "", "`URL` to name instead of the listen address")
	cmd.Flags().StringVar(&ca, "ca", "", "`file` of certificate authorities to trust, in PEM; implies TLS")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if shell == "" {
			shell = a.shell()
		}
		loaded, err := load()
		if err != nil {
			return err
		}
		a.warn(loaded.Warnings)
		t, err := envTargetOf(cmd, loaded.Config, endpoint, ca)
		if err != nil {
			return err
		}
		if profile != "" {
			return a.printProfile(cmd, profile, t)
		}
		return a.printExports(cmd, shell, t)
	}
	return cmd
}

// envTarget is what env points clients at. No value can hold a quote or a line's end.
type envTarget struct{ url, region, ca string }

func envTargetOf(cmd *cobra.Command, c config.Config, endpoint, ca string) (envTarget, error) {
	t := envTarget{url: endpoint, region: c.Region}
	if endpoint == "" {
		t.url = localURL(c)
		if rest, plain := strings.CutPrefix(t.url, "http:"); plain && ca != "" {
			t.url = "https:" + rest
		}
	} else if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.ContainsAny(endpoint, "'\"\\`$ ") {
		return envTarget{}, usagef(cmd, "--endpoint: %q is not a URL such as https://kinesis.example.com", endpoint)
	}
	if ca == "" {
		return t, nil
	}
	file, err := filepath.Abs(ca)
	if err != nil {
		return envTarget{}, fmt.Errorf("find %s: %w", ca, err)
	}
	if _, err := os.Stat(file); err != nil {
		return envTarget{}, fmt.Errorf("find certificate authorities: %w", err)
	}
	if strings.ContainsFunc(file, func(c rune) bool { return c == '\'' || c == '"' || c < ' ' }) {
		return envTarget{}, usagef(cmd, "--ca: %q cannot be quoted for a shell", file)
	}
	t.ca = file
	return t, nil
}

func (a *App) printExports(cmd *cobra.Command, shell string, t envTarget) error {
	i := slices.IndexFunc(shells, func(s struct{ name, line string }) bool { return s.name == shell })
	if i < 0 {
		return usagef(cmd, "unknown shell %q: want sh, fish, powershell or cmd", shell)
	}
	values := [][2]string{
		{"AWS_ENDPOINT_URL", t.url},
		{"AWS_ACCESS_KEY_ID", testAccessKey},
		{"AWS_SECRET_ACCESS_KEY", testSecretKey},
		{"AWS_REGION", t.region},
		{"AWS_DEFAULT_REGION", t.region}, // all that boto3 and version 1 of the AWS CLI read
	}
	if t.ca != "" {
		values = append(values, [2]string{"AWS_CA_BUNDLE", t.ca}, [2]string{"NODE_EXTRA_CA_CERTS", t.ca})
	}
	for _, v := range values {
		fmt.Fprintf(a.Out, shells[i].line, v[0], v[1])
	}
	return nil
}

func (a *App) printProfile(cmd *cobra.Command, name string, t envTarget) error {
	if strings.ContainsAny(name, "]\r\n") {
		return usagef(cmd, "%q cannot be the name of a profile", name)
	}
	section := "profile " + name
	if name == "default" {
		section = name
	}
	fmt.Fprintf(a.Out, `[%s]
region = %s
endpoint_url = %s
aws_access_key_id = %s
aws_secret_access_key = %s
`, section, t.region, t.url, testAccessKey, testSecretKey)
	if t.ca != "" {
		fmt.Fprintf(a.Out, "ca_bundle = %s\n", t.ca)
	}
	return nil
}

// shell guesses the caller's shell.
func (a *App) shell() string {
	switch {
	case filepath.Base(a.getenv("SHELL")) == "fish":
		return "fish"
	case runtime.GOOS == "windows" && a.getenv("SHELL") == "":
		return "powershell"
	}
	return "sh"
}

func (a *App) getenv(name string) string {
	for _, entry := range slices.Backward(a.Environ) {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			return v
		}
	}
	return ""
}
