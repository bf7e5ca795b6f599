// Package row is the form in which a stream, its shards and consumers, and the settings of accounts lie in
// the coordinator: the keys, the layouts, and what a row says by itself.
//
// It is not what a node knows of the rows, nor the rules by which they change: it neither reads nor writes.
// Package stream does, and takes the keys and the bytes from here.
package row

import (
	"encoding/json"
	"fmt"
	"strings"
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
	Prefix         = "kinesis/"
	AccountPrefix  = Prefix + "account/"
	CapacityPrefix = Prefix + "capacity/"
	ConsumerPrefix = Prefix + "consumer/"
	SealingKey     = Prefix + "key"
	ShardPrefix    = Prefix + "shard/"
	StreamPrefix   = Prefix + "stream/"
)

// Version is the layout of the rows below. A node refuses rows of a later one. That of a stream which has
// data keys is EncryptedVersion, so that no program that would forget them touches it.
const Version, EncryptedVersion = 1, 2

// StreamKey returns the key of a stream's row.
func StreamKey(account, region, name string) string {
	return StreamPrefix + account + "/" + region + "/" + name
}

// ParseStreamKey takes the key of a stream's row apart; ok is false for what is none.
func ParseStreamKey(key string) (account, region, name string, ok bool) {
	tail, ok := strings.CutPrefix(key, StreamPrefix)
	parts := strings.Split(tail, "/")
	if !ok || len(parts) != 3 {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

// CapacityKey returns the key of the row for the load of a stream.
func CapacityKey(stream uint64) string { return fmt.Sprintf("%s%016x", CapacityPrefix, stream) }

// Encode returns the bytes of a row or of anything else that JSON has a form for; others are a fault of the
// program.
func Encode(row any) []byte {
	value, err := json.Marshal(row)
	if err != nil {
		panic(err) // rows hold nothing that JSON lacks
	}
	return value
}

// decode reads a row into to.
func decode(key string, value []byte, to any) error {
	if err := json.Unmarshal(value, to); err != nil {
		return fmt.Errorf("read row %s: %w", key, err)
	}
	return nil
}

// unknown refuses a row of a layout that is not known here.
func unknown(key string, layout int) error {
	return fmt.Errorf("read row %s: layout %d is not known here", key, layout)
}
