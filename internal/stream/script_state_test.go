package stream

import (
	"context"
	"fmt"
	"strings"

	"github.com/cockroachdb/datadriven"
)

// stateCommands are what scripts about states can say besides.
var stateCommands = map[string]func(sc *script, d *datadriven.TestData) error{
	"calls":          (*script).calls,
	"register":       (*script).register,
	"deregister":     (*script).deregister,
	"consumer":       (*script).consumer,
	"consumers":      (*script).consumers,
	"consumer-calls": (*script).consumerCalls,
	"encrypt": func(sc *script, d *datadriven.TestData) error {
		return sc.w.StartEncryption(sc.w.t.Context(), home, ref(d), arg(d, "key", ""))
	},
	"stop-encrypting": func(sc *script, d *datadriven.TestData) error {
		return sc.w.StopEncryption(sc.w.t.Context(), home, ref(d), arg(d, "key", ""))
	},
	"monitor": func(sc *script, d *datadriven.TestData) error {
		m, err := sc.w.EnableMonitoring(sc.w.t.Context(), home, ref(d), []ShardMetric{ShardMetric(arg(d, "metric", ""))})
		sc.printf("from %v to %v\n", m.Current, m.Desired)
		return err
	},
	"delete-with-consumers": func(sc *script, d *datadriven.TestData) error {
		return sc.w.DeleteStream(sc.w.t.Context(), home, ref(d), true)
	},
}

// answers prints what each of many calls answers.
func (sc *script) answers(calls []call) error {
	for _, c := range calls {
		answer := "ok"
		if err := c.do(sc.w.t.Context()); err != nil {
			answer = err.Error()
		}
		sc.printf("%s: %s\n", c.name, answer)
	}
	return nil
}

// call is one call by name.
type call struct {
	name string
	do   func(context.Context) error
}

// calls makes every call that a stream can be named in, but for DeleteStream and those that read records, and
// prints the answers. It is for states in which they change nothing that matters.
func (sc *script) calls(d *datadriven.TestData) error {
	w, r, name := sc.w, ref(d), ref(d).Name
	arn := home.arn(name)
	return sc.answers([]call{
		{"CreateStream", func(ctx context.Context) error {
			return w.CreateStream(ctx, home, CreateInput{Name: name, ShardCount: 1})
		}},
		{"DescribeStream", func(context.Context) error { _, err := w.DescribeStream(home, r, "", 0); return err }},
		{"DescribeStreamSummary", func(context.Context) error { _, err := w.DescribeStreamSummary(home, r); return err }},
		{"ListShards", func(context.Context) error { _, err := w.ListShards(home, ListShardsInput{Ref: r}); return err }},
		{"PutRecord, dry", func(ctx context.Context) error { return w.CheckPut(ctx, home, r, entry1("k", "x"), "") }},
		{"GetShardIterator", func(ctx context.Context) error {
			_, err := w.GetShardIterator(ctx, home, r, IteratorInput{ShardID: "0", Type: Latest})
			return err
		}},
		{"SplitShard", func(ctx context.Context) error { return w.SplitShard(ctx, home, r, "0", "2") }},
		{"MergeShards", func(ctx context.Context) error { return w.MergeShards(ctx, home, r, "0", "1") }},
		{"UpdateShardCount", func(ctx context.Context) error { _, err := w.UpdateShardCount(ctx, home, r, 2); return err }},
		{"UpdateStreamMode", func(ctx context.Context) error { return w.UpdateStreamMode(ctx, home, r, OnDemand, 0) }},
		{"UpdateMaxRecordSize", func(ctx context.Context) error { return w.UpdateMaxRecordSize(ctx, home, r, 2048) }},
		{"UpdateStreamRecordDistributionStrategy", func(ctx context.Context) error { return w.UpdateStrategy(ctx, home, r, UserPartitionKey) }},
		{"UpdateStreamWarmThroughput", func(ctx context.Context) error { _, err := w.UpdateWarmThroughput(ctx, home, r, 1); return err }},
		{"IncreaseStreamRetentionPeriod", func(ctx context.Context) error { return w.IncreaseRetention(ctx, home, r, 8760) }},
		{"DecreaseStreamRetentionPeriod", func(ctx context.Context) error { return w.DecreaseRetention(ctx, home, r, 24) }},
		{"StartStreamEncryption", func(ctx context.Context) error { return w.StartEncryption(ctx, home, r, "alias/other") }},
		{"StopStreamEncryption", func(ctx context.Context) error { return w.StopEncryption(ctx, home, r, "alias/other") }},
		{"EnableEnhancedMonitoring", func(ctx context.Context) error {
			_, err := w.EnableMonitoring(ctx, home, r, []ShardMetric{AllShardMetrics})
			return err
		}},
		{"DisableEnhancedMonitoring", func(ctx context.Context) error {
			_, err := w.DisableMonitoring(ctx, home, r, []ShardMetric{AllShardMetrics})
			return err
		}},
		{"AddTagsToStream", func(ctx context.Context) error { return w.AddTags(ctx, home, r, map[string]string{"a": "b"}) }},
		{"RemoveTagsFromStream", func(ctx context.Context) error { return w.RemoveTags(ctx, home, r, []string{"a"}) }},
		{"ListTagsForStream", func(context.Context) error { _, err := w.ListTags(home, r, "", 0); return err }},
		{"PutResourcePolicy", func(ctx context.Context) error { return w.PutPolicy(ctx, home, arn, "{}") }},
		{"GetResourcePolicy", func(context.Context) error { _, err := w.Policy(home, arn); return err }},
		{"ListStreamConsumers", func(context.Context) error {
			_, err := w.ListConsumers(home, ListConsumersInput{StreamARN: arn})
			return err
		}},
		{"RegisterStreamConsumer", func(ctx context.Context) error {
			_, err := w.RegisterConsumer(ctx, home, arn, "wheel", nil)
			return err
		}},
	})
}

// consumerRef returns the consumer that a command names: by its stream and name, or with created by its ARN.
func consumerRef(d *datadriven.TestData) ConsumerRef {
	stream, name := home.arn(ref(d).Name), arg(d, "name", "")
	if d.HasArg("created") {
		return ConsumerRef{ARN: fmt.Sprintf("%s/consumer/%s:%s", stream, name, arg(d, "created", ""))}
	}
	return ConsumerRef{StreamARN: stream, Name: name}
}

func (sc *script) printConsumer(c Consumer) {
	sc.printf("%s %s, created %s, %s\n", c.Name, c.Status, since(c.Created), strings.TrimPrefix(c.ARN, home.arn("")))
}

func (sc *script) register(d *datadriven.TestData) error {
	c, err := sc.w.RegisterConsumer(sc.w.t.Context(), home, home.arn(ref(d).Name), arg(d, "name", ""), nil)
	if err == nil {
		sc.printConsumer(c)
	}
	return err
}

func (sc *script) deregister(d *datadriven.TestData) error {
	return sc.w.DeregisterConsumer(sc.w.t.Context(), home, consumerRef(d))
}

func (sc *script) consumer(d *datadriven.TestData) error {
	c, err := sc.w.DescribeConsumer(home, consumerRef(d))
	if err == nil {
		sc.printConsumer(c)
	}
	return err
}

func (sc *script) consumers(d *datadriven.TestData) error {
	page, err := sc.w.ListConsumers(home, ListConsumersInput{StreamARN: home.arn(ref(d).Name)})
	for _, c := range page.Consumers {
		sc.printf("%s %s\n", c.Name, c.Status)
	}
	return err
}

// consumerCalls makes every call that a consumer can be named in, but for DeregisterStreamConsumer. The
// subscription is closed at once.
func (sc *script) consumerCalls(d *datadriven.TestData) error {
	w, named := sc.w, consumerRef(d)
	arn := w.ConsumerARN(home, named)
	return sc.answers([]call{
		{"RegisterStreamConsumer", func(ctx context.Context) error {
			_, err := w.RegisterConsumer(ctx, home, home.arn(ref(d).Name), arg(d, "name", ""), nil)
			return err
		}},
		{"DescribeStreamConsumer", func(context.Context) error { _, err := w.DescribeConsumer(home, named); return err }},
		{"SubscribeToShard", func(ctx context.Context) error {
			sub, _, err := w.Subscribe(ctx, home, SubscribeInput{ConsumerARN: arn, Position: IteratorInput{ShardID: "0", Type: Latest}})
			if err == nil {
				sub.Close()
			}
			return err
		}},
		{"PutResourcePolicy", func(ctx context.Context) error { return w.PutPolicy(ctx, home, arn, "{}") }},
		{"GetResourcePolicy", func(context.Context) error { _, err := w.Policy(home, arn); return err }},
		{"TagResource", func(ctx context.Context) error { return w.TagResource(ctx, home, arn, map[string]string{"a": "b"}) }},
		{"UntagResource", func(ctx context.Context) error { return w.UntagResource(ctx, home, arn, []string{"a"}) }},
		{"ListTagsForResource", func(context.Context) error { _, err := w.ResourceTags(home, arn); return err }},
	})
}
