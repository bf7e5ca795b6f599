package gosdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
)

// largest is the most bytes of data and partition key that a record can have.
const largest = 10 << 20

// Surface checks what the SDK makes of answers beyond the main job: error types, paginators,
// waiters, timestamps, empty answers, bytes. The streams it creates have names that begin with prefix
// and are deleted at the end.
func Surface(ctx context.Context, client *kinesis.Client, prefix string) (report string, err error) {
	s := &surface{client: client}
	for n := range 5 {
		s.names = append(s.names, fmt.Sprintf("%s-%d", prefix, n))
	}
	for _, step := range []func(context.Context) error{s.create, s.errors, s.paginators, s.emptyAnswers, s.roundTrips, s.remove} {
		if err := step(ctx); err != nil {
			return "", err
		}
	}
	return "ok: error types, paginators, waiters, timestamps, empty answers, 10 MiB", nil
}

type surface struct {
	client *kinesis.Client
	names  []string
}

const (
	waitDelay = 50 * time.Millisecond
	waitLimit = time.Minute
)

func (s *surface) create(ctx context.Context) error {
	for _, name := range s.names {
		if _, err := s.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(3)}); err != nil {
			return err
		}
	}
	for _, name := range s.names {
		if err := s.wait(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *surface) wait(ctx context.Context, name string) error {
	return kinesis.NewStreamExistsWaiter(s.client, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = waitDelay, waitDelay
	}).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &name}, waitLimit)
}

func (s *surface) remove(ctx context.Context) error {
	for _, name := range s.names {
		if _, err := s.client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &name}); err != nil {
			return err
		}
	}
	for _, name := range s.names {
		err := kinesis.NewStreamNotExistsWaiter(s.client, func(o *kinesis.StreamNotExistsWaiterOptions) {
			o.MinDelay, o.MaxDelay = waitDelay, waitDelay
		}).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &name}, waitLimit)
		if err != nil {
			return err
		}
	}
	return nil
}

// is checks that err is the SDK's own type E, with the text and a request id.
func is[E error](err error, text string) error {
	var want E
	if !errors.As(err, &want) {
		return fmt.Errorf("got %v; want a %T", err, want)
	}
	return refusal(err, "", text)
}

// refusal checks that err is an error of AWS's code, if one is given, with the text and a request id.
func refusal(err error, code, text string) error {
	var told smithy.APIError
	var answer *awshttp.ResponseError
	switch {
	case !errors.As(err, &told) || !errors.As(err, &answer):
		return fmt.Errorf("got %v; want an answer of the service", err)
	case code != "" && told.ErrorCode() != code:
		return fmt.Errorf("got %s; want %s", told.ErrorCode(), code)
	case !strings.Contains(told.ErrorMessage(), text):
		return fmt.Errorf("got message %q; want %q", told.ErrorMessage(), text)
	case len(answer.ServiceRequestID()) != 36 || answer.HTTPStatusCode() != 400:
		return fmt.Errorf("got request id %q, status %d", answer.ServiceRequestID(), answer.HTTPStatusCode())
	}
	return nil
}

func (s *surface) errors(ctx context.Context) error {
	_, notFound := s.client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("nope")})
	_, inUse := s.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &s.names[0], ShardCount: aws.Int32(1)})
	_, iterator := s.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String("AAAA")})
	_, limit := s.client.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{
		StreamName: &s.names[0], TargetShardCount: aws.Int32(100), ScalingType: types.ScalingTypeUniformScaling,
	})
	_, name := s.client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("a b")})
	return errors.Join(
		is[*types.ResourceNotFoundException](notFound, "Stream nope under account 000000000000 not found."),
		is[*types.ResourceInUseException](inUse, "already exists."),
		is[*types.InvalidArgumentException](iterator, "Invalid ShardIterator."),
		is[*types.LimitExceededException](limit, ""),
		refusal(name, "ValidationException", "failed to satisfy constraint"),
	)
}

func (s *surface) paginators(ctx context.Context) error {
	var streams []string
	pages := 0
	for p := kinesis.NewListStreamsPaginator(s.client, &kinesis.ListStreamsInput{Limit: aws.Int32(2)}); p.HasMorePages(); pages++ {
		page, err := p.NextPage(ctx)
		if err != nil {
			return err
		}
		streams = append(streams, page.StreamNames...)
	}
	if fmt.Sprint(streams) != fmt.Sprint(s.names) || pages != 3 {
		return fmt.Errorf("ListStreams gives %v in %d pages; want %v in 3", streams, pages, s.names)
	}
	return nil
}

func (s *surface) emptyAnswers(ctx context.Context) error {
	name := &s.names[0]
	_, errAdd := s.client.AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamName: name, Tags: map[string]string{"team": "web", "größe": "ein = zwei"}})
	_, errRemove := s.client.RemoveTagsFromStream(ctx, &kinesis.RemoveTagsFromStreamInput{StreamName: name, TagKeys: []string{"team"}})
	_, errPeriod := s.client.IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: aws.Int32(48)})
	if err := errors.Join(errAdd, errRemove, errPeriod); err != nil {
		return err
	}
	tags, err := s.client.ListTagsForStream(ctx, &kinesis.ListTagsForStreamInput{StreamName: name})
	if err != nil {
		return err
	}
	if len(tags.Tags) != 1 || *tags.Tags[0].Key != "größe" || *tags.Tags[0].Value != "ein = zwei" {
		return fmt.Errorf("got %d tags; want größe alone", len(tags.Tags))
	}
	return nil
}

func (s *surface) roundTrips(ctx context.Context) error {
	name := s.names[1]
	summary, err := s.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name})
	if err != nil {
		return err
	}
	_, err = s.client.UpdateMaxRecordSize(ctx, &kinesis.UpdateMaxRecordSizeInput{
		StreamARN: summary.StreamDescriptionSummary.StreamARN, MaxRecordSizeInKiB: aws.Int32(largest >> 10),
	})
	if err = errors.Join(err, s.wait(ctx, name)); err != nil {
		return err
	}
	big := make([]byte, largest-len("äö"))
	for i := range big {
		big[i] = byte(i * 31 >> 3)
	}
	sent := [][]byte{{}, {0, 1, 127, 128, 255}, []byte("äöü 🌊"), big}
	begun := time.Now().Add(-5 * time.Second)
	var shard *string
	for _, data := range sent {
		put, err := s.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("äö"), Data: data})
		if err != nil {
			return err
		}
		shard = put.ShardId
	}
	got, err := s.readFrom(ctx, name, shard, begun, len(sent))
	if err != nil {
		return err
	}
	return compare(got, sent, begun)
}

// readFrom reads n records of a shard that arrived since a time.
func (s *surface) readFrom(ctx context.Context, name string, shard *string, since time.Time, n int) ([]types.Record, error) {
	it, err := s.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &name, ShardId: shard, ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: &since,
	})
	if err != nil {
		return nil, err
	}
	var got []types.Record
	for iterator := it.ShardIterator; len(got) < n; {
		page, err := s.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator})
		if err != nil {
			return nil, err
		}
		if len(page.Records) == 0 && *page.MillisBehindLatest == 0 {
			return nil, fmt.Errorf("only %d records of %d", len(got), n)
		}
		got = append(got, page.Records...)
		iterator = page.NextShardIterator
	}
	return got, nil
}

// compare checks that the records have the bytes that were sent and arrival times since begun, in
// milliseconds.
func compare(got []types.Record, sent [][]byte, begun time.Time) error {
	fractions := false
	for i, r := range got {
		if i >= len(sent) || !bytes.Equal(r.Data, sent[i]) {
			return fmt.Errorf("record %d came back with other bytes", i)
		}
		at := *r.ApproximateArrivalTimestamp
		if at.Before(begun) || at.Nanosecond()%int(time.Millisecond) != 0 {
			return fmt.Errorf("record %d arrived at %v; want a millisecond since %v", i, at, begun)
		}
		fractions = fractions || at.Nanosecond() != 0
	}
	if !fractions {
		return errors.New("no arrival time has milliseconds")
	}
	return nil
}
