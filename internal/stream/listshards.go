package stream

import (
	"encoding/json"
	"slices"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/row"
)

// FilterType is how ListShards selects shards.
type FilterType string

// The filter types, as AWS spells them.
const (
	AfterShardID    FilterType = "AFTER_SHARD_ID"
	AtTrimHorizon   FilterType = "AT_TRIM_HORIZON"
	FromTrimHorizon FilterType = "FROM_TRIM_HORIZON"
	AtLatest        FilterType = "AT_LATEST"
	AtTimestamp     FilterType = "AT_TIMESTAMP"
	FromTimestamp   FilterType = "FROM_TIMESTAMP"
)

// ShardFilter selects shards.
type ShardFilter struct {
	Type FilterType
	// ShardID belongs to AfterShardID.
	ShardID string
	// Timestamp belongs to AtTimestamp and FromTimestamp.
	Timestamp    record.Millis
	HasTimestamp bool
}

// ListShardsInput selects a page of a stream's shards: the first page by Ref and what follows it
// here, later pages by Token alone.
type ListShardsInput struct {
	Ref   Ref
	Token string
	// MaxResults is the most shards to return; 0 means 1,000, which is also the most.
	MaxResults int
	// ExclusiveStartShardID, if not empty, is the shard before the first one wanted.
	ExclusiveStartShardID string
	// Created, if set, must be the stream's creation time: it tells a stream from another that had
	// its name before.
	Created    record.Millis
	HasCreated bool
	Filter     *ShardFilter
}

// ShardPage is a page of shards in the order of their numbers.
type ShardPage struct {
	Shards []Shard
	// Token continues the list for the next 300 seconds; it is empty if there is no more.
	Token string
}

// maxListShards is how many shards ListShards returns at most.
const maxListShards = 1000

// tokenLife is how long paging tokens are good for, in milliseconds.
const tokenLife record.Millis = 300_000

// Contexts that texts are sealed for.
const (
	listTokens  = "ListStreams"
	shardTokens = "ListShards"
	iterators   = "ShardIterator"

	consumerTokens = "ListStreamConsumers"
)

// listToken is where a list of streams goes on.
type listToken struct {
	Made  record.Millis `json:"t"`
	After string        `json:"a"`
}

func (t listToken) made() record.Millis { return t.Made }

// shardToken is where a list of shards goes on. The filter's time is part of it, so that all pages
// answer the same question.
type shardToken struct {
	Made   record.Millis `json:"t"`
	Stream uint64        `json:"s"`
	Name   string        `json:"n"`
	After  int32         `json:"a"`
	Type   FilterType    `json:"f"`
	At     record.Millis `json:"at"`
}

func (t shardToken) made() record.Millis { return t.Made }

// sealContext ties a sealed text to its purpose and to the scope it was made for.
func sealContext(sc Scope, purpose string) string {
	return purpose + "\x00" + sc.Account + "\x00" + sc.Region
}

func (s *Streams) sealToken(sc Scope, purpose string, t any) string {
	return s.sealer.Seal(sealContext(sc, purpose), row.Encode(t), 0)
}

// TokenARN returns the ARN of the stream that a page token of ListShards is of, expired or not, and ""
// for what is no such token made for the scope.
func (s *Streams) TokenARN(sc Scope, text string) string {
	var t shardToken
	_ = s.openToken(sc, shardTokens, text, &t) // the call itself answers what is wrong with it
	if t.Name == "" {
		return ""
	}
	return sc.arn(t.Name)
}

// openToken reads a paging token made for a scope and purpose into t.
func (s *Streams) openToken(sc Scope, purpose, text string, t interface{ made() record.Millis }) error {
	payload, err := s.sealer.Open(sealContext(sc, purpose), text)
	if err == nil {
		err = json.Unmarshal(payload, t)
	}
	if err != nil {
		return refuse(InvalidArgument, "NextToken %s is invalid.", text)
	}
	if now := s.now(); now-t.made() > tokenLife {
		return refuse(ExpiredToken, "NextToken expired. The token was created at time %s while right now it is %s "+
			"which is further in the future than the tolerated delay of %d milliseconds.",
			javaDate(t.made()), javaDate(now), tokenLife)
	}
	return nil
}

// ListShards returns a page of a stream's shards.
func (s *Streams) ListShards(sc Scope, in ListShardsInput) (ShardPage, error) {
	t, v, err := s.startList(sc, in)
	if err != nil {
		return ShardPage{}, err
	}
	limit := in.MaxResults
	if limit <= 0 || limit > maxListShards {
		limit = maxListShards
	}
	shards := v.after(t.After, s.now())
	if t.Type != FromTrimHorizon && t.Type != AfterShardID {
		shards = slices.DeleteFunc(slices.Clone(shards), func(sh *shard) bool { return !t.selects(sh) })
	}
	var page ShardPage
	if len(shards) > limit {
		shards = shards[:limit]
		t.After, t.Made = shards[limit-1].Number, s.now()
		page.Token = s.sealToken(sc, shardTokens, t)
	}
	page.Shards = describe(shards)
	return page, nil
}

// selects reports whether a shard passes the filter.
func (t *shardToken) selects(sh *shard) bool {
	switch t.Type {
	case AtLatest:
		return sh.Closed == 0
	case AtTrimHorizon, AtTimestamp:
		return sh.Opened <= t.At && (sh.Closed == 0 || t.At < sh.Closed)
	case FromTimestamp:
		return sh.Closed == 0 || t.At < sh.Closed
	}
	return true
}

// startList returns where a list starts and the view to list.
func (s *Streams) startList(sc Scope, in ListShardsInput) (shardToken, *view, error) {
	var t shardToken
	if in.Token != "" {
		if err := in.aloneWithToken(); err != nil {
			return t, nil, err
		}
		if err := s.openToken(sc, shardTokens, in.Token, &t); err != nil {
			return t, nil, err
		}
		e, v, err := s.find(sc, Ref{Name: t.Name})
		if err == nil && e.id != t.Stream {
			err = streamNotFound(sc, t.Name)
		}
		return t, v, err
	}
	if in.Ref == (Ref{}) {
		return t, nil, refuse(InvalidArgument, "Either NextToken or StreamName should be provided.")
	}
	e, v, err := s.find(sc, in.Ref)
	if err != nil {
		return t, nil, err
	}
	if in.HasCreated && in.Created.Seconds() != v.row.Created {
		return t, nil, streamNotFound(sc, e.name)
	}
	t = shardToken{Stream: e.id, Name: e.name, Type: FromTrimHorizon}
	if t.After, err = startAfter(sc, e.name, in.ExclusiveStartShardID); err != nil {
		return t, nil, err
	}
	return t, v, t.filter(sc, v, s.now(), in.Filter)
}

// aloneWithToken returns AWS's objection to whatever was given beside a token.
func (in *ListShardsInput) aloneWithToken() error {
	beside := ""
	switch {
	case in.Ref.Name != "":
		beside = "StreamName"
	case in.Ref.ARN != "":
		beside = "StreamARN"
	case in.HasCreated:
		beside = "StreamCreationTimestamp"
	case in.ExclusiveStartShardID != "":
		beside = "ExclusiveStartShardId"
	case in.Filter != nil:
		beside = "ShardFilter"
	default:
		return nil
	}
	return refuse(InvalidArgument, "NextToken and %s cannot be provided together.", beside)
}

// filter takes a filter into the token. A time before the trim horizon, which is the stream's
// creation until records have expired, stands for the horizon.
func (t *shardToken) filter(sc Scope, v *view, now record.Millis, f *ShardFilter) error {
	if f == nil {
		return nil
	}
	t.Type = f.Type
	switch f.Type {
	case AfterShardID:
		if f.ShardID == "" {
			return refuse(InvalidArgument, "ShardId must be provided when the ShardFilter type is %s.", f.Type)
		}
		after, err := startAfter(sc, v.row.Name, f.ShardID)
		if err != nil {
			return err
		}
		t.After = max(t.After, after)
	case AtTimestamp, FromTimestamp:
		if !f.HasTimestamp {
			return refuse(InvalidArgument, "Timestamp must be provided when the ShardFilter type is %s.", f.Type)
		}
		if f.Timestamp > now {
			return timestampAhead(f.Timestamp, now)
		}
		t.At = max(f.Timestamp, v.horizon(now))
	case AtTrimHorizon:
		t.At = v.horizon(now)
	}
	return nil
}
