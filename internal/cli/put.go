package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"
)

// putItem is one stored record of `stream put`.
type putItem struct {
	ShardID        string `json:"ShardId"`
	SequenceNumber string
	PartitionKey   string
}

// progressEvery is how often long work says how far it is.
const progressEvery = 2 * time.Second

// putOptions are the flags of `stream put`.
type putOptions struct {
	file, key string
	field     int // of the line, that is its key; 0 means none
	out       *output
}

// streamPut is the command that writes records.
func (a *App) streamPut(t *Target) *cobra.Command {
	o := putOptions{out: &output{}}
	cmd := &cobra.Command{
		Use:   "put STREAM [DATA]",
		Short: "Put records into a stream",
		Long: `Put records into a stream: DATA as one record, or else every line of --file, or of stdin,
as a record without its newline. Lines are sent as they come, up to 500 in a request.

With --partition-key all records have that key and so go to one shard; with --key-field a
record's key is one of its words, such as the client's address in an access log; otherwise
each has a random key and they spread evenly. A request is finished, with what failed in it sent
again, before the next one starts, so records of one key stay in order; only an entry that
fails in a request in which a later one of its key succeeds ends up behind it.

-o table prints a summary, json and ndjson where each record went. Progress is on stderr.`,
		Example: `  headrace stream put clicks '{"page": "/"}' --partition-key user-1
  headrace stream put clicks --file access.log --key-field 1
  tail -f access.log | headrace stream put clicks -o ndjson`,
		Args: arguments("STREAM", "[DATA]"),
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "`file` whose lines are the records; - is stdin")
	cmd.Flags().StringVarP(&o.key, "partition-key", "k", "", "partition `key` of every record (default a random one each)")
	cmd.Flags().IntVar(&o.field, "key-field", 0, "the `n`th word of a record is its partition key")
	o.out.flag(cmd, formatTable, formatJSON, formatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 2 && o.file != "":
			return usagef(cmd, "DATA and --file exclude each other")
		case o.key != "" && o.field != 0:
			return usagef(cmd, "--partition-key and --key-field exclude each other")
		case o.field < 0:
			return usagef(cmd, "--key-field: %d is negative", o.field)
		}
		c, err := a.client(cmd, t)
		if err != nil {
			return err
		}
		return a.put(cmd.Context(), c, o, args)
	}
	return cmd
}

func (a *App) put(ctx context.Context, c Writer, o putOptions, args []string) error {
	printed := &sequence{w: a.Out, format: o.out.format}
	shards := map[string]bool{}
	p := &putter{api: c, stream: args[0], progress: a.progress,
		stored: func(e types.PutRecordsRequestEntry, r types.PutRecordsResultEntry) error {
			shards[text(r.ShardId)] = true
			if o.out.format == formatTable {
				return nil
			}
			return printed.item(putItem{text(r.ShardId), text(r.SequenceNumber), text(e.PartitionKey)})
		}}
	err := a.putFrom(ctx, p, o, args[1:])
	if o.out.format == formatTable && (err == nil || p.records > 0) {
		fmt.Fprintf(a.Out, "put %d records, %d bytes, into %d shards of stream %s\n", p.records, p.data, len(shards), p.stream)
	} else if endErr := printed.end(); err == nil {
		err = endErr
	}
	return err
}

// putFrom sends the argument, or the lines of the chosen input.
func (a *App) putFrom(ctx context.Context, p *putter, o putOptions, data []string) error {
	if len(data) == 1 {
		key, err := o.partitionKey([]byte(data[0]))
		if err != nil {
			return fmt.Errorf("put record: %w", err)
		}
		if err := p.add(ctx, key, []byte(data[0])); err != nil {
			return err
		}
		return p.flush(ctx)
	}
	in := a.In
	if o.file != "" && o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return fmt.Errorf("read records: %w", err)
		}
		defer f.Close()
		in = f
	}
	return a.putLines(ctx, p, o, in)
}

func (a *App) putLines(ctx context.Context, p *putter, o putOptions, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLineReader(ctx, in)
	shown := a.Clock.Now()
	for n := 1; ; n++ {
		line, more, err := l.next(ctx, func() error { return p.flush(ctx) })
		if err != nil && err == context.Cause(ctx) {
			return failed("put records to stream "+p.stream, err)
		}
		if err != nil {
			return err // flush has said what it was doing
		}
		if !more {
			break
		}
		key, err := o.partitionKey(line)
		if err != nil {
			return errors.Join(p.flush(ctx), fmt.Errorf("put line %d: %w", n, err))
		}
		if err := p.add(ctx, key, line); err != nil {
			return err
		}
		if now := a.Clock.Now(); now.Sub(shown) >= progressEvery {
			shown = now
			a.progress("put %d records, %d bytes", p.records, p.data)
		}
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	return l.err
}

var errNoKey = errors.New("it has too few words for --key-field")

// partitionKey returns the key of a record.
func (o putOptions) partitionKey(record []byte) (string, error) {
	switch {
	case o.key != "":
		return o.key, nil
	case o.field == 0:
		return strconv.FormatUint(rand.Uint64(), 16), nil
	}
	n := 0
	for word := range bytes.FieldsSeq(record) {
		if n++; n == o.field {
			return string(word), nil
		}
	}
	return "", errNoKey
}
