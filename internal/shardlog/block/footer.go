package block

import (
	"encoding/binary"
	"hash/crc32"
	"sort"

	"github.com/headrace/headrace/internal/record"
)

// Footer says where in a file each shard's records are. It keeps the encoded tables, all of whose
// numbers were checked, and takes entries out as they are asked for.
type Footer struct {
	blocks, members, pieces []byte
	raw                     []byte
}

// ParseTrailer reads the last TrailerSize bytes of a file of the given size.
func ParseTrailer(object string, size int64, trailer []byte) (Layout, error) {
	at := size - TrailerSize
	if at < headerSize || len(trailer) != TrailerSize {
		return Layout{}, damage(object, max(at, 0), "short file")
	}
	le := binary.LittleEndian
	l := Layout{ID: le.Uint64(trailer[24:]), Size: size, Footer: int64(le.Uint64(trailer)), Sum: le.Uint32(trailer[16:])}
	switch {
	case string(trailer[36:]) != tailMagic:
		return Layout{}, damage(object, at, "no trailer")
	case le.Uint32(trailer[32:]) != crc32.Checksum(trailer[:32], castagnoli):
		return Layout{}, damage(object, at, "checksum of the trailer does not match")
	case trailer[20] != version || trailer[21]|trailer[22]|trailer[23] != 0:
		return Layout{}, damage(object, at, "unknown version")
	case l.Footer < headerSize || l.Footer > at || le.Uint64(trailer[8:]) != uint64(at-l.Footer):
		return Layout{}, damage(object, at, "footer out of range")
	}
	return l, nil
}

// ParseFooter reads the bytes of a file from l.Footer to its end and keeps them. It checks the
// trailer against l, and every number of the footer, so that nothing asked of the result can reach
// outside.
func ParseFooter(object string, l Layout, tail []byte) (*Footer, error) {
	if int64(len(tail)) != l.Size-l.Footer || len(tail) < footerSize+TrailerSize {
		return nil, damage(object, l.Footer, "short footer")
	}
	raw := tail[:len(tail)-TrailerSize]
	got, err := ParseTrailer(object, l.Size, tail[len(raw):])
	if err != nil {
		return nil, err
	}
	if got != l {
		return nil, damage(object, l.Size-TrailerSize, "another file's trailer")
	}
	if crc32.Checksum(raw, castagnoli) != l.Sum {
		return nil, damage(object, l.Footer, "checksum of the footer does not match")
	}
	le := binary.LittleEndian
	nb, nm, np := uint64(le.Uint32(raw)), uint64(le.Uint32(raw[4:])), uint64(le.Uint32(raw[8:]))
	if footerSize+nb*blockSize+nm*memberSize+np*pieceSize != uint64(len(raw)) || le.Uint32(raw[12:]) != 0 {
		return nil, damage(object, l.Footer, "footer tables do not fill it")
	}
	f := &Footer{raw: raw}
	rest := raw[footerSize:]
	f.blocks, rest = rest[:nb*blockSize], rest[nb*blockSize:]
	f.members, f.pieces = rest[:nm*memberSize], rest[nm*memberSize:]
	if wrong := f.check(l.Footer); wrong != "" {
		return nil, damage(object, l.Footer, wrong)
	}
	return f, nil
}

// Size is how many bytes the footer keeps.
func (f *Footer) Size() int { return len(f.raw) }

// Members is the number of members.
func (f *Footer) Members() int { return len(f.members) / memberSize }

// Member returns the member of the given number.
func (f *Footer) Member(n int) Member {
	le, b := binary.LittleEndian, f.members[n*memberSize:]
	return Member{
		Shard: Shard{Stream: le.Uint64(b), Number: int32(le.Uint32(b[8:])), Born: le.Uint64(b[16:])},
		count: le.Uint32(b[12:]),
		First: record.Index(le.Uint64(b[24:])), Next: record.Index(le.Uint64(b[32:])),
		FirstArrival: record.Millis(le.Uint64(b[40:])), LastArrival: record.Millis(le.Uint64(b[48:])),
		Bytes: le.Uint64(b[56:]), piece: le.Uint32(b[64:]),
	}
}

// Piece returns the piece of the given number.
func (f *Footer) Piece(n int) Piece {
	le, b := binary.LittleEndian, f.pieces[n*pieceSize:]
	return Piece{
		Block: int(le.Uint32(b)), Offset: le.Uint32(b[4:]),
		First: record.Index(le.Uint64(b[8:])), Arrival: record.Millis(le.Uint64(b[16:])),
	}
}

// Blocks is the number of blocks.
func (f *Footer) Blocks() int { return len(f.blocks) / blockSize }

// Block returns the place of the block of the given number.
func (f *Footer) Block(n int) Ref {
	le, b := binary.LittleEndian, f.blocks[n*blockSize:]
	return Ref{Offset: int64(le.Uint64(b)), Length: le.Uint32(b[8:]), Raw: le.Uint32(b[12:])}
}

// SeekIndex returns the number of the piece of m that holds the record at the given index, which
// must be in m.
func (f *Footer) SeekIndex(m *Member, at record.Index) int {
	lo, hi := m.Pieces()
	return lo + max(0, sort.Search(hi-lo, func(i int) bool { return f.Piece(lo+i).First > at })-1)
}

// SeekArrival returns the number of the last piece of m that begins before t, the first piece if
// none does.
func (f *Footer) SeekArrival(m *Member, t record.Millis) int {
	lo, hi := m.Pieces()
	return lo + max(0, sort.Search(hi-lo, func(i int) bool { return f.Piece(lo+i).Arrival >= t })-1)
}

// check says what is wrong with the tables.
func (f *Footer) check(end int64) string {
	at := int64(headerSize)
	for n := range f.Blocks() {
		b := f.Block(n)
		if b.Offset != at || b.Length < frameSize || b.Raw > MaxRaw || b.Raw == 0 {
			return "block table out of order"
		}
		at += int64(b.Length)
	}
	if at != end {
		return "blocks do not fill the file"
	}
	var last Member
	pieces := 0
	for n := range f.Members() {
		m := f.Member(n)
		c := last.Compare(m.Shard)
		if n > 0 && (c > 0 || c == 0 && m.First < last.Next) {
			return "members out of order"
		}
		lo, hi := m.Pieces()
		if lo != pieces || m.count == 0 || hi > len(f.pieces)/pieceSize {
			return "pieces do not belong to their member"
		}
		if m.First < 1 || m.Next <= m.First || m.Next > record.MaxIndex+1 || m.LastArrival < m.FirstArrival {
			return "member out of range"
		}
		if wrong := f.checkPieces(&m, n > 0); wrong != "" {
			return wrong
		}
		last, pieces = m, hi
	}
	if pieces != len(f.pieces)/pieceSize {
		return "pieces without a member"
	}
	return ""
}

func (f *Footer) checkPieces(m *Member, follows bool) string {
	lo, hi := m.Pieces()
	for i := lo; i < hi; i++ {
		p := f.Piece(i)
		if p.Block >= f.Blocks() || uint64(p.Offset)+sectionSize > uint64(f.Block(p.Block).Raw) {
			return "piece out of range"
		}
		if i == lo {
			if p.First != m.First || p.Arrival != m.FirstArrival {
				return "piece does not begin its member"
			}
			if follows && p.Block < f.Piece(i-1).Block {
				return "pieces out of order"
			}
			continue
		}
		before := f.Piece(i - 1)
		if p.Block <= before.Block || p.First <= before.First || p.First >= m.Next || p.Arrival < before.Arrival || p.Arrival > m.LastArrival {
			return "pieces out of order"
		}
	}
	return ""
}
