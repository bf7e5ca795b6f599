package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/admin"
)

// access is the group of commands about everything at once.
func (a *App) access() *cobra.Command {
	group, f := a.accessGroup("access", "Show and declare accounts, users, roles and identity providers",
		"Show and declare accounts, users, roles and identity providers as a whole.")
	group.AddCommand(a.accessApply(f), a.accessShow(f))
	return group
}

func (a *App) accessShow(f *accessFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Print everything as JSON",
		Long:    "Print all accounts that one may see, with users, roles, policies and identity providers, as JSON. Secrets\nare not in it.",
		Example: "  headrace access show --account 111122223333", Args: arguments(),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		result, err := a.callAccess(cmd, f, "show access", admin.GetAccess, admin.Call{})
		if err != nil {
			return err
		}
		return (&output{format: formatJSON}).object(a.Out, result.Accounts)
	}
	return cmd
}

func (a *App) accessApply(f *accessFlags) *cobra.Command {
	var dryRun, prune bool
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Make accounts, users, roles and policies what a file declares",
		Long: `Make accounts, users, roles, policies and identity providers what a YAML file declares, and print each
change: + for what is made, ~ for what is changed, - for what goes. A file that is applied again changes
nothing. What the file does not name stays, unless --prune says that users, roles and providers of its
accounts go with their access keys; the policies of a user or role are always the declared ones.

  accounts:
    111122223333:
      name: production
      users:
        alice:
          policies:
            read:
              Version: 2012-10-17
              Statement:
                - {Effect: Allow, Action: "kinesis:Get*", Resource: "*"}
      roles:
        deployer:
          trust:
            Version: 2012-10-17
            Statement:
              - Effect: Allow
                Principal: {AWS: "arn:aws:iam::111122223333:user/alice"}
                Action: sts:AssumeRole
          max-session: 2h
      providers:
        https://token.actions.githubusercontent.com:
          audiences: [sts.amazonaws.com]
          keys-file: github-keys.json    # or keys-url; with neither they are discovered

Access keys are not declared: headrace key create makes them.`,
		Example: "  headrace access apply access.yaml --dry-run\n  headrace access apply access.yaml --prune",
		Args:    arguments("FILE"),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would change, and change nothing")
	cmd.Flags().BoolVar(&prune, "prune", false, "delete what the file's accounts have and the file does not name")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.account != "" {
			return usagef(cmd, "the file names the accounts: --account does not go with it")
		}
		declared, err := a.declared(args[0])
		if err != nil {
			return &usageError{err: err}
		}
		return a.apply(cmd, f, declared, dryRun, prune)
	}
	return cmd
}

// declared reads an access file, and the key files that it names beside it.
func (a *App) declared(file string) (*admin.Declared, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(a.In)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read access file: %w", err)
	}
	return admin.Parse(file, text, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
		return os.ReadFile(name)
	})
}

// apply does the steps one after the other. What was done stays done when one fails: applying again goes
// on from there.
func (a *App) apply(cmd *cobra.Command, f *accessFlags, declared *admin.Declared, dryRun, prune bool) error {
	server, err := a.ConnectAccess(cmd.Context(), f.target)
	if err != nil {
		return err
	}
	there, err := server.Call(cmd.Context(), admin.GetAccess, admin.Call{})
	if err != nil {
		return accessFailed("read access", err)
	}
	steps := admin.Plan(declared, there.Accounts, prune)
	for _, s := range steps {
		if !dryRun {
			if _, err := server.Call(cmd.Context(), s.Operation, s.Call); err != nil {
				return accessFailed(s.Change, err)
			}
		}
		fmt.Fprintln(a.Out, s.Change)
	}
	switch {
	case len(steps) == 0:
		fmt.Fprintln(a.Out, "nothing to change")
	case dryRun:
		a.progress("%d changes, none made: this was a dry run", len(steps))
	default:
		a.progress("%d changes made", len(steps))
	}
	return nil
}
