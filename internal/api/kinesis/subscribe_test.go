package kinesis_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/headrace/headrace/internal/wire/eventstream"
)

const mill = "arn:aws:kinesis:eu-west-1:123456789012:stream/mill"

// pushed is one event of a subscription, or the exception that ends it.
type pushed struct {
	Records []struct {
		SequenceNumber, PartitionKey string
		ApproximateArrivalTimestamp  float64
		Data                         []byte
		EncryptionType               string `json:",omitempty"`
	}
	ContinuationSequenceNumber string
	MillisBehindLatest         *int64
	ChildShards                []struct {
		ShardId      string
		ParentShards []string
		HashKeyRange struct{ StartingHashKey, EndingHashKey string }
	}
	exception, message string
}

// subscription is a client's end of a subscription.
type subscription struct {
	t    testing.TB
	body io.ReadCloser
	cbor bool
	d    eventstream.Decoder
}

// subscribe subscribes, or returns the answer that refuses it.
func (c *client) subscribe(inCBOR bool, document string) (*subscription, answer) {
	c.t.Helper()
	contentType, body := typeJSON, []byte(document)
	if inCBOR {
		var in any
		err := json.Unmarshal(body, &in)
		contentType = typeCBOR
		if err == nil {
			body, err = cbor.Marshal(binary("", in))
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	r, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	head(r.Header, "SubscribeToShard", contentType, c.account, c.region)
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatalf("SubscribeToShard: %v", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		a := answer{status: resp.StatusCode}
		if !inCBOR {
			_ = json.Unmarshal(text, &a.body)
		}
		return nil, a
	}
	s := &subscription{t: c.t, body: resp.Body, cbor: inCBOR, d: eventstream.Decoder{From: resp.Body}}
	m, err := s.d.Next()
	if err != nil || m.Header(eventstream.EventType) != "initial-response" || m.Header(eventstream.PayloadType) != contentType {
		c.t.Fatalf("the first message is of type %q, error %v", m.Header(eventstream.EventType), err)
	}
	return s, answer{status: http.StatusOK}
}

// next returns the next event; false at the end of the stream.
func (s *subscription) next() (p pushed, ok bool) {
	s.t.Helper()
	m, err := s.d.Next()
	if errors.Is(err, io.EOF) {
		return p, false
	}
	if err != nil {
		s.t.Errorf("read event: %v", err)
		return p, false
	}
	payload := m.Payload
	if s.cbor {
		mode, err := cbor.DecOptions{DefaultMapType: mapType}.DecMode()
		var v any
		if err == nil {
			err = mode.Unmarshal(payload, &v)
		}
		if err == nil {
			payload, err = json.Marshal(textual(v))
		}
		if err != nil {
			s.t.Fatalf("bad CBOR: %v\n%x", err, m.Payload)
		}
	}
	if p.exception = m.Header(eventstream.ExceptionType); p.exception != "" {
		var e struct{ Message string }
		err = json.Unmarshal(payload, &e)
		p.message = e.Message
	} else {
		err = json.Unmarshal(payload, &p)
		if p.MillisBehindLatest == nil || m.Header(eventstream.EventType) != "SubscribeToShardEvent" {
			s.t.Errorf("an event of type %q: %s", m.Header(eventstream.EventType), payload)
		}
		if (p.ContinuationSequenceNumber == "") != (len(p.ChildShards) > 0) {
			s.t.Errorf("an event with continuation %q and children %v", p.ContinuationSequenceNumber, p.ChildShards)
		}
	}
	if err != nil {
		s.t.Errorf("bad event: %v: %s", err, payload)
	}
	return p, true
}

// summary says what is in an event.
func (p pushed) summary() string {
	if p.exception != "" {
		return p.exception + ": " + p.message
	}
	var out []string
	for _, r := range p.Records {
		out = append(out, string(r.Data))
	}
	for _, c := range p.ChildShards {
		out = append(out, fmt.Sprint(c.ShardId, " of ", strings.Join(c.ParentShards, "+")))
	}
	return strings.Join(out, " ")
}

// fanout is a service in a bubble with a stream of one shard and a consumer.
type fanout struct {
	t *testing.T
	*client
	arn string
}

func inBubble(t *testing.T, f func(f *fanout)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		defer w.close()
		x := &fanout{t: t, client: overPipes(w)}
		x.must("CreateStream", `{"StreamName": "mill", "ShardCount": 1}`)
		x.arn = x.register("wheel")
		f(x)
	})
}

func (f *fanout) must(operation, document string) map[string]any {
	f.t.Helper()
	a := f.call(operation, document)
	if a.status != http.StatusOK {
		f.t.Fatalf("%s: %v", operation, a.body)
	}
	m, _ := a.body.(map[string]any)
	return m
}

func (f *fanout) register(name string) string {
	f.t.Helper()
	text, err := pick(f.must("RegisterStreamConsumer", fmt.Sprintf(`{"StreamARN": %q, "ConsumerName": %q}`, mill, name)), "Consumer.ConsumerARN")
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

// put puts a record and returns its sequence number.
func (f *fanout) put(data string) string {
	f.t.Helper()
	document, err := json.Marshal(map[string]any{"StreamName": "mill", "PartitionKey": "k", "Data": []byte(data)})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.must("PutRecord", string(document))["SequenceNumber"].(string)
}

func (f *fanout) from(cbor bool, shard, position string) *subscription {
	f.t.Helper()
	s, a := f.subscribe(cbor, fmt.Sprintf(`{"ConsumerARN": %q, "ShardId": %q, "StartingPosition": %s}`, f.arn, shard, position))
	if s == nil {
		f.t.Fatalf("SubscribeToShard: %v", a.body)
	}
	return s
}

// expect reads one event and compares it.
func (f *fanout) expect(s *subscription, want string) pushed {
	f.t.Helper()
	p, ok := s.next()
	if got := p.summary(); !ok || got != want {
		f.t.Errorf("got %q, %v; want %q", got, ok, want)
	}
	return p
}

func (f *fanout) ended(s *subscription) {
	f.t.Helper()
	if p, ok := s.next(); ok {
		f.t.Errorf("got %q after the end", p.summary())
	}
	s.body.Close()
}

// TestSubscribe begins at all five positions, in both formats.
func TestSubscribe(t *testing.T) {
	for _, inCBOR := range []bool{false, true} {
		inBubble(t, func(f *fanout) {
			f.put("a")
			<-time.After(time.Minute)
			at := time.Now().Unix()
			second := f.put("b")
			f.put("c")
			check := func(position, first string) {
				t.Helper()
				s := f.from(inCBOR, "shardId-000000000000", position)
				p := f.expect(s, first)
				if *p.MillisBehindLatest != 0 {
					t.Errorf("%s: behind by %d", position, *p.MillisBehindLatest)
				}
				<-time.After(6 * time.Second)
				s.body.Close()
				// The continuation is where the next subscription goes on.
				again := f.from(inCBOR, "0", fmt.Sprintf(`{"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": %q}`, p.ContinuationSequenceNumber))
				f.expect(again, "")
				f.put("d")
				f.expect(again, "d")
				<-time.After(6 * time.Second)
				again.body.Close()
			}
			check(`{"Type": "TRIM_HORIZON"}`, "a b c")
			check(`{"Type": "LATEST"}`, "")
			check(fmt.Sprintf(`{"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": %q}`, second), "b c d d")
			check(fmt.Sprintf(`{"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": %q}`, second), "c d d d")
			check(fmt.Sprintf(`{"Type": "AT_TIMESTAMP", "Timestamp": %d}`, at), "b c d d d d")
		})
	}
}

// TestSubscriptionLife has a subscription that nothing happens to: a sign of life every five seconds, and
// an end after five minutes that is no error.
func TestSubscriptionLife(t *testing.T) {
	inBubble(t, func(f *fanout) {
		s := f.from(false, "0", `{"Type": "TRIM_HORIZON"}`)
		began := time.Now()
		first := f.expect(s, "")
		for i := range 59 {
			p := f.expect(s, "")
			if since, want := time.Since(began), time.Duration(i+1)*5*time.Second; since != want {
				t.Fatalf("sign of life %d comes after %v, want %v", i, since, want)
			}
			if p.ContinuationSequenceNumber != first.ContinuationSequenceNumber {
				t.Errorf("continuation %s became %s", first.ContinuationSequenceNumber, p.ContinuationSequenceNumber)
			}
		}
		if p, ok := s.next(); ok && p.summary() != "" { // the sixtieth falls on the end
			t.Errorf("got %q at the end", p.summary())
		} else if ok {
			f.ended(s)
		}
		if since := time.Since(began); since != 5*time.Minute {
			t.Errorf("it lasted %v", since)
		}
		s.body.Close()
		f.from(false, "0", `{"Type": "LATEST"}`).body.Close()
	})
}

// TestSubscriptionsEnd ends subscriptions from outside.
func TestSubscriptionsEnd(t *testing.T) {
	const taken = "ResourceInUseException: Another active subscription exists for this consumer."
	inBubble(t, func(f *fanout) {
		document := fmt.Sprintf(`{"ConsumerARN": %q, "ShardId": "0", "StartingPosition": {"Type": "LATEST"}}`, f.arn)
		first := f.from(false, "0", `{"Type": "LATEST"}`)
		f.expect(first, "")
		<-time.After(4999 * time.Millisecond)
		if s, a := f.subscribe(false, document); s != nil || a.status != 400 || a.code() != "ResourceInUseException" {
			t.Errorf("a second subscription within 5 s: %v %v", a.status, a.body)
		}
		<-time.After(time.Millisecond)
		second := f.from(true, "0", `{"Type": "LATEST"}`)
		if p, _ := first.next(); p.summary() != taken {
			if p.summary() != "" {
				t.Errorf("the first got %q", p.summary())
			}
			f.expect(first, taken)
		}
		f.ended(first)
		f.expect(second, "")
		// Another consumer has its own.
		wheel := f.arn
		f.arn = f.register("pond")
		third := f.from(false, "0", `{"Type": "LATEST"}`)
		f.expect(third, "")
		// A client that goes away makes room at once.
		third.body.Close()
		synctest.Wait()
		third = f.from(false, "0", `{"Type": "LATEST"}`)
		f.expect(third, "")

		f.must("DeregisterStreamConsumer", fmt.Sprintf(`{"ConsumerARN": %q}`, wheel))
		f.expect(second, "ResourceNotFoundException: Consumer wheel, account 123456789012 not found.")
		f.ended(second)
		f.must("DeleteStream", `{"StreamName": "mill", "EnforceConsumerDeletion": true}`)
		p, _ := third.next()
		if p.exception != "ResourceNotFoundException" {
			t.Errorf("after the stream's deletion: %q", p.summary())
		}
		f.ended(third)
	})
}

// TestSubscriptionsReshard reads on into the children of a split and of a merge.
func TestSubscriptionsReshard(t *testing.T) {
	for _, inCBOR := range []bool{false, true} {
		inBubble(t, func(f *fanout) {
			s := f.from(inCBOR, "0", `{"Type": "TRIM_HORIZON"}`)
			f.expect(s, "")
			f.put("a")
			f.expect(s, "a")
			f.must("SplitShard", `{"StreamName": "mill", "ShardToSplit": "0", "NewStartingHashKey": "170141183460469231731687303715884105728"}`)
			p := f.expect(s, "shardId-000000000001 of shardId-000000000000 shardId-000000000002 of shardId-000000000000")
			f.ended(s)
			if len(p.ChildShards) == 2 && p.ChildShards[1].HashKeyRange.StartingHashKey != "170141183460469231731687303715884105728" {
				t.Errorf("the second child has %v", p.ChildShards[1].HashKeyRange)
			}
			left, right := f.from(inCBOR, "1", `{"Type": "TRIM_HORIZON"}`), f.from(inCBOR, "2", `{"Type": "TRIM_HORIZON"}`)
			f.expect(left, "")
			f.expect(right, "")
			f.must("MergeShards", `{"StreamName": "mill", "ShardToMerge": "1", "AdjacentShardToMerge": "2"}`)
			for _, s := range []*subscription{left, right} {
				f.expect(s, "shardId-000000000003 of shardId-000000000001+shardId-000000000002")
				f.ended(s)
			}
			// What was closed before is read to its end as well.
			<-time.After(6 * time.Second)
			s = f.from(inCBOR, "0", `{"Type": "TRIM_HORIZON"}`)
			f.expect(s, "a shardId-000000000001 of shardId-000000000000 shardId-000000000002 of shardId-000000000000")
			f.ended(s)
			s = f.from(inCBOR, "1", `{"Type": "LATEST"}`)
			f.expect(s, "shardId-000000000003 of shardId-000000000001+shardId-000000000002")
			f.ended(s)
		})
	}
}

// TestManySubscribers sends a shard's records to twenty consumers in both formats, and to one that comes late.
func TestManySubscribers(t *testing.T) {
	inBubble(t, func(f *fanout) {
		f.put(strings.Repeat("x", 700_000)) // an event holds one such record, not two
		f.put(strings.Repeat("y", 700_000))
		var all []*subscription
		for i := range 19 {
			f.arn = f.register(fmt.Sprintf("c%d", i))
			all = append(all, f.from(i%2 == 1, "0", `{"Type": "TRIM_HORIZON"}`))
			<-time.After(time.Duration(i) * time.Second / 10)
		}
		for _, s := range all {
			p := f.expect(s, strings.Repeat("x", 700_000))
			if *p.MillisBehindLatest <= 0 {
				t.Errorf("behind by %d with a record to come", *p.MillisBehindLatest)
			}
			f.expect(s, strings.Repeat("y", 700_000))
		}
		last := f.put("z")
		for _, s := range all {
			p := f.expect(s, "z")
			if p.Records[0].SequenceNumber != last || p.ContinuationSequenceNumber != last || *p.MillisBehindLatest != 0 {
				t.Errorf("record %s, continuation %s, behind by %d; want %s twice", p.Records[0].SequenceNumber, p.ContinuationSequenceNumber, *p.MillisBehindLatest, last)
			}
			s.body.Close()
		}
	})
}

// TestSlowSubscriber has one client that takes nothing: the others get everything, it is cut after 30 s,
// and its consumer can subscribe again, and goes on where it was.
func TestSlowSubscriber(t *testing.T) {
	inBubble(t, func(f *fanout) {
		wheel, pond := f.arn, f.register("pond")
		slow := f.from(false, "0", `{"Type": "TRIM_HORIZON"}`)
		first := f.expect(slow, "")
		f.arn = pond
		quick := f.from(false, "0", `{"Type": "TRIM_HORIZON"}`)
		f.expect(quick, "")
		begun := time.Now()
		var want []string
		for i := range 40 { // 8 MiB, more than any buffer on the way
			data := strings.Repeat(string(rune('a'+i%26)), 200<<10)
			want = append(want, data)
			f.put(data)
			f.expect(quick, data)
			<-time.After(500 * time.Millisecond)
		}
		f.arn = wheel
		document := fmt.Sprintf(`{"ConsumerARN": %q, "ShardId": "0", "StartingPosition": {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": %q}}`, wheel, first.ContinuationSequenceNumber)
		<-time.After(time.Until(begun.Add(31 * time.Second)))
		if _, err := io.Copy(io.Discard, slow.body); err == nil {
			t.Error("the stream of the slow client ended as if nothing had been lost")
		}
		again, a := f.subscribe(false, document)
		if again == nil {
			t.Fatalf("a subscription after the slow one: %v", a.body)
		}
		var got []string
		for len(got) < len(want) {
			p, ok := again.next()
			if !ok || p.exception != "" {
				t.Fatalf("after %d records: %q", len(got), p.summary())
			}
			for _, r := range p.Records {
				got = append(got, string(r.Data))
			}
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("record %d is another", i)
			}
		}
		again.body.Close()
		quick.body.Close()
	})
}

// TestPushedWithoutKey puts a record without a partition key, which streams that place records by turns
// take: it is pushed without one, too.
func TestPushedWithoutKey(t *testing.T) {
	inBubble(t, func(f *fanout) {
		f.must("UpdateStreamMode", fmt.Sprintf(`{"StreamARN": %q, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}`, mill))
		f.must("UpdateStreamRecordDistributionStrategy", fmt.Sprintf(`{"StreamARN": %q, "RecordDistributionStrategy": "AUTO"}`, mill))
		f.must("PutRecord", `{"StreamName": "mill", "Data": "YQ=="}`)
		s := f.from(false, "0", `{"Type": "TRIM_HORIZON"}`)
		defer s.body.Close()
		m, err := s.d.Next()
		if err != nil || !bytes.Contains(m.Payload, []byte(`"Data":"YQ=="`)) || bytes.Contains(m.Payload, []byte("PartitionKey")) {
			t.Errorf("pushed %s, %v; want the record, without a partition key", m.Payload, err)
		}
	})
}
