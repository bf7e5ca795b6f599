package kinesis_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestStorm has many clients put, read, split, merge, scale, delete and create again at once, over
// TCP. Every record that was acknowledged is read exactly once by each reader, those of a partition
// key in the order of their puts, across every change of shards; no call fails on the server's side.
func TestStorm(t *testing.T) {
	const writers, batches = 4, 30
	s := newStorm(t)
	s.must("CreateStream", `{"StreamName": "mill", "ShardCount": 4}`)

	var readers, others, putters sync.WaitGroup
	seen := make([]map[string][]int, 2)
	for i := range seen {
		readers.Go(func() { seen[i] = s.follow(s.caller(i == 1)) })
	}
	acknowledged := make([]map[string][]int, writers)
	for i := range acknowledged {
		putters.Go(func() { acknowledged[i] = s.put(s.caller(i%2 == 1), i, batches) })
	}
	for i := range 2 {
		others.Go(func() { s.reshard(s.caller(false), uint64(i)) })
		others.Go(func() { s.churn(s.caller(i == 1), uint64(i)) })
	}
	putters.Wait()
	others.Wait()
	s.over.Store(true)
	readers.Wait()

	want := map[string][]int{}
	for _, keys := range acknowledged {
		for k, records := range keys {
			want[k] = records
		}
	}
	for _, got := range seen {
		if len(got) != len(want) {
			t.Errorf("a reader saw %d partition keys, want %d", len(got), len(want))
		}
		for k, records := range want {
			if !slices.Equal(got[k], records) {
				t.Errorf("key %s: read %v, want %v", k, got[k], records)
			}
		}
	}
	t.Logf("%d reshards, %d streams came and went", s.reshards.Load(), s.churned.Load())
}

type storm struct {
	t        *testing.T
	server   *httptest.Server
	over     atomic.Bool // no more records will be put
	reshards atomic.Int32
	churned  atomic.Int32
}

func newStorm(t *testing.T) *storm {
	w := newWorld(t, setup{memory: 256 << 20})
	s := &storm{t: t, server: httptest.NewUnstartedServer(w.handler)}
	s.server.Config.Protocols = new(http.Protocols)
	s.server.Config.Protocols.SetHTTP1(true)
	s.server.Config.Protocols.SetUnencryptedHTTP2(true)
	s.server.Start()
	t.Cleanup(func() {
		s.server.Close()
		w.close()
	})
	return s
}

// caller is one client: HTTP/1.1 and JSON, or HTTP/2 and CBOR.
type caller struct {
	client
	cbor bool
}

func (s *storm) caller(cbor bool) *caller {
	p := new(http.Protocols)
	p.SetHTTP1(!cbor)
	p.SetUnencryptedHTTP2(cbor)
	transport := &http.Transport{Protocols: p, DisableCompression: true}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &caller{client{t: s.t, http: &http.Client{Transport: transport}, url: s.server.URL, account: "123456789012", region: "eu-west-1"}, cbor}
}

// do makes a call; ok is false if it was refused. out receives the answer.
func (c *caller) do(out any, operation, format string, args ...any) (code string, ok bool) {
	c.t.Helper()
	document := fmt.Sprintf(format, args...)
	var a answer
	if c.cbor {
		a, _ = c.callCBOR(operation, document)
	} else {
		a = c.call(operation, document)
	}
	if a.status >= 500 {
		c.t.Errorf("%s %s: status %d: %v", operation, document, a.status, a.body)
	}
	if a.status != http.StatusOK {
		return a.code(), false
	}
	if out != nil {
		text, err := json.Marshal(a.body)
		if err == nil {
			err = json.Unmarshal(text, out)
		}
		if err != nil {
			c.t.Errorf("%s: %v", operation, err)
		}
	}
	return "", true
}

func (s *storm) must(operation, document string) {
	s.t.Helper()
	if code, ok := s.caller(false).do(nil, operation, "%s", document); !ok {
		s.t.Fatalf("%s: %s", operation, code)
	}
}

// put writes batches of numbered records with keys of its own and returns what was acknowledged.
func (s *storm) put(c *caller, writer, batches int) map[string][]int {
	acknowledged := map[string][]int{}
	n := 0
	for range batches {
		var records, keys []string
		var numbers []int
		for range 20 {
			key := fmt.Sprintf("writer %d key %d", writer, n%7)
			data := base64.StdEncoding.EncodeToString(fmt.Append(nil, n))
			records = append(records, fmt.Sprintf(`{"PartitionKey": %q, "Data": %q}`, key, data))
			keys, numbers = append(keys, key), append(numbers, n)
			n++
		}
		var out struct {
			FailedRecordCount int
			Records           []struct{ SequenceNumber, ErrorCode, ErrorMessage string }
		}
		code, ok := c.do(&out, "PutRecords", `{"StreamName": "mill", "Records": [%s]}`, strings.Join(records, ","))
		if !ok || out.FailedRecordCount != 0 || len(out.Records) != len(records) {
			s.t.Errorf("PutRecords: %s, %+v", code, out)
			continue
		}
		for i, k := range keys {
			acknowledged[k] = append(acknowledged[k], numbers[i])
		}
	}
	return acknowledged
}

// reshard splits, merges and scales the stream. Being too late is fine, nothing else is.
func (s *storm) reshard(c *caller, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	type shard struct {
		ShardId      string
		HashKeyRange struct{ StartingHashKey, EndingHashKey string }
	}
	for range 15 {
		var list struct{ Shards []shard }
		if code, ok := c.do(&list, "ListShards", `{"StreamName": "mill", "ShardFilter": {"Type": "AT_LATEST"}}`); !ok {
			s.t.Errorf("ListShards: %s", code)
			return
		}
		slices.SortFunc(list.Shards, func(a, b shard) int {
			x, y := a.HashKeyRange.StartingHashKey, b.HashKeyRange.StartingHashKey
			return (len(x)-len(y))*2 + strings.Compare(x, y)
		})
		n := len(list.Shards)
		i := r.IntN(n)
		var code string
		var ok bool
		switch kind := r.IntN(3); {
		case kind == 0 && n < 12:
			start := list.Shards[i].HashKeyRange.StartingHashKey
			code, ok = c.do(nil, "SplitShard", `{"StreamName": "mill", "ShardToSplit": %q, "NewStartingHashKey": %q}`,
				list.Shards[i].ShardId, start[:len(start)-1]+fmt.Sprint(min(9, 2+int(start[len(start)-1]-'0'))))
		case kind == 1 && i+1 < n:
			code, ok = c.do(nil, "MergeShards", `{"StreamName": "mill", "ShardToMerge": %q, "AdjacentShardToMerge": %q}`,
				list.Shards[i].ShardId, list.Shards[i+1].ShardId)
		default:
			code, ok = c.do(nil, "UpdateShardCount", `{"StreamName": "mill", "TargetShardCount": %d, "ScalingType": "UNIFORM_SCALING"}`,
				min(max(2, (n+1)/2), 6))
		}
		if ok {
			s.reshards.Add(1)
		}
		s.allow(code, "ResourceInUseException", "InvalidArgumentException", "LimitExceededException")
	}
}

// allow fails the test for an error code that is not among the given ones.
func (s *storm) allow(code string, codes ...string) {
	s.t.Helper()
	if code != "" && !slices.Contains(codes, code) {
		s.t.Errorf("refused with %s, want one of %v", code, codes)
	}
}

// churn creates, uses and deletes streams under names that others use too.
func (s *storm) churn(c *caller, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	for range 25 {
		name := fmt.Sprintf("churn-%d", r.IntN(3))
		code, ok := c.do(nil, "CreateStream", `{"StreamName": %q, "ShardCount": 2}`, name)
		s.allow(code, "ResourceInUseException")
		if ok {
			s.churned.Add(1)
		}
		code, _ = c.do(nil, "PutRecord", `{"StreamName": %q, "PartitionKey": "k", "Data": "aGVsbG8="}`, name)
		s.allow(code, "ResourceNotFoundException")
		var it struct{ ShardIterator string }
		code, ok = c.do(&it, "GetShardIterator", `{"StreamName": %q, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}`, name)
		s.allow(code, "ResourceNotFoundException")
		if ok {
			code, _ = c.do(nil, "GetRecords", `{"ShardIterator": %q}`, it.ShardIterator)
			s.allow(code, "ResourceNotFoundException")
		}
		code, _ = c.do(nil, "UpdateShardCount", `{"StreamName": %q, "TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING"}`, name)
		s.allow(code, "ResourceNotFoundException", "ResourceInUseException")
		code, _ = c.do(nil, "ListStreams", `{"Limit": 2}`)
		s.allow(code)
		code, _ = c.do(nil, "DeleteStream", `{"StreamName": %q}`, name)
		s.allow(code, "ResourceNotFoundException")
	}
}

// follow reads the stream the way a consumer does: shards from their beginning, children when all
// their parents have ended. It stops when nothing is left and nothing will come, and returns the
// numbers it read by partition key.
func (s *storm) follow(c *caller) map[string][]int {
	seen := map[string][]int{}
	done, begun := map[string]bool{}, map[string]bool{}
	at := map[string]string{} // the iterator of each shard being read
	begin := func(shard string) {
		var it struct{ ShardIterator string }
		code, ok := c.do(&it, "GetShardIterator", `{"StreamName": "mill", "ShardId": %q, "ShardIteratorType": "TRIM_HORIZON"}`, shard)
		if !ok {
			s.t.Errorf("GetShardIterator: %s", code)
		}
		at[shard], begun[shard] = it.ShardIterator, true
	}
	for i := range 4 {
		begin(fmt.Sprintf("shardId-%012d", i))
	}
	for quiet := false; !quiet && !s.t.Failed(); {
		quiet = s.over.Load()
		for shard, it := range at {
			var page readPage
			if code, ok := c.do(&page, "GetRecords", `{"ShardIterator": %q, "Limit": 100}`, it); !ok {
				s.t.Errorf("GetRecords: %s", code)
				return seen
			}
			page.collect(s.t, seen)
			quiet = quiet && len(page.Records) == 0 && page.MillisBehindLatest == 0 && page.NextShardIterator != ""
			if at[shard] = page.NextShardIterator; page.NextShardIterator != "" {
				continue
			}
			delete(at, shard)
			done[shard] = true
			for _, child := range page.ChildShards {
				if !begun[child.ShardId] && !slices.ContainsFunc(child.ParentShards, func(p string) bool { return !done[p] }) {
					begin(child.ShardId)
				}
			}
		}
	}
	return seen
}

// readPage is what a reader wants of GetRecords.
type readPage struct {
	Records []struct {
		PartitionKey string
		Data         []byte
	}
	NextShardIterator  string
	MillisBehindLatest int64
	ChildShards        []struct {
		ShardId      string
		ParentShards []string
	}
}

// collect adds the page's numbers to seen.
func (p *readPage) collect(t *testing.T, seen map[string][]int) {
	if (p.NextShardIterator == "") != (len(p.ChildShards) > 0) {
		t.Errorf("an answer with iterator %q and children %v", p.NextShardIterator, p.ChildShards)
	}
	for _, r := range p.Records {
		var n int
		if _, err := fmt.Sscan(string(r.Data), &n); err != nil {
			t.Errorf("a record with data %q", r.Data)
		}
		seen[r.PartitionKey] = append(seen[r.PartitionKey], n)
	}
}
