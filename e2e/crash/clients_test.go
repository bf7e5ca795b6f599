package crash

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"time"
)

// writer puts records, one call after the other.
type writer struct {
	w    *world
	rng  *rand.Rand
	name string
	// sent and stored count its records.
	sent, stored int

	top map[string]string // by stream and shard, of its own calls
}

func (wr *writer) run(ctx context.Context) {
	for ctx.Err() == nil {
		l := wr.w.streams[len(wr.w.streams)-1]
		if wr.rng.IntN(8) == 0 {
			l = wr.w.streams[0]
		}
		var err error
		if wr.rng.IntN(3) == 0 {
			err = wr.single(ctx, l)
		} else {
			err = wr.batch(ctx, l)
		}
		if wr.w.failed(l, err) {
			return
		}
		if err != nil {
			pause(ctx, 10*time.Millisecond)
		}
	}
}

// size picks the bytes of a record: most are small, few have several MiB.
func size(rng *rand.Rand) int {
	switch n := rng.IntN(200); {
	case n < 120:
		return 1 + rng.IntN(2<<10)
	case n < 180:
		return 1 + rng.IntN(32<<10)
	case n < 199:
		return 1 + rng.IntN(300<<10)
	default:
		return 1<<20 + rng.IntN(largest-1<<20)
	}
}

// largest is the size of the largest record in a batch, and huge of one that is put alone: no file of
// the small log holds it.
const (
	largest = 3 << 20
	huge    = 9 << 20
)

// next names a record of n bytes and notes it.
func (wr *writer) next(l *ledger, n int) (key string, data []byte) {
	wr.sent++
	key = fmt.Sprintf("%s.%d", wr.name, wr.sent)
	l.sending(key, n)
	return key, content(nil, key, n)
}

func (wr *writer) single(ctx context.Context, l *ledger) error {
	n := size(wr.rng)
	if wr.rng.IntN(100) == 0 {
		n = huge - wr.rng.IntN(1<<20)
	}
	key, data := wr.next(l, n)
	var out put
	began := time.Now()
	err := wr.w.client.call(ctx, "PutRecord", fields{"StreamName": l.stream, "PartitionKey": key, "Data": data}, &out)
	if refusedAs(err) {
		out.ErrorCode = "refused"
	}
	if err == nil || refusedAs(err) {
		wr.answered(l, []string{key}, []put{out}, began)
	} else {
		l.unheard([]string{key}, began)
	}
	return err
}

func (wr *writer) batch(ctx context.Context, l *ledger) error {
	var keys []string
	var records []fields
	bytes := 0
	for range 1 + wr.rng.IntN(50) {
		key, data := wr.next(l, size(wr.rng))
		keys = append(keys, key)
		records = append(records, fields{"PartitionKey": key, "Data": data})
		if bytes += len(data); bytes > 6<<20 {
			break
		}
	}
	var out struct{ Records []put }
	began := time.Now()
	err := wr.w.client.call(ctx, "PutRecords", fields{"StreamName": l.stream, "Records": records}, &out)
	if refusedAs(err) {
		out.Records = slices.Repeat([]put{{ErrorCode: "refused"}}, len(keys))
	} else if err != nil {
		l.unheard(keys, began)
		return err
	}
	wr.answered(l, keys, out.Records, began)
	return err
}

// answered notes a call's answer: what a writer puts into a shard is behind all it put there before.
func (wr *writer) answered(l *ledger, keys []string, puts []put, began time.Time) {
	if len(keys) != len(puts) {
		l.wrong("%d results for %d records", len(puts), len(keys))
		return
	}
	l.heard(keys, puts, began)
	top := map[string]string{}
	for i, p := range puts {
		if p.ErrorCode != "" && p.ErrorCode != "refused" && p.ErrorCode != "ProvisionedThroughputExceededException" {
			l.wrong("record %s: %s: %s", keys[i], p.ErrorCode, p.ErrorMessage)
		}
		l.answered(keys[i], p)
		shard := l.stream + "/" + p.ShardID
		if p.ErrorCode == "" && p.SequenceNumber <= wr.top[shard] {
			l.wrong("record %s got the number %s in %s after its writer's %s", keys[i], p.SequenceNumber, shard, wr.top[shard])
		}
		top[shard] = max(top[shard], p.SequenceNumber)
		if p.ErrorCode == "" {
			wr.stored++
		}
	}
	for shard, number := range top {
		wr.top[shard] = max(wr.top[shard], number)
	}
}

// follow reads all shards as they grow. Its iterators live through every restart.
func (w *world) follow(ctx context.Context) {
	for ctx.Err() == nil {
		for _, l := range w.streams {
			shards, err := w.client.shards(ctx, l.stream)
			if w.failed(l, err) {
				return
			}
			l.listed(shards)
			for _, s := range shards {
				if w.failed(l, w.advance(ctx, l, s.ShardID)) {
					return
				}
			}
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// advance reads the next page of a shard. Only the follower touches the cursors while it runs.
func (w *world) advance(ctx context.Context, l *ledger, shard string) error {
	c := l.cursors[shard]
	if c == nil {
		at, err := w.client.iterator(ctx, l.stream, shard)
		if err != nil {
			return err
		}
		c = &cursor{iterator: at}
		l.cursors[shard] = c
	}
	if c.done {
		return nil
	}
	began := time.Now()
	p, err := w.client.read(ctx, c.iterator)
	if err != nil {
		return err
	}
	v := visit{shard: shard}
	if n := len(c.seen); n > 0 {
		v.after = c.seen[n-1].number
	}
	if n := len(p.Records); n > 0 {
		v.last = p.Records[n-1].SequenceNumber
	}
	l.visited(v, began, time.Now())
	for _, r := range p.Records {
		c.seen = append(c.seen, seen{r.PartitionKey, r.SequenceNumber})
	}
	c.iterator, c.done = p.NextShardIterator, p.NextShardIterator == ""
	return nil
}

// resharder splits, merges and counts shards.
type resharder struct {
	w   *world
	rng *rand.Rand
}

func (r *resharder) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(r.rng.IntN(150))*time.Millisecond)
		l := r.w.streams[r.rng.IntN(len(r.w.streams))]
		shards, err := r.w.client.shards(ctx, l.stream)
		if r.w.failed(l, err) {
			return
		}
		open := slices.DeleteFunc(shards, func(s shardInfo) bool { return s.SequenceNumberRange.EndingSequenceNumber != "" })
		if err := r.reshard(ctx, l, open); !r.w.strain(err) && r.w.failed(l, err) {
			return
		}
	}
}

func (r *resharder) reshard(ctx context.Context, l *ledger, open []shardInfo) error {
	if len(open) == 0 {
		return nil
	}
	s := open[r.rng.IntN(len(open))]
	low, high := number(s.HashKeyRange.StartingHashKey), number(s.HashKeyRange.EndingHashKey)
	var err error
	var parents []string
	switch n := r.rng.IntN(8); {
	case n == 0:
		count := max(1, len(open)/2) + r.rng.IntN(len(open)+1)
		err = r.w.client.call(ctx, "UpdateShardCount", fields{"StreamName": l.stream, "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING"}, nil)
		if refusedAs(err) {
			err = nil // the count it has, or too many changes
		}
	case n < 5 && len(open) < 8:
		middle := new(big.Int).Rsh(new(big.Int).Add(low, high), 1)
		parents = []string{s.ShardID}
		err = r.w.client.call(ctx, "SplitShard", fields{"StreamName": l.stream, "ShardToSplit": s.ShardID, "NewStartingHashKey": middle.String()}, nil)
		if refusedAs(err) {
			return nil
		}
	default:
		next := high.Add(high, big.NewInt(1)).String()
		i := slices.IndexFunc(open, func(o shardInfo) bool { return o.HashKeyRange.StartingHashKey == next })
		if i < 0 {
			return nil
		}
		parents = []string{s.ShardID, open[i].ShardID}
		err = r.w.client.call(ctx, "MergeShards", fields{"StreamName": l.stream, "ShardToMerge": s.ShardID, "AdjacentShardToMerge": open[i].ShardID}, nil)
		if refusedAs(err) {
			return nil
		}
	}
	if err == nil {
		l.mu.Lock()
		l.closing = append(l.closing, parents...)
		l.mu.Unlock()
	}
	return err
}

func number(text string) *big.Int {
	n, _ := new(big.Int).SetString(text, 10)
	return n
}

// settler changes settings, and makes and deletes streams.
type settler struct {
	w   *world
	rng *rand.Rand
}

func (s *settler) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		pause(ctx, time.Duration(s.rng.IntN(60))*time.Millisecond)
		l := s.w.streams[s.rng.IntN(len(s.w.streams))]
		var err error
		switch s.rng.IntN(3) {
		case 0:
			err = change(&l.tag, fmt.Sprintf("%d.%d", s.w.lives, n), func(v string) error {
				return s.w.client.call(ctx, "AddTagsToStream", fields{"StreamName": l.stream, "Tags": tagged(v)}, nil)
			})
		case 1:
			hours := 24 + s.rng.IntN(100)
			operation := "IncreaseStreamRetentionPeriod"
			if hours < l.retention.value {
				operation = "DecreaseStreamRetentionPeriod"
			}
			if hours == l.retention.value {
				continue
			}
			err = change(&l.retention, hours, func(v int) error {
				return s.w.client.call(ctx, operation, fields{"StreamName": l.stream, "RetentionPeriodHours": v}, nil)
			})
		case 2:
			err = s.churn(ctx)
		}
		if !s.w.strain(err) && s.w.failed(l, err) {
			return
		}
	}
}

// tagged is as many and as large tags as a stream takes, which all tell the value: a call changes all
// or none, and enough calls make the coordinator store its state.
func tagged(v string) map[string]string {
	tags := map[string]string{}
	for i := range 50 {
		tags[fmt.Sprintf("%0128d", i)] = fmt.Sprintf("%256s", v)
	}
	return tags
}

// change makes a call that sets a value. What is refused has not happened.
func change[T comparable](s *setting[T], v T, call func(T) error) error {
	s.doubt, s.inDoubt = v, true
	err := call(v)
	if err == nil {
		s.value = v
	}
	if err == nil || refusedAs(err) {
		s.inDoubt = false
	}
	return err
}

// churn makes a stream or deletes it.
func (s *settler) churn(ctx context.Context) error {
	name := fmt.Sprintf("other-%d", s.rng.IntN(8))
	o := s.w.others[name]
	if o == nil {
		o = &setting[bool]{}
		s.w.others[name] = o
	}
	return change(o, !o.value, func(exists bool) error {
		if exists {
			return s.w.client.call(ctx, "CreateStream", fields{"StreamName": name, "ShardCount": 1 + s.rng.IntN(3)}, nil)
		}
		return s.w.client.call(ctx, "DeleteStream", fields{"StreamName": name}, nil)
	})
}
