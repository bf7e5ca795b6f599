package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/wire/eventstream"
)

// consumerName is the consumer that every stream has, through all lives.
const consumerName = "wheel"

// pushed is an event of a subscription.
type pushed struct {
	Records                    []stored
	ContinuationSequenceNumber string
	ChildShards                []struct {
		ShardID      string `json:"ShardId"`
		ParentShards []string
	}
}

// subscriber is pushed the records of all shards, by one consumer a stream that lives through every
// restart: each life goes on after the last record of the one before.
type subscriber struct {
	w       *world
	running sync.WaitGroup
	begun   map[string]bool // by stream and shard
}

func (s *subscriber) run(ctx context.Context) {
	defer s.running.Wait()
	s.begun = map[string]bool{}
	for ctx.Err() == nil {
		for _, l := range s.w.streams {
			if err := s.register(ctx, l); err != nil {
				if s.w.failed(l, err) {
					return
				}
				continue
			}
			shards, err := s.w.client.shards(ctx, l.stream)
			if s.w.failed(l, err) {
				return
			}
			for _, shard := range shards {
				if s.begun[l.stream+"/"+shard.ShardID] {
					continue
				}
				s.begun[l.stream+"/"+shard.ShardID] = true
				c := l.subscribed(shard.ShardID)
				s.running.Go(func() { s.follow(ctx, l, shard.ShardID, c) })
			}
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// subscribed returns the cursor of a shard's subscriptions.
func (l *ledger) subscribed(shard string) *cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pushed[shard] == nil {
		l.pushed[shard] = new(cursor)
	}
	return l.pushed[shard]
}

// register registers the stream's consumer, or finds it if nobody heard that it was.
func (s *subscriber) register(ctx context.Context, l *ledger) error {
	if l.consumer != "" {
		return nil
	}
	summary := struct {
		StreamDescriptionSummary struct{ StreamARN string }
	}{}
	if err := s.w.client.call(ctx, "DescribeStreamSummary", fields{"StreamName": l.stream}, &summary); err != nil {
		return err
	}
	arn := summary.StreamDescriptionSummary.StreamARN
	var made struct{ Consumer struct{ ConsumerARN string } }
	err := s.w.client.call(ctx, "RegisterStreamConsumer", fields{"StreamARN": arn, "ConsumerName": consumerName}, &made)
	if refusedAs(err, "ResourceInUseException") {
		var found struct{ ConsumerDescription struct{ ConsumerARN string } }
		err = s.w.client.call(ctx, "DescribeStreamConsumer", fields{"StreamARN": arn, "ConsumerName": consumerName}, &found)
		made.Consumer.ConsumerARN = found.ConsumerDescription.ConsumerARN
	}
	if err == nil {
		l.consumer = made.Consumer.ConsumerARN
	}
	return err
}

// follow is pushed a shard's records to its end, or the server's.
func (s *subscriber) follow(ctx context.Context, l *ledger, shard string, c *cursor) {
	for !c.done && ctx.Err() == nil {
		if s.w.failed(l, s.subscribe(ctx, l, shard, c)) {
			return
		}
	}
}

// subscribe is one subscription. Only it touches the cursor while it runs.
func (s *subscriber) subscribe(ctx context.Context, l *ledger, shard string, c *cursor) error {
	position := fields{"Type": "TRIM_HORIZON"}
	if c.iterator != "" {
		position = fields{"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": c.iterator}
	}
	resp, err := s.w.client.open(ctx, "SubscribeToShard", fields{"ConsumerARN": l.consumer, "ShardId": shard, "StartingPosition": position})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	d := eventstream.Decoder{From: resp.Body}
	for {
		m, err := d.Next()
		if err != nil {
			return fmt.Errorf("subscription to %s: %w", shard, err)
		}
		var event pushed
		switch {
		case m.Header(eventstream.EventType) == "initial-response":
			continue
		case m.Header(eventstream.MessageType) != eventstream.Event:
			return fmt.Errorf("subscription to %s: %s %s", shard, m.Header(eventstream.ExceptionType), m.Payload)
		}
		if err := json.Unmarshal(m.Payload, &event); err != nil {
			return fmt.Errorf("subscription to %s: %w", shard, err)
		}
		for _, r := range event.Records {
			c.seen = append(c.seen, seen{r.PartitionKey, r.SequenceNumber})
		}
		if c.done = len(event.ChildShards) > 0; c.done {
			return nil
		}
		c.iterator = event.ContinuationSequenceNumber
	}
}

// open makes a call whose answer goes on.
func (c *client) open(ctx context.Context, operation string, in fields) (*http.Response, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	c.head(r.Header, operation)
	streaming := *c.http
	streaming.Timeout = 0
	resp, err := streaming.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	said := &refusal{status: resp.StatusCode}
	err = json.NewDecoder(resp.Body).Decode(said)
	return nil, fmt.Errorf("%s: %w", operation, errors.Join(said, err, resp.Body.Close()))
}
