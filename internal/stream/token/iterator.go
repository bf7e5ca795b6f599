package token

import (
	"encoding/binary"

	"github.com/headrace/headrace/internal/record"
)

// Iterator is what a shard iterator says: a position in one shard of one stream, and when it was made.
//
//	01 | stream:8 | shard:4 | next:8 | made:8 | name
type Iterator struct {
	Stream uint64
	Shard  int32
	Next   record.Index
	Made   record.Millis
	Name   string // of the stream, for error texts when it is gone
}

const (
	iteratorLayout = 1
	iteratorHeader = 29
)

// Encode returns the bytes to seal.
func (it *Iterator) Encode() []byte {
	b := make([]byte, 0, iteratorHeader+len(it.Name))
	b = append(b, iteratorLayout)
	b = binary.BigEndian.AppendUint64(b, it.Stream)
	b = binary.BigEndian.AppendUint32(b, uint32(it.Shard))
	b = binary.BigEndian.AppendUint64(b, uint64(it.Next))
	b = binary.BigEndian.AppendUint64(b, uint64(it.Made))
	return append(b, it.Name...)
}

// Decode reads what Encode wrote, and reports whether it is that.
func (it *Iterator) Decode(b []byte) bool {
	if len(b) < iteratorHeader || b[0] != iteratorLayout {
		return false
	}
	it.Stream = binary.BigEndian.Uint64(b[1:])
	it.Shard = int32(binary.BigEndian.Uint32(b[9:]))
	it.Next = record.Index(binary.BigEndian.Uint64(b[13:]))
	it.Made = record.Millis(binary.BigEndian.Uint64(b[21:]))
	it.Name = string(b[iteratorHeader:])
	return true
}
