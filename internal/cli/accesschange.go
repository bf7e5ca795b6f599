package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/admin"
)

// accessChange is a command that makes one change and says that it was made. All such commands differ in
// these words only.
type accessChange struct {
	// use names the arguments, in brackets those that may be left out.
	use, short, long, example string
	operation                 string
	// done is what is printed, with the first argument.
	done string
	// call puts the arguments into the call.
	call func(args []string, c *admin.Call)
	// flags adds flags, which change the call too.
	flags func(cmd *cobra.Command) func(c *admin.Call) error
}

// accessChange builds the command.
func (a *App) accessChange(f *accessFlags, change accessChange) *cobra.Command {
	cmd := &cobra.Command{
		Use: change.use, Short: change.short, Long: change.long, Example: change.example,
		Args: arguments(strings.Fields(change.use)[1:]...),
	}
	var more func(*admin.Call) error
	if change.flags != nil {
		more = change.flags(cmd)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var c admin.Call
		change.call(args, &c)
		if more != nil {
			if err := more(&c); err != nil {
				return err
			}
		}
		if _, err := a.callAccess(cmd, f, doing(cmd.Parent().Name(), cmd.Name(), args[0]), change.operation, c); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.Out, change.done+"\n", args[0])
		return err
	}
	return cmd
}

// doing says for an error what a command was doing: "create user alice", "put policy of role deployer".
func doing(noun, verb, name string) string {
	if noun == "key" {
		noun = "access key"
	}
	if do, what, ok := strings.Cut(verb, "-"); ok {
		return do + " " + what + " of " + noun + " " + name
	}
	return verb + " " + noun + " " + name
}

// document reads a policy from a file, or for "-" from what is piped in.
func (a *App) document(file string) (string, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(a.In, admin.MaxBody+1))
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return "", fmt.Errorf("read policy: %w", err)
	}
	if len(text) > admin.MaxBody {
		return "", fmt.Errorf("read policy: %s is longer than any policy", file)
	}
	return string(text), nil
}
