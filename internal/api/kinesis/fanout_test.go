package kinesis_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestFanOutAgreesWithPolling reads a stream through random reshards in four ways: polling and pushed, in
// JSON over HTTP/1.1 and in CBOR over HTTP/2. Every shard has the same records for all of them, to the
// byte, and every record that was acknowledged is there once.
func TestFanOutAgreesWithPolling(t *testing.T) {
	testFanOut(t, newStorm(t), func() {})
}

// TestEncryptedFanOut is the same while the stream is encrypted, with one key after another, or for a while
// not.
func TestEncryptedFanOut(t *testing.T) {
	s := newStorm(t)
	changes := 0
	seen := testFanOut(t, s, func() {
		c := s.caller(true)
		for i := range 60 {
			operation := "StartStreamEncryption"
			if i%4 == 3 {
				operation = "StopStreamEncryption"
			}
			code, ok := c.do(nil, operation, `{"StreamName": "mill", "EncryptionType": "KMS", "KeyId": "alias/mill-%d"}`, (i-i%4/3)%5)
			s.allow(code, "ResourceInUseException", "InvalidArgumentException")
			if ok {
				changes++
			}
		}
	})
	forms := map[bool]int{}
	for _, records := range seen {
		for _, r := range records {
			forms[strings.Contains(r, "EncryptionType=KMS ")]++
		}
	}
	t.Logf("%d changes of encryption, %d records sealed, %d in clear", changes, forms[true], forms[false])
	if changes < 5 || forms[true] == 0 {
		t.Errorf("%d changes of encryption, %d records sealed; want more", changes, forms[true])
	}
}

// testFanOut returns the records of each shard.
func testFanOut(t *testing.T, s *storm, meanwhile func()) map[string][]string {
	const writers, batches = 3, 40
	s.must("CreateStream", `{"StreamName": "mill", "ShardCount": 4}`)
	var followers []*follower
	var following, putting sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for i := range 4 {
		f := &follower{storm: s, caller: s.caller(i%2 == 1), seen: map[string][]string{}, begun: map[string]bool{}, done: map[string]bool{}}
		if i < 2 {
			f.read = f.poll
		} else {
			f.arn = f.register(fmt.Sprintf("consumer-%d", i))
			f.read = f.subscribed
		}
		followers = append(followers, f)
		ctx, enough := context.WithCancel(ctx)
		f.enough = enough
		following.Go(func() { f.follow(ctx) })
	}
	acknowledged := make([]map[string][]int, writers)
	for i := range acknowledged {
		putting.Go(func() { acknowledged[i] = s.put(s.caller(i%2 == 1), i, batches) })
	}
	putting.Go(func() { s.reshard(s.caller(false), 7) })
	putting.Go(meanwhile)
	putting.Wait()
	total := 0
	for _, keys := range acknowledged {
		for _, numbers := range keys {
			total += len(numbers)
		}
	}
	for _, f := range followers {
		f.want.Store(int64(total))
		f.check(0)
	}
	following.Wait()
	want := followers[0].seen
	for i, f := range followers {
		n := 0
		for shard, records := range f.seen {
			n += len(records)
			if !slices.Equal(records, want[shard]) {
				t.Errorf("reader %d saw in %s\n%s\nand the first reader\n%s", i, shard, strings.Join(records, "\n"), strings.Join(want[shard], "\n"))
			}
		}
		if n != total || len(f.seen) != len(want) {
			t.Errorf("reader %d saw %d records in %d shards, want %d in %d", i, n, len(f.seen), total, len(want))
		}
	}
	t.Logf("%d records through %d reshards", total, s.reshards.Load())
	return want
}

// follower reads all shards of a stream, parents before children.
type follower struct {
	*storm
	*caller
	arn  string
	read func(ctx context.Context, shard string) []childShard

	count, want atomic.Int64
	enough      context.CancelFunc

	mu          sync.Mutex
	seen        map[string][]string // by shard
	begun, done map[string]bool
	shards      sync.WaitGroup
}

type childShard struct {
	ShardId      string
	ParentShards []string
}

func (f *follower) register(name string) string {
	var out struct{ Consumer struct{ ConsumerARN string } }
	if code, ok := f.do(&out, "RegisterStreamConsumer", `{"StreamARN": %q, "ConsumerName": %q}`, mill, name); !ok {
		f.storm.t.Errorf("RegisterStreamConsumer: %s", code)
	}
	return out.Consumer.ConsumerARN
}

// follow reads until as many records were seen as there are.
func (f *follower) follow(ctx context.Context) {
	defer f.enough()
	for i := range 4 {
		f.begin(ctx, fmt.Sprintf("shardId-%012d", i))
	}
	f.shards.Wait()
}

// begin reads a shard, and then the children whose parents have all been read.
func (f *follower) begin(ctx context.Context, shard string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun[shard] {
		return
	}
	f.begun[shard] = true
	f.shards.Go(func() {
		children := f.read(ctx, shard)
		f.mu.Lock()
		f.done[shard] = true
		var ready []string
		for _, c := range children {
			if !slices.ContainsFunc(c.ParentShards, func(p string) bool { return !f.done[p] }) {
				ready = append(ready, c.ShardId)
			}
		}
		f.mu.Unlock()
		for _, child := range ready {
			f.begin(ctx, child)
		}
	})
}

// saw notes records of a shard.
func (f *follower) saw(shard string, records []string) {
	f.mu.Lock()
	f.seen[shard] = append(f.seen[shard], records...)
	f.mu.Unlock()
	f.check(len(records))
}

// check ends the reading when there is no more to come.
func (f *follower) check(more int) {
	if n, want := f.count.Add(int64(more)), f.want.Load(); want > 0 && n >= want {
		f.enough()
	}
}

func (f *follower) poll(ctx context.Context, shard string) []childShard {
	var it struct{ ShardIterator string }
	if code, ok := f.do(&it, "GetShardIterator", `{"StreamName": "mill", "ShardId": %q, "ShardIteratorType": "TRIM_HORIZON"}`, shard); !ok {
		f.storm.t.Errorf("GetShardIterator: %s", code)
		return nil
	}
	for next := it.ShardIterator; ctx.Err() == nil; {
		var page struct {
			Records           []map[string]any
			NextShardIterator string
			ChildShards       []childShard
		}
		if code, ok := f.do(&page, "GetRecords", `{"ShardIterator": %q, "Limit": 50}`, next); !ok {
			f.storm.t.Errorf("GetRecords: %s", code)
			return nil
		}
		f.saw(shard, texts(page.Records))
		if next = page.NextShardIterator; next == "" {
			return page.ChildShards
		}
	}
	return nil
}

func (f *follower) subscribed(ctx context.Context, shard string) []childShard {
	s, a := f.subscribe(f.cbor, fmt.Sprintf(`{"ConsumerARN": %q, "ShardId": %q, "StartingPosition": {"Type": "TRIM_HORIZON"}}`, f.arn, shard))
	if s == nil {
		f.storm.t.Errorf("SubscribeToShard: %v", a.body)
		return nil
	}
	defer s.body.Close()
	defer context.AfterFunc(ctx, func() { s.body.Close() })()
	for {
		p, ok := s.nextUntil(ctx)
		if !ok || p.exception != "" {
			if ctx.Err() == nil {
				f.storm.t.Errorf("the subscription to %s ended with %q", shard, p.summary())
			}
			return nil
		}
		text, err := json.Marshal(p.Records)
		var records []map[string]any
		if err == nil {
			err = json.Unmarshal(text, &records)
		}
		if err != nil {
			f.storm.t.Error(err)
		}
		f.saw(shard, texts(records))
		if len(p.ChildShards) > 0 {
			var children []childShard
			for _, c := range p.ChildShards {
				children = append(children, childShard{c.ShardId, c.ParentShards})
			}
			return children
		}
	}
}

// nextUntil is next for a stream that is cut off when ctx is done.
func (s *subscription) nextUntil(ctx context.Context) (pushed, bool) {
	quiet := *s
	if ctx.Err() != nil {
		return pushed{}, false
	}
	quiet.t = silenced{s.t, ctx.Err}
	p, ok := quiet.next()
	s.d = quiet.d
	return p, ok
}

// silenced hears of no failures once over returns something.
type silenced struct {
	testing.TB
	over func() error
}

func (s silenced) Errorf(format string, args ...any) {
	if s.over() == nil {
		s.TB.Errorf(format, args...)
	}
}

// texts writes records out, all of each.
func texts(records []map[string]any) []string {
	var out []string
	for _, r := range records {
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(r)) {
			fmt.Fprintf(&b, "%s=%v ", k, r[k])
		}
		out = append(out, b.String())
	}
	return out
}
