package shardlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/entry"
	"github.com/headrace/headrace/internal/shardlog/jump"
)

// ErrCorrupt says that a group does not decode or contradicts what came before it. The error that
// wraps it names the group and the offset.
var ErrCorrupt = errors.New("shardlog: corrupt group")

const (
	groupVersion    = 1
	groupHeaderSize = 8
	chunkHeaderSize = 48
	producerSize    = 24
	partHeaderSize  = 20
	stateFixedSize  = 24
	// minGroup is the least MaxGroup a Store works on: a part of a batch with some bytes in it.
	minGroup = 512
	// maxChunk keeps the offsets in a chunk within 32 bits with room to spare.
	maxChunk = 1 << 30
)

type chunkKind uint8

const (
	kindData chunkKind = 1 + iota
	kindPart
	kindState
	kindDrop
)

type chunkFlags uint8

const (
	flagProducer chunkFlags = 1 << iota
	flagMoved
	flagSealed
	flagWhole
	flagJumped
	allFlags = flagProducer | flagMoved | flagSealed | flagWhole | flagJumped
)

// chunk is a chunk's header taken apart; doc.go says what the fields mean for each kind.
type chunk struct {
	kind    chunkKind
	flags   chunkFlags
	id      ShardID
	first   record.Index
	arrival record.Millis
	count   uint32
	bytes   uint32
	body    []byte
	// offset and size say where in its group the chunk stands.
	offset, size int
}

// appendHeader appends the header of c; endChunk puts the size in once the body is written.
func appendHeader(dst []byte, c *chunk) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, 0)
	dst = append(dst, byte(c.kind), byte(c.flags), 0, 0)
	dst = le.AppendUint64(dst, c.id.Stream)
	dst = le.AppendUint32(dst, uint32(c.id.Shard))
	dst = le.AppendUint32(dst, 0) // key id
	dst = le.AppendUint64(dst, uint64(c.first))
	dst = le.AppendUint64(dst, uint64(c.arrival))
	dst = le.AppendUint32(dst, c.count)
	return le.AppendUint32(dst, c.bytes)
}

func endChunk(dst []byte, start int) []byte {
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}

// stamp writes what only the committer knows into an encoded data chunk.
func stamp(encoded []byte, first record.Index, arrival record.Millis) {
	binary.LittleEndian.PutUint64(encoded[24:], uint64(first))
	binary.LittleEndian.PutUint64(encoded[32:], uint64(arrival))
}

// setFlag marks an encoded chunk.
func setFlag(encoded []byte, f chunkFlags) { encoded[5] |= byte(f) }

// dataSize is an upper bound of what appendData appends for b.
func dataSize(b *Batch) int {
	n := chunkHeaderSize + producerSize
	for i := range b.Entries {
		n += len(b.Entries[i].Data) + len(b.Entries[i].PartitionKey) + 2*binary.MaxVarintLen32 + 16
	}
	return n
}

// appendData appends a data chunk without index and arrival time: see stamp.
func appendData(dst []byte, b *Batch) []byte {
	start := len(dst)
	c := chunk{kind: kindData, id: b.Shard, count: uint32(len(b.Entries))}
	for i := range b.Entries {
		c.bytes += uint32(b.Entries[i].Size())
	}
	if b.Producer.ID != 0 {
		c.flags = flagProducer
	}
	dst = appendHeader(dst, &c)
	if b.Producer.ID != 0 {
		dst = appendProducer(dst, b.Producer)
	}
	for i := range b.Entries {
		dst = entry.Append(dst, &b.Entries[i])
	}
	return endChunk(dst, start)
}

func appendProducer(dst []byte, p Producer) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, p.ID)
	dst = binary.LittleEndian.AppendUint64(dst, p.Epoch)
	return binary.LittleEndian.AppendUint64(dst, p.Sequence)
}

func decodeProducer(b []byte) Producer {
	le := binary.LittleEndian
	return Producer{ID: le.Uint64(b), Epoch: le.Uint64(b[8:]), Sequence: le.Uint64(b[16:])}
}

// producer returns the producer of a data chunk, zero if it has none.
func (c *chunk) producer() Producer {
	if c.flags&flagProducer == 0 {
		return Producer{}
	}
	return decodeProducer(c.body)
}

// records returns the encoded records of a data chunk.
func (c *chunk) records() []byte {
	if c.flags&flagProducer == 0 {
		return c.body
	}
	return c.body[producerSize:]
}

// part is the head of a part's body.
type part struct {
	number        uint32
	offset, total uint64
	slice         []byte
}

func appendPart(dst []byte, c chunk, p part) []byte {
	start := len(dst)
	c.kind = kindPart
	dst = appendHeader(dst, &c)
	dst = binary.LittleEndian.AppendUint32(dst, p.number)
	dst = binary.LittleEndian.AppendUint64(dst, p.offset)
	dst = binary.LittleEndian.AppendUint64(dst, p.total)
	dst = append(dst, p.slice...)
	return endChunk(dst, start)
}

func (c *chunk) part() part {
	le := binary.LittleEndian
	return part{le.Uint32(c.body), le.Uint64(c.body[4:]), le.Uint64(c.body[12:]), c.body[partHeaderSize:]}
}

// stateSize is an upper bound of what appendState appends.
func stateSize(ctl *control, producers int) int {
	n := chunkHeaderSize + stateFixedSize + producers*producerSize + ctl.jumps.Size()
	for _, h := range ctl.holds {
		n += binary.MaxVarintLen32 + len(h.name) + 8
	}
	return n
}

// state is the content of a state chunk.
type state struct {
	control
	next      record.Index
	last      record.Millis
	producers map[uint64]Producer // all of them if whole, else nil
	whole     bool
}

func appendState(dst []byte, id ShardID, st *state) []byte {
	start := len(dst)
	c := chunk{kind: kindState, id: id, first: st.first, arrival: st.last,
		count: uint32(len(st.holds)), bytes: uint32(len(st.producers))}
	if st.sealed {
		c.flags |= flagSealed
	}
	if st.whole {
		c.flags |= flagWhole
	}
	jumps := st.jumps.After(st.first)
	if len(jumps) > 0 {
		c.flags |= flagJumped
	}
	dst = appendHeader(dst, &c)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(st.next))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(st.trim))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(st.keep.Age))
	dst = jumps.Append(dst)
	for _, h := range st.holds {
		dst = binary.AppendUvarint(dst, uint64(len(h.name)))
		dst = append(dst, h.name...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(h.from))
	}
	for _, p := range st.producers {
		dst = appendProducer(dst, p)
	}
	return endChunk(dst, start)
}

// decodeState reports false if the chunk's body is not that of a state.
func (c *chunk) decodeState() (state, bool) {
	if len(c.body) < stateFixedSize {
		return state{}, false
	}
	le := binary.LittleEndian
	st := state{next: record.Index(le.Uint64(c.body)), last: c.arrival, whole: c.flags&flagWhole != 0}
	st.first, st.sealed = c.first, c.flags&flagSealed != 0
	st.trim = record.Index(le.Uint64(c.body[8:]))
	st.keep.Age = time.Duration(le.Uint64(c.body[16:]))
	b, ok := c.body[stateFixedSize:], true
	if c.flags&flagJumped != 0 {
		if st.jumps, b, ok = jump.Decode(b, st.next); !ok {
			return state{}, false
		}
	}
	for range c.count {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) || uint64(len(b)-w)-n < 8 {
			return state{}, false
		}
		b = b[w:]
		st.holds = append(st.holds, hold{string(b[:n]), record.Index(le.Uint64(b[n:]))})
		b = b[n+8:]
	}
	if uint64(len(b)) != uint64(c.bytes)*producerSize {
		return state{}, false
	}
	if st.whole {
		st.producers = make(map[uint64]Producer, c.bytes)
	}
	for ; len(b) > 0; b = b[producerSize:] {
		if p := decodeProducer(b); st.whole {
			st.producers[p.ID] = p
		}
	}
	ok = st.first >= 1 && st.first <= st.next && st.next <= record.MaxIndex+1 && st.trim <= st.next && st.keep.Age >= 0
	return st, ok
}

// groupReader walks the chunks of one group.
//
//	for r := newGroupReader(pos, payload); r.next(); { use(r.chunk) }
//	if r.err != nil …
type groupReader struct {
	pos     lane.Position
	payload []byte
	at      int
	left    uint32
	chunk   chunk
	err     error
}

func newGroupReader(pos lane.Position, payload []byte) *groupReader {
	r := &groupReader{pos: pos, payload: payload, at: groupHeaderSize}
	switch {
	case len(payload) < groupHeaderSize:
		r.at = 0
		r.fail("short header")
	case payload[0] != groupVersion || payload[1]|payload[2]|payload[3] != 0:
		r.at = 0
		r.fail("unknown version")
	default:
		r.left = binary.LittleEndian.Uint32(payload[4:])
	}
	return r
}

// fail records what is wrong with the group at the current chunk.
func (r *groupReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("decode group %d at offset %d: %s: %w", r.pos, r.at, what, ErrCorrupt)
	}
}

// next moves to the next chunk, whose header it checks; it reports false at the end and on error.
func (r *groupReader) next() bool {
	if r.err != nil {
		return false
	}
	r.at += r.chunk.size
	r.chunk.size = 0
	if r.left == 0 {
		if r.at != len(r.payload) {
			r.fail("bytes after the last chunk")
		}
		return false
	}
	r.left--
	c, what := decodeChunk(r.payload[r.at:])
	if what != "" {
		r.fail(what)
		return false
	}
	c.offset = r.at
	r.chunk = c
	return true
}

// decodeChunk reads the chunk at the front of b, or says what is wrong with it.
func decodeChunk(b []byte) (c chunk, wrong string) {
	if len(b) < chunkHeaderSize {
		return c, "short chunk header"
	}
	le := binary.LittleEndian
	size := le.Uint32(b)
	if size < chunkHeaderSize || uint64(size) > uint64(len(b)) {
		return c, "chunk size out of range"
	}
	c = chunk{
		kind: chunkKind(b[4]), flags: chunkFlags(b[5]),
		id:    ShardID{Stream: le.Uint64(b[8:]), Shard: int32(le.Uint32(b[16:]))},
		first: record.Index(le.Uint64(b[24:])), arrival: record.Millis(le.Uint64(b[32:])),
		count: le.Uint32(b[40:]), bytes: le.Uint32(b[44:]),
		body: b[chunkHeaderSize:size], size: int(size),
	}
	switch {
	case c.kind < kindData || c.kind > kindDrop:
		return c, "unknown chunk kind"
	case c.flags&^allFlags != 0 || b[6]|b[7] != 0:
		return c, "unknown chunk flags"
	case le.Uint32(b[20:]) != 0:
		return c, "encrypted chunk"
	case c.kind == kindData && c.flags&flagProducer != 0 && len(c.body) < producerSize:
		return c, "short producer"
	case c.kind == kindPart && len(c.body) < partHeaderSize:
		return c, "short part"
	case c.kind == kindDrop && len(c.body) != 0:
		return c, "drop with a body"
	}
	return c, ""
}

// checkRecords walks a data chunk's records once, so that reading them later cannot fail.
func (c *chunk) checkRecords() (wrong string) {
	if c.first < 1 || c.first > record.MaxIndex+1 || record.Index(c.count) > record.MaxIndex+1-c.first {
		return "index out of range"
	}
	var e record.Entry
	bytes, rest, ok := uint64(0), c.records(), true
	for range c.count {
		if rest, ok = entry.Decode(rest, &e); !ok {
			return "malformed record"
		}
		bytes += uint64(e.Size())
	}
	if len(rest) != 0 || bytes != uint64(c.bytes) {
		return "records do not fill their chunk"
	}
	return ""
}
