package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/record"
)

// streamSplit is the command that splits a shard in two.
func (a *App) streamSplit(t *Target) *cobra.Command {
	var (
		at   string
		wait waitFlags
		out  = &output{}
	)
	cmd := &cobra.Command{
		Use:   "split STREAM SHARD",
		Short: "Split a shard in two",
		Long: `Split a shard in two, in the middle of its hash keys or where --at says: the second child
begins with that hash key. The shard closes; its records stay where they are until they
expire.`,
		Example: `  headrace stream split clicks shardId-000000000000 --wait
  headrace stream split clicks shardId-000000000000 --at 42535295865117307932921825928971026432`,
		Args: arguments("STREAM", "SHARD"),
	}
	cmd.Flags().StringVar(&at, "at", "", "first `hash-key` of the second child (default the middle)")
	wait.add(cmd)
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client(cmd, t)
		if err != nil {
			return err
		}
		if at == "" {
			if at, err = middle(cmd.Context(), c, args[0], args[1]); err != nil {
				return err
			}
		}
		_, err = c.SplitShard(cmd.Context(), &kinesis.SplitShardInput{
			StreamName: &args[0], ShardToSplit: &args[1], NewStartingHashKey: &at,
		})
		if err != nil {
			return failed("split shard "+args[1], err)
		}
		s, err := a.active(cmd.Context(), c, args[0], wait)
		if err != nil {
			return err
		}
		return out.result(a.Out, struct {
			streamResult
			ShardToSplit       string
			NewStartingHashKey string
		}{streamResult{args[0], aws.ToString(s.StreamARN), s.StreamStatus}, args[1], at},
			"split %s at %s; stream %s is %s", args[1], at, args[0], s.StreamStatus)
	}
	return cmd
}

// streamMerge is the command that makes one shard of two.
func (a *App) streamMerge(t *Target) *cobra.Command {
	var (
		wait waitFlags
		out  = &output{}
	)
	cmd := &cobra.Command{
		Use:   "merge STREAM SHARD [ADJACENT-SHARD]",
		Short: "Merge two adjacent shards into one",
		Long: `Merge two shards whose ranges of hash keys touch into one. Without a second shard it is
the open one above the first, or the one below if the first is the highest. Of two shards
the one with the lower hash keys is named first.`,
		Example: `  headrace stream merge clicks shardId-000000000001 shardId-000000000002 --wait
  headrace stream merge clicks shardId-000000000001`,
		Args: arguments("STREAM", "SHARD", "[ADJACENT-SHARD]"),
	}
	wait.add(cmd)
	out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client(cmd, t)
		if err != nil {
			return err
		}
		if len(args) == 2 {
			shards, err := listShards(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			adjacent, err := neighbour(shards, args[1])
			if err != nil {
				return fmt.Errorf("merge shard %s: %w", args[1], err)
			}
			args = append(args, adjacent)
			if above(shards, args[1], args[2]) { // the service wants the lower one first
				args[1], args[2] = args[2], args[1]
			}
		}
		_, err = c.MergeShards(cmd.Context(), &kinesis.MergeShardsInput{
			StreamName: &args[0], ShardToMerge: &args[1], AdjacentShardToMerge: &args[2],
		})
		if err != nil {
			return failed(fmt.Sprintf("merge shards %s and %s", args[1], args[2]), err)
		}
		s, err := a.active(cmd.Context(), c, args[0], wait)
		if err != nil {
			return err
		}
		return out.result(a.Out, struct {
			streamResult
			ShardToMerge         string
			AdjacentShardToMerge string
		}{streamResult{args[0], aws.ToString(s.StreamARN), s.StreamStatus}, args[1], args[2]},
			"merged %s and %s; stream %s is %s", args[1], args[2], args[0], s.StreamStatus)
	}
	return cmd
}

// middle returns the hash key that halves the shard.
func middle(ctx context.Context, c Reader, stream, shard string) (string, error) {
	shards, err := listShards(ctx, c, stream)
	if err != nil {
		return "", err
	}
	start, end, err := hashKeys(shards, shard)
	if err != nil {
		return "", fmt.Errorf("split shard %s: %w", shard, err)
	}
	if start == end {
		return "", fmt.Errorf("split shard %s: it holds a single hash key", shard)
	}
	return midpoint(start, end).String(), nil
}

// midpoint returns the first key of the upper half of [start, end]: start + (end-start)/2 + 1.
func midpoint(start, end record.HashKey) record.HashKey {
	var borrow uint64
	if end.Lo < start.Lo {
		borrow = 1
	}
	hi, lo := end.Hi-start.Hi-borrow, end.Lo-start.Lo
	hi, lo = hi>>1, lo>>1|hi<<63
	sum := record.HashKey{Hi: start.Hi + hi, Lo: start.Lo + lo}
	if sum.Lo < lo {
		sum.Hi++
	}
	return sum.Next()
}

var (
	errNoShard     = errors.New("the stream has no such shard")
	errNoNeighbour = errors.New("no open shard is adjacent")
)

// hashKeys returns the range of the shard of this id.
func hashKeys(shards []types.Shard, id string) (start, end record.HashKey, err error) {
	i := slices.IndexFunc(shards, func(s types.Shard) bool { return text(s.ShardId) == id })
	if i < 0 || shards[i].HashKeyRange == nil {
		return start, end, errNoShard
	}
	start, errStart := record.ParseHashKey(text(shards[i].HashKeyRange.StartingHashKey))
	end, errEnd := record.ParseHashKey(text(shards[i].HashKeyRange.EndingHashKey))
	return start, end, errors.Join(errStart, errEnd)
}

// above reports whether shard a's hash keys lie above b's; it does not when either is unknown.
func above(shards []types.Shard, a, b string) bool {
	startA, _, errA := hashKeys(shards, a)
	startB, _, errB := hashKeys(shards, b)
	return errA == nil && errB == nil && startA.Compare(startB) > 0
}

// neighbour returns the open shard right above the named one, or right below if there is none above.
func neighbour(shards []types.Shard, id string) (string, error) {
	start, end, err := hashKeys(shards, id)
	if err != nil {
		return "", err
	}
	below := ""
	for _, s := range shards {
		other := text(s.ShardId)
		from, to, err := hashKeys(shards, other)
		switch {
		case err != nil || !isOpen(s) || other == id:
		case end != record.MaxHashKey && from == end.Next():
			return other, nil
		case start != record.HashKey{} && to == start.Prev():
			below = other
		}
	}
	if below == "" {
		return "", errNoNeighbour
	}
	return below, nil
}
