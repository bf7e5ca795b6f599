package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/lane"
)

// ErrCorrupt says that a group does not decode or contradicts what came before it. The error that
// wraps it names the group and the offset.
var ErrCorrupt = errors.New("shardlog: corrupt group")

// Reader walks the chunks of one group. Use NewReader.
type Reader struct {
	pos     lane.Position
	payload []byte
	at      int
	left    uint32
	// Chunk is where Next has moved to.
	Chunk Chunk
	// Err is what is wrong with the group; it wraps ErrCorrupt.
	Err error
}

// NewReader returns a reader in front of the first chunk of the group at pos.
func NewReader(pos lane.Position, payload []byte) *Reader {
	r := &Reader{pos: pos, payload: payload, at: GroupHeaderSize}
	switch {
	case len(payload) < GroupHeaderSize:
		r.at = 0
		r.Fail("short header")
	case payload[0] != Version || payload[1]|payload[2]|payload[3] != 0:
		r.at = 0
		r.Fail("unknown version")
	default:
		r.left = binary.LittleEndian.Uint32(payload[4:])
	}
	return r
}

// At is the offset of the current chunk in the group.
func (r *Reader) At() int { return r.at }

// Fail records what is wrong with the group at the current chunk.
func (r *Reader) Fail(what string) {
	if r.Err == nil {
		r.Err = fmt.Errorf("decode group %d at offset %d: %s: %w", r.pos, r.at, what, ErrCorrupt)
	}
}

// Next moves to the next chunk, whose header it checks; it reports false at the end and on error.
func (r *Reader) Next() bool {
	if r.Err != nil {
		return false
	}
	r.at += r.Chunk.Size
	r.Chunk.Size = 0
	if r.left == 0 {
		if r.at != len(r.payload) {
			r.Fail("bytes after the last chunk")
		}
		return false
	}
	r.left--
	c, what := Decode(r.payload[r.at:])
	if what != "" {
		r.Fail(what)
		return false
	}
	c.Offset = r.at
	r.Chunk = c
	return true
}
