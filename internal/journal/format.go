package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// The layout of a snapshot is drawn in docs/format/journal.md.
const (
	magic         = "hrjournl"
	formatVersion = 1
	fixedBytes    = 40
	// endMark stands where a row's length would.
	endMark = 1<<32 - 1
)

// snapshotHeader says what a snapshot is of. A reader knows it before: one that differs is damage.
type snapshotHeader struct {
	name  string
	shard shardlog.ShardID
	// next is the first command that is not in the snapshot.
	next record.Index
}

func (h snapshotHeader) append(b []byte) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, formatVersion)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.name)))
	b = binary.LittleEndian.AppendUint32(b, 0) // key id
	b = binary.LittleEndian.AppendUint64(b, uint64(h.next))
	b = binary.LittleEndian.AppendUint64(b, h.shard.Stream)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.shard.Shard))
	b = binary.LittleEndian.AppendUint32(b, 0)
	return append(b, h.name...)
}

// snapshotReader yields a snapshot's bytes as they are asked for, so that a large state is never
// in memory a second time.
type snapshotReader struct {
	next func() ([]byte, bool)
	stop func()
	// canceled returns an error once the snapshot is no longer wanted.
	canceled func() error
	// crc is the checksum of all bytes so far that are not checksums.
	crc  uint32
	rows uint64
	// buf holds the part being given out, rest what of it is still to come.
	buf, rest []byte
	err       error
}

// newSnapshotReader encodes rows until canceled returns an error. The caller closes it.
func newSnapshotReader(h snapshotHeader, rows iter.Seq[[]byte], canceled func() error) *snapshotReader {
	r := &snapshotReader{canceled: canceled}
	r.next, r.stop = iter.Pull(rows)
	r.seal(h.append(nil))
	return r
}

func (r *snapshotReader) close() { r.stop() }

// Read implements io.Reader.
func (r *snapshotReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 && r.err == nil {
		r.err = r.advance()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// advance encodes the next row, or the end with io.EOF.
func (r *snapshotReader) advance() error {
	if err := r.canceled(); err != nil {
		return err
	}
	row, ok := r.next()
	if !ok {
		b := binary.LittleEndian.AppendUint32(r.buf[:0], endMark)
		r.seal(binary.LittleEndian.AppendUint64(b, r.rows))
		return io.EOF
	}
	if len(row) > MaxRow {
		return fmt.Errorf("row %d of the snapshot has %d bytes, more than %d", r.rows, len(row), MaxRow)
	}
	r.rows++
	r.seal(append(binary.LittleEndian.AppendUint32(r.buf[:0], uint32(len(row))), row...))
	return nil
}

// seal makes b, with the checksum, the next part.
func (r *snapshotReader) seal(b []byte) {
	r.crc = crc32.Update(r.crc, castagnoli, b)
	r.buf = binary.LittleEndian.AppendUint32(b, r.crc)
	r.rest = r.buf
}

// readSnapshot gives the rows of a snapshot to restore, each after its checksum was found right.
// It reads to the end: an error may come after rows have been restored.
func readSnapshot(body io.Reader, h snapshotHeader, restore func(row []byte) error) error {
	p := parser{r: bufio.NewReaderSize(body, 64<<10)}
	want := h.append(nil)
	head, err := p.part(fixedBytes, 0)
	if err != nil {
		return err
	}
	if string(head[:len(magic)]) != magic {
		return fmt.Errorf("%w: it does not begin as a snapshot", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint16(head[8:]); v != formatVersion {
		return fmt.Errorf("format version %d is not one this program reads", v)
	}
	if head, err = p.part(len(want), fixedBytes); err != nil {
		return err
	}
	if err := p.checksum(); err != nil {
		return err
	}
	if string(head) != string(want) {
		return fmt.Errorf("%w: it is a snapshot of something else", ErrCorrupt)
	}
	for rows := uint64(0); ; rows++ {
		row, end, err := p.row()
		if err != nil {
			return fmt.Errorf("row %d: %w", rows, err)
		}
		if end {
			return p.end(rows)
		}
		if err := restore(row); err != nil {
			return fmt.Errorf("row %d: %w", rows, err)
		}
	}
}

// parser reads a snapshot.
type parser struct {
	r   *bufio.Reader
	crc uint32
	buf []byte
}

// part returns n bytes, the first have of which are those read before.
func (p *parser) part(n, have int) ([]byte, error) {
	if cap(p.buf) < n {
		p.buf = append(make([]byte, 0, n), p.buf[:have]...)
	}
	p.buf = p.buf[:n]
	if _, err := io.ReadFull(p.r, p.buf[have:]); err != nil {
		return nil, early(err)
	}
	p.crc = crc32.Update(p.crc, castagnoli, p.buf[have:])
	return p.buf, nil
}

// row returns the next row, or says that the end is next.
func (p *parser) row() (row []byte, end bool, err error) {
	length, err := p.part(4, 0)
	if err != nil {
		return nil, false, err
	}
	n := binary.LittleEndian.Uint32(length)
	if n == endMark {
		return nil, true, nil
	}
	if n > MaxRow {
		return nil, false, fmt.Errorf("%w: a length of %d bytes", ErrCorrupt, n)
	}
	if row, err = p.part(int(n), 0); err != nil {
		return nil, false, err
	}
	return row, false, p.checksum()
}

// end reads what follows the end mark.
func (p *parser) end(rows uint64) error {
	count, err := p.part(8, 0)
	if err != nil {
		return err
	}
	if err := p.checksum(); err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint64(count); n != rows {
		return fmt.Errorf("%w: it should have %d rows and has %d", ErrCorrupt, n, rows)
	}
	if _, err := p.r.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(err, fmt.Errorf("%w: something follows its end", ErrCorrupt))
	}
	return nil
}

func (p *parser) checksum() error {
	var sum [4]byte
	if _, err := io.ReadFull(p.r, sum[:]); err != nil {
		return early(err)
	}
	if binary.LittleEndian.Uint32(sum[:]) != p.crc {
		return fmt.Errorf("%w: wrong checksum", ErrCorrupt)
	}
	return nil
}

// early turns an end that comes too soon into damage.
func early(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrCorrupt)
	}
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
