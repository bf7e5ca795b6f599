package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/admin"
)

// account is the group of commands about accounts.
func (a *App) account() *cobra.Command {
	group, f := a.accessGroup("account", "Create, list and name accounts",
		"Create, list and name accounts. An account is a name space of streams and of users and roles.")
	group.AddCommand(a.accountList(f), a.accountCreate(f), a.accountRename(f))
	return group
}

func (a *App) accountList(f *accessFlags) *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use: "ls", Short: "List accounts", Long: "List accounts: all of them for the root of the first one, else one's own.",
		Example: "  headrace account ls -o json", Args: arguments(),
	}
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		result, err := a.callAccess(cmd, f, "list accounts", admin.GetAccess, admin.Call{})
		if err != nil {
			return err
		}
		return list(out, a.Out, result.Accounts, "ACCOUNT NAME USERS ROLES PROVIDERS", func(x admin.Account) []string {
			return []string{x.Account, x.AccountName, strconv.Itoa(len(x.Users)), strconv.Itoa(len(x.Roles)), strconv.Itoa(len(x.Providers))}
		})
	}
	return cmd
}

func (a *App) accountCreate(f *accessFlags) *cobra.Command {
	return a.accessChange(f, accessChange{
		use: "create ACCOUNT [NAME]", short: "Create an account",
		long:      "Create an account of twelve digits. Only the root of the first account may.\nIt gets its own root key with: headrace key create --root --account ACCOUNT",
		example:   "  headrace account create 111122223333 staging",
		operation: admin.CreateAccount, done: "created account %s",
		call: func(args []string, c *admin.Call) { f.account, c.AccountName = args[0], optional(args, 1) },
	})
}

func (a *App) accountRename(f *accessFlags) *cobra.Command {
	return a.accessChange(f, accessChange{
		use: "rename ACCOUNT NAME", short: "Give an account another name",
		long: "Give an account another name. Names are for people; nothing goes by them.", example: "  headrace account rename 111122223333 production",
		operation: admin.UpdateAccount, done: "renamed account %s",
		call: func(args []string, c *admin.Call) { f.account, c.AccountName = args[0], args[1] },
	})
}

// optional returns an argument, "" if it is not there.
func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
