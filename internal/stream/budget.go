package stream

import (
	"strings"
	"sync/atomic"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/limit"
)

// budget is what this node counts of one shard: what AWS would let it take and give, and what it took. It goes
// from row to row of its shard, and is new when the node starts. A shard has none while nobody asks: with
// neither Config.Limits nor Config.Scaling.
type budget struct {
	limit.Shard
	// bytes and records are what was put since this node started.
	bytes, records atomic.Uint64
	// refused is the answer to what is too much, made once.
	refused atomic.Pointer[Error]
}

// took counts records that were stored.
func (b *budget) took(entries []record.Entry) {
	sum := 0
	for i := range entries {
		sum += entries[i].Size()
	}
	b.bytes.Add(uint64(sum))
	b.records.Add(uint64(len(entries)))
}

// refusal returns AWS's answer to what is more than a shard takes or gives.
func (sh *shard) refusal(e *entry) *Error {
	if sh.budget == nil {
		return rateExceeded(e.scope, e.name, sh.ID)
	}
	if r := sh.budget.refused.Load(); r != nil {
		return r
	}
	r := rateExceeded(e.scope, e.name, sh.ID)
	sh.budget.refused.Store(r)
	return r
}

// giveBudget gives a shard, of which a row became known, the budget of its earlier row, nil if there was
// none. REQUIRES: rows held; nobody else has sh.
func (s *Streams) giveBudget(sh, old *shard) {
	switch {
	case old != nil && old.budget != nil:
		sh.budget = old.budget
	case sh.budget == nil && (s.cfg.Limits || s.cfg.Scaling.On):
		sh.budget = new(budget)
	}
}

// admit takes the records out of the batches that are more than their shards take, and answers them.
func (s *Streams) admit(e *entry, v *view, ps *putScratch, out []PutResult) {
	now := s.now()
	at, kept, batches := 0, 0, 0
	for b := range ps.batches {
		sh, all := v.open[ps.touched[b]], ps.batches[b].Entries
		members := ps.order[at:][:len(all)]
		at += len(all)
		ps.refused = grow(ps.refused, len(all))
		sh.budget.Write(now, all, ps.refused)
		first := kept
		for i, refused := range ps.refused {
			if refused {
				out[members[i]] = PutResult{Shard: sh.Number, ShardID: sh.ID, Err: sh.refusal(e)}
				continue
			}
			ps.entries[kept], ps.order[kept] = all[i], members[i]
			kept++
		}
		if kept > first {
			ps.batches[batches] = shardlog.Batch{Shard: sh.log(), Entries: ps.entries[first:kept]}
			ps.touched[batches] = ps.touched[b]
			batches++
		}
	}
	ps.entries, ps.order = ps.entries[:kept], ps.order[:kept]
	ps.batches, ps.touched = ps.batches[:batches], ps.touched[:batches]
}

// sent counts a page of records that GetRecords returns.
func (s *Streams) sent(sh *shard, page *shardlog.Page) {
	if s.cfg.Limits {
		sh.budget.Sent(s.now(), sizeOf(page))
	}
}

func sizeOf(page *shardlog.Page) int {
	size := 0
	for i := range page.Records {
		size += page.Records[i].Size()
	}
	return size
}

// Limited reports whether AWS's limits hold.
func (s *Streams) Limited() bool { return s.cfg.Limits }

// Admit returns AWS's objection to a call of an operation, of which a second has so many: for a resource, if
// it has an ARN, and else for the account. Where AWS's limits do not hold there is none.
func (s *Streams) Admit(sc Scope, operation, resource string, rate int) error {
	if !s.cfg.Limits {
		return nil
	}
	key := limit.Key{Account: sc.Account, Region: sc.Region, Operation: operation, Resource: resource}
	if s.calls.Take(s.now(), key, rate) {
		return nil
	}
	of, _, _ := strings.Cut(resource, consumerInfix)
	if target, name, ok := ParseARN(of); ok {
		return refuse(LimitExceeded, "Rate exceeded for stream %s under account %s.", name, target.Account)
	}
	return refuse(LimitExceeded, "Rate exceeded for account %s.", sc.Account)
}

// daily counts a call in times, which are those of the last day, unless there were so many already. The times
// are in the stream's row, for a restart does not begin a new day.
func (s *Streams) daily(name string, sc Scope, operation string, times *[]record.Millis, most int) error {
	if !s.cfg.Limits {
		return nil
	}
	now := s.now()
	recent := limit.Within(now, *times)
	if len(recent) >= most {
		return refuse(LimitExceeded, "Rate exceeded for stream %s under account %s. "+
			"%s can be called %d times in a rolling 24-hour period.", name, sc.Account, operation, most)
	}
	*times = append(recent, now)
	return nil
}

const (
	// maxScalings, maxSwitches and maxSealings are how often a day a stream's shard count and mode may be
	// changed, and its encryption started.
	maxScalings, maxSwitches, maxSealings = 10, 2, 25
	// maxBeingCreated is how many streams of an account may be CREATING.
	maxBeingCreated = 5
)
