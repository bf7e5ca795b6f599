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
func (r *Reader) scan(message []byte) error {
	r.text, r.ends, r.more, r.tail = r.text[:0], r.ends[:0], r.more[:0], r.tail[:0]
	maxRecords, maxKeys := cmp.Or(r.MaxRecords, DefaultMaxRecords), cmp.Or(r.MaxKeys, DefaultMaxKeys)
	var keys, hashKeys uint32 // what the records ask of the tables
	for rest := message; len(rest) > 0; {
		f, after, ok := cutField(rest)
		if !ok {
			return ErrMalformed
		}
		rest = after
		switch f.tag {
		case fieldPartitionKeys:
			r.text = append(r.text, f.body...)
			r.ends = append(r.ends, len(r.text))
		case fieldHashKeys:
			r.more = append(r.more, f.body...)
			r.tail = append(r.tail, len(r.more))
		case fieldRecords:
			u, ok := parse(f.body)
			if !ok {
				return ErrMalformed
			}
			it := item{size: uint32(len(u.data)), key: uint32(u.key)}
			// The data are somewhere in the field, which ends where the rest begins.
			it.data = uint32(len(message) - len(rest) - u.left - len(u.data))
			if u.hashed {
				it.hashKey = uint32(u.hashKey) + 1
			}
			r.items = append(r.items, it)
			keys, hashKeys = max(keys, it.key+1), max(hashKeys, it.hashKey)
		}
		if len(r.items) > maxRecords || len(r.ends)+len(r.tail) > maxKeys {
			return ErrTooMany
		}
	}
	if keys > uint32(len(r.ends)) || hashKeys > uint32(len(r.tail)) {
		return ErrMalformed
	}
	return nil
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

// user is a record as the message has it.
type user struct {
	key, hashKey uint64
	hashed       bool
	data         []byte
	left         int // bytes of the field behind the data
}

// maxIndex keeps indexes from wrapping; tables are far shorter.
const maxIndex = math.MaxInt32

// parse reads a record.
func parse(b []byte) (u user, ok bool) {
	if u, ok = parseUsual(b); ok {
		return u, true
	}
	return parseAny(b)
}

// parseUsual reads a record whose fields are there once, in their order, which is how every producer
// writes them.
func parseUsual(b []byte) (u user, ok bool) {
	if len(b) < 4 || b[0] != fieldPartitionKey {
		return u, false
	}
	if u.key, b = varint(b[1:]); len(b) > 0 && b[0] == fieldHashKey {
		u.hashed = true
		u.hashKey, b = varint(b[1:])
	}
	if len(b) == 0 || b[0] != fieldData {
		return u, false
	}
	size, b := varint(b[1:])
	if b == nil || size != uint64(len(b)) {
		return u, false
	}
	u.data = b[:len(b):len(b)]
	return u, u.key < maxIndex && u.hashKey < maxIndex
}

// varint cuts a varint off b; what is left is nil if there is none.
func varint(b []byte) (v uint64, rest []byte) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), b[1:]
	}
	if len(b) > 1 && b[1] < 0x80 {
		return uint64(b[0]&0x7f) | uint64(b[1])<<7, b[2:]
	}
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil
	}
	return v, b[n:]
}

// parseAny reads a record. As protobuf has it, the last of a field counts and unknown ones do not.
func parseAny(b []byte) (u user, ok bool) {
	keyed, filled := false, false
	for len(b) > 0 {
		f, rest, ok := cutField(b)
		if !ok {
			return u, false
		}
		switch f.tag {
		case fieldPartitionKey:
			u.key, keyed = f.value, true
		case fieldHashKey:
			u.hashKey, u.hashed = f.value, true
		case fieldData:
			u.data, u.left, filled = f.body, len(rest), true
		}
		b = rest
	}
	return u, keyed && filled && u.key < maxIndex && u.hashKey < maxIndex
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
