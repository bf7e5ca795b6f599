// Package entry is how one record is written, in the groups of a lane as in block files. Package
// chunk draws it; what stands around a record is chunk's and block's.
package entry

import (
	"encoding/binary"
	"unsafe"

	"github.com/headrace/headrace/internal/record"
)

// sealed marks a record whose data is sealed. To programs that do not know it, the record has a key
// longer than any chunk, so they refuse it.
const sealed = 1 << 31

// Append appends a record.
func Append(dst []byte, e *record.Entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(e.Data)))
	key := uint64(len(e.PartitionKey)) << 1
	if e.Seal == record.Sealed {
		key |= sealed
	}
	if e.HasExplicitHashKey {
		dst = binary.AppendUvarint(dst, key|1)
		dst = binary.LittleEndian.AppendUint64(dst, e.ExplicitHashKey.Hi)
		dst = binary.LittleEndian.AppendUint64(dst, e.ExplicitHashKey.Lo)
	} else {
		dst = binary.AppendUvarint(dst, key)
	}
	dst = append(dst, e.PartitionKey...)
	return append(dst, e.Data...)
}

// Decode reads one record from the front of b into e, whose key and data alias b, and returns
// the rest. It reports false if b does not start with a record.
func Decode(b []byte, e *record.Entry) ([]byte, bool) {
	dataLen, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, false
	}
	b = b[n:]
	keyLen, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, false
	}
	b = b[n:]
	e.Seal = record.Plain
	if keyLen&sealed != 0 {
		if dataLen < record.SealOverhead {
			return nil, false
		}
		e.Seal, keyLen = record.Sealed, keyLen&^sealed
	}
	e.ExplicitHashKey, e.HasExplicitHashKey = record.HashKey{}, keyLen&1 != 0
	if e.HasExplicitHashKey {
		if len(b) < 16 {
			return nil, false
		}
		e.ExplicitHashKey.Hi = binary.LittleEndian.Uint64(b)
		e.ExplicitHashKey.Lo = binary.LittleEndian.Uint64(b[8:])
		b = b[16:]
	}
	keyLen >>= 1
	if keyLen > uint64(len(b)) || dataLen > uint64(len(b))-keyLen {
		return nil, false
	}
	key, data := b[:keyLen], b[keyLen:keyLen+dataLen:keyLen+dataLen]
	// Bytes that were read never change, so a string may share them; a copy would cost an allocation
	// for each record read.
	e.PartitionKey = unsafe.String(unsafe.SliceData(key), len(key))
	e.Data = data
	return b[keyLen+dataLen:], true
}
