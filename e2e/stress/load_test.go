package stress

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"time"

	"github.com/headrace/headrace/e2e/node"
)

// keysEach is how many partition keys a writer has in each stream. A key's records are numbered from 1.
const keysEach = 50

// writer puts one record for each of its keys at a time, so that what was refused can come before what
// follows it.
type writer struct {
	*world
	name string
	// last is the number of each key's last record, by stream.
	last [][keysEach]uint64
}

func newWriter(w *world, n, streams int) *writer {
	return &writer{world: w, name: fmt.Sprint("writer-", n), last: make([][keysEach]uint64, streams)}
}

func (wr *writer) key(n int) string { return fmt.Sprint(wr.name, ".", n) }

func (wr *writer) run(ctx context.Context) {
	rng := rand.New(rand.NewPCG(uint64(len(wr.name)), uint64(wr.name[len(wr.name)-1])))
	pace := time.NewTicker(wr.scale.pace)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		if wr.failed(ctx, wr.put(ctx, n%len(wr.last), rng)) {
			return
		}
	}
}

// put puts the next record of every key of a stream. A call is not cut off: its outcome must be known.
func (wr *writer) put(ctx context.Context, stream int, rng *rand.Rand) error {
	var records []node.Fields
	noise := rand.NewChaCha8([32]byte{byte(rng.Uint64())})
	for n := range keysEach {
		data := make([]byte, 8+rng.IntN(1000))
		_, _ = noise.Read(data) // never fails
		binary.BigEndian.PutUint64(data, wr.last[stream][n]+1)
		records = append(records, node.Fields{"PartitionKey": wr.key(n), "Data": data})
	}
	var out struct {
		Records []struct{ SequenceNumber, ErrorCode string }
	}
	err := wr.call(context.WithoutCancel(ctx), "PutRecords", node.Fields{"StreamName": fmt.Sprint("mill-", stream), "Records": records}, &out)
	if err != nil {
		return err
	}
	for n, r := range out.Records {
		switch r.ErrorCode {
		case "":
			wr.last[stream][n]++
			wr.count("put", 1)
		case "ProvisionedThroughputExceededException":
			wr.count("throttled", 1)
		default:
			wr.wrong("a record failed with %s", r.ErrorCode)
		}
	}
	return nil
}

// reader reads a stream as consumers do: shards from their beginning, none before its parents.
type reader struct {
	*world
	stream string
	last   map[string]uint64 // by key
	after  map[string]string // by shard, the last number read
	done   map[string]bool   // closed shards that were read to their end
	read   int
}

func newReader(w *world, stream string) *reader {
	return &reader{world: w, stream: stream, last: map[string]uint64{}, after: map[string]string{}, done: map[string]bool{}}
}

func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		if r.failed(ctx, r.pass(ctx)) {
			return
		}
		pause(ctx, r.scale.sample)
	}
}

type shardInfo struct {
	ShardID        string `json:"ShardId"`
	Parent         string `json:"ParentShardId"`
	AdjacentParent string `json:"AdjacentParentShardId"`
	HashKeyRange   struct{ StartingHashKey, EndingHashKey string }
	Range          struct{ EndingSequenceNumber string } `json:"SequenceNumberRange"`
}

func (s *shardInfo) closed() bool { return s.Range.EndingSequenceNumber != "" }

// shards lists a stream's shards.
func (w *world) shards(ctx context.Context, stream string) ([]shardInfo, error) {
	var all []shardInfo
	for in := (node.Fields{"StreamName": stream}); ; {
		var out struct {
			Shards    []shardInfo
			NextToken string
		}
		if err := w.call(ctx, "ListShards", in, &out); err != nil {
			return nil, err
		}
		if all = append(all, out.Shards...); out.NextToken == "" {
			return all, nil
		}
		in = node.Fields{"NextToken": out.NextToken}
	}
}

// pass reads what there is.
func (r *reader) pass(ctx context.Context) error {
	shards, err := r.shards(ctx, r.stream)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, s := range shards {
		there[s.ShardID] = true
	}
	for id := range r.after { // shards of age go, and must have been read by then
		if !there[id] && !r.done[id] {
			r.wrong("%s of %s is gone before it was read to its end", id, r.stream)
		}
		if !there[id] {
			delete(r.after, id)
			delete(r.done, id)
		}
	}
	for _, s := range shards { // in order of their numbers: parents first
		waits := false
		for _, p := range []string{s.Parent, s.AdjacentParent} {
			waits = waits || p != "" && there[p] && !r.done[p]
		}
		if waits || r.done[s.ShardID] {
			continue
		}
		if err := r.readShard(ctx, s.ShardID); err != nil {
			return err
		}
	}
	return nil
}

// readShard reads a shard from where the last pass ended.
func (r *reader) readShard(ctx context.Context, shard string) error {
	in := node.Fields{"StreamName": r.stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
	if at := r.after[shard]; at != "" {
		in["ShardIteratorType"], in["StartingSequenceNumber"] = "AFTER_SEQUENCE_NUMBER", at
	} else {
		r.after[shard] = ""
	}
	var it struct{ ShardIterator string }
	if err := r.call(ctx, "GetShardIterator", in, &it); err != nil {
		return err
	}
	for at := it.ShardIterator; ; {
		var page struct {
			Records []struct {
				SequenceNumber, PartitionKey string
				Data                         []byte
			}
			NextShardIterator string
		}
		err := r.call(ctx, "GetRecords", node.Fields{"ShardIterator": at}, &page)
		if node.Refused(err, "ExpiredIteratorException") {
			return nil // five minutes go by in no time; the next pass makes another
		}
		if err != nil {
			return err
		}
		for _, rec := range page.Records {
			r.record(shard, rec.PartitionKey, rec.SequenceNumber, rec.Data)
		}
		switch at = page.NextShardIterator; {
		case at == "":
			r.done[shard] = true
			return nil
		case len(page.Records) == 0:
			return nil
		}
	}
}

// record takes one record: of its key, it must be the next.
func (r *reader) record(shard, key, number string, data []byte) {
	if len(data) < 8 {
		r.wrong("a record of %d bytes in %s of %s", len(data), shard, r.stream)
		return
	}
	n := binary.BigEndian.Uint64(data)
	if n != r.last[key]+1 {
		r.wrong("in %s of %s, at %s: record %d of %s follows %d", shard, r.stream, number, n, key, r.last[key])
	}
	r.last[key], r.after[shard] = n, number
	r.read++
}

// finish reads on until every record that was put has been read, once and in order.
func (w *world) finish(readers []*reader, writers []*writer) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if w.broken() {
		return
	}
	read := 0
	for i, r := range readers {
		for range 100 {
			if r.failed(ctx, r.pass(ctx)) || r.has(writers, i) {
				break
			}
		}
		for _, wr := range writers {
			for n, last := range wr.last[i] {
				if got := r.last[wr.key(n)]; got != last {
					w.wrong("%s of %s was read up to %d of %d", wr.key(n), r.stream, got, last)
				}
			}
		}
		read += r.read
	}
	w.count("read", read)
}

// has says whether the reader has all that was put to the stream.
func (r *reader) has(writers []*writer, stream int) bool {
	for _, wr := range writers {
		for n, last := range wr.last[stream] {
			if r.last[wr.key(n)] != last {
				return false
			}
		}
	}
	return true
}

// reshard splits and merges shards so that their number stays about the same, and restarts the server
// from time to time.
func (w *world) reshard(ctx context.Context, rng *rand.Rand) {
	restarts := w.scale.restarts
	for began := time.Now(); ctx.Err() == nil; {
		pause(ctx, 300*time.Millisecond)
		if len(restarts) > 0 && time.Since(began) > restarts[0] && ctx.Err() == nil {
			if !w.restart() {
				return
			}
			restarts = restarts[1:]
		}
		stream := fmt.Sprint("mill-", rng.IntN(w.scale.streams))
		shards, err := w.shards(ctx, stream)
		if w.failed(ctx, err) {
			return
		}
		if ctx.Err() != nil {
			return
		}
		if w.failed(ctx, w.reshardOne(ctx, stream, shards, rng)) {
			return
		}
	}
}

// reshardOne splits an open shard, or merges two neighbours if there are more than enough.
func (w *world) reshardOne(ctx context.Context, stream string, shards []shardInfo, rng *rand.Rand) error {
	var open []shardInfo
	for _, s := range shards {
		if !s.closed() {
			open = append(open, s)
		}
	}
	if len(open) == 0 {
		return nil
	}
	s := open[rng.IntN(len(open))]
	low, high := whole(s.HashKeyRange.StartingHashKey), whole(s.HashKeyRange.EndingHashKey)
	if len(open) <= w.scale.shards {
		middle := new(big.Int).Rsh(new(big.Int).Add(low, high), 1)
		if middle.Cmp(low) <= 0 {
			return nil
		}
		w.count("splits", 1)
		return w.call(ctx, "SplitShard", node.Fields{"StreamName": stream, "ShardToSplit": s.ShardID, "NewStartingHashKey": middle.String()}, nil)
	}
	next := high.Add(high, big.NewInt(1)).String()
	for _, o := range open {
		if o.HashKeyRange.StartingHashKey == next {
			w.count("merges", 1)
			return w.call(ctx, "MergeShards", node.Fields{"StreamName": stream, "ShardToMerge": s.ShardID, "AdjacentShardToMerge": o.ShardID}, nil)
		}
	}
	return nil
}

func whole(text string) *big.Int {
	n, _ := new(big.Int).SetString(text, 10)
	return n
}

// churn makes a stream, fills it and deletes it, over and over.
func (w *world) churn(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		in := node.Fields{"StreamName": "passing"}
		err := w.call(ctx, "CreateStream", node.Fields{"StreamName": "passing", "ShardCount": 5, "Tags": map[string]string{"n": fmt.Sprint(n)}}, nil)
		for range 20 {
			if err == nil {
				err = w.call(ctx, "PutRecord", node.Fields{"StreamName": "passing", "PartitionKey": fmt.Sprint(n), "Data": make([]byte, 50_000)}, nil)
			}
		}
		pause(ctx, w.scale.sample/2)
		if derr := w.call(ctx, "DeleteStream", in, nil); err == nil {
			err = derr
		}
		if w.failed(ctx, err) {
			return
		}
		w.count("streams made and deleted", 1)
		pause(ctx, w.scale.sample/2)
	}
}
