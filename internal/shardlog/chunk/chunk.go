package chunk

import (
	"encoding/binary"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/entry"
)

const (
	// Version is what a group begins with.
	Version = 1
	// GroupHeaderSize is the bytes of a group before its first chunk.
	GroupHeaderSize = 8
	// HeaderSize is the bytes of a chunk before its body.
	HeaderSize = 48
	// ProducerSize is the bytes that the body of data begins with if it has a producer.
	ProducerSize = 24
	// SliceHeaderSize is the bytes of a part's body before its slice.
	SliceHeaderSize = 20
	// MaxSize keeps the offsets in a chunk within 32 bits with room to spare.
	MaxSize = 1 << 30
)

// Kind says what a chunk holds.
type Kind uint8

// The kinds of chunks.
const (
	Data Kind = 1 + iota
	Part
	State
	Drop
)

// Flags say more of a chunk.
type Flags uint8

// The flags of chunks.
const (
	WithProducer Flags = 1 << iota
	Moved
	Sealed
	Whole
	Jumped
	allFlags = WithProducer | Moved | Sealed | Whole | Jumped
)

// ID names a shard: see shardlog.ShardID.
type ID struct {
	Stream uint64
	Shard  int32
}

// Producer is who appended a chunk of data: see shardlog.Producer.
type Producer struct {
	ID       uint64
	Epoch    uint64
	Sequence uint64
}

// Chunk is a chunk's header taken apart; the package comment says what the fields mean for each kind.
type Chunk struct {
	Kind    Kind
	Flags   Flags
	ID      ID
	First   record.Index
	Arrival record.Millis
	Count   uint32
	Bytes   uint32
	Body    []byte
	// Offset and Size say where in its group the chunk stands.
	Offset, Size int
}

// AppendHeader appends the header of c; End puts the size in once the body is written.
func AppendHeader(dst []byte, c *Chunk) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, 0)
	dst = append(dst, byte(c.Kind), byte(c.Flags), 0, 0)
	dst = le.AppendUint64(dst, c.ID.Stream)
	dst = le.AppendUint32(dst, uint32(c.ID.Shard))
	dst = le.AppendUint32(dst, 0) // key id
	dst = le.AppendUint64(dst, uint64(c.First))
	dst = le.AppendUint64(dst, uint64(c.Arrival))
	dst = le.AppendUint32(dst, c.Count)
	return le.AppendUint32(dst, c.Bytes)
}

// End ends the chunk that begins at start and goes to the end of dst.
func End(dst []byte, start int) []byte {
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}

// Stamp writes what only the committer knows into an encoded chunk of data.
func Stamp(encoded []byte, first record.Index, arrival record.Millis) {
	binary.LittleEndian.PutUint64(encoded[24:], uint64(first))
	binary.LittleEndian.PutUint64(encoded[32:], uint64(arrival))
}

// SetFlag marks an encoded chunk.
func SetFlag(encoded []byte, f Flags) { encoded[5] |= byte(f) }

// DataSize is an upper bound of what AppendData appends for the entries.
func DataSize(entries []record.Entry) int {
	n := HeaderSize + ProducerSize
	for i := range entries {
		n += len(entries[i].Data) + len(entries[i].PartitionKey) + 2*binary.MaxVarintLen32 + 16
	}
	return n
}

// AppendData appends a chunk of data without index and arrival time: see Stamp. A producer with the ID 0
// is none.
func AppendData(dst []byte, id ID, entries []record.Entry, p Producer) []byte {
	start := len(dst)
	c := Chunk{Kind: Data, ID: id, Count: uint32(len(entries))}
	for i := range entries {
		c.Bytes += uint32(entries[i].Size())
	}
	if p.ID != 0 {
		c.Flags = WithProducer
	}
	dst = AppendHeader(dst, &c)
	if p.ID != 0 {
		dst = AppendProducer(dst, p)
	}
	for i := range entries {
		dst = entry.Append(dst, &entries[i])
	}
	return End(dst, start)
}

// AppendProducer appends the bytes of a producer.
func AppendProducer(dst []byte, p Producer) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, p.ID)
	dst = binary.LittleEndian.AppendUint64(dst, p.Epoch)
	return binary.LittleEndian.AppendUint64(dst, p.Sequence)
}

// DecodeProducer reads the ProducerSize bytes of a producer.
func DecodeProducer(b []byte) Producer {
	le := binary.LittleEndian
	return Producer{ID: le.Uint64(b), Epoch: le.Uint64(b[8:]), Sequence: le.Uint64(b[16:])}
}

// Producer returns the producer of a chunk of data, zero if it has none.
func (c *Chunk) Producer() Producer {
	if c.Flags&WithProducer == 0 {
		return Producer{}
	}
	return DecodeProducer(c.Body)
}

// Records returns the encoded records of a chunk of data.
func (c *Chunk) Records() []byte {
	if c.Flags&WithProducer == 0 {
		return c.Body
	}
	return c.Body[ProducerSize:]
}

// Decode reads the chunk at the front of b, or says what is wrong with it.
func Decode(b []byte) (c Chunk, wrong string) {
	if len(b) < HeaderSize {
		return c, "short chunk header"
	}
	le := binary.LittleEndian
	size := le.Uint32(b)
	if size < HeaderSize || uint64(size) > uint64(len(b)) {
		return c, "chunk size out of range"
	}
	c = Chunk{
		Kind: Kind(b[4]), Flags: Flags(b[5]),
		ID:    ID{Stream: le.Uint64(b[8:]), Shard: int32(le.Uint32(b[16:]))},
		First: record.Index(le.Uint64(b[24:])), Arrival: record.Millis(le.Uint64(b[32:])),
		Count: le.Uint32(b[40:]), Bytes: le.Uint32(b[44:]),
		Body: b[HeaderSize:size], Size: int(size),
	}
	switch {
	case c.Kind < Data || c.Kind > Drop:
		return c, "unknown chunk kind"
	case c.Flags&^allFlags != 0 || b[6]|b[7] != 0:
		return c, "unknown chunk flags"
	case le.Uint32(b[20:]) != 0:
		return c, "encrypted chunk"
	case c.Kind == Data && c.Flags&WithProducer != 0 && len(c.Body) < ProducerSize:
		return c, "short producer"
	case c.Kind == Part && len(c.Body) < SliceHeaderSize:
		return c, "short part"
	case c.Kind == Drop && len(c.Body) != 0:
		return c, "drop with a body"
	}
	return c, ""
}

// CheckRecords walks the records of a chunk of data once, so that reading them later cannot fail.
func (c *Chunk) CheckRecords() (wrong string) {
	if c.First < 1 || c.First > record.MaxIndex+1 || record.Index(c.Count) > record.MaxIndex+1-c.First {
		return "index out of range"
	}
	var e record.Entry
	bytes, rest, ok := uint64(0), c.Records(), true
	for range c.Count {
		if rest, ok = entry.Decode(rest, &e); !ok {
			return "malformed record"
		}
		bytes += uint64(e.Size())
	}
	if len(rest) != 0 || bytes != uint64(c.Bytes) {
		return "records do not fill their chunk"
	}
	return ""
}
