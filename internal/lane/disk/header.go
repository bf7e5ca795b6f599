package disk

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/headrace/headrace/internal/lane"
)

const (
	headerSize = 128
	version    = 1
	magic      = "HRWL"

	kindMark  = 1
	kindGroup = 2

	// crcAt is where the header's own checksum lies, over everything before it.
	crcAt = headerSize - 4
)

// header begins every group, and alone makes a mark. Integers are little-endian:
//
//	 0 [magic "HRWL" 4][version 1][kind 1][flags 2][ring            8]
//	16 [generation                         8][previous        8]
//	32 [position                           8][first           8]
//	48 [offset                             8][segment 4][segments 4]
//	64 [segment bytes                      8][length  4][key id   4]
//	80 [payload CRC32C 4][zeros                                    40]
//	124                                               [header CRC32C 4]
//
// A mark begins a generation: at offset 0 that of the segment's use, further in that of the lane
// after it was opened anew. It lies in one sector, so that it is there or not.
type header struct {
	kind byte
	// ring is a random number that all files of one ring share, for its whole life. Payloads do not
	// know it, so none can look like a group.
	ring uint64
	// generation is a random number: a group counts only below a mark of its generation.
	generation uint64
	// previous is, of a group, the position before its own, and of a mark the generation that it
	// ends; 0 if there is none.
	previous uint64
	// position is, of a mark, the one that the next group will get.
	position lane.Position
	// first is the first position that the lane held then.
	first lane.Position
	// offset and segment say where the header lies, so that a block that the disk put elsewhere is
	// not believed.
	offset  int64
	segment uint32
	// segments is how many files the ring had.
	segments uint32
	// bytes is the size of the file.
	bytes int64
	// length and sum are the payload's, 0 in a mark.
	length uint32
	sum    uint32
}

// encode writes the header to b, which has at least headerSize bytes.
func (h *header) encode(b []byte) {
	b = b[:headerSize]
	clear(b)
	le := binary.LittleEndian
	copy(b, magic)
	b[4], b[5] = version, h.kind
	le.PutUint64(b[8:], h.ring)
	le.PutUint64(b[16:], h.generation)
	le.PutUint64(b[24:], h.previous)
	le.PutUint64(b[32:], uint64(h.position))
	le.PutUint64(b[40:], uint64(h.first))
	le.PutUint64(b[48:], uint64(h.offset))
	le.PutUint32(b[56:], h.segment)
	le.PutUint32(b[60:], h.segments)
	le.PutUint64(b[64:], uint64(h.bytes))
	le.PutUint32(b[72:], h.length)
	le.PutUint32(b[80:], h.sum)
	le.PutUint32(b[crcAt:], addSum(0, b[:crcAt]))
}

// parsed says what a block begins with.
type parsed uint8

const (
	parsedNothing parsed = iota
	parsedHeader
	// parsedNewer is a header that is whole and says things that this version does not know.
	parsedNewer
)

// parse reads the header of a block. Every version keeps magic, length and checksum where they
// are, so that a newer file is not taken for a damaged one.
func parse(b []byte) (header, parsed) {
	le := binary.LittleEndian
	if len(b) < headerSize || string(b[:4]) != magic {
		return header{}, parsedNothing
	}
	b = b[:headerSize]
	if le.Uint32(b[crcAt:]) != addSum(0, b[:crcAt]) {
		return header{}, parsedNothing
	}
	h := header{
		kind:       b[5],
		ring:       le.Uint64(b[8:]),
		generation: le.Uint64(b[16:]),
		previous:   le.Uint64(b[24:]),
		position:   lane.Position(le.Uint64(b[32:])),
		first:      lane.Position(le.Uint64(b[40:])),
		offset:     int64(le.Uint64(b[48:])),
		segment:    le.Uint32(b[56:]),
		segments:   le.Uint32(b[60:]),
		bytes:      int64(le.Uint64(b[64:])),
		length:     le.Uint32(b[72:]),
		sum:        le.Uint32(b[80:]),
	}
	known := b[4] == version && (h.kind == kindMark || h.kind == kindGroup) && le.Uint16(b[6:]) == 0 && le.Uint32(b[76:]) == 0
	for _, reserved := range b[84:crcAt] {
		known = known && reserved == 0
	}
	if !known {
		return h, parsedNewer
	}
	return h, parsedHeader
}

// extent is how many bytes of a segment a group of that payload takes.
func extent(payload int) int64 {
	return (headerSize + int64(payload) + block - 1) &^ (block - 1)
}

// addSum continues a checksum.
func addSum(sum uint32, b []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b)
}
