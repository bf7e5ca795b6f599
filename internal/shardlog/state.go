package shardlog

import (
	"encoding/binary"
	"time"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
	"github.com/headrace/headrace/internal/shardlog/jump"
)

// stateFixedSize is what every state begins with.
const stateFixedSize = 24

// stateSize is an upper bound of what appendState appends.
func stateSize(ctl *control, producers int) int {
	n := chunk.HeaderSize + stateFixedSize + producers*chunk.ProducerSize + ctl.jumps.Size()
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
	c := chunk.Chunk{Kind: chunk.State, ID: chunk.ID(id), First: st.first, Arrival: st.last,
		Count: uint32(len(st.holds)), Bytes: uint32(len(st.producers))}
	if st.sealed {
		c.Flags |= chunk.Sealed
	}
	if st.whole {
		c.Flags |= chunk.Whole
	}
	jumps := st.jumps.After(st.first)
	if len(jumps) > 0 {
		c.Flags |= chunk.Jumped
	}
	dst = chunk.AppendHeader(dst, &c)
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
		dst = chunk.AppendProducer(dst, chunk.Producer(p))
	}
	return chunk.End(dst, start)
}

// decodeState reports false if the chunk's body is not that of a state.
func decodeState(c *chunk.Chunk) (state, bool) {
	if len(c.Body) < stateFixedSize {
		return state{}, false
	}
	le := binary.LittleEndian
	st := state{next: record.Index(le.Uint64(c.Body)), last: c.Arrival, whole: c.Flags&chunk.Whole != 0}
	st.first, st.sealed = c.First, c.Flags&chunk.Sealed != 0
	st.trim = record.Index(le.Uint64(c.Body[8:]))
	st.keep.Age = time.Duration(le.Uint64(c.Body[16:]))
	b, ok := c.Body[stateFixedSize:], true
	if c.Flags&chunk.Jumped != 0 {
		if st.jumps, b, ok = jump.Decode(b, st.next); !ok {
			return state{}, false
		}
	}
	for range c.Count {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) || uint64(len(b)-w)-n < 8 {
			return state{}, false
		}
		b = b[w:]
		st.holds = append(st.holds, hold{string(b[:n]), record.Index(le.Uint64(b[n:]))})
		b = b[n+8:]
	}
	if uint64(len(b)) != uint64(c.Bytes)*chunk.ProducerSize {
		return state{}, false
	}
	if st.whole {
		st.producers = make(map[uint64]Producer, c.Bytes)
	}
	for ; len(b) > 0; b = b[chunk.ProducerSize:] {
		if p := chunk.DecodeProducer(b); st.whole {
			st.producers[p.ID] = Producer(p)
		}
	}
	ok = st.first >= 1 && st.first <= st.next && st.next <= record.MaxIndex+1 && st.trim <= st.next && st.keep.Age >= 0
	return st, ok
}
