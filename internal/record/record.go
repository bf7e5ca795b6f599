// Package record holds the values that flow through Headrace: a data record, the position it
// has in its shard, its hash key and its sequence number.
//
// It is a leaf: it knows neither streams nor storage nor the AWS wire, and every other package may
// import it. Values are immutable once made; byte slices and strings inside a Record that was read
// from a log alias storage and stay valid until the page they came in is released.
package record

import "time"

// Millis is a point in time in whole milliseconds since the Unix epoch, the resolution of
// ApproximateArrivalTimestamp. It carries no pointer, so a page of records stays invisible to the
// garbage collector.
type Millis int64

// MillisOf truncates t to the millisecond.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time returns m in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// Seconds returns m in whole seconds since the Unix epoch, rounded down.
func (m Millis) Seconds() int64 {
	s := int64(m) / 1000
	if int64(m)%1000 < 0 {
		s--
	}
	return s
}

// Index numbers the records of one shard from 1 in the order they were acknowledged. It is the
// seqIx field of a sequence number. 0 means "before the first record".
type Index uint64

// MaxIndex is the highest index a record may have; MaxIndex+1 is the closing index that the ending
// sequence number of a sealed shard carries.
const MaxIndex Index = 1<<63 - 2

// Entry is one record on its way into a shard: what the producer gave, before storage assigns a
// place and a time to it.
type Entry struct {
	// PartitionKey is the producer's key, 1 to 256 characters of UTF-8.
	PartitionKey string
	// ExplicitHashKey is the producer's own hash key; it counts only when HasExplicitHashKey.
	ExplicitHashKey    HashKey
	HasExplicitHashKey bool
	// Seal says what Data is.
	Seal Seal
	// Data is the payload, 0 to 10 MiB; SealOverhead bytes more if it is Sealed.
	Data []byte
}

// Seal says how the data of an entry relates to what its producer gave.
type Seal uint8

const (
	// Plain is what the producer gave.
	Plain Seal = iota
	// Sealed is encrypted under a data key of the stream: SealOverhead bytes longer than what the
	// producer gave. So it lies in the log.
	Sealed
	// Opened is what the producer gave, of a record that lies Sealed in the log.
	Opened
)

// SealOverhead is how many bytes sealed data is longer.
const SealOverhead = 44

// Size is the number of bytes that count against record and throughput limits: data, as the producer
// gave it, plus partition key.
func (e *Entry) Size() int {
	n := len(e.Data) + len(e.PartitionKey)
	if e.Seal == Sealed {
		n -= SealOverhead
	}
	return n
}

// Record is an Entry that a shard has accepted.
type Record struct {
	Entry
	// Index is the record's place in its shard.
	Index Index
	// ArrivalTime is when the shard accepted it; it never falls within one shard.
	ArrivalTime Millis
}
