package kinesis

import (
	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire/shape"
)

// Which permission each operation needs, and on what: docs/reference/iam-actions.md has the table.

// anything is the resource of actions that have none.
const anything = "*"

// needs returns what says which permissions calls of an operation need.
func (s *Service) needs(operation string) shape.Needs {
	action := "kinesis:" + operation
	return func(call *shape.Call, in shape.Shape, ask func(*shape.Access) error) error {
		a := shape.Access{Action: action, Resource: s.resource(call, in)}
		switch in := in.(type) {
		case *kinesis.AddTagsToStreamInput:
			a.Tags = in.Tags
		case *kinesis.RegisterStreamConsumerInput:
			a.Tags = in.Tags
		case *kinesis.RemoveTagsFromStreamInput:
			a.TagKeys = in.TagKeys
		case *kinesis.TagResourceInput:
			a.Tags = in.Tags
		case *kinesis.UntagResourceInput:
			a.TagKeys = in.TagKeys
		case *kinesis.CreateChannelInput:
			a.Tags = in.Tags
		case *kinesis.CreateStreamInput:
			a.Tags, a.Creates = in.Tags, true
		}
		if a.Resource == "" {
			a.Resource = anything // the call names nothing that is, and hears so if it may know
		}
		err := ask(&a)
		if _, ok := in.(*kinesis.RegisterStreamConsumerInput); ok && err == nil && len(a.Tags) > 0 {
			a.Action = "kinesis:TagResource"
			err = ask(&a)
		}
		if err == nil && a.Creates && len(a.Tags) > 0 {
			a.Action = "kinesis:AddTagsToStream"
			err = ask(&a)
		}
		return err
	}
}

// resource returns the ARN of what a call is about, "" if it names nothing.
func (s *Service) resource(call *shape.Call, in shape.Shape) string {
	named := func(name, arn shape.Opt[string]) string { return s.streams.ARN(scope(call), ref(name, arn)) }
	switch in := in.(type) {
	case *kinesis.AddTagsToStreamInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.CreateChannelInput:
		return anything // it has no id yet
	case *kinesis.CreateStreamInput:
		return s.streams.ARN(scope(call), stream.Ref{Name: in.StreamName})
	case *kinesis.DecreaseStreamRetentionPeriodInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.DeleteChannelInput:
		return in.ChannelARN
	case *kinesis.DeleteResourcePolicyInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.ResourceARN})
	case *kinesis.DeleteStreamInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.DeregisterStreamConsumerInput:
		return s.streams.ConsumerARN(scope(call), consumerRef(in.ConsumerARN, in.StreamARN, in.ConsumerName))
	case *kinesis.DescribeStreamConsumerInput:
		return s.streams.ConsumerARN(scope(call), consumerRef(in.ConsumerARN, in.StreamARN, in.ConsumerName))
	case *kinesis.DescribeChannelInput:
		return in.ChannelARN
	case *kinesis.DescribeStreamInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.DescribeStreamSummaryInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.DisableEnhancedMonitoringInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.EnableEnhancedMonitoringInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.GetRecordsInput:
		if arn := s.streams.ARN(scope(call), stream.Ref{ARN: in.StreamARN.Value}); arn != "" {
			return arn
		}
		return s.streams.IteratorARN(scope(call), in.ShardIterator)
	case *kinesis.GetResourcePolicyInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.ResourceARN})
	case *kinesis.GetShardIteratorInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.IncreaseStreamRetentionPeriodInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.ListShardsInput:
		if arn := named(in.StreamName, in.StreamARN); arn != "" {
			return arn
		}
		return s.streams.TokenARN(scope(call), in.NextToken.Value)
	case *kinesis.ListStreamConsumersInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.StreamARN})
	case *kinesis.ListTagsForResourceInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.ResourceARN})
	case *kinesis.ListTagsForStreamInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.MergeShardsInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.PutRecordInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.PutRecordsInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.PutResourcePolicyInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.ResourceARN})
	case *kinesis.RegisterStreamConsumerInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.StreamARN})
	case *kinesis.RemoveTagsFromStreamInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.SplitShardInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.StartStreamEncryptionInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.StopStreamEncryptionInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.SubscribeToShardInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.ConsumerARN})
	case *kinesis.TagResourceInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.ResourceARN})
	case *kinesis.UntagResourceInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.ResourceARN})
	case *kinesis.UpdateChannelInput:
		return in.ChannelARN
	case *kinesis.UpdateMaxRecordSizeInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.StreamARN.Value})
	case *kinesis.UpdateShardCountInput:
		return named(in.StreamName, in.StreamARN)
	case *kinesis.UpdateStreamModeInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.StreamARN})
	case *kinesis.UpdateStreamRecordDistributionStrategyInput:
		return s.streams.ARN(scope(call), stream.Ref{ARN: in.StreamARN})
	case *kinesis.UpdateStreamWarmThroughputInput:
		return named(in.StreamName, in.StreamARN)
	}
	return anything
}
