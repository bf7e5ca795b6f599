package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"
)

// stream is the group of commands about data streams.
func (a *App) stream() *cobra.Command {
	group := a.group("stream", "Create, list, describe, fill, read and reshard data streams",
		"Create, list, describe, fill, read and reshard data streams.\n\n"+targetHelp)
	t := targetFlags(group)
	group.AddCommand(a.streamCreate(t), a.streamList(t), a.streamDescribe(t),
		a.streamPut(t), a.streamTail(t), a.streamHot(t), a.streamSplit(t), a.streamMerge(t))
	return group
}

// client connects to the target that the flags chose.
func (a *App) client(cmd *cobra.Command, t *Target) (*Client, error) {
	if t.AWS && t.Endpoint != "" {
		return nil, usagef(cmd, "--aws and --endpoint exclude each other")
	}
	return a.Connect(cmd.Context(), *t)
}

// progress says on stderr what a command is busy with.
func (a *App) progress(format string, args ...any) {
	fmt.Fprintf(a.Err, format+"\n", args...)
}

// waitFlags are the flags of commands whose change takes a while.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (w *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait until the stream is ACTIVE again")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 5*time.Minute, "how long to wait at most")
}

// The pause between looks at a stream's status doubles from the first to the last of these.
const (
	waitFirst = 50 * time.Millisecond
	waitLast  = 2 * time.Second
)

// active waits for the stream to be ACTIVE, if that was asked for, and returns its summary.
func (a *App) active(ctx context.Context, c *Client, name string, w waitFlags) (*types.StreamDescriptionSummary, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	shown := types.StreamStatus("")
	for pause := waitFirst; ; pause = min(2*pause, waitLast) {
		summary, err := describe(ctx, c, name)
		if err != nil || !w.wait || summary.StreamStatus == types.StreamStatusActive {
			return summary, err
		}
		if summary.StreamStatus != shown {
			shown = summary.StreamStatus
			a.progress("stream %s is %s", name, shown)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, fmt.Errorf("wait for stream %s, which is %s: %w", name, shown, err)
		}
	}
}

// sleep waits for d or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func describe(ctx context.Context, c *Client, name string) (*types.StreamDescriptionSummary, error) {
	out, err := c.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name})
	if err != nil {
		return nil, failed("describe stream "+name, err)
	}
	return out.StreamDescriptionSummary, nil
}

// listShards returns every shard of the stream, open and closed, in order of id.
func listShards(ctx context.Context, c Reader, name string) ([]types.Shard, error) {
	var shards []types.Shard
	in := &kinesis.ListShardsInput{StreamName: &name}
	for {
		out, err := c.ListShards(ctx, in)
		if err != nil {
			return nil, failed("list shards of stream "+name, err)
		}
		shards = append(shards, out.Shards...)
		if out.NextToken == nil {
			return shards, nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

func isOpen(s types.Shard) bool {
	return s.SequenceNumberRange == nil || s.SequenceNumberRange.EndingSequenceNumber == nil
}

// text returns *p, or "" for nil, as SDK structs are all pointers.
func text[T ~string](p *T) string {
	if p == nil {
		return ""
	}
	return string(*p)
}

func when(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
