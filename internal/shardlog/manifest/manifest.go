// Package manifest is the format of a manifest: which block files a store has, and how every shard
// stood at a position of the lane. It turns values into bytes and back, and does no I/O of its own;
// what the states mean, and which manifest counts, is package shardlog's. docs/format/manifest.md has
// the same with every byte's place.
package manifest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/block"
)

// Prefix is what the keys of all manifests begin with.
const Prefix = "manifest/"

// Key is the key of the manifest of the given number.
func Key(n uint64) string { return fmt.Sprintf("%s%016x", Prefix, n) }

const (
	magic      = "HRmf"
	version    = 1
	headerSize = 56
	fileSize   = 32
	// flagRestored says that Floor follows the header, flagBegins is Begins.
	flagRestored, flagBegins = 1, 2
)

// Manifest is what a manifest says.
type Manifest struct {
	Number   uint64
	Position lane.Position
	Time     record.Millis
	NextFile uint64
	Files    []File
	// States are the encoded states of StateCount shards.
	States     []byte
	StateCount uint32
	// Floor is the first index of shards to be opened, 1 where nothing was ever restored.
	Floor record.Index
	// Begins says that a restore has written the manifest, before there was a lane.
	Begins bool
}

// File is a block file.
type File struct {
	block.Layout
	// Class says how long its records are kept.
	Class uint8
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the bytes of the manifest.
func (m *Manifest) Encode() []byte {
	le, flags := binary.LittleEndian, byte(0)
	if m.Floor > 1 {
		flags |= flagRestored
	}
	if m.Begins {
		flags |= flagBegins
	}
	b := make([]byte, 0, headerSize+8+len(m.Files)*fileSize+len(m.States)+4)
	b = append(b, magic...)
	b = append(b, version, flags, 0, 0)
	b = le.AppendUint64(b, m.Number)
	b = le.AppendUint64(b, uint64(m.Position))
	b = le.AppendUint64(b, uint64(m.Time))
	b = le.AppendUint64(b, m.NextFile)
	b = le.AppendUint32(b, uint32(len(m.Files)))
	b = le.AppendUint32(b, m.StateCount)
	b = le.AppendUint64(b, uint64(len(m.States)))
	if flags&flagRestored != 0 {
		b = le.AppendUint64(b, uint64(m.Floor))
	}
	for _, f := range m.Files {
		b = le.AppendUint64(b, f.ID)
		b = le.AppendUint64(b, uint64(f.Size))
		b = le.AppendUint64(b, uint64(f.Footer))
		b = le.AppendUint32(b, f.Sum)
		b = append(b, f.Class, 0, 0, 0)
	}
	b = append(b, m.States...)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Decode takes a manifest apart, or says what is wrong and at which offset. There are so many classes.
// The states alias b.
func Decode(b []byte, classes int) (m *Manifest, offset int64, wrong string) {
	le := binary.LittleEndian
	end := len(b) - 4
	switch {
	case end < headerSize || string(b[:4]) != magic:
		return nil, 0, "not a manifest"
	case le.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli):
		return nil, 0, "checksum does not match"
	case b[4] != version || b[5]&^(flagRestored|flagBegins)|b[6]|b[7] != 0:
		return nil, 4, "unknown version"
	}
	m = &Manifest{
		Number: le.Uint64(b[8:]), Position: lane.Position(le.Uint64(b[16:])),
		Time: record.Millis(le.Uint64(b[24:])), NextFile: le.Uint64(b[32:]), StateCount: le.Uint32(b[44:]),
		Floor: 1, Begins: b[5]&flagBegins != 0,
	}
	files, states := uint64(le.Uint32(b[40:])), le.Uint64(b[48:])
	rest := b[headerSize:end]
	if b[5]&flagRestored != 0 {
		if len(rest) < 8 {
			return nil, headerSize, "lengths disagree"
		}
		if m.Floor, rest = record.Index(le.Uint64(rest)), rest[8:]; m.Floor <= 1 || m.Floor > record.MaxIndex+1 {
			return nil, headerSize, "first index of new shards out of range"
		}
	}
	if files*fileSize > uint64(len(rest)) || states != uint64(len(rest))-files*fileSize {
		return nil, headerSize, "lengths disagree"
	}
	for range files {
		f := File{block.Layout{ID: le.Uint64(rest), Size: int64(le.Uint64(rest[8:])), Footer: int64(le.Uint64(rest[16:])), Sum: le.Uint32(rest[24:])}, rest[28]}
		if int(f.Class) >= classes || rest[29]|rest[30]|rest[31] != 0 || f.Size < 0 || f.Footer < 0 || f.Footer > f.Size {
			return nil, int64(end - len(rest)), "file entry out of range"
		}
		m.Files = append(m.Files, f)
		rest = rest[fileSize:]
	}
	m.States = rest
	return m, 0, ""
}
