package cli

import (
	"context"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/headrace/headrace/internal/clock"
)

// fake is a small Kinesis with one stream, logs. It takes its time from package time.
type fake struct {
	mu       sync.Mutex
	shards   []*fakeShard
	statuses []types.StreamStatus // what describing answers, the last one for good
	calls    []string
	latency  func() time.Duration // of GetRecords
	refuse   func(key string) bool
	early    []string // shards read from the start before all of their parents
}

type fakeShard struct {
	id, parent, adjacent string
	start, end           *big.Int
	records              []types.Record
	closed               bool
	throttle, expire     int // how many reads to refuse
	readOut              bool
}

func newFake(shards int) *fake {
	f := &fake{statuses: []types.StreamStatus{types.StreamStatusActive}}
	space := new(big.Int).Lsh(big.NewInt(1), 128)
	for i := range int64(shards) {
		from := new(big.Int).Div(new(big.Int).Mul(space, big.NewInt(i)), big.NewInt(int64(shards)))
		to := new(big.Int).Div(new(big.Int).Mul(space, big.NewInt(i+1)), big.NewInt(int64(shards)))
		f.addShard("", "", from, to.Sub(to, big.NewInt(1)))
	}
	return f
}

func (f *fake) addShard(parent, adjacent string, from, to *big.Int) *fakeShard {
	s := &fakeShard{id: fmt.Sprintf("shardId-%012d", len(f.shards)), parent: parent, adjacent: adjacent, start: from, end: to}
	f.shards = append(f.shards, s)
	return s
}

func (f *fake) shard(id string) *fakeShard {
	for _, s := range f.shards {
		if s.id == id {
			return s
		}
	}
	return nil
}

// put appends a record that arrives now.
func (f *fake) put(id, data string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.append(f.shard(id), "k", []byte(data))
}

func (f *fake) append(s *fakeShard, key string, data []byte) string {
	number := fmt.Sprintf("%s-%06d", s.id, len(s.records))
	s.records = append(s.records, types.Record{
		Data: data, PartitionKey: &key, SequenceNumber: &number, ApproximateArrivalTimestamp: aws.Time(time.Now()),
	})
	return number
}

// split closes a shard and opens two.
func (f *fake) split(id string) (lower, upper string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shard(id)
	s.closed = true
	mid := new(big.Int).Add(s.start, s.end)
	mid.Div(mid, big.NewInt(2))
	lower = f.addShard(id, "", s.start, mid).id
	return lower, f.addShard(id, "", new(big.Int).Add(mid, big.NewInt(1)), s.end).id
}

// merge closes two shards and opens one.
func (f *fake) merge(a, b string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shard(a).closed, f.shard(b).closed = true, true
	return f.addShard(a, b, f.shard(a).start, f.shard(b).end).id
}

func (f *fake) note(format string, args ...any) {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// refusal is an error answer as the SDK returns it.
func refusal(code, message string) error {
	return &awshttp.ResponseError{RequestID: "req-1", ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: 400}},
		Err:      &smithy.GenericAPIError{Code: code, Message: message},
	}}
}

func (f *fake) find(name *string) error {
	if *name != "logs" {
		return refusal("ResourceNotFoundException", "Stream "+*name+" under account 000000000000 not found.")
	}
	return nil
}

func (f *fake) CreateStream(_ context.Context, in *kinesis.CreateStreamInput, _ ...options) (*kinesis.CreateStreamOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mode := types.StreamMode("")
	if in.StreamModeDetails != nil {
		mode = in.StreamModeDetails.StreamMode
	}
	f.note("create %s %d %s", *in.StreamName, aws.ToInt32(in.ShardCount), mode)
	return &kinesis.CreateStreamOutput{}, nil
}

func (f *fake) DescribeStreamSummary(_ context.Context, in *kinesis.DescribeStreamSummaryInput, _ ...options) (*kinesis.DescribeStreamSummaryOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.find(in.StreamName); err != nil {
		return nil, err
	}
	status := f.statuses[0]
	if len(f.statuses) > 1 {
		f.statuses = f.statuses[1:]
	}
	open := int32(0)
	for _, s := range f.shards {
		if !s.closed {
			open++
		}
	}
	return &kinesis.DescribeStreamSummaryOutput{StreamDescriptionSummary: &types.StreamDescriptionSummary{
		StreamName: in.StreamName, StreamARN: aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/logs"),
		StreamStatus: status, RetentionPeriodHours: aws.Int32(24), OpenShardCount: &open,
		StreamCreationTimestamp: aws.Time(time.Unix(1700000000, 0)),
	}}, nil
}

// ListStreams answers one stream a page.
func (f *fake) ListStreams(_ context.Context, in *kinesis.ListStreamsInput, _ ...options) (*kinesis.ListStreamsOutput, error) {
	out := &kinesis.ListStreamsOutput{HasMoreStreams: aws.Bool(in.NextToken == nil)}
	name, mode := "clicks", types.StreamModeOnDemand
	if in.NextToken == nil {
		out.NextToken = aws.String("more")
	} else {
		name, mode = "logs", types.StreamModeProvisioned
	}
	out.StreamSummaries = []types.StreamSummary{{
		StreamName: &name, StreamARN: aws.String("arn:" + name), StreamStatus: types.StreamStatusActive,
		StreamCreationTimestamp: aws.Time(time.Unix(1700000000, 0)),
		StreamModeDetails:       &types.StreamModeDetails{StreamMode: mode},
	}}
	return out, nil
}

func (f *fake) SplitShard(_ context.Context, in *kinesis.SplitShardInput, _ ...options) (*kinesis.SplitShardOutput, error) {
	f.note("split %s %s", *in.ShardToSplit, *in.NewStartingHashKey)
	return &kinesis.SplitShardOutput{}, nil
}

func (f *fake) MergeShards(_ context.Context, in *kinesis.MergeShardsInput, _ ...options) (*kinesis.MergeShardsOutput, error) {
	f.note("merge %s %s", *in.ShardToMerge, *in.AdjacentShardToMerge)
	return &kinesis.MergeShardsOutput{}, nil
}

// ListShards answers two shards a page.
func (f *fake) ListShards(_ context.Context, in *kinesis.ListShardsInput, _ ...options) (*kinesis.ListShardsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := 0
	if in.NextToken != nil {
		from, _ = strconv.Atoi(*in.NextToken)
	} else if err := f.find(in.StreamName); err != nil {
		return nil, err
	}
	out := &kinesis.ListShardsOutput{}
	for i := from; i < len(f.shards) && i < from+2; i++ {
		s := f.shards[i]
		shard := types.Shard{
			ShardId:             &s.id,
			HashKeyRange:        &types.HashKeyRange{StartingHashKey: aws.String(s.start.String()), EndingHashKey: aws.String(s.end.String())},
			SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String("1")},
		}
		if s.parent != "" {
			shard.ParentShardId = &s.parent
		}
		if s.adjacent != "" {
			shard.AdjacentParentShardId = &s.adjacent
		}
		if s.closed {
			shard.SequenceNumberRange.EndingSequenceNumber = aws.String("9")
		}
		out.Shards = append(out.Shards, shard)
	}
	if from+2 < len(f.shards) {
		out.NextToken = aws.String(strconv.Itoa(from + 2))
	}
	return out, nil
}

func (f *fake) GetShardIterator(_ context.Context, in *kinesis.GetShardIteratorInput, _ ...options) (*kinesis.GetShardIteratorOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, at := f.shard(*in.ShardId), 0
	for _, parent := range []string{s.parent, s.adjacent} {
		if parent != "" && !f.shard(parent).readOut {
			f.early = append(f.early, s.id)
		}
	}
	switch in.ShardIteratorType {
	case types.ShardIteratorTypeLatest:
		at = len(s.records)
	case types.ShardIteratorTypeAfterSequenceNumber:
		for at < len(s.records) && *s.records[at].SequenceNumber <= *in.StartingSequenceNumber {
			at++
		}
	case types.ShardIteratorTypeAtTimestamp:
		for at < len(s.records) && s.records[at].ApproximateArrivalTimestamp.Before(*in.Timestamp) {
			at++
		}
	}
	return &kinesis.GetShardIteratorOutput{ShardIterator: aws.String(fmt.Sprintf("%s/%d", s.id, at))}, nil
}

func (f *fake) GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, _ ...options) (*kinesis.GetRecordsOutput, error) {
	if f.latency != nil {
		if err := sleep(ctx, f.latency()); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id, number, _ := strings.Cut(*in.ShardIterator, "/")
	at, _ := strconv.Atoi(number)
	s := f.shard(id)
	if s.throttle > 0 {
		s.throttle--
		return nil, refusal("ProvisionedThroughputExceededException", "slow down")
	}
	if s.expire > 0 {
		s.expire--
		return nil, refusal("ExpiredIteratorException", "expired")
	}
	end := min(len(s.records), at+3) // small, so that reading takes several calls
	out := &kinesis.GetRecordsOutput{Records: s.records[at:end], MillisBehindLatest: aws.Int64(int64(len(s.records) - end))}
	if !s.closed || end < len(s.records) {
		out.NextShardIterator = aws.String(fmt.Sprintf("%s/%d", id, end))
		return out, nil
	}
	s.readOut = true
	for _, c := range f.shards {
		if c.parent == id || c.adjacent == id {
			parents := []string{c.parent}
			if c.adjacent != "" {
				parents = append(parents, c.adjacent)
			}
			out.ChildShards = append(out.ChildShards, types.ChildShard{ShardId: &c.id, ParentShards: parents})
		}
	}
	return out, nil
}

// PutRecords stores by key: key n goes to shard n modulo their number. Keys that refuse holds for
// are throttled.
func (f *fake) PutRecords(_ context.Context, in *kinesis.PutRecordsInput, _ ...options) (*kinesis.PutRecordsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.find(in.StreamName); err != nil {
		return nil, err
	}
	f.note("put %d", len(in.Records))
	out := &kinesis.PutRecordsOutput{FailedRecordCount: aws.Int32(0)}
	for _, e := range in.Records {
		if f.refuse != nil && f.refuse(*e.PartitionKey) {
			out.Records = append(out.Records, types.PutRecordsResultEntry{
				ErrorCode: aws.String("ProvisionedThroughputExceededException"), ErrorMessage: aws.String("Rate exceeded"),
			})
			continue
		}
		sum := 0
		for _, b := range []byte(*e.PartitionKey) {
			sum += int(b)
		}
		s := f.shards[sum%len(f.shards)]
		out.Records = append(out.Records, types.PutRecordsResultEntry{
			ShardId: &s.id, SequenceNumber: aws.String(f.append(s, *e.PartitionKey, e.Data)),
		})
	}
	return out, nil
}

// run runs one command line against the fake and returns what it printed.
func (f *fake) run(ctx context.Context, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, err strings.Builder
	app := newApp(&out, &err, f)
	app.In = strings.NewReader(stdin)
	code = app.Run(ctx, args)
	return code, out.String(), err.String()
}

func newApp(out, err *strings.Builder, f *fake) *App {
	return &App{
		In: strings.NewReader(""), Out: out, Err: err, Clock: clock.System{},
		Build: Build{Version: "1.2.3", Commit: "abc"},
		Connect: func(context.Context, Target) (*Client, error) {
			return &Client{Admin: f, Reader: f, Writer: f, Own: f.own}, nil
		},
		Serve: func(ctx context.Context, s Service) error {
			s.Ready(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4566})
			return nil
		},
	}
}
