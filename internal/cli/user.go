package cli

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/admin"
)

// user is the group of commands about users.
func (a *App) user() *cobra.Command {
	group, f := a.accessGroup("user", "Create and list users, and say what they may do",
		"Create and list users, and say what they may do. A user is a person or a program with access keys of its\nown (headrace key) and inline policies in AWS's language.")
	group.AddCommand(
		a.userList(f),
		a.accessChange(f, accessChange{
			use: "create USER", short: "Create a user", example: "  headrace user create alice",
			long:      "Create a user. It may do nothing until it has a policy, and cannot call until it has a key.",
			operation: admin.CreateUser, done: "created user %s",
			call: func(args []string, c *admin.Call) { c.UserName = args[0] },
		}),
		a.accessChange(f, accessChange{
			use: "delete USER", short: "Delete a user", example: "  headrace user delete alice",
			long:      "Delete a user that has no access keys and no policies any more, and end its sessions.",
			operation: admin.DeleteUser, done: "deleted user %s",
			call: func(args []string, c *admin.Call) { c.UserName = args[0] },
		}),
		a.putPolicy(f, "USER", admin.PutUserPolicy, func(c *admin.Call, name string) { c.UserName = name }),
		a.deletePolicy(f, "USER", admin.DeleteUserPolicy, func(c *admin.Call, name string) { c.UserName = name }),
		a.endSessions(f, "USER", func(c *admin.Call, name string) { c.UserName = name }),
	)
	return group
}

// ownAccount returns the one account that a listing is about.
func (a *App) ownAccount(cmd *cobra.Command, f *accessFlags, doing string) (admin.Account, error) {
	result, err := a.callAccess(cmd, f, doing, admin.GetAccess, admin.Call{})
	if err != nil {
		return admin.Account{}, err
	}
	for _, x := range result.Accounts {
		if x.Account == f.account || f.account == "" && (x.Operator || len(result.Accounts) == 1) {
			return x, nil
		}
	}
	return admin.Account{}, nil
}

func (a *App) userList(f *accessFlags) *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use: "ls", Short: "List users", Long: "List the users of an account with their access keys and policies.",
		Example: "  headrace user ls\n  headrace user ls --account 111122223333 -o json", Args: arguments(),
	}
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		account, err := a.ownAccount(cmd, f, "list users")
		if err != nil {
			return err
		}
		return list(out, a.Out, account.Users, "USER KEYS POLICIES CREATED", func(u admin.User) []string {
			return []string{u.UserName, strconv.Itoa(len(u.AccessKeys)), names(u.Policies), stamp(u.CreateDate)}
		})
	}
	return cmd
}

// names returns the names of policies in order.
func names(policies map[string]string) string {
	if len(policies) == 0 {
		return "-"
	}
	return strings.Join(slices.Sorted(maps.Keys(policies)), ",")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// putPolicy, deletePolicy and endSessions are the same for users and roles.
func (a *App) putPolicy(f *accessFlags, owner, operation string, name func(*admin.Call, string)) *cobra.Command {
	what := strings.ToLower(owner)
	var file string
	return a.accessChange(f, accessChange{
		use: "put-policy " + owner + " POLICY FILE", short: "Give a " + what + " a policy",
		long:      "Give a " + what + " an inline policy, or replace the one of that name. FILE holds the JSON document, - is\nstandard input.",
		example:   "  headrace " + what + " put-policy alice read-clicks policy.json",
		operation: operation, done: "put the policy of " + what + " %s",
		call: func(args []string, c *admin.Call) {
			name(c, args[0])
			c.PolicyName, file = args[1], args[2]
		},
		flags: func(*cobra.Command) func(*admin.Call) error {
			return func(c *admin.Call) (err error) {
				c.PolicyDocument, err = a.document(file)
				return err
			}
		},
	})
}

func (a *App) deletePolicy(f *accessFlags, owner, operation string, name func(*admin.Call, string)) *cobra.Command {
	what := strings.ToLower(owner)
	return a.accessChange(f, accessChange{
		use: "delete-policy " + owner + " POLICY", short: "Take a policy from a " + what,
		long: "Take an inline policy from a " + what + ".", example: "  headrace " + what + " delete-policy alice read-clicks",
		operation: operation, done: "deleted the policy of " + what + " %s",
		call: func(args []string, c *admin.Call) { name(c, args[0]); c.PolicyName = args[1] },
	})
}

func (a *App) endSessions(f *accessFlags, owner string, name func(*admin.Call, string)) *cobra.Command {
	what := strings.ToLower(owner)
	return a.accessChange(f, accessChange{
		use: "end-sessions " + owner, short: "End all sessions of a " + what,
		long:      "End all sessions of a " + what + " that exist now. New ones can be had as before: whoever must not get one\nneeds another policy as well.",
		example:   "  headrace " + what + " end-sessions deployer",
		operation: admin.EndSessions, done: "ended the sessions of " + what + " %s",
		call: func(args []string, c *admin.Call) { name(c, args[0]) },
	})
}
