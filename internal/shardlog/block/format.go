package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"

	"github.com/headrace/headrace/internal/record"
)

// ErrCorrupt says that bytes are not those of a block file, or not those that were written. The
// error that wraps it names the object and the offset.
var ErrCorrupt = errors.New("block: damaged file")

const (
	version     = 1
	headMagic   = "HRbk"
	tailMagic   = "HRbt"
	headerSize  = 16
	frameSize   = 20
	sectionSize = 40
	runSize     = 16
	footerSize  = 16
	blockSize   = 16
	memberSize  = 72
	pieceSize   = 24
	// TrailerSize is how many bytes follow the footer.
	TrailerSize = 40
	// MaxRaw is the most bytes a block may decompress to: one record, however large, stands in one.
	MaxRaw = 1 << 30
)

const (
	codecStored = iota
	codecS2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Shard names one life of a shard. Born tells apart the lives of a shard that was dropped and
// opened again under the same name.
type Shard struct {
	Stream uint64
	Number int32
	Born   uint64
}

// Compare orders shards the way a file does: by stream, number and birth.
func (s Shard) Compare(o Shard) int {
	switch {
	case s == o:
		return 0
	case s.Stream < o.Stream,
		s.Stream == o.Stream && s.Number < o.Number,
		s.Stream == o.Stream && s.Number == o.Number && s.Born < o.Born:
		return -1
	}
	return 1
}

// Run is records of one shard that follow each other and arrived at the same time.
type Run struct {
	First   record.Index
	Arrival record.Millis
	Count   uint32
	// Records are the encoded records.
	Records []byte
}

// End is the index after the run's last record.
func (r *Run) End() record.Index { return r.First + record.Index(r.Count) }

// Member is an unbroken range of one shard's records in a file: First to Next-1.
type Member struct {
	Shard
	First, Next               record.Index
	FirstArrival, LastArrival record.Millis
	// Bytes is what the member's records take before compression.
	Bytes uint64
	piece uint32
	count uint32
}

// Pieces returns the numbers of the member's pieces: from lo to hi-1. There is at least one.
func (m *Member) Pieces() (lo, hi int) { return int(m.piece), int(m.piece) + int(m.count) }

// Piece is the part of a member that stands in one block.
type Piece struct {
	// Block is the number of the block, Offset where in its raw bytes the section begins.
	Block   int
	Offset  uint32
	First   record.Index
	Arrival record.Millis
}

// Ref says where in its file a block stands: Length stored bytes, frame and all, from Offset, which
// become Raw bytes.
type Ref struct {
	Offset int64
	Length uint32
	Raw    uint32
}

// Layout is what a manifest keeps of a file: enough to find its footer and to know it again.
type Layout struct {
	ID   uint64
	Size int64
	// Footer is the offset of the footer, Sum its checksum.
	Footer int64
	Sum    uint32
}

// damage is the error for bytes of an object that are not what they should be.
func damage(object string, offset int64, what string) error {
	return fmt.Errorf("read object %s at offset %d: %s: %w", object, offset, what, ErrCorrupt)
}

// compress returns the S2 form of a block's raw bytes behind room for its frame, in scratch, grown if
// need be, and whether that is shorter.
func compress(raw, scratch []byte) (block []byte, shorter bool) {
	if n := frameSize + s2.MaxEncodedLen(len(raw)); cap(scratch) < n {
		scratch = make([]byte, n)
	}
	stored := s2.Encode(scratch[frameSize:cap(scratch)], raw)
	return scratch[:frameSize+len(stored)], len(stored) < len(raw)
}

// frame writes the frame of a block whose stored bytes stand behind the room for it.
func frame(block []byte, codec byte, raw int) {
	le, stored := binary.LittleEndian, block[frameSize:]
	clear(block[:frameSize]) // key id and what is reserved are 0
	block[0] = codec
	le.PutUint32(block[8:], uint32(raw))
	le.PutUint32(block[12:], uint32(len(stored)))
	le.PutUint32(block[16:], crc32.Update(crc32.Checksum(block[:16], castagnoli), castagnoli, stored))
}

// Compressed says whether Decode will need room for a block.
func Compressed(stored []byte) bool { return len(stored) > 0 && stored[0] == codecS2 }

// Decode checks one block, stored bytes as the file has them at ref, and returns its raw bytes: in
// *room, which it makes larger if need be, if the block is compressed, and else as a part of stored.
func Decode(object string, ref Ref, stored []byte, room *[]byte) ([]byte, error) {
	le := binary.LittleEndian
	if len(stored) != int(ref.Length) || len(stored) < frameSize {
		return nil, damage(object, ref.Offset, "short block")
	}
	body := stored[frameSize:]
	raw, kept := le.Uint32(stored[8:]), le.Uint32(stored[12:])
	sum := crc32.Update(crc32.Checksum(stored[:16], castagnoli), castagnoli, body)
	switch {
	case le.Uint32(stored[16:]) != sum:
		return nil, damage(object, ref.Offset, "checksum of the block does not match")
	case stored[1]|stored[2]|stored[3] != 0:
		return nil, damage(object, ref.Offset, "unknown block flags")
	case le.Uint32(stored[4:]) != 0:
		return nil, damage(object, ref.Offset, "encrypted block")
	case int(kept) != len(body) || raw != ref.Raw || raw > MaxRaw:
		return nil, damage(object, ref.Offset, "block lengths disagree")
	}
	switch stored[0] {
	case codecStored:
		if len(body) != int(raw) {
			return nil, damage(object, ref.Offset, "block lengths disagree")
		}
		return body, nil
	case codecS2:
		if n, err := s2.DecodedLen(body); err != nil || n != int(raw) {
			return nil, damage(object, ref.Offset, "block does not decompress")
		}
		if cap(*room) < int(raw) {
			*room = make([]byte, raw)
		}
		out, err := s2.Decode((*room)[:raw], body)
		if err != nil {
			return nil, damage(object, ref.Offset, "block does not decompress")
		}
		return out, nil
	}
	return nil, damage(object, ref.Offset, "unknown codec")
}

// Runs walks the runs of one section.
//
//	for runs.Next() { use(runs.Run) }
//	if runs.Err != nil …
type Runs struct {
	Run Run
	// Err says that the section is damaged; Next then reports false.
	Err error

	object string
	offset int64
	rest   []byte
	left   uint32
	next   record.Index
}

// Section finds the section of piece p of member m in the raw bytes of the block at ref, and checks
// that it is what the footer says it is.
func Section(object string, ref Ref, raw []byte, m *Member, p Piece) (Runs, error) {
	le := binary.LittleEndian
	if uint64(p.Offset)+sectionSize > uint64(len(raw)) {
		return Runs{}, damage(object, ref.Offset, "section beyond its block")
	}
	b := raw[p.Offset:]
	own := Shard{le.Uint64(b), int32(le.Uint32(b[8:])), le.Uint64(b[16:])}
	first, size := record.Index(le.Uint64(b[24:])), le.Uint32(b[32:])
	if own != m.Shard || first != p.First {
		return Runs{}, damage(object, ref.Offset, "section of another shard")
	}
	if uint64(size) > uint64(len(b)-sectionSize) || le.Uint32(b[36:]) != 0 {
		return Runs{}, damage(object, ref.Offset, "section beyond its block")
	}
	return Runs{object: object, offset: ref.Offset, rest: b[sectionSize : sectionSize+size], left: le.Uint32(b[12:]), next: first}, nil
}

// Next moves to the next run; it reports false at the end and on damage.
func (r *Runs) Next() bool {
	if r.Err != nil {
		return false
	}
	if r.left == 0 {
		if len(r.rest) != 0 {
			r.Err = damage(r.object, r.offset, "bytes after the last run")
		}
		return false
	}
	r.left--
	le := binary.LittleEndian
	if len(r.rest) < runSize {
		r.Err = damage(r.object, r.offset, "short run")
		return false
	}
	run := Run{First: r.next, Arrival: record.Millis(le.Uint64(r.rest)), Count: le.Uint32(r.rest[8:])}
	size := le.Uint32(r.rest[12:])
	if uint64(size) > uint64(len(r.rest)-runSize) || record.Index(run.Count) > record.MaxIndex+1-run.First {
		r.Err = damage(r.object, r.offset, "run beyond its section")
		return false
	}
	run.Records, r.rest = r.rest[runSize:runSize+size:runSize+size], r.rest[runSize+size:]
	r.Run, r.next = run, run.End()
	return true
}
