package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/headrace/headrace/internal/binarytest"
	"github.com/headrace/headrace/internal/testpoll"
	"github.com/headrace/headrace/internal/wire/eventstream"
)

const (
	largeWriters = 100
	largeShards  = 4
	largeKey     = 4 // bytes of a partition key
	largeData    = 10<<20 - largeKey
	// largeStep is how far apart in the common bytes the data of two records begins. Like largeData it is
	// a multiple of three, so that the base64 of each is a part of that of all.
	largeStep = 3 * 1361
	// largeMachine is the memory of the machine that the server is meant for, and largeMemory what
	// `memory: auto` makes of that.
	largeMachine, largeMemory = 512 << 20, "128MiB"
	largePatience             = 4 * time.Minute // on a machine that is busy
)

// TestLargeRecords has a hundred clients put a record of 10 MiB each, half of them in JSON and half in
// CBOR, all at once into a server with the memory of a small machine, while consumers are pushed what
// comes. What finds no room is throttled as AWS throttles and succeeds when it is tried again; whoever
// reads, in either format or pushed, gets every record byte for byte; and the server never holds more
// memory than the machine has.
func TestLargeRecords(t *testing.T) {
	s, err := binarytest.LaunchProfile(binary, "serve", "--insecure-auth", "--data", filepath.Join(t.TempDir(), "data"),
		"--wal-size", "256MiB", "--memory", largeMemory, "--log-level", "error")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("headrace did not stop cleanly: %v\n%s", err, s.Output())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), largePatience)
	defer cancel()
	l := newLarge(t, s.Endpoint)
	defer l.http.CloseIdleConnections()
	consumer := l.create(ctx)

	begin := time.Now()
	subscribed, unsubscribe := context.WithCancel(ctx)
	defer unsubscribe()
	var pushed, clients sync.WaitGroup
	for shard := range largeShards {
		pushed.Go(func() { l.subscribe(subscribed, shard, consumer, formats[shard%2]) })
	}
	for i := range largeWriters {
		clients.Go(func() { l.put(ctx, i, formats[i%2]) })
	}
	clients.Wait()
	t.Logf("%d records of 10 MiB were put in %v; calls throttled: %v", len(l.acked), time.Since(begin).Round(time.Millisecond), l.throttled)
	for shard := range largeShards {
		for _, f := range formats {
			clients.Go(func() { l.read(ctx, shard, f) })
		}
	}
	clients.Wait()
	if !t.Failed() {
		testpoll.Until(t, largePatience, func() bool { return l.count(wasPushed) == len(l.acked) }, "all records to be pushed")
	}
	unsubscribe()
	pushed.Wait()
	t.Logf("and read in three ways after %v; calls throttled: %v", time.Since(begin).Round(time.Millisecond), l.throttled)
	l.judge()
	most := peakMemory(t, s.Process())
	t.Logf("the server took %d MiB of memory at most", most>>20)
	if most > largeMachine {
		t.Errorf("the server took %d MiB of memory; want at most %d", most>>20, largeMachine>>20)
	}
}

// peakMemory returns the most memory that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no VmHWM in\n%s", text)
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// formats are the content types that clients speak.
var formats = [...]string{typeJSON, typeCBOR}

// wasPushed is the way to see a record without asking for it.
const wasPushed = "SubscribeToShard"

// large is the records, and who has seen them. The data of record i are the common bytes from i steps on:
// they differ from those of every other record everywhere, and all clients together take little more memory
// than one record does.
type large struct {
	t        *testing.T
	endpoint string
	http     *http.Client
	common   []byte
	base64   []byte // of common

	mu        sync.Mutex
	acked     map[int]string            // the numbers of records that were put
	throttled map[string]int            // calls, by error
	seen      map[string]map[int]string // the numbers of records that were read, by way
}

func newLarge(t *testing.T, endpoint string) *large {
	l := &large{
		t: t, endpoint: endpoint, http: &http.Client{Transport: &http.Transport{DisableCompression: true}},
		common: make([]byte, largeData+largeWriters*largeStep),
		acked:  map[int]string{}, throttled: map[string]int{}, seen: map[string]map[int]string{},
	}
	_, _ = rand.NewChaCha8([32]byte{10}).Read(l.common) // never fails
	l.base64 = base64.StdEncoding.AppendEncode(nil, l.common)
	return l
}

// data returns the data of record i, in base64 or as they are.
func (l *large) data(i int, in string) []byte {
	if in == typeJSON {
		return l.base64[i*largeStep/3*4:][:largeData/3*4]
	}
	return l.common[i*largeStep:][:largeData]
}

func keyOf(i int) string { return fmt.Sprintf("k%03d", i) }

// create makes the stream and its consumer.
func (l *large) create(ctx context.Context) (consumer string) {
	l.must(ctx, "CreateStream", map[string]any{"StreamName": "large", "ShardCount": largeShards, "MaxRecordSizeInKiB": 10240}, nil)
	summary := struct {
		StreamDescriptionSummary struct{ StreamARN, StreamStatus string }
	}{}
	testpoll.Until(l.t, patience, func() bool {
		l.must(ctx, "DescribeStreamSummary", map[string]any{"StreamName": "large"}, &summary)
		return summary.StreamDescriptionSummary.StreamStatus == "ACTIVE"
	}, "the stream to be ACTIVE")
	made := struct{ Consumer struct{ ConsumerARN string } }{}
	l.must(ctx, "RegisterStreamConsumer", map[string]any{"StreamARN": summary.StreamDescriptionSummary.StreamARN, "ConsumerName": "wheel"}, &made)
	testpoll.Until(l.t, patience, func() bool {
		found := struct {
			ConsumerDescription struct{ ConsumerStatus string }
		}{}
		l.must(ctx, "DescribeStreamConsumer", map[string]any{"ConsumerARN": made.Consumer.ConsumerARN}, &found)
		return found.ConsumerDescription.ConsumerStatus == "ACTIVE"
	}, "the consumer to be ACTIVE")
	return made.Consumer.ConsumerARN
}

// must makes a small call in JSON that has to succeed.
func (l *large) must(ctx context.Context, operation string, in map[string]any, out any) {
	l.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		l.t.Fatal(err)
	}
	answer, err := l.call(ctx, operation, typeJSON, body)
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		l.t.Fatalf("%s: %v", operation, err)
	}
}

// send makes a call, whose body is the parts one after the other, and returns the answer, which is open.
func (l *large) send(ctx context.Context, operation, contentType string, parts ...[]byte) (*http.Response, error) {
	var body []io.Reader
	size := 0
	for _, p := range parts {
		body = append(body, bytes.NewReader(p))
		size += len(p)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.endpoint, io.MultiReader(body...))
	if err != nil {
		return nil, err
	}
	r.ContentLength = int64(size)
	r.Header.Set("Authorization", authorization)
	r.Header.Set("X-Amz-Date", "20260101T000000Z")
	r.Header.Set("X-Amz-Target", target+operation)
	r.Header.Set("Content-Type", contentType)
	return l.http.Do(r)
}

// call makes a call until it is not throttled, waiting longer each time as AWS's SDKs do, and returns what it
// answers.
func (l *large) call(ctx context.Context, operation, contentType string, parts ...[]byte) ([]byte, error) {
	for wait := 250; ; wait = min(2*wait, 4000) {
		resp, err := l.send(ctx, operation, contentType, parts...)
		if err != nil {
			return nil, err
		}
		answer := make([]byte, max(resp.ContentLength, 0))
		_, err = io.ReadFull(resp.Body, answer)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode == http.StatusOK {
			return answer, err
		}
		kind := resp.Header.Get("X-Amzn-Errortype")
		if kind != "ProvisionedThroughputExceededException" && kind != "ThrottlingException" {
			return nil, fmt.Errorf("%s: %s", resp.Status, answer)
		}
		l.mu.Lock()
		l.throttled[operation+" "+kind]++
		l.mu.Unlock()
		if err := pause(ctx, time.Duration(wait/2+rand.IntN(wait))*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// pause waits as clients do before they try again.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// put puts record i.
func (l *large) put(ctx context.Context, i int, in string) {
	head, tail := []byte(`{"StreamName":"large","PartitionKey":"`+keyOf(i)+`","Data":"`), []byte(`"}`)
	if in == typeCBOR {
		var err error
		if head, err = cbor.Marshal(map[string]string{"StreamName": "large", "PartitionKey": keyOf(i)}); err != nil {
			l.t.Error(err)
			return
		}
		head[0]++ // one more member, whose value follows
		head = append(head, "\x64Data\x5a"...)
		head, tail = append(head, largeData>>24, largeData>>16&0xff, largeData>>8&0xff, largeData&0xff), nil
	}
	answer, err := l.call(ctx, "PutRecord", in, head, l.data(i, in), tail)
	var out struct{ SequenceNumber string }
	if err == nil {
		err = unmarshal(in, answer, &out)
	}
	if err != nil {
		l.t.Errorf("put record %d in %s: %v", i, in, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[i] = out.SequenceNumber
}

func unmarshal(in string, b []byte, v any) error {
	if in == typeCBOR {
		return cbor.Unmarshal(b, v)
	}
	return json.Unmarshal(b, v)
}

// largePage is an answer of GetRecords or an event.
type largePage struct {
	Records []struct {
		PartitionKey, SequenceNumber string
		Data                         []byte
	}
	NextShardIterator  string
	MillisBehindLatest int64
}

// look holds the records of a page against what was put. Those in base64 are compared as they are, which
// takes a fraction of the time that a decoder does.
func (l *large) look(way, in string, body []byte) (p largePage, err error) {
	var texts [][]byte
	if in == typeJSON {
		const member = `"Data":"`
		var rest []byte
		for {
			before, after, found := bytes.Cut(body, []byte(member))
			rest = append(rest, before...)
			if !found {
				break
			}
			text, behind, _ := bytes.Cut(after, []byte(`"`))
			texts, body = append(texts, text), behind
			rest = append(rest, member+`"`...)
		}
		body = rest
	}
	if err := unmarshal(in, body, &p); err != nil {
		return p, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[way] == nil {
		l.seen[way] = map[int]string{}
	}
	for n, r := range p.Records {
		data := r.Data
		if in == typeJSON {
			data = texts[n]
		}
		i, err := strconv.Atoi(strings.TrimPrefix(r.PartitionKey, "k"))
		switch {
		case err != nil || i < 0 || i >= largeWriters:
			return p, fmt.Errorf("a record has the partition key %q", r.PartitionKey)
		case !bytes.Equal(data, l.data(i, in)):
			return p, fmt.Errorf("record %d has other bytes than were put", i)
		case l.seen[way][i] != "":
			return p, fmt.Errorf("record %d came twice, as %s and %s", i, l.seen[way][i], r.SequenceNumber)
		}
		l.seen[way][i] = r.SequenceNumber
	}
	return p, nil
}

// count returns how many records were seen in a way.
func (l *large) count(way string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen[way])
}

func shardName(shard int) string { return fmt.Sprintf("shardId-%012d", shard) }

// read reads a shard from its beginning to its end.
func (l *large) read(ctx context.Context, shard int, in string) {
	var first struct{ ShardIterator string }
	l.must(ctx, "GetShardIterator", map[string]any{"StreamName": "large", "ShardId": shardName(shard), "ShardIteratorType": "TRIM_HORIZON"}, &first)
	for at := first.ShardIterator; ; {
		body, err := json.Marshal(map[string]string{"ShardIterator": at})
		if in == typeCBOR {
			body, err = cbor.Marshal(map[string]string{"ShardIterator": at})
		}
		if err == nil {
			body, err = l.call(ctx, "GetRecords", in, body)
		}
		var p largePage
		if err == nil {
			p, err = l.look("GetRecords in "+in, in, body)
		}
		if err != nil {
			l.t.Errorf("read shard %d in %s: %v", shard, in, err)
			return
		}
		if at = p.NextShardIterator; len(p.Records) == 0 && p.MillisBehindLatest == 0 {
			return
		}
	}
}

// subscribe is pushed a shard's records until the context is done.
func (l *large) subscribe(ctx context.Context, shard int, consumer, in string) {
	asked := map[string]any{"ConsumerARN": consumer, "ShardId": shardName(shard), "StartingPosition": map[string]string{"Type": "TRIM_HORIZON"}}
	body, err := json.Marshal(asked)
	if in == typeCBOR {
		body, err = cbor.Marshal(asked)
	}
	if err != nil {
		l.t.Error(err)
		return
	}
	resp, err := l.send(ctx, "SubscribeToShard", in, body)
	if err != nil {
		l.t.Errorf("subscribe to shard %d in %s: %v", shard, in, err)
		return
	}
	defer resp.Body.Close()
	d := eventstream.Decoder{From: resp.Body}
	for {
		m, err := d.Next()
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil:
		case m.Header(eventstream.MessageType) != eventstream.Event:
			err = fmt.Errorf("%s: %s", m.Header(eventstream.ExceptionType), m.Payload)
		case m.Header(eventstream.EventType) != "initial-response":
			_, err = l.look(wasPushed, in, m.Payload)
		}
		if err != nil {
			l.t.Errorf("subscription to shard %d in %s: %v", shard, in, err)
			return
		}
	}
}

// judge holds what was seen in each way against what was acknowledged.
func (l *large) judge() {
	if len(l.acked) != largeWriters {
		l.t.Errorf("%d records were acknowledged; want %d", len(l.acked), largeWriters)
	}
	for _, way := range []string{wasPushed, "GetRecords in " + typeJSON, "GetRecords in " + typeCBOR} {
		for i, number := range l.acked {
			if got := l.seen[way][i]; got != number {
				l.t.Errorf("%s: record %d has the number %q; want %q", way, i, got, number)
			}
		}
	}
}
