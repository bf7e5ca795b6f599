package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
)

// hotStream is what a server says of how a stream's writes divide, and `stream hot` as JSON.
type hotStream struct {
	StreamName, StreamARN string
	Shards                []hotShard
}

// hotShard is one open shard of `stream hot`, with its heaviest keys first.
type hotShard struct {
	ShardID                          string `json:"ShardId"`
	StartingHashKey, EndingHashKey   string
	BytesPerSecond, RecordsPerSecond float64
	Keys                             []hotKey
}

type hotKey struct {
	PartitionKey   string
	Cut            bool `json:",omitempty"`
	BytesPerSecond float64
	Share          float64
}

// streamHot is the command that shows which shards and partition keys a stream's writes go to.
func (a *App) streamHot(t *Target) *cobra.Command {
	out := &output{}
	keys := 3
	cmd := &cobra.Command{
		Use:   "hot STREAM",
		Short: "Show which shards and partition keys get most of a stream's writes",
		Long: `Show what each open shard of a stream got in the last minute or so, the busiest first, and
which partition keys had most of it: their share is the part of the shard's bytes.

The keys are estimates from what the server has stored since it started. A key with an eighth
of a shard's bytes is found, smaller ones mostly; long keys are cut.

The call is Headrace's own, for processes of the server's machine. "headrace serve" asks for
the permission kinesis:GetRecords on the stream: keys are parts of its records.`,
		Example: `  headrace stream hot clicks
  headrace stream hot clicks --keys 10 -o ndjson`,
		Args: arguments("STREAM"),
	}
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.Flags().IntVar(&keys, "keys", keys, "show at most so many keys of a shard")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case t.AWS:
			return usagef(cmd, "this call is Headrace's own: AWS has none like it")
		case keys < 0:
			return usagef(cmd, "--keys %d is less than 0", keys)
		}
		c, err := a.client(cmd, t)
		if err != nil {
			return err
		}
		doing := "look for what is hot in stream " + args[0]
		answer, err := c.Own(cmd.Context(), "/_headrace/streams/hot?"+url.Values{"stream": {args[0]}}.Encode())
		if err != nil {
			return failed(doing, err)
		}
		var hot hotStream
		if err := json.Unmarshal(answer, &hot); err != nil {
			return failed(doing, fmt.Errorf("read the answer: %w", err))
		}
		return a.printHot(out, hot, keys)
	}
	return cmd
}

// printHot prints the busiest shards first, each with at most so many keys.
func (a *App) printHot(out *output, hot hotStream, keys int) error {
	slices.SortStableFunc(hot.Shards, func(x, y hotShard) int { return cmp.Compare(y.BytesPerSecond, x.BytesPerSecond) })
	total := 0.0
	for i := range hot.Shards {
		sh := &hot.Shards[i]
		sh.Keys = sh.Keys[:min(len(sh.Keys), keys)]
		total += sh.BytesPerSecond
	}
	if out.format == formatJSON {
		return out.object(a.Out, hot)
	}
	if out.format == formatNDJSON {
		return list(out, a.Out, hot.Shards, "", nil)
	}
	var rows [][]string
	for _, sh := range hot.Shards {
		row := []string{sh.ShardID, byteSize(int64(sh.BytesPerSecond)), fmt.Sprintf("%.1f", sh.RecordsPerSecond), percent(sh.BytesPerSecond, total), "", "", ""}
		for i, k := range sh.Keys {
			if i > 0 {
				row = make([]string, len(row))
			}
			row[4], row[5], row[6] = printedKey(k), byteSize(int64(k.BytesPerSecond)), percent(k.Share, 1)
			rows = append(rows, row)
		}
		if len(sh.Keys) == 0 {
			rows = append(rows, row)
		}
	}
	return list(out, a.Out, rows, "SHARD BYTES/S RECORDS/S SHARE KEY KEY-BYTES/S KEY-SHARE", func(row []string) []string { return row })
}

// printedKey is a key as a table can have it: on one line, and with an ellipsis if it was cut.
func printedKey(k hotKey) string {
	text := strconv.Quote(k.PartitionKey)
	text = text[1 : len(text)-1]
	if k.Cut {
		text += "…"
	}
	return text
}

func percent(part, of float64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*part/of)
}
