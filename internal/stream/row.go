package stream

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/seal"
	"github.com/headrace/headrace/internal/stream/token"
)

// Keys in the coordinator:
//
//	kinesis/account/<account>/<region>        one row for the settings of an account, if it has some
//	kinesis/capacity/<stream id>              one row for the load of an on-demand stream that scales
//	kinesis/consumer/<stream id>/<name>       one row a consumer
//	kinesis/key                               the key that iterators and tokens are sealed with
//	kinesis/shard/<stream id>/<shard number>  one row a shard
//	kinesis/stream/<account>/<region>/<name>  one row a stream
//
// A stream's row exists before the first of its shards' and consumers' rows and is removed after the last.
const (
	keyPrefix      = "kinesis/"
	accountPrefix  = keyPrefix + "account/"
	capacityPrefix = keyPrefix + "capacity/"
	consumerPrefix = keyPrefix + "consumer/"
	sealKey        = keyPrefix + "key"
	shardPrefix    = keyPrefix + "shard/"
	streamPrefix   = keyPrefix + "stream/"
)

// rowVersion is the layout of the rows below. A node refuses rows of a later one. That of a stream which
// has data keys is encryptedRowVersion, so that no program that would forget them touches it.
const rowVersion, encryptedRowVersion = 1, 2

// streamRow is the row of a stream.
type streamRow struct {
	Layout int `json:"v"`
	// ID names the stream's logs. It is random and never used again.
	ID      uint64 `json:"id"`
	Account string `json:"account"`
	Region  string `json:"region"`
	Name    string `json:"name"`
	Status  Status `json:"status"`
	Mode    Mode   `json:"mode"`
	// Created is StreamCreationTimestamp, in whole seconds.
	Created        int64             `json:"created"`
	RetentionHours int               `json:"retentionHours"`
	MaxRecordKiB   int               `json:"maxRecordKiB"`
	Tags           map[string]string `json:"tags,omitempty"`
	// Policy is the resource policy, "" if there is none.
	Policy string `json:"policy,omitempty"`
	// Metrics are the shard-level metrics that are on.
	Metrics []ShardMetric `json:"metrics,omitempty"`
	// Auto says that records are placed evenly, whatever their keys.
	Auto bool `json:"auto,omitempty"`
	// WarmMiBps is the warm throughput that was asked for, 0 if none was.
	WarmMiBps int `json:"warmMiBps,omitempty"`
	// Scalings, Switches and Sealings are when the shard count and the mode were changed and encryption was
	// started in the last day, where AWS's limits hold.
	Scalings []record.Millis `json:"scalings,omitempty"`
	Switches []record.Millis `json:"switches,omitempty"`
	Sealings []record.Millis `json:"sealings,omitempty"`
	// Encryption is how records are sealed that are taken now. Keys are all data keys, the oldest first.
	Encryption encryption `json:"encryption,omitzero"`
	Keys       []seal.Row `json:"keys,omitempty"`
	// Shards is how many shards the stream is created with.
	Shards int `json:"shards"`
	// NextShard is the number the next new shard gets; numbers are never used again.
	NextShard int32 `json:"nextShard"`
	// Horizon is a time before which everything has expired: shards that closed by then do not come
	// back, however long the retention becomes and whatever the clock does.
	Horizon record.Millis `json:"horizon,omitempty"`
	// Due is when the transition may be carried out.
	Due record.Millis `json:"due,omitempty"`
	// Plan says what an UPDATING stream is about to become.
	Plan *plan `json:"plan,omitempty"`
}

// plan is what is left to do before an UPDATING stream is ACTIVE again.
type plan struct {
	// Ops are splits or merges that have been begun, each independent of the others.
	Ops []op `json:"ops,omitempty"`
	// Target, unless 0, asks for further ops until there are so many uniform shards.
	Target int `json:"target,omitempty"`
	// Retain asks that the logs learn the row's retention.
	Retain bool `json:"retain,omitempty"`
	// Encryption, unless nil, is what the row's is to be.
	Encryption *encryption `json:"encryption,omitempty"`
}

// HashRange is a run of hash keys, both ends included. The open shards of a stream always divide
// [0, 2^128-1] among themselves without gap or overlap.
type HashRange = keyspace.Range

// ShardID returns the id of the shard with a number: "shardId-" and at least twelve digits.
func ShardID(number int32) string { return keyspace.ShardID(number) }

// ParseShardID reads a shard id as leniently as AWS does; ok is false for what is none.
func ParseShardID(id string) (number int32, ok bool) { return keyspace.ParseShardID(id) }

// op is one split or merge. It carries everything that repeating it needs.
type op = keyspace.Op

// reshards says whether the plan makes shards.
func (p *plan) reshards() bool { return p != nil && (p.Target > 0 || len(p.Ops) > 0) }

func (r *streamRow) scope() Scope { return Scope{r.Account, r.Region} }

func (r *streamRow) key() string { return streamPrefix + r.Account + "/" + r.Region + "/" + r.Name }

func (r *streamRow) retention() record.Millis { return record.Millis(r.RetentionHours) * 3600_000 }

// clone returns a copy that may be changed.
func (r *streamRow) clone() *streamRow {
	c := *r
	c.Tags = maps.Clone(r.Tags)
	if r.Plan != nil {
		p := *r.Plan
		c.Plan = &p
	}
	return &c
}

// shard is one shard: the row of it with the version it was read at. It is never changed.
type shard struct {
	stream uint64
	number int32
	// id is the shard's id as AWS spells it, made once.
	id string
	// parent and adjacent are the numbers of the shards it was made from, or -1.
	parent, adjacent int32
	hash             HashRange
	// created is the creation time its sequence numbers carry, in seconds.
	created int64
	// opened and closed bound the time in which it took records; opened is 0 for the shards a stream
	// was created with and closed is 0 for an open one. A child opens when its parents close, so
	// that at any time the shards then open divide the hash keys among themselves.
	opened, closed record.Millis
	version        coordinator.Version
	// budget is what this node counts of the shard, whatever its row says; nil if nobody asks.
	budget *budget
}

// shardRow is the row of a shard.
type shardRow struct {
	Layout   int           `json:"v"`
	Start    string        `json:"start"`
	End      string        `json:"end"`
	Parent   *int32        `json:"parent,omitempty"`
	Adjacent *int32        `json:"adjacent,omitempty"`
	Created  int64         `json:"created"`
	Opened   record.Millis `json:"opened,omitempty"`
	Closed   record.Millis `json:"closed,omitempty"`
}

func shardKey(stream uint64, number int32) string {
	return fmt.Sprintf("%s%016x/%010d", shardPrefix, stream, number)
}

func (s *shard) key() string { return shardKey(s.stream, s.number) }

// place returns where the shard lies among the hash keys.
func (s *shard) place() keyspace.Shard { return keyspace.Shard{Number: s.number, Hash: s.hash} }

// places returns where open shards lie.
func places(open []*shard) []keyspace.Shard {
	all := make([]keyspace.Shard, len(open))
	for i, s := range open {
		all[i] = s.place()
	}
	return all
}

// log returns the name of the shard's log.
func (s *shard) log() shardlog.ShardID { return shardlog.ShardID{Stream: s.stream, Shard: s.number} }

// sequence returns the sequence number of the record with an index that arrived at a time. The
// time field never lies before the creation time, which for a new child may be a second ahead.
func (s *shard) sequence(index record.Index, at record.Millis) record.SequenceNumber {
	return record.SequenceNumber{Created: s.created, Index: index, Time: max(at.Seconds(), s.created), Shard: s.number}
}

// starting and ending return the ends of the shard's sequence-number range.
func (s *shard) starting() record.SequenceNumber { return s.sequence(0, 0) }
func (s *shard) ending() record.SequenceNumber   { return s.sequence(record.MaxIndex+1, s.closed) }

func encodeRow(row any) []byte {
	value, err := json.Marshal(row)
	if err != nil {
		panic(err) // rows hold nothing that JSON lacks
	}
	return value
}

func (s *shard) encode() []byte {
	row := shardRow{
		Layout: rowVersion, Start: s.hash.Start.String(), End: s.hash.End.String(),
		Created: s.created, Opened: s.opened, Closed: s.closed,
	}
	if s.parent >= 0 {
		row.Parent = &s.parent
	}
	if s.adjacent >= 0 {
		row.Adjacent = &s.adjacent
	}
	return encodeRow(row)
}

func decodeStream(e coordinator.Entry) (*streamRow, error) {
	row := new(streamRow)
	if err := json.Unmarshal(e.Value, row); err != nil {
		return nil, fmt.Errorf("read row %s: %w", e.Key, err)
	}
	if row.Layout != rowVersion && row.Layout != encryptedRowVersion {
		return nil, fmt.Errorf("read row %s: layout %d is not known here", e.Key, row.Layout)
	}
	if row.key() != e.Key {
		return nil, fmt.Errorf("read row %s: it describes %s", e.Key, row.key())
	}
	return row, nil
}

func decodeShard(e coordinator.Entry) (*shard, error) {
	s := &shard{parent: -1, adjacent: -1, version: e.Version}
	var err error
	if s.stream, s.number, err = parseShardKey(e.Key); err != nil {
		return nil, err
	}
	s.id = ShardID(s.number)
	var row shardRow
	if err := json.Unmarshal(e.Value, &row); err != nil {
		return nil, fmt.Errorf("read row %s: %w", e.Key, err)
	}
	if row.Layout != rowVersion {
		return nil, fmt.Errorf("read row %s: layout %d is not known here", e.Key, row.Layout)
	}
	if s.hash, err = keyspace.ParseRange(row.Start, row.End); err != nil {
		return nil, fmt.Errorf("read row %s: %w", e.Key, err)
	}
	if row.Parent != nil {
		s.parent = *row.Parent
	}
	if row.Adjacent != nil {
		s.adjacent = *row.Adjacent
	}
	s.created, s.opened, s.closed = row.Created, row.Opened, row.Closed
	return s, nil
}

func parseShardKey(key string) (stream uint64, number int32, err error) {
	tail, ok := bytes.CutPrefix([]byte(key), []byte(shardPrefix))
	if !ok || len(tail) != 27 || tail[16] != '/' {
		return 0, 0, fmt.Errorf("read row %s: not the key of a shard", key)
	}
	stream, err = strconv.ParseUint(string(tail[:16]), 16, 64)
	n, err2 := strconv.ParseInt(string(tail[17:]), 10, 32)
	if err := errors.Join(err, err2); err != nil {
		return 0, 0, fmt.Errorf("read row %s: %w", key, err)
	}
	return stream, int32(n), nil
}

// sealingKey returns the key of this installation, and makes it if this is the first node ever.
func sealingKey(ctx context.Context, c coordinator.Coordinator) (key [token.KeySize]byte, err error) {
	for {
		e, err := c.Get(ctx, sealKey)
		switch {
		case err == nil && len(e.Value) == len(key):
			copy(key[:], e.Value)
			return key, nil
		case err == nil:
			return key, fmt.Errorf("read row %s: it has %d bytes, not %d", sealKey, len(e.Value), len(key))
		case !errors.Is(err, coordinator.ErrNotFound):
			return key, fmt.Errorf("read row %s: %w", sealKey, err)
		}
		rand.Read(key[:]) // never fails
		if _, err := c.Put(ctx, sealKey, key[:], 0); err != nil && !errors.Is(err, coordinator.ErrConflict) {
			return key, fmt.Errorf("write row %s: %w", sealKey, err)
		}
	}
}
