package gosdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// FanOut registers a consumer and subscribes to a stream's shards and their children while records are put
// and shards split and merge. It checks that every record that was acknowledged comes once, under its
// sequence number, and those of a key in their order.
func FanOut(ctx context.Context, client *kinesis.Client, name string) (report string, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := &fanOut{client: client, name: name, stop: stop, put: map[string]string{}, seen: map[string]string{}, begun: map[string]bool{}, done: map[string]bool{}}
	if err := f.prepare(ctx); err != nil {
		return "", fmt.Errorf("prepare: %w", err)
	}
	for _, shard := range []string{"shardId-000000000000", "shardId-000000000001"} {
		f.begin(ctx, shard)
	}
	if err := f.fill(ctx); err != nil {
		stop(err)
		f.running.Wait()
		return "", fmt.Errorf("fill: %w", err)
	}
	f.check(true)
	f.running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, errAllSeen) {
		return "", err
	}
	if err := f.compare(); err != nil {
		return "", err
	}
	_, err = client.DeleteStream(context.WithoutCancel(ctx), &kinesis.DeleteStreamInput{StreamName: &name, EnforceConsumerDeletion: aws.Bool(true)})
	return fmt.Sprintf("ok: %d records pushed through %d shards", len(f.seen), len(f.begun)), err
}

var errAllSeen = errors.New("all records were seen")

type fanOut struct {
	client     *kinesis.Client
	name       string
	streamARN  string
	consumer   string
	stop       context.CancelCauseFunc
	running    sync.WaitGroup
	mu         sync.Mutex
	complete   bool              // put has all records
	put, seen  map[string]string // data by sequence number
	order      []string          // of what was seen: data
	begun      map[string]bool
	done       map[string]bool
	duplicates []string
}

func (f *fanOut) prepare(ctx context.Context) error {
	if _, err := f.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &f.name, ShardCount: aws.Int32(2)}); err != nil {
		return err
	}
	if err := (&surface{client: f.client}).wait(ctx, f.name); err != nil {
		return err
	}
	d, err := f.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &f.name})
	if err != nil {
		return err
	}
	f.streamARN = *d.StreamDescriptionSummary.StreamARN
	c, err := f.client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: &f.streamARN, ConsumerName: aws.String("wheel")})
	if err != nil {
		return err
	}
	f.consumer = *c.Consumer.ConsumerARN
	for {
		d, err := f.client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: &f.consumer})
		if err != nil || d.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive {
			return err
		}
		if err := pause(ctx, waitDelay); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fill puts records, and splits and merges meanwhile.
func (f *fanOut) fill(ctx context.Context) error {
	for batch := range 60 {
		in := &kinesis.PutRecordsInput{StreamName: &f.name}
		for n := range 20 {
			key := fmt.Sprintf("key-%d", n%9)
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: fmt.Appendf(nil, "%s/%05d", key, batch*20+n)})
		}
		out, err := f.client.PutRecords(ctx, in)
		if err != nil {
			return err
		}
		f.mu.Lock()
		for i, r := range out.Records {
			if r.SequenceNumber == nil {
				f.mu.Unlock()
				return fmt.Errorf("record %d was refused: %s", i, aws.ToString(r.ErrorMessage))
			}
			f.put[*r.SequenceNumber] = string(in.Records[i].Data)
		}
		f.mu.Unlock()
		switch batch {
		case 20:
			_, err = f.client.SplitShard(ctx, &kinesis.SplitShardInput{
				StreamName: &f.name, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("85070591730234615865843651857942052864"),
			})
		case 40:
			_, err = f.client.MergeShards(ctx, &kinesis.MergeShardsInput{
				StreamName: &f.name, ShardToMerge: aws.String("shardId-000000000003"), AdjacentShardToMerge: aws.String("shardId-000000000001"),
			})
		}
		if err != nil {
			return err
		}
		if err := (&surface{client: f.client}).wait(ctx, f.name); err != nil {
			return err
		}
	}
	return nil
}

// begin reads a shard that has not been begun, then the children all of whose parents have been read.
func (f *fanOut) begin(ctx context.Context, shard string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun[shard] {
		return
	}
	f.begun[shard] = true
	f.running.Go(func() {
		children, err := f.follow(ctx, shard)
		if err != nil {
			if ctx.Err() == nil {
				f.stop(fmt.Errorf("follow %s: %w", shard, err))
			}
			return
		}
		f.mu.Lock()
		f.done[shard] = true
		var ready []string
		for _, c := range children {
			if !slices.ContainsFunc(c.ParentShards, func(p string) bool { return !f.done[p] }) {
				ready = append(ready, *c.ShardId)
			}
		}
		f.mu.Unlock()
		for _, child := range ready {
			f.begin(ctx, child)
		}
	})
}

// follow subscribes to a shard, again whenever a subscription ends, until the shard does.
func (f *fanOut) follow(ctx context.Context, shard string) ([]types.ChildShard, error) {
	position := &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	for {
		out, err := f.client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: &f.consumer, ShardId: &shard, StartingPosition: position})
		if err != nil {
			return nil, err
		}
		stream := out.GetStream()
		for e := range stream.Events() {
			event := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
			f.saw(event.Records)
			if len(event.ChildShards) > 0 {
				if event.ContinuationSequenceNumber != nil {
					return nil, errors.New("children and a continuation")
				}
				return event.ChildShards, stream.Close()
			}
			position = &types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: event.ContinuationSequenceNumber}
		}
		if err := errors.Join(stream.Err(), stream.Close(), ctx.Err()); err != nil {
			return nil, err
		}
	}
}

func (f *fanOut) saw(records []types.Record) {
	f.mu.Lock()
	for _, r := range records {
		if _, twice := f.seen[*r.SequenceNumber]; twice {
			f.duplicates = append(f.duplicates, *r.SequenceNumber)
		}
		f.seen[*r.SequenceNumber] = string(r.Data)
		f.order = append(f.order, string(r.Data))
	}
	f.mu.Unlock()
	f.check(false)
}

// check stops the reading when as many records were seen as put, and all are put.
func (f *fanOut) check(complete bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.complete = f.complete || complete
	if f.complete && len(f.seen) >= len(f.put) {
		f.stop(errAllSeen)
	}
}

func (f *fanOut) compare() error {
	if len(f.duplicates) > 0 {
		return fmt.Errorf("%d records came twice: %v", len(f.duplicates), f.duplicates)
	}
	for n, data := range f.put {
		if f.seen[n] != data {
			return fmt.Errorf("record %s holds %q, want %q", n, f.seen[n], data)
		}
	}
	last := map[string]string{}
	for _, data := range f.order {
		key := data[:len("key-0")]
		if last[key] >= data {
			return fmt.Errorf("%s came after %s", data, last[key])
		}
		last[key] = data
	}
	return nil
}
