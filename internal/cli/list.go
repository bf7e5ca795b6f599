package cli

import (
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"
)

// streamItem is one stream of `stream ls`.
type streamItem struct {
	StreamName              string
	StreamARN               string
	StreamStatus            types.StreamStatus
	StreamMode              types.StreamMode
	StreamCreationTimestamp string
}

// streamList is the command that lists streams.
func (a *App) streamList(t *Target) *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the streams of the account and region",
		Example: `  headrace stream ls
  headrace stream ls --region eu-west-1 -o ndjson`,
		Args: arguments(),
	}
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client(cmd, t)
		if err != nil {
			return err
		}
		var items []streamItem
		in := &kinesis.ListStreamsInput{}
		for {
			page, err := c.ListStreams(cmd.Context(), in)
			if err != nil {
				return failed("list streams", err)
			}
			for _, s := range page.StreamSummaries {
				items = append(items, newStreamItem(s))
			}
			if page.NextToken == nil {
				break
			}
			in = &kinesis.ListStreamsInput{NextToken: page.NextToken}
		}
		return list(out, a.Out, items, "STREAM STATUS MODE CREATED", func(s streamItem) []string {
			return []string{s.StreamName, string(s.StreamStatus), string(s.StreamMode), s.StreamCreationTimestamp}
		})
	}
	return cmd
}

func newStreamItem(s types.StreamSummary) streamItem {
	item := streamItem{
		StreamName:              text(s.StreamName),
		StreamARN:               text(s.StreamARN),
		StreamStatus:            s.StreamStatus,
		StreamMode:              types.StreamModeProvisioned,
		StreamCreationTimestamp: when(s.StreamCreationTimestamp),
	}
	if s.StreamModeDetails != nil {
		item.StreamMode = s.StreamModeDetails.StreamMode
	}
	return item
}
