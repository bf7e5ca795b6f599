// Package gosdk is the main job written with the AWS SDK for Go v2: put a web server's log,
// reshard the stream meanwhile, and read every record back, byte for byte and in order. It is a
// test client, not part of Headrace.
package gosdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

const batchRecords = 500

// job is one run of the main job.
type job struct {
	client *kinesis.Client
	stream string
	lines  [][]byte
	acked  map[string][]acked // by shard
}

// acked is a line the service has acknowledged, and the number it gave it.
type acked struct {
	sequence *big.Int
	line     []byte
}

// MainJob does the job and returns what it saw, or an error with the facts when a record is lost,
// invented, repeated, changed or out of order. The stream must not exist; it is deleted at the end.
func MainJob(ctx context.Context, client *kinesis.Client, log []byte, stream string) (report string, err error) {
	j := &job{
		client: client,
		stream: stream,
		lines:  bytes.Split(bytes.TrimSuffix(log, []byte("\n")), []byte("\n")),
		acked:  make(map[string][]acked),
	}
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: aws.Int32(2)}); err != nil {
		return "", err
	}
	if err := j.waitActive(ctx); err != nil {
		return "", err
	}
	if err := j.putWhileResharding(ctx); err != nil {
		return "", err
	}
	shards, err := j.listShards(ctx)
	if err != nil {
		return "", err
	}
	if len(shards) <= 4 {
		return "", fmt.Errorf("only %d shards: the stream was not resharded", len(shards))
	}
	records := make(map[string][]types.Record)
	for _, shard := range shards {
		if records[*shard.ShardId], err = j.read(ctx, shard, shards); err != nil {
			return "", fmt.Errorf("read %s: %w", *shard.ShardId, err)
		}
	}
	if err := errors.Join(j.checkShards(shards, records), j.checkKeys(shards, records)); err != nil {
		return "", err
	}
	_, err = client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &stream})
	return fmt.Sprintf("ok: %d lines over %d shards", len(j.lines), len(shards)), err
}

// putWhileResharding puts every line while another goroutine splits, doubles and merges.
func (j *job) putWhileResharding(ctx context.Context) error {
	steps := []func(context.Context) error{j.splitFirst, j.double, j.mergePair}
	var resharding chan error
	wait := func() error {
		if resharding == nil {
			return nil
		}
		return <-resharding
	}
	batches := slices.Collect(slices.Chunk(j.lines, batchRecords))
	for n, batch := range batches {
		if n%max(1, len(batches)/4) == 1 && len(steps) > 0 {
			if err := wait(); err != nil {
				return fmt.Errorf("reshard: %w", err)
			}
			step := steps[0]
			steps, resharding = steps[1:], make(chan error, 1)
			go func() { resharding <- errors.Join(step(ctx), j.waitActive(ctx)) }()
		}
		if err := j.put(ctx, batch); err != nil {
			return errors.Join(err, wait())
		}
	}
	return wait()
}

func keyOf(line []byte) string {
	key, _, _ := bytes.Cut(line, []byte(" "))
	return string(key)
}

func (j *job) put(ctx context.Context, waiting [][]byte) error {
	for len(waiting) > 0 {
		in := &kinesis.PutRecordsInput{StreamName: &j.stream}
		for _, line := range waiting {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: line, PartitionKey: aws.String(keyOf(line))})
		}
		out, err := j.client.PutRecords(ctx, in)
		if err != nil {
			return err
		}
		if len(out.Records) != len(waiting) {
			return fmt.Errorf("%d answers for %d records", len(out.Records), len(waiting))
		}
		var again [][]byte
		for i, answer := range out.Records {
			if answer.ErrorCode != nil {
				again = append(again, waiting[i])
				continue
			}
			j.acked[*answer.ShardId] = append(j.acked[*answer.ShardId], acked{number(*answer.SequenceNumber), waiting[i]})
		}
		waiting = again
	}
	return nil
}

func number(decimal string) *big.Int {
	n, _ := new(big.Int).SetString(decimal, 10)
	return n
}

func (j *job) waitActive(ctx context.Context) error {
	return kinesis.NewStreamExistsWaiter(j.client, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
	}).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &j.stream}, time.Minute)
}

func (j *job) listShards(ctx context.Context) ([]types.Shard, error) {
	var shards []types.Shard
	in := &kinesis.ListShardsInput{StreamName: &j.stream, MaxResults: aws.Int32(3)}
	for in != nil {
		page, err := j.client.ListShards(ctx, in)
		if err != nil {
			return nil, err
		}
		shards = append(shards, page.Shards...)
		in = nil
		if page.NextToken != nil {
			in = &kinesis.ListShardsInput{NextToken: page.NextToken, MaxResults: aws.Int32(3)}
		}
	}
	return shards, nil
}

func (j *job) openShards(ctx context.Context) ([]types.Shard, error) {
	shards, err := j.listShards(ctx)
	shards = slices.DeleteFunc(shards, isClosed)
	slices.SortFunc(shards, func(a, b types.Shard) int {
		return number(*a.HashKeyRange.StartingHashKey).Cmp(number(*b.HashKeyRange.StartingHashKey))
	})
	return shards, err
}

func isClosed(s types.Shard) bool { return s.SequenceNumberRange.EndingSequenceNumber != nil }

func parents(s types.Shard) []string {
	var p []string
	for _, id := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
		if id != nil {
			p = append(p, *id)
		}
	}
	return p
}

func (j *job) splitFirst(ctx context.Context) error {
	open, err := j.openShards(ctx)
	if err != nil {
		return err
	}
	middle := new(big.Int).Add(number(*open[0].HashKeyRange.StartingHashKey), number(*open[0].HashKeyRange.EndingHashKey))
	middle.Rsh(middle, 1)
	_, err = j.client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &j.stream, ShardToSplit: open[0].ShardId, NewStartingHashKey: aws.String(middle.String())})
	return err
}

func (j *job) double(ctx context.Context) error {
	open, err := j.openShards(ctx)
	if err != nil {
		return err
	}
	_, err = j.client.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: &j.stream, TargetShardCount: aws.Int32(int32(2 * len(open))), ScalingType: types.ScalingTypeUniformScaling})
	return err
}

func (j *job) mergePair(ctx context.Context) error {
	open, err := j.openShards(ctx)
	if err != nil {
		return err
	}
	_, err = j.client.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: &j.stream, ShardToMerge: open[1].ShardId, AdjacentShardToMerge: open[2].ShardId})
	return err
}

// read returns a shard's records from its trim horizon to its end, or to the tip while it is open.
func (j *job) read(ctx context.Context, shard types.Shard, shards []types.Shard) ([]types.Record, error) {
	it, err := j.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &j.stream, ShardId: shard.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		return nil, err
	}
	var records []types.Record
	for iterator := it.ShardIterator; ; {
		page, err := j.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator, Limit: aws.Int32(1000)})
		if err != nil {
			return nil, err
		}
		records = append(records, page.Records...)
		if page.NextShardIterator == nil {
			return records, checkEnd(shard, shards, page.ChildShards)
		}
		if !isClosed(shard) && len(page.Records) == 0 && *page.MillisBehindLatest == 0 {
			return records, nil
		}
		iterator = page.NextShardIterator
	}
}

// checkEnd checks that only a closed shard ends, and that it names its children.
func checkEnd(shard types.Shard, shards []types.Shard, told []types.ChildShard) error {
	if !isClosed(shard) {
		return errors.New("the shard ends although it is open")
	}
	var got, want []string
	for _, c := range told {
		got = append(got, *c.ShardId)
		if !slices.Contains(c.ParentShards, *shard.ShardId) {
			return fmt.Errorf("child %s does not name its parent", *c.ShardId)
		}
	}
	for _, s := range shards {
		if slices.Contains(parents(s), *shard.ShardId) {
			want = append(want, *s.ShardId)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(got, want) {
		return fmt.Errorf("children are %v; GetRecords says %v", want, got)
	}
	return nil
}

// checkShards checks that each shard holds what was acknowledged for it, byte for byte, in order.
func (j *job) checkShards(shards []types.Shard, records map[string][]types.Record) error {
	total := 0
	for _, shard := range shards {
		got, want := records[*shard.ShardId], j.acked[*shard.ShardId]
		slices.SortFunc(want, func(a, b acked) int { return a.sequence.Cmp(b.sequence) })
		if len(got) != len(want) {
			return fmt.Errorf("%s: read %d records, %d were acknowledged", *shard.ShardId, len(got), len(want))
		}
		for i, r := range got {
			if number(*r.SequenceNumber).Cmp(want[i].sequence) != 0 || !bytes.Equal(r.Data, want[i].line) {
				return fmt.Errorf("%s: record %d is %s %q; want %s %q", *shard.ShardId, i, *r.SequenceNumber, r.Data, want[i].sequence, want[i].line)
			}
		}
		total += len(got)
	}
	if total != len(j.lines) {
		return fmt.Errorf("read %d records; put %d", total, len(j.lines))
	}
	return nil
}

// checkKeys checks that, with parents read before children, every key's lines come in put order.
func (j *job) checkKeys(shards []types.Shard, records map[string][]types.Record) error {
	waiting := make(map[string]types.Shard)
	for _, s := range shards {
		waiting[*s.ShardId] = s
	}
	got, want := make(map[string][][]byte), make(map[string][][]byte)
	var visit func(id string)
	visit = func(id string) {
		shard, ok := waiting[id]
		if !ok {
			return
		}
		delete(waiting, id)
		for _, p := range parents(shard) {
			visit(p)
		}
		for _, r := range records[id] {
			got[*r.PartitionKey] = append(got[*r.PartitionKey], r.Data)
		}
	}
	for _, s := range shards {
		visit(*s.ShardId)
	}
	for _, line := range j.lines {
		want[keyOf(line)] = append(want[keyOf(line)], line)
	}
	for key, lines := range want {
		if !slices.EqualFunc(got[key], lines, bytes.Equal) {
			return fmt.Errorf("key %s: its %d lines are not in the order they were put", key, len(lines))
		}
	}
	return nil
}
