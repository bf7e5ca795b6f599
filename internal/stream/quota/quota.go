// Package quota counts what accounts have of what is capped: streams, and shards, of their own and of all
// together. It takes no locks, knows no errors of AWS's and stores nothing: package stream does.
package quota

// Caps bound what callers can create. They hold whatever the configured rates are. A zero field
// takes its default.
type Caps struct {
	// Streams is the most streams an account has in a region; default 5,000.
	Streams int
	// OnDemandStreams is the most of them that are on demand; default as Streams.
	OnDemandStreams int
	// Shards is the most open shards an account has in a region; default 20,000.
	Shards int
	// HeldStreams is the most streams, and HeldShards the most shards, open and closed, of all
	// accounts and regions together: where anybody may name an account, the other caps bound
	// nothing. Defaults 10,000 and 200,000.
	HeldStreams, HeldShards int
	// Creating is the most streams of an account in a region that are CREATING; 0 bounds nothing.
	Creating int
}

// WithDefaults returns the caps with the default in each field that is not set.
func (c Caps) WithDefaults() Caps {
	pick := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	pick(&c.Streams, 5_000)
	pick(&c.OnDemandStreams, c.Streams)
	pick(&c.Shards, 20_000)
	pick(&c.HeldStreams, 10_000)
	pick(&c.HeldShards, 200_000)
	return c
}

// Usage is what somebody has of what Caps bound.
type Usage struct{ Streams, Creating, OnDemand, Open, Held int }

func (u *Usage) add(o Usage, sign int) {
	u.Streams += sign * o.Streams
	u.Creating += sign * o.Creating
	u.OnDemand += sign * o.OnDemand
	u.Open += sign * o.Open
	u.Held += sign * o.Held
}

// Book is the usage of everybody, by whatever tells them apart. The zero value is empty. It is not safe for
// concurrent use.
type Book[K comparable] struct {
	by    map[K]*Usage // pointers: to assign to an entry again would replace its key, and what that is part of
	total Usage
}

// Len returns how many have anything.
func (b *Book[K]) Len() int { return len(b.by) }

// Of returns the usage of k; known is false if it has nothing.
func (b *Book[K]) Of(k K) (u Usage, known bool) {
	if p := b.by[k]; p != nil {
		return *p, true
	}
	return Usage{}, false
}

// Total returns the usage of all together.
func (b *Book[K]) Total() Usage { return b.total }

// Add adds what to the usage of k; with sign -1 it takes it away. The k that came when it had nothing stays
// with the book while it has anything.
func (b *Book[K]) Add(k K, what Usage, sign int) {
	u := b.by[k]
	if u == nil {
		u = new(Usage)
		if b.by == nil {
			b.by = map[K]*Usage{}
		}
		b.by[k] = u
	}
	u.add(what, sign)
	b.total.add(what, sign)
	if *u == (Usage{}) {
		delete(b.by, k)
	}
}

// Excess is a cap that stands in the way.
type Excess struct {
	// Of is what there would be too many of, as AWS's texts call it: stream, CREATING stream, on-demand
	// stream or shard.
	Of string
	// Have is how many there are, Limit how many there may be, More how many were to be added.
	Have, Limit, More int
}

// Shard is Excess.Of for shards.
const Shard = "shard"

// Exceeds returns the first cap that more for k would exceed, nil if there is none.
func (b *Book[K]) Exceeds(k K, more Usage, caps Caps) *Excess {
	have, _ := b.Of(k)
	over := func(more, have, limit int) bool { return more > 0 && have+more > limit }
	switch {
	case caps.Creating > 0 && over(more.Creating, have.Creating, caps.Creating):
		return &Excess{"CREATING stream", have.Creating, caps.Creating, more.Creating}
	case over(more.Streams, have.Streams, caps.Streams):
		return &Excess{"stream", have.Streams, caps.Streams, more.Streams}
	case over(more.Streams, b.total.Streams, caps.HeldStreams):
		return &Excess{"stream", b.total.Streams, caps.HeldStreams, more.Streams}
	case over(more.OnDemand, have.OnDemand, caps.OnDemandStreams):
		return &Excess{"on-demand stream", have.OnDemand, caps.OnDemandStreams, more.OnDemand}
	case over(more.Open, have.Open, caps.Shards):
		return &Excess{Shard, have.Open, caps.Shards, more.Open}
	case over(more.Held, b.total.Held, caps.HeldShards):
		return &Excess{Shard, have.Held, caps.HeldShards, more.Held}
	}
	return nil
}
