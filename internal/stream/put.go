package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/hot"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/seal"
)

// maxPut is how many bytes of data and partition keys one PutAll may carry.
const maxPut = 10 << 20

// sealWait is how long a put waits for the routing table that follows a sealed shard.
const sealWait = 10 * time.Second

// PutResult is what became of one record.
type PutResult struct {
	// Shard and ShardID name the shard that the record went to.
	Shard   int32
	ShardID string
	// Sequence is the record's sequence number; it means nothing if Err is set.
	Sequence record.SequenceNumber
	// Encrypted says that the stream seals its records.
	Encrypted bool
	// Err says why the record was not written: Throughput or Internal. Records of one shard may share it.
	Err *Error
}

// putScratch is what a put needs while it runs, kept from call to call.
type putScratch struct {
	one     [1]record.Entry
	out     []PutResult
	todo    []int32        // positions in the request still to be written
	target  []int32        // for each of todo, the position of its shard in view.open
	count   []int32        // records for each open shard; all zero between uses
	touched []int32        // positions of the shards that get records
	order   []int32        // todo, grouped by shard
	entries []record.Entry // the records in that order
	batches []shardlog.Batch
	refused []bool // of a batch, which entries its shard does not take now
	sealer  seal.Sealer
}

// grow returns s with room for n elements and length n.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

// Put writes one record. ordering, if not empty, is its SequenceNumberForOrdering: the record's own
// number will be higher, as it is anyway for a shard's numbers always rise; one that cannot have
// been issued yet is refused. A record that its shard refused comes back with that shard. The record's data and
// key are not kept.
func (s *Streams) Put(ctx context.Context, sc Scope, ref Ref, rec record.Entry, ordering string) (PutResult, error) {
	ps := s.scratch.Get().(*putScratch)
	defer s.reuse(ps)
	ps.one[0] = rec
	e, err := s.checkPut(ctx, sc, ref, ps.one[:], ordering)
	if err != nil {
		return PutResult{}, err
	}
	out, err := s.putAll(ctx, e, ps, ps.one[:], ps.out[:0])
	ps.out = out
	switch {
	case err != nil:
		return PutResult{}, err
	case out[0].Err != nil:
		return out[0], out[0].Err
	}
	return out[0], nil
}

// PutAll writes records, at most 500, and appends one result a record to out, in the same order.
// Records of one shard are written in request order, all or none, but for those that are more than
// the shard takes where AWS's limits hold; a shard that refuses them leaves the others alone. An
// error means that nothing was written, or that the outcome is unknown because ctx was done or
// storage failed. Nothing of the records is kept. It does not allocate for each record.
func (s *Streams) PutAll(ctx context.Context, sc Scope, ref Ref, recs []record.Entry, out []PutResult) ([]PutResult, error) {
	e, err := s.checkPutAll(sc, ref, recs)
	if err != nil {
		return out, err
	}
	ps := s.scratch.Get().(*putScratch)
	defer s.reuse(ps)
	return s.putAll(ctx, e, ps, recs, out)
}

// CheckPut returns the error with which Put would refuse a record, and CheckPutAll that of PutAll,
// without writing anything: a dry run.
func (s *Streams) CheckPut(ctx context.Context, sc Scope, ref Ref, rec record.Entry, ordering string) error {
	_, err := s.checkPut(ctx, sc, ref, []record.Entry{rec}, ordering)
	return err
}

// CheckPutAll is CheckPut for many records.
func (s *Streams) CheckPutAll(sc Scope, ref Ref, recs []record.Entry) error {
	_, err := s.checkPutAll(sc, ref, recs)
	return err
}

func (s *Streams) checkPut(ctx context.Context, sc Scope, ref Ref, one []record.Entry, ordering string) (*entry, error) {
	e, v, err := s.findWritable(sc, ref)
	if err != nil {
		return nil, err
	}
	switch {
	case v.row.Auto && ordering != "":
		return nil, refuse(InvalidArgument, "SequenceNumberForOrdering is not supported for stream %s under account %s, "+
			"because its RecordDistributionStrategy is AUTO.", e.name, sc.Account)
	case !v.row.Auto && one[0].PartitionKey == "":
		return nil, missingKey("partitionKey")
	}
	if ordering != "" && !s.issued(ctx, v, ordering) {
		return nil, refuse(InvalidArgument, "ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s "+
			"under account %s is invalid.", ordering, e.name, sc.Account)
	}
	if limit := v.row.MaxRecordKiB << 10; one[0].Size() > limit {
		return nil, tooLong("data", limit)
	}
	return e, nil
}

func (s *Streams) checkPutAll(sc Scope, ref Ref, recs []record.Entry) (*entry, error) {
	e, v, err := s.findWritable(sc, ref)
	if err != nil {
		return nil, err
	}
	limit, total := v.row.MaxRecordKiB<<10, 0
	for i := range recs {
		if recs[i].PartitionKey == "" && !v.row.Auto {
			return nil, missingKey(fmt.Sprintf("records.%d.member.partitionKey", i+1))
		}
		n := recs[i].Size()
		if total += n; n > limit {
			return nil, tooLong(fmt.Sprintf("records.%d.member.data", i+1), limit)
		}
	}
	if total > maxPut {
		return nil, refuse(InvalidArgument, "Records size exceeds 10 MB limit")
	}
	return e, nil
}

// missingKey answers a record without a partition key, which only streams that place records by turns take.
func missingKey(member string) *Error {
	return refuse(Validation, "1 validation error detected: Value null at '%s' failed to satisfy constraint: "+
		"Member must not be null", member)
}

func tooLong(member string, limit int) *Error {
	return refuse(Validation, "1 validation error detected: Value at '%s' failed to satisfy constraint: "+
		"Member must have length less than or equal to %d", member, limit)
}

// findWritable is find for streams that take records.
func (s *Streams) findWritable(sc Scope, ref Ref) (*entry, *view, error) {
	e, v, err := s.find(sc, ref)
	if err == nil && !v.writable() {
		err = streamNotFound(sc, e.name)
	}
	if err == nil {
		_, err = v.sealing()
	}
	return e, v, err
}

// reuse puts scratch back without the caller's data.
func (s *Streams) reuse(ps *putScratch) {
	clear(ps.entries[:cap(ps.entries)])
	clear(ps.batches[:cap(ps.batches)])
	clear(ps.out)
	ps.one[0] = record.Entry{}
	ps.sealer.Reset()
	s.scratch.Put(ps)
}

// issued reports whether a sequence number for ordering is one that can exist by now. A number may
// carry a time ahead of the clock: a new shard is created a second in the future, and clocks step
// back; then the shard it names must know that time.
func (s *Streams) issued(ctx context.Context, v *view, text string) bool {
	p, ok := record.ParsePosition(text)
	if !ok {
		return false
	}
	if p.Time <= s.now().Seconds() {
		return true
	}
	sh := v.shard(p.Shard, s.now())
	if sh == nil || sh.Created != p.Created {
		return false
	}
	if p.Time <= sh.Created {
		return true
	}
	b, err := s.cfg.Log.Bounds(ctx, sh.log())
	return err == nil && p.Time <= b.LastArrival.Seconds()
}

// putAll writes recs to a stream. A sealed or dropped shard means that the routing table is out of
// date: what was meant for it is routed again once there is a new one, or the stream is gone.
func (s *Streams) putAll(ctx context.Context, e *entry, ps *putScratch, recs []record.Entry, out []PutResult) ([]PutResult, error) {
	base := len(out)
	for range recs {
		out = append(out, PutResult{})
	}
	ps.todo = grow(ps.todo, len(recs))
	for i := range recs {
		ps.todo[i] = int32(i)
	}
	var timeout *time.Timer
	for {
		v := e.view.Load()
		if !v.writable() {
			return out[:base], streamNotFound(e.scope, e.name)
		}
		if len(v.open) > 0 {
			if err := s.putOnce(ctx, e, v, ps, recs, out[base:]); err != nil || len(ps.todo) == 0 {
				return out, err
			}
		}
		if timeout == nil {
			timeout = time.NewTimer(sealWait)
			defer timeout.Stop()
		}
		select {
		case <-v.superseded:
		case <-ctx.Done():
			return out, fmt.Errorf("put to stream %s: %w", e.name, ctx.Err())
		case <-timeout.C:
			for _, i := range ps.todo {
				out[base+int(i)].Err = &Error{Internal, internalText}
			}
			return out, nil
		}
	}
}

// internalText is what AWS says of a record it could not write for reasons of its own.
const internalText = "Internal Service Failure"

// putOnce writes the records of todo by one view's routing table, with one append. What remains in
// todo met a shard that was sealed, or dropped with its stream.
func (s *Streams) putOnce(ctx context.Context, e *entry, v *view, ps *putScratch, recs []record.Entry, out []PutResult) error {
	if v.row.Auto {
		n := uint32(len(ps.todo))
		ps.spread(v, e.spread.Add(n)-n)
	} else {
		ps.route(v, recs)
	}
	ps.group(v, recs)
	if s.cfg.Limits {
		s.admit(e, v, ps, out)
		if len(ps.batches) == 0 {
			ps.todo = ps.todo[:0]
			return nil
		}
	}
	if err := ps.seal(v); err != nil {
		return err
	}
	encrypted := v.row.Encryption.Key != 0
	results, err := s.cfg.Log.Append(ctx, ps.batches)
	if err != nil {
		return fmt.Errorf("put to stream %s: %w", e.name, err)
	}
	ps.todo = ps.todo[:0]
	done := 0
	for b := range ps.batches {
		sh, r := v.open[ps.touched[b]], &results[b]
		n := len(ps.batches[b].Entries)
		members := ps.order[done:][:n]
		done += n
		if r.Err != nil {
			if errors.Is(r.Err, shardlog.ErrSealed) || errors.Is(r.Err, shardlog.ErrNotFound) {
				ps.todo = append(ps.todo, members...)
				continue
			}
			failure := &Error{Internal, internalText}
			if errors.Is(r.Err, shardlog.ErrFull) {
				failure = rateExceeded(e.scope, e.name, sh.ID)
			}
			for _, i := range members {
				out[i] = PutResult{Shard: sh.Number, ShardID: sh.ID, Encrypted: encrypted, Err: failure}
			}
			continue
		}
		s.hot.Count(hot.Shard{Stream: e.id, Number: sh.Number}, r.ArrivalTime, ps.batches[b].Entries)
		if sh.budget != nil {
			sh.budget.took(ps.batches[b].Entries)
		}
		seq := sh.Sequence(r.First, r.ArrivalTime)
		for _, i := range members {
			out[i] = PutResult{Shard: sh.Number, ShardID: sh.ID, Encrypted: encrypted, Sequence: seq}
			seq.Index++
		}
	}
	slices.Sort(ps.todo) // in request order again: shards that were merged share a child now
	return nil
}

// route finds the shard of each record of todo by its key.
func (ps *putScratch) route(v *view, recs []record.Entry) {
	ps.target = grow(ps.target, len(ps.todo))
	for k, i := range ps.todo {
		h := recs[i].ExplicitHashKey
		if !recs[i].HasExplicitHashKey {
			h = record.HashKeyOf(recs[i].PartitionKey)
		}
		ps.target[k] = int32(keyspace.Route(v.starts, h))
	}
}

// spread gives each record of todo the next shard in turn, from first on.
func (ps *putScratch) spread(v *view, first uint32) {
	ps.target = grow(ps.target, len(ps.todo))
	for k := range ps.todo {
		ps.target[k] = int32((first + uint32(k)) % uint32(len(v.open)))
	}
}

// group sorts the records of todo into one batch for each shard among their targets, each in request order.
func (ps *putScratch) group(v *view, recs []record.Entry) {
	n := len(ps.todo)
	ps.order, ps.entries = grow(ps.order, n), grow(ps.entries, n)
	if len(ps.count) < len(v.open) {
		ps.count = make([]int32, len(v.open))
	}
	ps.touched = ps.touched[:0]
	for _, t := range ps.target {
		if ps.count[t] == 0 {
			ps.touched = append(ps.touched, t)
		}
		ps.count[t]++
	}
	ps.batches = grow(ps.batches, len(ps.touched))
	at := int32(0)
	for b, t := range ps.touched {
		n := ps.count[t]
		ps.batches[b] = shardlog.Batch{Shard: v.open[t].log(), Entries: ps.entries[at : at+n]}
		ps.count[t] = at // from here on where the shard's next record goes
		at += n
	}
	for k, i := range ps.todo {
		t := ps.target[k]
		at := ps.count[t]
		ps.count[t]++
		ps.order[at], ps.entries[at] = i, recs[i]
	}
	for _, t := range ps.touched {
		ps.count[t] = 0
	}
}
