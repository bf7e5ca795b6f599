package stream

import (
	"slices"

	"github.com/headrace/headrace/internal/record"
)

// describeShards is how many shards DescribeStream returns at most.
const describeShards = 100

// Summary is what DescribeStreamSummary and ListStreams tell of a stream.
type Summary struct {
	Name, ARN      string
	Status         Status
	Mode           Mode
	RetentionHours int
	// Created is in whole seconds, so that it survives every client's notion of time.
	Created      record.Millis
	OpenShards   int
	MaxRecordKiB int
	// Consumers is how many are registered.
	Consumers int
	// Strategy is where records go, Warm what the stream is ready for; its Target is 0 if none was asked for.
	Strategy Strategy
	Warm     WarmThroughput
	// Metrics are the shard-level metrics that are on. They must not be changed.
	Metrics []ShardMetric
	// KeyID is the KeyId of the key that the stream is encrypted with, as it was given; empty if it is not.
	KeyID string
}

// Shard is what DescribeStream and ListShards tell of a shard.
type Shard struct {
	Number int32
	ID     string
	// ParentID and AdjacentParentID are empty for shards that were not made from others.
	ParentID, AdjacentParentID string
	HashKeyRange               HashRange
	Starting                   record.SequenceNumber
	// Ending is set if the shard is Closed.
	Ending record.SequenceNumber
	Closed bool
}

// Description is what DescribeStream tells.
type Description struct {
	Summary
	Shards        []Shard
	HasMoreShards bool
}

// DescribeStream describes a stream and its shards after the one named, at most limit of them; 0
// means 100, which is also the most.
func (s *Streams) DescribeStream(sc Scope, ref Ref, after string, limit int) (Description, error) {
	e, v, err := s.find(sc, ref)
	if err != nil {
		return Description{}, err
	}
	number, err := startAfter(sc, e.name, after)
	if err != nil {
		return Description{}, err
	}
	if limit <= 0 || limit > describeShards {
		limit = describeShards
	}
	shards := v.after(number, s.now())
	d := Description{Summary: v.summary(), HasMoreShards: len(shards) > limit}
	d.Shards = describe(shards[:min(limit, len(shards))])
	return d, nil
}

// DescribeStreamSummary describes a stream without its shards.
func (s *Streams) DescribeStreamSummary(sc Scope, ref Ref) (Summary, error) {
	_, v, err := s.find(sc, ref)
	if err != nil {
		return Summary{}, err
	}
	d := v.summary()
	d.Consumers = len(v.consumersAt(s.now()))
	return d, nil
}

// startAfter reads an ExclusiveStartShardId; an empty one stands before the first shard.
func startAfter(sc Scope, name, id string) (int32, error) {
	if id == "" {
		return -1, nil
	}
	number, ok := ParseShardID(id)
	if !ok {
		return 0, noSuchShard(sc, name, id)
	}
	return number, nil
}

func (v *view) summary() Summary {
	return Summary{
		Name: v.row.Name, ARN: v.scope().arn(v.row.Name), Status: v.row.Status, Mode: v.row.Mode,
		RetentionHours: v.row.RetentionHours, Created: record.Millis(v.row.Created) * 1000,
		OpenShards: len(v.open), MaxRecordKiB: v.row.MaxRecordKiB, Metrics: v.row.Metrics,
		Strategy: v.strategy(), Warm: v.warm(), KeyID: v.row.Encryption.KeyID,
	}
}

func describe(shards []*shard) []Shard {
	out := make([]Shard, len(shards))
	for i, s := range shards {
		d := Shard{
			Number: s.Number, ID: s.ID, HashKeyRange: s.Hash, Starting: s.Starting(), Closed: s.Closed != 0,
		}
		if s.Parent >= 0 {
			d.ParentID = ShardID(s.Parent)
		}
		if s.Adjacent >= 0 {
			d.AdjacentParentID = ShardID(s.Adjacent)
		}
		if d.Closed {
			d.Ending = s.Ending()
		}
		out[i] = d
	}
	return out
}

// Limits is what DescribeLimits tells of an account in a region.
type Limits struct {
	ShardLimit, OpenShardCount                    int
	OnDemandStreamCount, OnDemandStreamCountLimit int
}

// DescribeLimits returns a scope's limits and what it uses of them.
func (s *Streams) DescribeLimits(sc Scope) Limits {
	s.rows.Lock()
	defer s.rows.Unlock()
	l := Limits{ShardLimit: s.cfg.Caps.Shards, OnDemandStreamCountLimit: s.cfg.Caps.OnDemandStreams}
	u, _ := s.rows.usage.Of(sc)
	l.OpenShardCount, l.OnDemandStreamCount = u.Open, u.OnDemand
	return l
}

// listStreams is how many streams ListStreams returns unless told otherwise.
const listStreams = 100

// ListInput selects a page of streams. The page starts after After, or where Token says; if both
// are given Token wins.
type ListInput struct {
	After string
	Token string
	// Limit is the most streams to return; 0 means 100.
	Limit int
}

// StreamPage is a page of streams in the order of their names.
type StreamPage struct {
	Streams []Summary
	// Token continues the list; it is empty if there is no more.
	Token string
}

// ListStreams returns a page of the streams of a scope.
func (s *Streams) ListStreams(sc Scope, in ListInput) (StreamPage, error) {
	after := in.After
	if in.Token != "" {
		var t listToken
		if err := s.openToken(sc, listTokens, in.Token, &t); err != nil {
			return StreamPage{}, err
		}
		after = t.After
	}
	limit := in.Limit
	if limit <= 0 {
		limit = listStreams
	}
	a := (*s.accounts.Load())[sc]
	if a == nil {
		return StreamPage{}, nil
	}
	d := a.directory.Load()
	at, found := slices.BinarySearch(d.names, after)
	if found {
		at++
	}
	names := d.names[at:]
	var page StreamPage
	if len(names) > limit {
		names = names[:limit]
		page.Token = s.sealToken(sc, listTokens, listToken{Made: s.now(), After: names[limit-1]})
	}
	for _, n := range names {
		page.Streams = append(page.Streams, d.byName[n].view.Load().summary())
	}
	return page, nil
}
