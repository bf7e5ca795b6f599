package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"
)

// tailItem is one record of `stream tail` as JSON.
type tailItem struct {
	ShardID                     string `json:"ShardId"`
	SequenceNumber              string
	ApproximateArrivalTimestamp string
	PartitionKey                string
	Data                        *string `json:",omitempty"` // when the bytes are UTF-8
	DataBase64                  []byte  `json:",omitempty"` // when they are not
}

// tailOptions are the flags of `stream tail`.
type tailOptions struct {
	from      string
	limit     int
	untilIdle time.Duration
	out       *output
}

// streamTail is the command that reads records.
func (a *App) streamTail(t *Target) *cobra.Command {
	o := tailOptions{out: &output{}}
	cmd := &cobra.Command{
		Use:   "tail STREAM",
		Short: "Follow a stream: print records of all shards as they arrive",
		Long: `Follow a stream: print the records of all its shards, merged in order of arrival, those of
each shard in their own order. Shards that are split or merged meanwhile are followed into
their children. It goes on until interrupted, unless --limit or --until-idle end it.

-o raw prints the data of each record and a newline; ndjson and json print each with its
shard, sequence number, arrival time and partition key, and its bytes as Data if they are
UTF-8, else as DataBase64.`,
		Example: `  headrace stream tail clicks
  headrace stream tail clicks --from trim-horizon --until-idle > all.log
  headrace stream tail clicks --from 2026-01-31T12:00:00Z --limit 10 -o ndjson`,
		Args: arguments("STREAM"),
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "latest", "where to `start`: latest, trim-horizon or a time (RFC 3339)")
	f.IntVar(&o.limit, "limit", 0, "stop after this many records (default no limit)")
	f.DurationVar(&o.untilIdle, "until-idle", -1, "stop when all is read and nothing came for this `duration`")
	f.Lookup("until-idle").NoOptDefVal = "1s"
	f.Lookup("until-idle").DefValue = "never"
	o.out.flag(cmd, formatRaw, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		start, err := parseFrom(o.from)
		if err != nil {
			return usagef(cmd, "--from: %v", err)
		}
		if o.limit < 0 {
			return usagef(cmd, "--limit: %d is negative", o.limit)
		}
		c, err := a.client(cmd, t)
		if err != nil {
			return err
		}
		return a.tail(cmd.Context(), c, args[0], start, o)
	}
	return cmd
}

// parseFrom reads the value of --from.
func parseFrom(s string) (position, error) {
	switch strings.ToLower(strings.ReplaceAll(s, "_", "-")) {
	case "latest":
		return position{kind: types.ShardIteratorTypeLatest}, nil
	case "trim-horizon":
		return position{kind: types.ShardIteratorTypeTrimHorizon}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return position{}, fmt.Errorf("%q is neither latest, trim-horizon nor a time such as 2026-01-31T12:00:00Z", s)
	}
	return position{kind: types.ShardIteratorTypeAtTimestamp, at: &at}, nil
}

func (a *App) tail(ctx context.Context, c Reader, stream string, start position, o tailOptions) error {
	w := bufio.NewWriterSize(a.Out, 64<<10)
	records := &tailPrinter{w: w, format: o.out.format, list: sequence{w: w, format: o.out.format}}
	count := 0
	f := &follower{
		api: c, stream: stream, clock: a.Clock, start: start, childStart: start, untilIdle: o.untilIdle,
		idle: w.Flush,
		emit: func(shard string, r types.Record) error {
			if err := records.print(shard, r); err != nil {
				return fmt.Errorf("print record: %w", err)
			}
			if count++; count == o.limit {
				return errStop
			}
			return nil
		},
	}
	if start.kind == types.ShardIteratorTypeLatest { // all of a child that appears later is new
		f.childStart = position{kind: types.ShardIteratorTypeTrimHorizon}
	}
	err := f.run(ctx)
	if errors.Is(err, errStop) || ctx.Err() != nil { // an interrupt is how a tail ordinarily ends
		err = nil
	}
	return errors.Join(err, records.end(), w.Flush())
}

// tailPrinter prints records in the format of -o.
type tailPrinter struct {
	w      *bufio.Writer
	format string
	list   sequence
	header bool
}

func (p *tailPrinter) print(shard string, r types.Record) error {
	switch p.format {
	case formatRaw:
		_, _ = p.w.Write(r.Data) // a bufio.Writer keeps its first error
		return p.w.WriteByte('\n')
	case formatTable:
		return p.row(shard, r)
	}
	item := tailItem{
		ShardID:                     shard,
		SequenceNumber:              text(r.SequenceNumber),
		ApproximateArrivalTimestamp: aws.ToTime(r.ApproximateArrivalTimestamp).UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		PartitionKey:                text(r.PartitionKey),
	}
	if utf8.Valid(r.Data) {
		item.Data = aws.String(string(r.Data))
	} else {
		item.DataBase64 = r.Data
	}
	return p.list.item(item)
}

// row prints columns of fixed width: rows must not wait for later ones to know theirs.
func (p *tailPrinter) row(shard string, r types.Record) error {
	const format = "%-24s  %-20s  %-20s  %s\n"
	if !p.header {
		p.header = true
		fmt.Fprintf(p.w, format, "ARRIVAL", "SHARD", "KEY", "DATA")
	}
	data := string(r.Data)
	if !utf8.ValidString(data) || strings.ContainsFunc(data, func(c rune) bool { return c < ' ' && c != '\t' }) {
		data = fmt.Sprintf("%q", data)
	}
	arrived := aws.ToTime(r.ApproximateArrivalTimestamp).UTC().Format("2006-01-02T15:04:05.000Z")
	_, err := fmt.Fprintf(p.w, format, arrived, shard, text(r.PartitionKey), data)
	return err
}

func (p *tailPrinter) end() error {
	if p.format == formatJSON {
		return p.list.end()
	}
	return nil
}
