package cli

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/record"
)

// streamDescription is `stream describe` as JSON.
type streamDescription struct {
	streamItem
	RetentionPeriodHours int32
	OpenShardCount       int32
	Shards               []shardItem
}

// shardItem is one shard of `stream describe`.
type shardItem struct {
	ShardID                string `json:"ShardId"`
	Open                   bool
	StartingHashKey        string
	EndingHashKey          string
	ParentShardID          string `json:"ParentShardId,omitempty"`
	AdjacentParentShardID  string `json:"AdjacentParentShardId,omitempty"`
	StartingSequenceNumber string
	EndingSequenceNumber   string `json:",omitempty"`
}

// streamDescribe is the command that shows one stream and its shards.
func (a *App) streamDescribe(t *Target) *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use:   "describe STREAM",
		Short: "Show a stream, its shards, their ranges and lineage",
		Long: `Show a stream and every shard it has, open or closed: the range of hash keys, how much of
the whole hash-key space that is, and the shards it came from by splits and merges.

With -o ndjson every shard is a line; with -o json the stream is one object.`,
		Example: `  headrace stream describe clicks
  headrace stream describe clicks -o json`,
		Args: arguments("STREAM"),
	}
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client(cmd, t)
		if err != nil {
			return err
		}
		summary, err := describe(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		shards, err := listShards(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		return a.printDescription(out, newDescription(summary, shards))
	}
	return cmd
}

func newDescription(s *types.StreamDescriptionSummary, shards []types.Shard) streamDescription {
	d := streamDescription{
		streamItem: newStreamItem(types.StreamSummary{
			StreamName: s.StreamName, StreamARN: s.StreamARN, StreamStatus: s.StreamStatus,
			StreamCreationTimestamp: s.StreamCreationTimestamp, StreamModeDetails: s.StreamModeDetails,
		}),
		RetentionPeriodHours: aws.ToInt32(s.RetentionPeriodHours),
		OpenShardCount:       aws.ToInt32(s.OpenShardCount),
		Shards:               []shardItem{},
	}
	for _, shard := range shards {
		d.Shards = append(d.Shards, newShardItem(shard))
	}
	return d
}

func newShardItem(s types.Shard) shardItem {
	item := shardItem{
		ShardID:               text(s.ShardId),
		Open:                  isOpen(s),
		ParentShardID:         text(s.ParentShardId),
		AdjacentParentShardID: text(s.AdjacentParentShardId),
	}
	if r := s.HashKeyRange; r != nil {
		item.StartingHashKey, item.EndingHashKey = text(r.StartingHashKey), text(r.EndingHashKey)
	}
	if r := s.SequenceNumberRange; r != nil {
		item.StartingSequenceNumber, item.EndingSequenceNumber = text(r.StartingSequenceNumber), text(r.EndingSequenceNumber)
	}
	return item
}

func (a *App) printDescription(out *output, d streamDescription) error {
	if out.format == formatJSON {
		return out.object(a.Out, d)
	}
	if out.format == formatTable {
		fmt.Fprintf(a.Out, "stream     %s\narn        %s\nstatus     %s\nmode       %s\ncreated    %s\nretention  %dh\nopen       %d of %d shards\n\n",
			d.StreamName, d.StreamARN, d.StreamStatus, d.StreamMode, d.StreamCreationTimestamp,
			d.RetentionPeriodHours, d.OpenShardCount, len(d.Shards))
	}
	return list(out, a.Out, d.Shards, "SHARD STATE SHARE START END PARENTS", func(s shardItem) []string {
		state, parents := "open", s.ParentShardID
		if !s.Open {
			state = "closed"
		}
		if s.AdjacentParentShardID != "" {
			parents += " " + s.AdjacentParentShardID
		}
		return []string{s.ShardID, state, s.share(), s.StartingHashKey, s.EndingHashKey, parents}
	})
}

// share returns how much of the hash-key space the shard holds, as a percentage.
func (s shardItem) share() string {
	start, errStart := record.ParseHashKey(s.StartingHashKey)
	end, errEnd := record.ParseHashKey(s.EndingHashKey)
	if errStart != nil || errEnd != nil {
		return "?"
	}
	const space = 1 << 32 // in units of 2^96, enough for a percentage
	return fmt.Sprintf("%.2f%%", (float64(end.Hi>>32)-float64(start.Hi>>32)+1)*100/space)
}
