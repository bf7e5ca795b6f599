package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/admin"
)

// role is the group of commands about roles.
func (a *App) role() *cobra.Command {
	group, f := a.accessGroup("role", "Create and list roles, and say who may assume them",
		"Create and list roles, and say who may assume them and what they may do then. A role has no keys: whoever\nits trust policy lets assume it gets a session (aws sts assume-role).")
	byName := func(c *admin.Call, name string) { c.RoleName = name }
	group.AddCommand(
		a.roleList(f),
		a.roleSet(f, "create", "Create a role", "Create a role. It may do nothing until it has a policy.", admin.CreateRole, "created role %s"),
		a.roleSet(f, "update", "Change who may assume a role", "Give a role another trust policy, description and longest session.", admin.UpdateRole, "updated role %s"),
		a.accessChange(f, accessChange{
			use: "delete ROLE", short: "Delete a role", example: "  headrace role delete deployer",
			long:      "Delete a role that has no policies any more, and end its sessions.",
			operation: admin.DeleteRole, done: "deleted role %s",
			call: func(args []string, c *admin.Call) { c.RoleName = args[0] },
		}),
		a.putPolicy(f, "ROLE", admin.PutRolePolicy, byName),
		a.deletePolicy(f, "ROLE", admin.DeleteRolePolicy, byName),
		a.endSessions(f, "ROLE", byName),
	)
	return group
}

func (a *App) roleList(f *accessFlags) *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use: "ls", Short: "List roles", Long: "List the roles of an account.", Example: "  headrace role ls -o json", Args: arguments(),
	}
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		account, err := a.ownAccount(cmd, f, "list roles")
		if err != nil {
			return err
		}
		return list(out, a.Out, account.Roles, "ROLE POLICIES MAX-SESSION CREATED", func(r admin.Role) []string {
			return []string{r.RoleName, names(r.Policies), (time.Duration(r.MaxSessionDuration) * time.Second).String(), stamp(r.CreateDate)}
		})
	}
	return cmd
}

func (a *App) roleSet(f *accessFlags, verb, short, long, operation, done string) *cobra.Command {
	return a.accessChange(f, accessChange{
		use: verb + " ROLE", short: short, long: long,
		example:   "  headrace role " + verb + " deployer --trust trust.json --max-session 2h",
		operation: operation, done: done,
		call: func(args []string, c *admin.Call) { c.RoleName = args[0] },
		flags: func(cmd *cobra.Command) func(*admin.Call) error {
			trust := cmd.Flags().String("trust", "", "`file` with the trust policy, - for standard input (required)")
			description := cmd.Flags().String("description", "", "what the role is for")
			longest := cmd.Flags().Duration("max-session", time.Hour, "longest session, 1h to 12h")
			return func(c *admin.Call) (err error) {
				if *trust == "" {
					return usagef(cmd, "no trust policy: give --trust FILE")
				}
				c.Description, c.MaxSessionDuration = *description, int(*longest/time.Second)
				c.TrustPolicy, err = a.document(*trust)
				return err
			}
		},
	})
}
