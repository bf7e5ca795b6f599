package aggregation

import (
	"crypto/md5"
	"encoding/binary"

	"github.com/headrace/headrace/internal/record"
)

// DefaultMaxBytes is the size that KPL's aggregates have at most unless it is told otherwise.
const DefaultMaxBytes = 51200

// partitionKey is the partition key of an aggregate, which its explicit hash key overrides. It is
// KPL's.
const partitionKey = "a"

// Builder puts records together. The zero value is ready; use it again after Build. It is not safe for
// concurrent use.
type Builder struct {
	// MaxBytes is the largest aggregate in bytes, partition key included; 0 means DefaultMaxBytes.
	MaxBytes int
	// MaxRecords is the most records in one; 0 means DefaultMaxRecords.
	MaxRecords int

	first    Record // with data of its own
	records  int
	keys     table
	hashKeys table
	body     []byte // the records, as the message has them
}

// table is one of the message's two key tables.
type table struct {
	index map[string]uint64
	body  []byte
}

// Add takes the record in and reports true, or leaves everything as it is and reports false if there is
// no room for it: then the aggregate is to be built first. A record always fits into an empty builder.
// Data is copied.
func (b *Builder) Add(r Record) bool {
	need := b.keys.cost(r.PartitionKey) + recordSize(len(r.Data), b.keys.at(r.PartitionKey), r.ExplicitHashKey != "", b.hashKeys.at(r.ExplicitHashKey))
	if r.ExplicitHashKey != "" {
		need += b.hashKeys.cost(r.ExplicitHashKey)
	}
	if b.records > 0 && (b.records >= b.maxRecords() || b.Size()+need > b.maxBytes()) {
		return false
	}
	if b.records == 0 {
		b.first = r
		b.first.Data = append([]byte(nil), r.Data...)
	}
	b.records++
	size := bodySize(len(r.Data), b.keys.at(r.PartitionKey), r.ExplicitHashKey != "", b.hashKeys.at(r.ExplicitHashKey))
	b.body = binary.AppendUvarint(append(b.body, fieldRecords), uint64(size))
	b.body = binary.AppendUvarint(append(b.body, fieldPartitionKey), b.keys.add(fieldPartitionKeys, r.PartitionKey))
	if r.ExplicitHashKey != "" {
		b.body = binary.AppendUvarint(append(b.body, fieldHashKey), b.hashKeys.add(fieldHashKeys, r.ExplicitHashKey))
	}
	b.body = binary.AppendUvarint(append(b.body, fieldData), uint64(len(r.Data)))
	b.body = append(b.body, r.Data...)
	return true
}

// Len returns how many records have been added.
func (b *Builder) Len() int { return b.records }

// Size returns how large the aggregate would be in bytes, partition key included.
func (b *Builder) Size() int {
	return frame + len(partitionKey) + len(b.keys.body) + len(b.hashKeys.body) + len(b.body)
}

// Build returns the Kinesis record that holds what was added, and empties the builder. A single record
// is returned as it is, unless its data would be taken for an aggregate; two and more become one. Its
// explicit hash key is that of the first record, so that it goes to that record's shard. An empty
// builder gives the zero Record.
func (b *Builder) Build() Record {
	defer b.reset()
	if b.records == 0 || b.records == 1 && !Maybe(b.first.Data) {
		return b.first
	}
	data := make([]byte, 0, b.Size())
	data = append(data, magic...)
	data = append(data, b.keys.body...)
	data = append(data, b.hashKeys.body...)
	data = append(data, b.body...)
	sum := md5.Sum(data[len(magic):])
	out := Record{PartitionKey: partitionKey, ExplicitHashKey: b.first.ExplicitHashKey, Data: append(data, sum[:]...)}
	if out.ExplicitHashKey == "" {
		out.ExplicitHashKey = record.HashKeyOf(b.first.PartitionKey).String()
	}
	return out
}

func (b *Builder) reset() {
	b.first, b.records, b.body = Record{}, 0, b.body[:0]
	b.keys.reset()
	b.hashKeys.reset()
}

func (b *Builder) maxBytes() int {
	if b.MaxBytes == 0 {
		return DefaultMaxBytes
	}
	return b.MaxBytes
}

func (b *Builder) maxRecords() int {
	if b.MaxRecords == 0 {
		return DefaultMaxRecords
	}
	return b.MaxRecords
}

// at returns the index that the key has or would get.
func (t *table) at(key string) uint64 {
	if i, ok := t.index[key]; ok {
		return i
	}
	return uint64(len(t.index))
}

// cost returns how many bytes the key adds to the table.
func (t *table) cost(key string) int {
	if _, ok := t.index[key]; ok {
		return 0
	}
	return 1 + sizeOf(uint64(len(key))) + len(key)
}

// add returns the key's index, adding it if need be.
func (t *table) add(field byte, key string) uint64 {
	i, ok := t.index[key]
	if ok {
		return i
	}
	if t.index == nil {
		t.index = make(map[string]uint64)
	}
	i = uint64(len(t.index))
	t.index[key] = i
	t.body = binary.AppendUvarint(append(t.body, field), uint64(len(key)))
	t.body = append(t.body, key...)
	return i
}

func (t *table) reset() {
	clear(t.index)
	t.body = t.body[:0]
}

// recordSize returns how many bytes a record takes of the message, bodySize without its tag and length.
func recordSize(data int, key uint64, hashed bool, hashKey uint64) int {
	n := bodySize(data, key, hashed, hashKey)
	return 1 + sizeOf(uint64(n)) + n
}

func bodySize(data int, key uint64, hashed bool, hashKey uint64) int {
	n := 1 + sizeOf(key) + 1 + sizeOf(uint64(data)) + data
	if hashed {
		n += 1 + sizeOf(hashKey)
	}
	return n
}

// sizeOf returns how many bytes the varint takes.
func sizeOf(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
