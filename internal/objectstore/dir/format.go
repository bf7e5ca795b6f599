package dir

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/headrace/headrace/internal/objectstore"
)

// The layout of an object's file is drawn in docs/format/objects.md.
const (
	magic         = "hrobject"
	formatVersion = 1
	// fixedBytes is the length of a header without its key and checksum.
	fixedBytes    = 40
	checksumBytes = 4
	maxHeader     = fixedBytes + objectstore.MaxKey + checksumBytes
	// blockBytes is how many bytes of an object one checksum covers, strideBytes what they take in
	// the file.
	blockBytes  = 64 << 10
	strideBytes = blockBytes + checksumBytes
)

// header is what a file says of its object.
type header struct {
	key string
	// size is the object's length in bytes.
	size int64
	// modified is when it was stored, in nanoseconds since the Unix epoch.
	modified int64
}

// headerBytes is the length of the header of an object of that key.
func headerBytes(key string) int64 { return int64(fixedBytes + len(key) + checksumBytes) }

// fileBytes is the length of the whole file.
func (h *header) fileBytes() int64 {
	return headerBytes(h.key) + h.size + checksumBytes*((h.size+blockBytes-1)/blockBytes)
}

func (h *header) append(b []byte) []byte {
	at := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, formatVersion)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.key)))
	b = binary.LittleEndian.AppendUint32(b, blockBytes)
	b = binary.LittleEndian.AppendUint32(b, 0) // key id
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.modified))
	b = append(b, h.key...)
	return binary.LittleEndian.AppendUint32(b, checksum(0, b[at:]))
}

// parseHeader reads the header at the start of b, which holds the first maxHeader bytes of a file
// of fileSize bytes or as many as there are.
func parseHeader(b []byte, fileSize int64) (header, error) {
	if len(b) < fixedBytes+checksumBytes || string(b[:len(magic)]) != magic {
		return header{}, fmt.Errorf("%w: it does not begin as one", objectstore.ErrCorrupt)
	}
	// The version comes before the checksum: of what a later one covers nothing is known here.
	if v := binary.LittleEndian.Uint16(b[8:]); v != formatVersion {
		return header{}, fmt.Errorf("format version %d is not one this program reads", v)
	}
	end := fixedBytes + int(binary.LittleEndian.Uint16(b[10:]))
	if end+checksumBytes > len(b) || checksum(0, b[:end]) != binary.LittleEndian.Uint32(b[end:]) {
		return header{}, fmt.Errorf("%w: wrong checksum of its header", objectstore.ErrCorrupt)
	}
	h := header{
		key:      string(b[fixedBytes:end]),
		size:     int64(binary.LittleEndian.Uint64(b[24:])),
		modified: int64(binary.LittleEndian.Uint64(b[32:])),
	}
	blocks, keyID := binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[16:])
	if blocks != blockBytes || keyID != 0 {
		return header{}, fmt.Errorf("blocks of %d bytes under key %d are not what this program reads", blocks, keyID)
	}
	if h.size < 0 || h.size > fileSize || h.fileBytes() != fileSize {
		return header{}, fmt.Errorf("%w: an object of %d bytes in a file of %d", objectstore.ErrCorrupt, h.size, fileSize)
	}
	return h, nil
}

// appendChecksum returns the block with the checksum that belongs to its place in the object.
func appendChecksum(block []byte, number int64) []byte {
	return binary.LittleEndian.AppendUint32(block, checksum(number, block))
}

// verify returns an error if a block read with its checksum is not what was written there.
func verify(stored []byte, number int64) error {
	data := stored[:len(stored)-checksumBytes]
	return compare(checksum(number, data), stored, number)
}

// copyVerified is verify that copies the block to dst, a piece at a time so that the bytes are looked at
// once. After an error dst holds anything.
func copyVerified(dst, stored []byte, number int64) error {
	const piece = 16 << 10
	data := stored[:len(stored)-checksumBytes]
	sum := uint32(number)
	for len(data) > 0 {
		n := copy(dst[:min(piece, len(data))], data)
		sum = crc32.Update(sum, castagnoli, dst[:n])
		dst, data = dst[n:], data[n:]
	}
	return compare(sum, stored, number)
}

func compare(sum uint32, stored []byte, number int64) error {
	if sum != binary.LittleEndian.Uint32(stored[len(stored)-checksumBytes:]) {
		return fmt.Errorf("%w: wrong checksum of block %d", objectstore.ErrCorrupt, number)
	}
	return nil
}

// checksum is CRC-32C with a start value, so that a block in another's place is damage too.
func checksum(start int64, b []byte) uint32 {
	return crc32.Update(uint32(start), castagnoli, b)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
