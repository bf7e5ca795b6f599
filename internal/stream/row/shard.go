package row

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/keyspace"
)

// Shard is what the row of a shard says.
type Shard struct {
	Stream uint64
	Number int32
	// ID is the shard's id as AWS spells it, made once.
	ID string
	// Parent and Adjacent are the numbers of the shards it was made from, or -1.
	Parent, Adjacent int32
	Hash             keyspace.Range
	// Created is the creation time its sequence numbers carry, in seconds.
	Created int64
	// Opened and Closed bound the time in which it took records; Opened is 0 for the shards a stream
	// was created with and Closed is 0 for an open one. A child opens when its parents close, so
	// that at any time the shards then open divide the hash keys among themselves.
	Opened, Closed record.Millis
}

// shardRow is the row itself.
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

// ShardsKey returns what the keys of a stream's shards begin with.
func ShardsKey(stream uint64) string { return fmt.Sprintf("%s%016x/", ShardPrefix, stream) }

// Key returns the key of the row.
func (s *Shard) Key() string { return fmt.Sprintf("%s%010d", ShardsKey(s.Stream), s.Number) }

// Place returns where the shard lies among the hash keys.
func (s *Shard) Place() keyspace.Shard { return keyspace.Shard{Number: s.Number, Hash: s.Hash} }

// Sequence returns the sequence number of the record with an index that arrived at a time. The
// time field never lies before the creation time, which for a new child may be a second ahead.
func (s *Shard) Sequence(index record.Index, at record.Millis) record.SequenceNumber {
	return record.SequenceNumber{Created: s.Created, Index: index, Time: max(at.Seconds(), s.Created), Shard: s.Number}
}

// Starting returns where the shard's sequence-number range begins.
func (s *Shard) Starting() record.SequenceNumber { return s.Sequence(0, 0) }

// Ending returns where the sequence-number range of a closed shard ends.
func (s *Shard) Ending() record.SequenceNumber { return s.Sequence(record.MaxIndex+1, s.Closed) }

// Encode returns the bytes of the row.
func (s *Shard) Encode() []byte {
	r := shardRow{
		Layout: Version, Start: s.Hash.Start.String(), End: s.Hash.End.String(),
		Created: s.Created, Opened: s.Opened, Closed: s.Closed,
	}
	if s.Parent >= 0 {
		r.Parent = &s.Parent
	}
	if s.Adjacent >= 0 {
		r.Adjacent = &s.Adjacent
	}
	return Encode(r)
}

// DecodeShard reads the row of a shard. One of a layout that is not known here is an error.
func DecodeShard(key string, value []byte) (Shard, error) {
	s := Shard{Parent: -1, Adjacent: -1}
	var err error
	if s.Stream, s.Number, err = ParseShardKey(key); err != nil {
		return Shard{}, err
	}
	s.ID = keyspace.ShardID(s.Number)
	var r shardRow
	if err := decode(key, value, &r); err != nil {
		return Shard{}, err
	}
	if r.Layout != Version {
		return Shard{}, unknown(key, r.Layout)
	}
	if s.Hash, err = keyspace.ParseRange(r.Start, r.End); err != nil {
		return Shard{}, fmt.Errorf("read row %s: %w", key, err)
	}
	if r.Parent != nil {
		s.Parent = *r.Parent
	}
	if r.Adjacent != nil {
		s.Adjacent = *r.Adjacent
	}
	s.Created, s.Opened, s.Closed = r.Created, r.Opened, r.Closed
	return s, nil
}

// ParseShardKey takes the key of a shard's row apart.
func ParseShardKey(key string) (stream uint64, number int32, err error) {
	tail, ok := strings.CutPrefix(key, ShardPrefix)
	if !ok || len(tail) != 27 || tail[16] != '/' {
		return 0, 0, fmt.Errorf("read row %s: not the key of a shard", key)
	}
	stream, err = strconv.ParseUint(tail[:16], 16, 64)
	n, err2 := strconv.ParseInt(tail[17:], 10, 32)
	if err := errors.Join(err, err2); err != nil {
		return 0, 0, fmt.Errorf("read row %s: %w", key, err)
	}
	return stream, int32(n), nil
}
