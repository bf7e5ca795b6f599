// Package kinesis is the API of Kinesis Data Streams: one file an operation, each of which turns
// the model's input into a call of package stream and what comes back into the model's output.
//
// It has no rules of its own. What a stream does is in internal/stream, what a member may hold is
// in the generated validation of internal/awsapi/kinesis, and how bytes travel is in internal/wire.
// The header of an operation's file says what is supported, how it differs from AWS and what
// proves it; COMPATIBILITY.md is made of those headers.
package kinesis

import (
	"errors"
	"sync"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire"
	"github.com/headrace/headrace/internal/wire/shape"
)

// Service answers the operations. It is safe for concurrent use.
type Service struct {
	streams *stream.Streams
	metrics *metrics.Metrics
	clock   clock.Clock
	check   func(document string) error
	puts    sync.Pool // of *putBuffers
	gets    sync.Pool // of *getBuffers
	frames  *frames
}

// New returns the API of the given streams. check returns what is wrong with a resource policy, in words
// for the caller, or nil.
func New(streams *stream.Streams, m *metrics.Metrics, c clock.Clock, check func(document string) error) *Service {
	s := &Service{streams: streams, metrics: m, clock: c, check: check, frames: newFrames(c)}
	s.puts.New = func() any { return &putBuffers{service: s} }
	s.gets.New = func() any { return &getBuffers{service: s} }
	return s
}

// Wire describes the service to the wire layer.
func (s *Service) Wire() wire.Service {
	return wire.Service{
		TargetPrefix: kinesis.TargetPrefix,
		SigningName:  kinesis.SigningName,
		Formats:      wire.AWSJSON11 | wire.CBOR11,
		Operations:   s.operations(),
		Known:        kinesis.OperationNames(),
	}
}

// operations binds every operation that is built. Those that keep nothing of their input say so.
func (s *Service) operations() []shape.Operation {
	all := []shape.Operation{
		kinesis.AddTagsToStream(s.addTagsToStream),
		kinesis.CreateChannel(s.createChannel).AsTransient(),
		kinesis.CreateStream(s.createStream),
		kinesis.DecreaseStreamRetentionPeriod(s.decreaseStreamRetentionPeriod),
		kinesis.DeleteChannel(s.deleteChannel),
		kinesis.DeleteResourcePolicy(s.deleteResourcePolicy),
		kinesis.DeleteStream(s.deleteStream),
		kinesis.DeregisterStreamConsumer(s.deregisterStreamConsumer),
		kinesis.DescribeAccountSettings(s.describeAccountSettings).AsTransient(),
		kinesis.DescribeChannel(s.describeChannel).AsTransient(),
		kinesis.DescribeLimits(s.describeLimits).AsTransient(),
		kinesis.DescribeStream(s.describeStream).AsTransient(),
		kinesis.DescribeStreamConsumer(s.describeStreamConsumer).AsTransient(),
		kinesis.DescribeStreamSummary(s.describeStreamSummary).AsTransient(),
		kinesis.DisableEnhancedMonitoring(s.disableEnhancedMonitoring),
		kinesis.EnableEnhancedMonitoring(s.enableEnhancedMonitoring),
		kinesis.GetRecords(s.getRecords).AsTransient().AsReserving(),
		kinesis.GetResourcePolicy(s.getResourcePolicy).AsTransient(),
		kinesis.GetShardIterator(s.getShardIterator).AsTransient(),
		kinesis.IncreaseStreamRetentionPeriod(s.increaseStreamRetentionPeriod),
		kinesis.ListChannels(s.listChannels).AsTransient(),
		kinesis.ListShards(s.listShards).AsTransient(),
		kinesis.ListStreamConsumers(s.listStreamConsumers).AsTransient(),
		kinesis.ListStreams(s.listStreams).AsTransient(),
		kinesis.ListTagsForResource(s.listTagsForResource).AsTransient(),
		kinesis.ListTagsForStream(s.listTagsForStream).AsTransient(),
		kinesis.MergeShards(s.mergeShards),
		kinesis.PutRecord(s.putRecord).AsTransient(),
		kinesis.PutRecords(s.putRecords).AsTransient(),
		kinesis.PutResourcePolicy(s.putResourcePolicy),
		kinesis.RegisterStreamConsumer(s.registerStreamConsumer),
		kinesis.RemoveTagsFromStream(s.removeTagsFromStream),
		kinesis.SplitShard(s.splitShard),
		kinesis.StartStreamEncryption(s.startStreamEncryption),
		kinesis.StopStreamEncryption(s.stopStreamEncryption),
		kinesis.SubscribeToShard(s.subscribeToShard),
		kinesis.TagResource(s.tagResource),
		kinesis.UntagResource(s.untagResource),
		kinesis.UpdateAccountSettings(s.updateAccountSettings).AsTransient(),
		kinesis.UpdateChannel(s.updateChannel).AsTransient(),
		kinesis.UpdateMaxRecordSize(s.updateMaxRecordSize),
		kinesis.UpdateShardCount(s.updateShardCount),
		kinesis.UpdateStreamMode(s.updateStreamMode),
		kinesis.UpdateStreamRecordDistributionStrategy(s.updateStreamRecordDistributionStrategy).AsTransient(),
		kinesis.UpdateStreamWarmThroughput(s.updateStreamWarmThroughput).AsTransient(),
	}
	for i := range all {
		all[i] = s.bounded(all[i])
		all[i].Needs = s.needs(all[i].Name)
	}
	return all
}

// scope is the name space that a caller's streams live in.
func scope(call *shape.Call) stream.Scope {
	return stream.Scope{Account: call.Account, Region: call.Region}
}

// ref is how a request names its stream. StreamId, which AWS reserves, is accepted and names nothing.
func ref(name, arn shape.Opt[string]) stream.Ref {
	return stream.Ref{Name: name.Value, ARN: arn.Value}
}

// meter returns the counters of the stream that a request names.
func (s *Service) meter(call *shape.Call, r stream.Ref) *metrics.Stream {
	sc, name := scope(call), r.Name
	if r.ARN != "" {
		sc, name, _ = stream.ParseARN(r.ARN)
	}
	return s.metrics.Stream(metrics.StreamID{Account: sc.Account, Region: sc.Region, Name: name})
}

// kindOf returns the kind of a domain's error, Internal for any other.
func kindOf(err error) stream.Kind {
	var e *stream.Error
	if !errors.As(err, &e) {
		return stream.Internal
	}
	return e.Kind
}

// answer turns a domain's error into the API's. Errors that are not AWS's go through as they are:
// the wire layer reports them and answers InternalFailure.
func answer(err error) error {
	var e *stream.Error
	if !errors.As(err, &e) {
		return err
	}
	return exception(e.Kind)("%s", e.Message)
}

// exception returns the constructor of the error that a kind stands for.
func exception(k stream.Kind) func(format string, args ...any) *shape.Error {
	switch k {
	case stream.NotFound:
		return kinesis.ResourceNotFoundException
	case stream.InUse:
		return kinesis.ResourceInUseException
	case stream.LimitExceeded:
		return kinesis.LimitExceededException
	case stream.InvalidArgument:
		return kinesis.InvalidArgumentException
	case stream.Validation:
		return kinesis.ValidationException
	case stream.ExpiredIterator:
		return kinesis.ExpiredIteratorException
	case stream.ExpiredToken:
		return kinesis.ExpiredNextTokenException
	case stream.Throughput:
		return kinesis.ProvisionedThroughputExceededException
	case stream.KMSAccessDenied:
		return kinesis.KMSAccessDeniedException
	case stream.KMSInvalidState:
		return kinesis.KMSInvalidStateException
	case stream.KMSNotFound:
		return kinesis.KMSNotFoundException
	}
	return kinesis.InternalFailureException
}

// some is an optional member that is absent when empty.
func some(s string) shape.Opt[string] { return shape.Opt[string]{Value: s, Set: s != ""} }
