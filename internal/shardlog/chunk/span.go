package chunk

import (
	"bytes"
	"encoding/binary"
)

// Slice is what a part holds: Bytes from Offset on of the Total bytes that the body of its chunk has.
type Slice struct {
	Number        uint32
	Offset, Total uint64
	Bytes         []byte
}

// AppendPart appends a part of the chunk of data that c is the header of.
func AppendPart(dst []byte, c Chunk, s Slice) []byte {
	start := len(dst)
	c.Kind = Part
	dst = AppendHeader(dst, &c)
	dst = binary.LittleEndian.AppendUint32(dst, s.Number)
	dst = binary.LittleEndian.AppendUint64(dst, s.Offset)
	dst = binary.LittleEndian.AppendUint64(dst, s.Total)
	dst = append(dst, s.Bytes...)
	return End(dst, start)
}

// Slice returns what a part holds.
func (c *Chunk) Slice() Slice {
	le := binary.LittleEndian
	return Slice{le.Uint32(c.Body), le.Uint64(c.Body[4:]), le.Uint64(c.Body[12:]), c.Body[SliceHeaderSize:]}
}

// Span is a chunk of data that is put together from its parts.
type Span struct {
	head  Chunk
	body  bytes.Buffer
	total uint64
	count uint32
}

// NewSpan begins with the header of the first part, which is to be added as well, or says what is wrong
// with it.
func NewSpan(first *Chunk) (s *Span, wrong string) {
	total := first.Slice().Total
	if total > MaxSize {
		return nil, "part of an impossible batch"
	}
	return &Span{head: *first, total: total}, ""
}

// Add adds the next part, or says why it is none. done says that it was the last.
func (s *Span) Add(c *Chunk) (done bool, wrong string) {
	p, h := c.Slice(), &s.head
	same := c.First == h.First && c.Count == h.Count && c.Flags == h.Flags && c.Arrival == h.Arrival &&
		c.Bytes == h.Bytes && p.Total == s.total
	if !same || p.Number != s.count || p.Offset != uint64(s.body.Len()) || uint64(len(p.Bytes)) > p.Total-p.Offset {
		return false, "part does not follow the one before"
	}
	s.body.Write(p.Bytes)
	s.count++
	return uint64(s.body.Len()) >= s.total, ""
}

// Encoded returns the chunk once Add has said that it is done.
func (s *Span) Encoded() []byte {
	head := s.head
	head.Kind = Data
	buf := make([]byte, 0, HeaderSize+s.body.Len())
	return End(append(AppendHeader(buf, &head), s.body.Bytes()...), 0)
}
