package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/keyspace"
)

func TestPutRefuses(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	f := func(name string, rec record.Entry, ordering string, kind Kind, message string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			_, err := w.Put(ctx, home, ref, rec, ordering)
			refused(t, err, kind, message)
		})
	}
	big := strings.Repeat("x", 1<<20)
	f("a record over the limit by its key", entry1("k", big), "", Validation,
		"1 validation error detected: Value at 'data' failed to satisfy constraint: Member must have length less than or equal to 1048576")
	f("an impossible number", entry1("k", "x"), "26227199374822427428162556223570313216", InvalidArgument,
		"ExclusiveMinimumSequenceNumber 26227199374822427428162556223570313216 used in PutRecord on stream mill under account 123456789012 is invalid.")
	future := record.SequenceNumber{Created: 1421889720, Index: 1, Time: record.MillisOf(began).Seconds() + 1}.String()
	f("a number from the future", entry1("k", "x"), future, InvalidArgument,
		"ExclusiveMinimumSequenceNumber "+future+" used in PutRecord on stream mill under account 123456789012 is invalid.")

	if _, err := w.Put(ctx, home, ref, entry1("k", big[1:]), ""); err != nil {
		t.Errorf("a record of exactly 1 MiB: %v", err)
	}
	_, err := w.PutAll(ctx, home, ref, []record.Entry{entry1("k", "x"), entry1("k", big)}, nil)
	refused(t, err, Validation, "1 validation error detected: Value at 'records.2.member.data' failed to satisfy constraint: "+
		"Member must have length less than or equal to 1048576")
	var many []record.Entry
	for range 11 {
		many = append(many, entry1("k", big[1:]))
	}
	_, err = w.PutAll(ctx, home, ref, many, nil)
	refused(t, err, InvalidArgument, "Records size exceeds 10 MB limit")
	if _, err = w.PutAll(ctx, home, ref, many[:10], nil); err != nil {
		t.Errorf("10 MiB at once: %v", err)
	}
	_, err = w.PutAll(ctx, home, Ref{Name: "dam"}, many[:1], nil)
	refused(t, err, NotFound, "Stream dam under account 123456789012 not found.")
	_, err = ParseExplicitHashKey("340282366920938463463374607431768211456")
	refused(t, err, InvalidArgument, "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. "+
		"Specified value was 340282366920938463463374607431768211456")
}

// TestResolve checks how a request may name a stream.
func TestResolve(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	w.create("mill", 1)
	w.create("dam", 1)
	f := func(sc Scope, ref Ref, want string, kind Kind, message string) {
		t.Helper()
		got, err := w.DescribeStreamSummary(sc, ref)
		if want != "" {
			if err != nil || got.Name != want {
				t.Errorf("%+v is %s, %v; want %s", ref, got.Name, err, want)
			}
			return
		}
		refused(t, err, kind, message)
	}
	abroad := Scope{home.Account, "eu-west-2"}
	f(home, Ref{Name: "mill"}, "mill", 0, "")
	f(home, Ref{ARN: home.arn("mill")}, "mill", 0, "")
	f(home, Ref{Name: "dam", ARN: home.arn("mill")}, "mill", 0, "")
	f(home, Ref{}, "", InvalidArgument, "Either StreamName or StreamARN should be provided.")
	f(home, Ref{ARN: "mill"}, "", InvalidArgument, "StreamARN mill is invalid.")
	f(home, Ref{ARN: abroad.arn("mill")}, "", NotFound, "Stream mill under account 123456789012 not found.")
	f(abroad, Ref{Name: "mill"}, "", NotFound, "Stream mill under account 123456789012 not found.")
	f(Scope{"210987654321", home.Region}, Ref{Name: "mill"}, "", NotFound, "Stream mill under account 210987654321 not found.")
	f(home, Ref{ARN: Scope{"210987654321", home.Region}.arn("mill")}, "", NotFound, "Stream mill under account 210987654321 not found.")
}

// TestOrdering chains every put to the one before, over a split and a clock that steps back.
func TestOrdering(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	last := ""
	for i := range 20 {
		switch i {
		case 5:
			w.must(w.SplitShard(t.Context(), home, ref, "0", "2"))
		case 10:
			w.clock.Advance(30 * time.Second)
		case 15:
			w.clock.Advance(-time.Hour)
		}
		r, err := w.Put(t.Context(), home, ref, entry1("k", fmt.Sprint(i)), last)
		if err != nil {
			t.Fatalf("put %d after %s: %v", i, last, err)
		}
		if s := r.Sequence.String(); s <= last {
			t.Fatalf("put %d got %s; want more than %s", i, s, last)
		}
		if r.Sequence.Time < r.Sequence.Created {
			t.Fatalf("put %d got %+v: a time before the shard's creation", i, r.Sequence)
		}
		last = r.Sequence.String()
	}
}

// answeringLog answers appends by itself.
type answeringLog struct {
	shardlog.Log
	results []shardlog.Result
	err     error
}

func (l *answeringLog) Append(_ context.Context, batches []shardlog.Batch) ([]shardlog.Result, error) {
	for i := range batches {
		if r := &l.results[i]; r.Err == nil {
			r.First += record.Index(len(batches[i].Entries))
		}
	}
	return l.results[:len(batches)], l.err
}

// TestPutFailures checks that what befalls one shard leaves the others alone.
func TestPutFailures(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 3)
	log := &answeringLog{Log: w.cfg.Log, results: make([]shardlog.Result, 3)}
	log.results[1].Err, log.results[2].Err = shardlog.ErrFull, shardlog.ErrFencedProducer
	w.cfg.Log = log
	w.restart()
	var recs []record.Entry
	for i := range 6 {
		recs = append(recs, explicit(keyspace.UniformStart(i%3, 3), "x"))
	}
	out, err := w.PutAll(t.Context(), home, ref, recs, nil)
	w.must(err)
	for i, r := range out {
		want := []string{"", "ProvisionedThroughputExceededException: Rate exceeded for shard shardId-000000000001 in stream mill under account 123456789012.",
			"InternalFailure: Internal Service Failure"}[i%3]
		got := ""
		if r.Err != nil {
			got = r.Err.Error()
		}
		if got != want || r.ShardID != ShardID(int32(i%3)) {
			t.Errorf("record %d: %s %q; want %q", i, r.ShardID, got, want)
		}
	}
	log.err = shardlog.ErrClosed
	if _, err := w.PutAll(t.Context(), home, ref, recs, nil); !errors.Is(err, shardlog.ErrClosed) {
		t.Errorf("error = %v; want ErrClosed", err)
	}
}

// TestPutOrderAcrossMerge has two shards become one between the routing of a call's records and their
// append: those of both now go to one shard, in request order like any others.
func TestPutOrderAcrossMerge(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 2)
	hooked := &hookedLog{Log: w.cfg.Log}
	w.cfg.Log = hooked
	w.restart()
	hooked.before = func() { w.must(w.MergeShards(t.Context(), home, ref, "0", "1")) }
	var recs []record.Entry
	var want []string
	for i := range 6 {
		recs = append(recs, explicit(keyspace.UniformStart(i%2, 2), fmt.Sprint(i)))
		want = append(want, fmt.Sprint(i))
	}
	out, err := w.PutAll(t.Context(), home, ref, recs, nil)
	w.must(err)
	for i, r := range out {
		if r.Err != nil || r.Shard != 2 || i > 0 && r.Sequence.Index != out[i-1].Sequence.Index+1 {
			t.Errorf("record %d: shard %d, index %d, %v; want shard 2 and rising indexes", i, r.Shard, r.Sequence.Index, r.Err)
		}
	}
	page, err := w.GetRecords(t.Context(), home, "", w.iterator(ref, IteratorInput{ShardID: "2", Type: TrimHorizon}), 0)
	w.must(err)
	defer page.Release()
	var got []string
	for _, r := range page.Page.Records {
		got = append(got, string(r.Data))
	}
	if !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

// TestPutAllocates checks that putting more records allocates no more.
func TestPutAllocates(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 16)
	w.cfg.Log = &answeringLog{Log: w.cfg.Log, results: make([]shardlog.Result, 16)}
	w.restart()
	recs := make([]record.Entry, 500)
	for i := range recs {
		recs[i] = entry1(fmt.Sprint("key", i), "x")
	}
	out := make([]PutResult, 0, len(recs))
	ctx := t.Context()
	put := func(n int) float64 {
		return alloctest.Count(t, 100, func() {
			var err error
			if out, err = w.PutAll(ctx, home, ref, recs[:n], out[:0]); err != nil {
				t.Fatal(err)
			}
		})
	}
	if few, many := put(16), put(500); many > few || many > 10 {
		t.Errorf("16 records allocate %v times, 500 records %v times", few, many)
	}
}

func BenchmarkPutAll(b *testing.B) {
	w := newWorld(b, 0, Caps{})
	ref := w.create("mill", 16)
	w.cfg.Log = &answeringLog{Log: w.cfg.Log, results: make([]shardlog.Result, 16)}
	w.restart()
	recs := make([]record.Entry, 500)
	for i := range recs {
		recs[i] = entry1(fmt.Sprint("key", i), "x")
	}
	var out []PutResult
	for b.Loop() {
		out, _ = w.PutAll(b.Context(), home, ref, recs, out[:0])
	}
}

// hookedLog calls before in front of its first append.
type hookedLog struct {
	shardlog.Log
	before func()
}

func (l *hookedLog) Append(ctx context.Context, batches []shardlog.Batch) ([]shardlog.Result, error) {
	if f := l.before; f != nil {
		l.before = nil
		f()
	}
	return l.Log.Append(ctx, batches)
}

// TestPutMeetsDeletion deletes the stream between routing and append.
func TestPutMeetsDeletion(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	hooked := &hookedLog{Log: w.cfg.Log}
	w.cfg.Log = hooked
	w.restart()
	ref := w.create("mill", 2)
	hooked.before = func() { w.must(w.DeleteStream(t.Context(), home, ref, false)) }
	_, err := w.PutAll(t.Context(), home, ref, []record.Entry{{PartitionKey: "a"}, {PartitionKey: "b"}}, nil)
	refused(t, err, NotFound, "Stream mill under account 123456789012 not found.")
}

// fullCoordinator has no room for another row.
type fullCoordinator struct{ coordinator.Coordinator }

func (fullCoordinator) Put(context.Context, string, []byte, coordinator.Version) (coordinator.Version, error) {
	return 0, fmt.Errorf("append to journal: %w", shardlog.ErrFull)
}

// TestChangeFindsNoRoom shows that a full log throttles changes of streams, and that nothing changed.
func TestChangeFindsNoRoom(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	w.cfg.Coordinator = fullCoordinator{w.cfg.Coordinator}
	w.restart()
	const message = "Rate exceeded for stream mill under account 123456789012."
	refused(t, w.SplitShard(t.Context(), home, ref, "0", "2"), LimitExceeded, message)
	refused(t, w.IncreaseRetention(t.Context(), home, ref, 48), LimitExceeded, message)
	if d, err := w.DescribeStreamSummary(home, ref); err != nil || d.Status != Active || d.OpenShards != 1 || d.RetentionHours != 24 {
		t.Errorf("the stream is %+v, %v; want it unchanged", d, err)
	}
}
