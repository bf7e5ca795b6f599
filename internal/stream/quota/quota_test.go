package quota

import "testing"

// TestExceeds asks for one more of everything that is capped, just below the cap and at it.
func TestExceeds(t *testing.T) {
	caps := Caps{Streams: 5, OnDemandStreams: 2, Shards: 10, HeldStreams: 7, HeldShards: 20, Creating: 3}
	f := func(name string, have, others, more Usage, want *Excess) {
		t.Helper()
		var b Book[string]
		b.Add("mine", have, +1)
		b.Add("theirs", others, +1)
		got := b.Exceeds("mine", more, caps)
		if got == nil != (want == nil) || got != nil && *got != *want {
			t.Errorf("%s: %+v; want %+v", name, got, want)
		}
	}
	none := Usage{}
	f("streams", Usage{Streams: 4}, none, Usage{Streams: 1}, nil)
	f("streams", Usage{Streams: 5}, none, Usage{Streams: 1}, &Excess{"stream", 5, 5, 1})
	f("nothing more of what is at its cap", Usage{Streams: 5, OnDemand: 2, Open: 10, Held: 20}, none, none, nil)
	f("the streams of all", Usage{Streams: 1}, Usage{Streams: 5}, Usage{Streams: 1}, nil)
	f("the streams of all", Usage{Streams: 2}, Usage{Streams: 5}, Usage{Streams: 1}, &Excess{"stream", 7, 7, 1})
	f("on demand", Usage{OnDemand: 1}, Usage{OnDemand: 2}, Usage{OnDemand: 1}, nil)
	f("on demand", Usage{OnDemand: 2}, none, Usage{OnDemand: 1}, &Excess{"on-demand stream", 2, 2, 1})
	f("open shards", Usage{Open: 8}, Usage{Open: 9}, Usage{Open: 2}, nil)
	f("open shards", Usage{Open: 9}, none, Usage{Open: 2}, &Excess{"shard", 9, 10, 2})
	f("the shards of all", Usage{Held: 3}, Usage{Held: 15}, Usage{Held: 2}, nil)
	f("the shards of all", Usage{Held: 3}, Usage{Held: 16}, Usage{Held: 2}, &Excess{"shard", 3, 20, 2})
	f("creating", Usage{Creating: 2}, Usage{Creating: 3}, Usage{Creating: 1}, nil)
	f("creating", Usage{Creating: 3}, none, Usage{Creating: 1}, &Excess{"CREATING stream", 3, 3, 1})
	caps.Creating = 0
	f("creating, which nothing bounds", Usage{Creating: 3}, none, Usage{Creating: 9}, nil)
}

// TestBook adds and takes away: whoever has nothing is not in the book.
func TestBook(t *testing.T) {
	var b Book[string]
	one := Usage{Streams: 1, Creating: 2, OnDemand: 3, Open: 4, Held: 5}
	b.Add("a", one, +1)
	b.Add("b", one, +1)
	b.Add("a", one, +1)
	if got := b.Total(); got != (Usage{3, 6, 9, 12, 15}) {
		t.Errorf("total: %+v", got)
	}
	b.Add("a", one, -1)
	if got, known := b.Of("a"); got != one || !known || b.Len() != 2 {
		t.Errorf("%+v, known %v, of %d", got, known, b.Len())
	}
	b.Add("a", one, -1)
	b.Add("b", one, -1)
	if _, known := b.Of("a"); known || b.Len() != 0 || b.Total() != (Usage{}) {
		t.Errorf("%d are left, with %+v", b.Len(), b.Total())
	}
}

// TestDefaults looks at the caps that nobody has set.
func TestDefaults(t *testing.T) {
	if got, want := (Caps{}).WithDefaults(), (Caps{Streams: 5_000, OnDemandStreams: 5_000, Shards: 20_000, HeldStreams: 10_000, HeldShards: 200_000}); got != want {
		t.Errorf("%+v; want %+v", got, want)
	}
	if got, want := (Caps{Streams: 1, Shards: 2, HeldStreams: 3, HeldShards: 4, Creating: 5}).WithDefaults(), (Caps{1, 1, 2, 3, 4, 5}); got != want {
		t.Errorf("%+v; want %+v", got, want)
	}
}
