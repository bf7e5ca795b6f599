package cli

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/headrace/headrace/internal/config"
)

// configFlag makes a configuration key a flag. It keeps the text, which config.Load parses with the
// other sources; checking it here makes a bad value a usage error that names the flag.
type configFlag struct {
	key  config.Key
	text string
}

func (f *configFlag) String() string {
	if f.text == "" {
		return f.key.Default
	}
	return f.text
}

func (f *configFlag) Set(text string) error {
	if err := config.Check(f.key.Name, text); err != nil {
		return err
	}
	f.text = text
	return nil
}

func (f *configFlag) Type() string { return f.key.Type }

// limitsFlag is another name for the flag of the key limits.mode, which cannot be called limits in a file,
// where that is a section.
const limitsFlag, limitsKey = "limits", "limits-mode"

// configFlags adds --config and the flags of the named keys, or of every key, and returns a
// function that loads the configuration once the flags are parsed.
func (a *App) configFlags(cmd *cobra.Command, names ...string) func() (*config.Loaded, error) {
	var file string
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == limitsFlag {
			name = limitsKey
		}
		return pflag.NormalizedName(name)
	})
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `file` (or "+config.FileVariable+")")
	var flags []*configFlag
	for _, key := range config.Keys() {
		if len(names) == 0 || slices.Contains(names, key.Name) {
			f := &configFlag{key: key}
			flags = append(flags, f)
			cmd.Flags().Var(f, key.Flag(), key.Usage)
			if key.Type == "bool" {
				cmd.Flags().Lookup(key.Flag()).NoOptDefVal = "true"
			}
		}
	}
	return func() (*config.Loaded, error) {
		in := config.Inputs{File: file, Environ: a.Environ, Flags: map[string]string{}}
		for _, f := range flags {
			if cmd.Flags().Changed(f.key.Flag()) {
				in.Flags[f.key.Name] = f.text
			}
		}
		loaded, err := config.Load(in)
		if err != nil {
			return nil, &usageError{err: err}
		}
		return loaded, nil
	}
}

// config is the group of commands about the configuration.
func (a *App) config() *cobra.Command {
	group := a.group("config", "Show the configuration", "Show the configuration.")
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the effective configuration as YAML",
		Long: `Print the configuration that "headrace dev" would run with, given the same flags and
environment, as a YAML file. The comment behind each value says where it came from:
a flag, a HEADRACE_* environment variable, a line of the file, or the default.

No key holds a secret. headrace.example.yaml explains every key.`,
		Example: `  headrace config print
  HEADRACE_LOG_LEVEL=debug headrace config print --config headrace.yaml --memory 1GiB`,
		Args: arguments(),
	}
	load := a.configFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		a.warn(loaded.Warnings)
		return loaded.WriteYAML(a.Out)
	}
	group.AddCommand(cmd)
	return group
}
