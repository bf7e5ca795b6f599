package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// authorization is a signature of the right form, which is all that `headrace dev` looks at.
const authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, " +
	"SignedHeaders=host;x-amz-date;x-amz-target, Signature=00000000000000000000000000000000000000000000000000000000000000ff"

// callLimit is how long a call may take. A server that is that slow is as good as dead.
const callLimit = 30 * time.Second

// client makes calls and never repeats one: a call without an answer is in doubt, and its caller has
// to know. It is safe for concurrent use.
type client struct {
	endpoint string
	http     *http.Client
}

func newClient(endpoint string) *client {
	return &client{endpoint: endpoint, http: &http.Client{
		Timeout: callLimit,
		// A connection is used once: net/http repeats calls on connections that were closed, by
		// itself, and a put that was stored twice by that would look like the server's doing.
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	}}
}

// refusal is an error that the server answered with: what was asked for did not happen.
type refusal struct {
	status  int
	Type    string `json:"__type"`
	Message string `json:"message"`
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.status, r.Type, r.Message) }

// refusedAs says whether the error is a refusal of one of the types.
func refusedAs(err error, types ...string) bool {
	var r *refusal
	if !errors.As(err, &r) || r.status >= 500 {
		return false
	}
	for _, t := range types {
		if strings.HasSuffix(r.Type, t) {
			return true
		}
	}
	return len(types) == 0
}

// unanswered says whether the call got no answer at all: it may have happened.
func unanswered(err error) bool {
	var r *refusal
	return err != nil && !errors.As(err, &r)
}

type fields map[string]any

func (c *client) call(ctx context.Context, operation string, in fields, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	c.head(r.Header, operation)
	response, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if response.StatusCode != http.StatusOK {
		said := &refusal{status: response.StatusCode}
		if json.Unmarshal(answer, said) != nil {
			said.Message = string(answer)
		}
		return fmt.Errorf("%s: %w", operation, said)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}

// head writes the headers of a call.
func (c *client) head(h http.Header, operation string) {
	h.Set("Authorization", authorization)
	h.Set("X-Amz-Date", "20260101T000000Z")
	h.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	h.Set("Content-Type", "application/x-amz-json-1.1")
}

// put is where a record went, or why it did not.
type put struct {
	ShardID        string `json:"ShardId"`
	SequenceNumber string
	ErrorCode      string
	ErrorMessage   string
}

// stored is a record as it is read.
type stored struct {
	SequenceNumber string
	PartitionKey   string
	Data           []byte
}

// page is the answer of GetRecords.
type page struct {
	Records            []stored
	NextShardIterator  string
	MillisBehindLatest int64
}

// shardInfo is a shard as ListShards shows it.
type shardInfo struct {
	ShardID             string `json:"ShardId"`
	ParentShardID       string `json:"ParentShardId"`
	AdjacentParent      string `json:"AdjacentParentShardId"`
	HashKeyRange        struct{ StartingHashKey, EndingHashKey string }
	SequenceNumberRange struct{ StartingSequenceNumber, EndingSequenceNumber string }
}

// shards lists all shards of a stream.
func (c *client) shards(ctx context.Context, stream string) ([]shardInfo, error) {
	var all []shardInfo
	in := fields{"StreamName": stream}
	for {
		var out struct {
			Shards    []shardInfo
			NextToken string
		}
		if err := c.call(ctx, "ListShards", in, &out); err != nil {
			return nil, err
		}
		all = append(all, out.Shards...)
		if out.NextToken == "" {
			return all, nil
		}
		in = fields{"NextToken": out.NextToken}
	}
}

// status returns the stream's status and retention, in hours.
func (c *client) status(ctx context.Context, stream string) (status string, retention int, err error) {
	var out struct {
		StreamDescriptionSummary struct {
			StreamStatus         string
			RetentionPeriodHours int
		}
	}
	err = c.call(ctx, "DescribeStreamSummary", fields{"StreamName": stream}, &out)
	return out.StreamDescriptionSummary.StreamStatus, out.StreamDescriptionSummary.RetentionPeriodHours, err
}

// tags returns the stream's tags.
func (c *client) tags(ctx context.Context, stream string) (map[string]string, error) {
	var out struct{ Tags []struct{ Key, Value string } }
	if err := c.call(ctx, "ListTagsForStream", fields{"StreamName": stream}, &out); err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for _, t := range out.Tags {
		tags[t.Key] = t.Value
	}
	return tags, nil
}

// iterator returns an iterator at the shard's beginning.
func (c *client) iterator(ctx context.Context, stream, shard string) (string, error) {
	var out struct{ ShardIterator string }
	err := c.call(ctx, "GetShardIterator", fields{"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}, &out)
	return out.ShardIterator, err
}

// read makes one GetRecords call.
func (c *client) read(ctx context.Context, iterator string) (page, error) {
	var out page
	err := c.call(ctx, "GetRecords", fields{"ShardIterator": iterator}, &out)
	return out, err
}
