package aggregation

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"iter"
	"math"
)

// Defaults of Reader's limits. The largest aggregate, 10 MiB, could name five million records of
// nothing; KPL's have some hundreds.
const (
	DefaultMaxRecords = 1 << 20
	DefaultMaxKeys    = 1 << 17
)

var (
	// ErrNotAggregated says that the data is not an aggregate: the first bytes or the checksum are
	// others. It is a record like any other.
	ErrNotAggregated = errors.New("aggregation: not an aggregate")
	// ErrMalformed says that the frame is an aggregate's, but the message makes no sense.
	ErrMalformed = errors.New("aggregation: malformed aggregate")
	// ErrTooMany says that an aggregate has more records or keys than the reader's limits.
	ErrTooMany = errors.New("aggregation: aggregate exceeds the limits")
)

// Reader takes aggregates apart, one after the other. It allocates for an aggregate, never for a
// record: keys are parts of one string, data are parts of the aggregate. What it returned stays valid
// after Reset for as long as the aggregate's bytes do. It is not safe for concurrent use.
//
// Reset reads the whole message, so that a malformed one is refused before any of its records has been
// handed out, and notes where the records are.
type Reader struct {
	// MaxRecords and MaxKeys bound what an aggregate may have; 0 means the defaults. Keys are
	// partition keys and explicit hash keys together.
	MaxRecords, MaxKeys int

	message []byte
	items   []item // the records there are
	at      int    // how many of them Next has moved to
	// keys[:hash] are the partition keys, keys[hash:] the explicit hash keys.
	keys []string
	hash int
	text []byte // scratch: the keys one after the other
	ends []int  // scratch: where in text each partition key ends
	tail []int  // scratch: the same of explicit hash keys, in their own text
	more []byte // scratch: that text
}

// item is a record as the message has it: where its data is, the index of its partition key, and of its
// explicit hash key, plus 1.
type item struct{ data, size, key, hashKey uint32 }

// Reset makes the reader read an aggregate. The error is ErrNotAggregated, ErrMalformed or ErrTooMany;
// then the reader has no records.
func (r *Reader) Reset(data []byte) error {
	r.message, r.items, r.at = nil, r.items[:0], 0
	if !Maybe(data) || len(data) > math.MaxInt32 {
		return ErrNotAggregated
	}
	message, sum := data[len(magic):len(data)-md5.Size], data[len(data)-md5.Size:]
	if md5.Sum(message) != [md5.Size]byte(sum) {
		return ErrNotAggregated
	}
	if err := r.scan(message); err != nil {
		r.items = r.items[:0]
		return err
	}
	r.setKeys()
	r.message = message
	return nil
}

// Len returns how many records of the aggregate Next has not moved to yet.
func (r *Reader) Len() int { return len(r.items) - r.at }

// Next moves on to the next record and reports whether there is one.
func (r *Reader) Next() bool {
	if r.at == len(r.items) {
		return false
	}
	r.at++
	return true
}

// Record returns the record that Next moved to.
func (r *Reader) Record() Record {
	it := &r.items[r.at-1]
	end := it.data + it.size
	out := Record{PartitionKey: r.keys[it.key], Data: r.message[it.data:end:end]}
	if it.hashKey > 0 {
		out.ExplicitHashKey = r.keys[r.hash+int(it.hashKey-1)]
	}
	return out
}

// Split returns the user records in a Kinesis record: those of the aggregate that its data is, or the
// record itself, which is also what becomes of a malformed or excessive aggregate. This is how AWS's
// consumers treat one.
func (r *Reader) Split(record Record) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		if r.Reset(record.Data) != nil {
			yield(record)
			return
		}
		for r.Next() {
			if !yield(r.Record()) {
				return
			}
		}
	}
}

// scan checks the message and notes its keys and records.
func (r *Reader) scan(message []byte) (err error) {
	maxRecords, maxKeys := cmp.Or(r.MaxRecords, DefaultMaxRecords), cmp.Or(r.MaxKeys, DefaultMaxKeys)
	var keys, hashKeys uint32 // what the records ask of the tables
	// The loop is as fast as it is because what it appends to is in registers.
	items, text, ends, more, tail := r.items[:0], r.text[:0], r.ends[:0], r.more[:0], r.tail[:0]
	for at := 0; at < len(message); {
		// Every producer writes tags and sizes as short as they are; other fields are for cutField.
		tag, start, end := uint64(message[at]), 0, -1
		if tag == fieldRecords || tag == fieldPartitionKeys || tag == fieldHashKeys {
			if size, n := shortVarint(message[at+1:]); n > 0 && size < len(message)-at-n {
				start, end = at+1+n, at+1+n+size
			}
		}
		if end < 0 {
			f, rest, ok := cutField(message[at:])
			if !ok {
				err = ErrMalformed
				break
			}
			end = len(message) - len(rest)
			tag, start = f.tag, end-len(f.body)
		}
		at = end
		switch tag {
		case fieldPartitionKeys:
			text = append(text, message[start:end]...)
			ends = append(ends, len(text))
		case fieldHashKeys:
			more = append(more, message[start:end]...)
			tail = append(tail, len(more))
		case fieldRecords:
			it, ok := usualItem(message[:end], start)
			if !ok {
				if it, ok = parseItem(message[:end], start); !ok {
					err = ErrMalformed
				}
			}
			items = append(items, it)
			keys, hashKeys = max(keys, it.key+1), max(hashKeys, it.hashKey)
		}
		if len(items) > maxRecords || len(ends)+len(tail) > maxKeys {
			err = cmp.Or(err, ErrTooMany)
		}
		if err != nil {
			break
		}
	}
	r.items, r.text, r.ends, r.more, r.tail = items, text, ends, more, tail
	if err == nil && (keys > uint32(len(ends)) || hashKeys > uint32(len(tail))) {
		err = ErrMalformed
	}
	return err
}

// setKeys makes the keys out of what scan collected.
func (r *Reader) setKeys() {
	partition := len(r.text)
	r.text = append(r.text, r.more...)
	all := string(r.text)
	r.keys, r.hash = r.keys[:0], len(r.ends)
	at := 0
	for _, end := range r.ends {
		r.keys = append(r.keys, all[at:end])
		at = end
	}
	for _, end := range r.tail {
		end += partition
		r.keys = append(r.keys, all[at:end])
		at = end
	}
}

// maxIndex keeps indexes from wrapping; tables are far shorter.
const maxIndex = math.MaxInt32

// usualItem reads the record that begins at a place in a message and ends with it, if its fields are there
// once, in their order, which is how every producer writes them. Its varints are short: other records are
// for parseItem.
func usualItem(message []byte, at int) (it item, ok bool) {
	b := message[at:]
	if len(b) < 4 || b[0] != fieldPartitionKey {
		return it, false
	}
	key, n := shortVarint(b[1:])
	if b = b[1+n:]; n == 0 || len(b) == 0 {
		return it, false
	}
	it.key = uint32(key)
	if b[0] == fieldHashKey {
		hashKey, n := shortVarint(b[1:])
		if b = b[1+n:]; n == 0 || len(b) == 0 {
			return it, false
		}
		it.hashKey = uint32(hashKey) + 1
	}
	if b[0] != fieldData {
		return it, false
	}
	size, n := shortVarint(b[1:])
	if b = b[1+n:]; n == 0 || size != len(b) {
		return it, false
	}
	it.data, it.size = uint32(len(message)-size), uint32(size)
	return it, true
}

// shortVarint returns the varint that b begins with, of one or two bytes, and how many; 0 for another.
func shortVarint(b []byte) (v, n int) {
	switch {
	case len(b) > 0 && b[0] < 0x80:
		return int(b[0]), 1
	case len(b) > 1 && b[1] < 0x80:
		return int(b[0]&0x7f) | int(b[1])<<7, 2
	}
	return 0, 0
}

// parseItem reads the record that begins at a place in a message and ends with it. As protobuf has it, the
// last of a field counts and unknown ones do not.
func parseItem(message []byte, at int) (it item, ok bool) {
	var key, hashKey uint64 // plus 1, for a record must have the one and may have the other
	filled := false
	for at < len(message) {
		f, rest, ok := cutField(message[at:])
		if !ok {
			return it, false
		}
		at = len(message) - len(rest)
		switch f.tag {
		case fieldPartitionKey:
			key = min(f.value, maxIndex) + 1
		case fieldHashKey:
			hashKey = min(f.value, maxIndex) + 1
		case fieldData:
			it.data, it.size, filled = uint32(at-len(f.body)), uint32(len(f.body)), true
		}
	}
	it.key, it.hashKey = uint32(key-1), uint32(hashKey)
	return it, filled && key > 0 && key <= maxIndex && hashKey <= maxIndex
}

// varint cuts a varint off b; what is left is nil if there is none.
func varint(b []byte) (v uint64, rest []byte) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil
	}
	return v, b[n:]
}

// field is one field of a message: value is a varint's, body that of a field that has bytes.
type field struct {
	tag, value uint64
	body       []byte
}

// cutField cuts the first field off a message.
func cutField(b []byte) (f field, rest []byte, ok bool) {
	if f.tag, b = varint(b); b == nil || f.tag>>3 == 0 || f.tag>>3 > 1<<29-1 {
		return f, nil, false
	}
	size := uint64(0)
	switch f.tag & 7 {
	case wireBytes:
		size, b = varint(b)
	case wireVarint:
		f.value, b = varint(b)
	case wireFixed64:
		size = 8
	case wireFixed32:
		size = 4
	default: // groups, which protobuf 2 had given up before KPL was written
		return f, nil, false
	}
	if b == nil || size > uint64(len(b)) {
		return f, nil, false
	}
	f.body = b[:size:size]
	return f, b[size:], true
}
