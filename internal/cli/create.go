package cli

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"
)

// streamResult is what the commands that change a stream print as JSON.
type streamResult struct {
	StreamName   string
	StreamARN    string
	StreamStatus types.StreamStatus
}

// streamCreate is the command that creates a stream.
func (a *App) streamCreate(t *Target) *cobra.Command {
	var (
		shards   int32
		onDemand bool
		wait     waitFlags
		out      = &output{}
	)
	cmd := &cobra.Command{
		Use:   "create STREAM",
		Short: "Create a stream",
		Long: `Create a stream with a number of shards (--shards, 1 by default), or one whose shards the
service chooses (--on-demand). Creation goes on after the command returns; with --wait the
command returns when the stream is ACTIVE.`,
		Example: `  headrace stream create clicks --shards 4 --wait
  headrace stream create clicks --on-demand -o json`,
		Args: arguments("STREAM"),
	}
	cmd.Flags().Int32Var(&shards, "shards", 1, "number of shards")
	cmd.Flags().BoolVar(&onDemand, "on-demand", false, "let the service choose the number of shards")
	wait.add(cmd)
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if onDemand && cmd.Flags().Changed("shards") {
			return usagef(cmd, "--on-demand and --shards exclude each other")
		}
		in := &kinesis.CreateStreamInput{StreamName: &args[0], ShardCount: &shards}
		if onDemand {
			in.ShardCount = nil
			in.StreamModeDetails = &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}
		}
		c, err := a.client(cmd, t)
		if err != nil {
			return err
		}
		if _, err := c.CreateStream(cmd.Context(), in); err != nil {
			return failed("create stream "+args[0], err)
		}
		s, err := a.active(cmd.Context(), c, args[0], wait)
		if err != nil {
			return err
		}
		return out.result(a.Out, streamResult{args[0], aws.ToString(s.StreamARN), s.StreamStatus},
			"created stream %s, which is %s", args[0], s.StreamStatus)
	}
	return cmd
}
