package cli

import (
	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/admin"
)

// key is the group of commands about access keys.
func (a *App) key() *cobra.Command {
	group, f := a.accessGroup("key", "Create, rotate, disable and delete access keys",
		"Create, rotate, disable and delete access keys, of users or (--root) of an account's root. Each has at most\ntwo, so that one can be replaced while clients still use it.")
	group.AddCommand(
		a.keyList(f),
		a.keyMake(f, "create", admin.CreateAccessKey, "Create an access key",
			"Create an access key and print its secret, which is not shown again."),
		a.keyMake(f, "rotate", admin.RotateAccessKey, "Create an access key beside the one in use",
			"Create an access key beside the one in use, in the place of a disabled one if there are two, and print its\nsecret. Move the clients to it, then disable the old one, and delete it when nobody misses it."),
		a.keyChange(f, "enable", "Enable an access key", "Enable an access key that was disabled.", admin.UpdateAccessKey, admin.Active, "enabled access key %s"),
		a.keyChange(f, "disable", "Disable an access key", "Disable an access key: what is signed with it is refused until it is enabled again.", admin.UpdateAccessKey, admin.Inactive, "disabled access key %s"),
		a.keyChange(f, "delete", "Delete an access key", "Delete an access key for good.", admin.DeleteAccessKey, "", "deleted access key %s"),
	)
	return group
}

// listedKey is an access key in a listing.
type listedKey struct {
	admin.AccessKey
	UserName string `json:",omitempty"`
}

func (a *App) keyList(f *accessFlags) *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use: "ls [USER]", Short: "List access keys",
		Long: "List the access keys of a user, or of all users and the root of an account. Secrets are not shown.", Example: "  headrace key ls alice",
		Args: arguments("[USER]"),
	}
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		account, err := a.ownAccount(cmd, f, "list access keys")
		if err != nil {
			return err
		}
		var keys []listedKey
		add := func(user string, from []admin.AccessKey) {
			for _, k := range from {
				if len(args) == 0 || user == args[0] {
					keys = append(keys, listedKey{k, user})
				}
			}
		}
		add("", account.RootKeys)
		for _, u := range account.Users {
			add(u.UserName, u.AccessKeys)
		}
		return list(out, a.Out, keys, "ACCESS-KEY USER STATUS CREATED LAST-USED", func(k listedKey) []string {
			user, used := k.UserName, "-"
			if user == "" {
				user = "(root)"
			}
			if k.LastUsedDate != nil {
				used = stamp(*k.LastUsedDate)
			}
			return []string{k.AccessKeyID, user, k.Status, stamp(k.CreateDate), used}
		})
	}
	return cmd
}

// madeKey is what a new key is printed as.
type madeKey struct {
	UserName        string `json:",omitempty"`
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Replaced        string `json:",omitempty"`
}

func (a *App) keyMake(f *accessFlags, verb, operation, short, long string) *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use: verb + " [USER]", Short: short, Long: long,
		Example: "  headrace key " + verb + " alice\n  headrace key " + verb + " --root -o json", Args: arguments("[USER]"),
	}
	root := cmd.Flags().Bool("root", false, "of the account's root instead of a user")
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *root == (len(args) == 1) {
			return usagef(cmd, "name a user, or give --root")
		}
		c := admin.Call{UserName: optional(args, 0)}
		whose := "the root"
		if !*root {
			whose = "user " + c.UserName
		}
		result, err := a.callAccess(cmd, f, verb+" access key of "+whose, operation, c)
		if err != nil {
			return err
		}
		k := result.AccessKey
		return out.result(a.Out, madeKey{k.UserName, k.AccessKeyID, k.SecretAccessKey, result.Replaced},
			"Access key of %s. The secret is not shown again: keep it now.\n\n  AWS_ACCESS_KEY_ID      %s\n  AWS_SECRET_ACCESS_KEY  %s",
			whose, k.AccessKeyID, k.SecretAccessKey)
	}
	return cmd
}

func (a *App) keyChange(f *accessFlags, verb, short, long, operation, status, done string) *cobra.Command {
	return a.accessChange(f, accessChange{
		use: verb + " ACCESS-KEY", short: short, long: long, example: "  headrace key " + verb + " AKIAIOSFODNN7EXAMPLE",
		operation: operation, done: done,
		call: func(args []string, c *admin.Call) { c.AccessKeyID, c.Status = args[0], status },
	})
}
