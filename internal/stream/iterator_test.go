package stream

import (
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
)

// TestIteratorTexts checks what GetRecords takes for an iterator.
func TestIteratorTexts(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	w.fill(ref, "x")
	it := w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon})
	f := func(name, text string, sc Scope, arn string, ok bool) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r, err := w.GetRecords(t.Context(), sc, arn, text, 0)
			if !ok {
				refused(t, err, InvalidArgument, "Invalid ShardIterator.")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer r.Release()
			if r.Next == text || len(r.Next) > 512 {
				t.Errorf("the next iterator is %s", r.Next)
			}
		})
	}
	w.create("dam", 1)
	f("as it is", it, home, "", true)
	f("once more", it, home, "", true)
	f("with the ARN", it, home, home.arn("mill"), true)
	f("in double quotes", `"`+it+`"`, home, "", true)
	f("with another ARN", it, home, home.arn("dam"), false)
	f("in one double quote", `"`+it, home, "", false)
	f("in another account", it, Scope{"210987654321", home.Region}, "", false)
	f("in another region", it, Scope{home.Account, "eu-west-2"}, "", false)
	f("altered", "B"+it[1:], home, "", false)
	f("cut", it[:len(it)-4], home, "", false)
	f("empty", "", home, "", false)
	f("a paging token", w.sealToken(home, listTokens, listToken{}), home, "", false)
	w.restart()
	f("after a restart", it, home, "", true)

	w.must(w.DeleteStream(t.Context(), home, ref, false))
	gone := "Shard shardId-000000000000 in stream mill under account 123456789012 does not exist"
	_, err := w.GetRecords(t.Context(), home, "", it, 0)
	refused(t, err, NotFound, gone)
	w.create("mill", 1)
	_, err = w.GetRecords(t.Context(), home, "", it, 0)
	refused(t, err, NotFound, gone)
}

// TestIteratorsDiffer checks that no two iterators are alike, though they mean the same.
func TestIteratorsDiffer(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	seen := map[string]bool{}
	it := w.iterator(ref, IteratorInput{ShardID: "0", Type: Latest})
	for range 100 {
		if seen[it] {
			t.Fatal("an iterator came up twice")
		}
		seen[it] = true
		r, err := w.GetRecords(t.Context(), home, "", it, 0)
		w.must(err)
		it = r.Next
		r.Release()
	}
}

// TestSequenceIterators starts at and after every sequence number there is.
func TestSequenceIterators(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	w.fill(ref, "x")
	w.must(w.SplitShard(t.Context(), home, ref, "0", "2"))
	d, err := w.DescribeStream(home, ref, "", 1)
	w.must(err)
	f := func(typ IteratorType, seq record.SequenceNumber, first record.Index) {
		t.Helper()
		r, err := w.GetRecords(t.Context(), home, "", w.iterator(ref, IteratorInput{ShardID: "0", Type: typ, Sequence: seq.String()}), 0)
		w.must(err)
		defer r.Release()
		var got record.Index
		if len(r.Page.Records) > 0 {
			got = r.Page.Records[0].Index
		}
		if got != first {
			t.Errorf("%s %+v starts at %d; want %d", typ, seq, got, first)
		}
		if r.Next != "" || len(r.Children) != 2 {
			t.Errorf("%s %+v does not reach the end of the shard", typ, seq)
		}
	}
	seq := d.Shards[0].Starting
	f(AtSequenceNumber, seq, 1)
	f(AfterSequenceNumber, seq, 1)
	seq.Index, seq.Time = 7, record.MillisOf(began).Seconds()
	f(AtSequenceNumber, seq, 7)
	f(AfterSequenceNumber, seq, 8)
	seq.Index = 32
	f(AfterSequenceNumber, seq, 0)
	f(AtSequenceNumber, d.Shards[0].Ending, 0)
	f(AfterSequenceNumber, d.Shards[0].Ending, 0)

	alien := d.Shards[0].Starting
	alien.Created--
	_, err = w.GetShardIterator(t.Context(), home, ref, IteratorInput{ShardID: "0", Type: AtSequenceNumber, Sequence: alien.String()})
	refused(t, err, InvalidArgument, "StartingSequenceNumber "+alien.String()+" used in GetShardIterator on shard shardId-000000000000 "+
		"in stream mill under account 123456789012 is invalid because it did not come from this stream.")
}

// TestPageLimits checks the 10 MiB and the 10,000 records of one GetRecords.
func TestPageLimits(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	big := record.Entry{PartitionKey: "k", Data: make([]byte, 1<<20-1)}
	for range 3 {
		_, err := w.PutAll(t.Context(), home, ref, []record.Entry{big, big, big, big}, nil)
		w.must(err)
	}
	r, err := w.GetRecords(t.Context(), home, "", w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon}), 0)
	w.must(err)
	defer r.Release()
	if len(r.Page.Records) != 10 {
		t.Errorf("a page has %d records of 1 MiB; want 10", len(r.Page.Records))
	}
	w.clock.Advance(1234 * time.Millisecond)
	r2, err := w.GetRecords(t.Context(), home, "", r.Next, 1)
	w.must(err)
	defer r2.Release()
	if len(r2.Page.Records) != 1 || r2.MillisBehind != 1234 {
		t.Errorf("page of %d records, %d ms behind; want 1, 1234", len(r2.Page.Records), r2.MillisBehind)
	}
}

// TestListShardsToken checks what may stand beside a token and which tokens are good.
func TestListShardsToken(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 3)
	page, err := w.ListShards(home, ListShardsInput{Ref: ref, MaxResults: 1})
	w.must(err)
	f := func(in ListShardsInput, kind Kind, message string) {
		t.Helper()
		_, err := w.ListShards(home, in)
		refused(t, err, kind, message)
	}
	together := func(what string) string { return "NextToken and " + what + " cannot be provided together." }
	f(ListShardsInput{}, InvalidArgument, "Either NextToken or StreamName should be provided.")
	f(ListShardsInput{Token: page.Token, Ref: ref}, InvalidArgument, together("StreamName"))
	f(ListShardsInput{Token: page.Token, Ref: Ref{ARN: home.arn("mill")}}, InvalidArgument, together("StreamARN"))
	f(ListShardsInput{Token: page.Token, HasCreated: true}, InvalidArgument, together("StreamCreationTimestamp"))
	f(ListShardsInput{Token: page.Token, ExclusiveStartShardID: "0"}, InvalidArgument, together("ExclusiveStartShardId"))
	f(ListShardsInput{Token: page.Token, Filter: &ShardFilter{Type: AtLatest}}, InvalidArgument, together("ShardFilter"))
	f(ListShardsInput{Token: "wheel"}, InvalidArgument, "NextToken wheel is invalid.")
	_, err = w.ListStreams(home, ListInput{Token: page.Token})
	refused(t, err, InvalidArgument, "NextToken "+page.Token+" is invalid.")
	created := w.view(ref).row.Created
	if _, err := w.ListShards(home, ListShardsInput{Ref: ref, HasCreated: true, Created: record.Millis(created) * 1000}); err != nil {
		t.Errorf("with the right creation time: %v", err)
	}
	f(ListShardsInput{Ref: ref, HasCreated: true, Created: 1}, NotFound, "Stream mill under account 123456789012 not found.")
	f(ListShardsInput{Ref: ref, ExclusiveStartShardID: "wheel"}, NotFound,
		"Could not find shard wheel in stream mill under account 123456789012.")
	w.must(w.DeleteStream(t.Context(), home, ref, false))
	w.create("mill", 3)
	f(ListShardsInput{Token: page.Token}, NotFound, "Stream mill under account 123456789012 not found.")
}

func FuzzGetRecords(f *testing.F) {
	w := newWorld(f, 0, Caps{})
	ref := w.create("mill", 1)
	f.Add(w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon}))
	f.Add("AAAAAAAAAAGfuzz")
	f.Add(`""`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := w.GetRecords(t.Context(), home, "", text, 0)
		if err == nil {
			r.Release()
			if len(text) < 200 {
				t.Fatalf("%q passes for an iterator", text)
			}
		}
	})
}

func FuzzListToken(f *testing.F) {
	w := newWorld(f, 0, Caps{})
	w.create("mill", 2)
	page, err := w.ListShards(home, ListShardsInput{Ref: Ref{Name: "mill"}, MaxResults: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page.Token)
	f.Add("wheel")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := w.ListShards(home, ListShardsInput{Token: text}); err == nil && text != page.Token && text != "" {
			t.Fatalf("%q passes for a token", text)
		}
	})
}
