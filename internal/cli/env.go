package cli

import (
	"fmt"
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
	var shell, profile string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print what points AWS clients at Headrace",
		Long: `Print the environment variables that point the AWS CLI and current AWS SDKs at Headrace,
in the syntax of your shell, or with --profile a block for ~/.aws/config.

The address is that of the "listen" setting, found as "headrace dev" finds it.`,
		Example: `  eval "$(headrace env)"                                       # sh, bash, zsh
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
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if shell == "" {
			shell = a.shell()
		}
		loaded, err := load()
		if err != nil {
			return err
		}
		a.warn(loaded.Warnings)
		if profile != "" {
			return a.printProfile(cmd, profile, loaded.Config)
		}
		return a.printExports(cmd, shell, loaded.Config)
	}
	return cmd
}

func (a *App) printExports(cmd *cobra.Command, shell string, c config.Config) error {
	i := slices.IndexFunc(shells, func(s struct{ name, line string }) bool { return s.name == shell })
	if i < 0 {
		return usagef(cmd, "unknown shell %q: want sh, fish, powershell or cmd", shell)
	}
	for _, v := range [][2]string{
		{"AWS_ENDPOINT_URL", endpointURL(c.Listen)},
		{"AWS_ACCESS_KEY_ID", testAccessKey},
		{"AWS_SECRET_ACCESS_KEY", testSecretKey},
		{"AWS_REGION", c.Region},
		{"AWS_DEFAULT_REGION", c.Region}, // all that boto3 and version 1 of the AWS CLI read
	} {
		// No value can hold a quote: a URL of a checked address, a checked region, constants.
		fmt.Fprintf(a.Out, shells[i].line, v[0], v[1])
	}
	return nil
}

func (a *App) printProfile(cmd *cobra.Command, name string, c config.Config) error {
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
`, section, c.Region, endpointURL(c.Listen), testAccessKey, testSecretKey)
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
