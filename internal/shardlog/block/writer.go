package block

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A block is ended when a new shard begins and it holds minBlock bytes, or when the next run would
// make it larger than maxBlock. So a large shard's blocks hold nothing else, and small shards share.
const (
	minBlock = 64 << 10
	maxBlock = 256 << 10
	// MaxPiece is the most bytes of records a run should have: what is longer, one record excepted,
	// a source cuts, so that a block is as long as it should be.
	MaxPiece = 128 << 10
)

// ErrOrder says that a source yielded runs out of order.
var ErrOrder = errors.New("block: runs out of order")

// Source yields the next run and the shard it belongs to, in the order of shards and indexes, and
// io.EOF after the last. The records must stay unchanged until the next call.
type Source func() (Shard, Run, error)

// Body is a block file on its way into an object store: an io.Reader that takes runs from its source
// as it is read, so that no more than a block is in memory at a time besides the footer.
type Body struct {
	id     uint64
	source Source
	err    error

	out  []byte // bytes ready to be read from at on
	at   int
	size int64 // of everything made so far

	raw, scratch []byte // the block being built, behind room for its frame
	section      int    // where in raw the open section begins, -1 if none
	lastRun      int    // where in raw the section's last run begins
	member       Member
	noise        noise

	blocks, members, pieces []byte // the footer's tables
	list                    []Member
	layout                  Layout
}

// NewBody returns the body of a file with the given id.
func NewBody(id uint64, source Source) *Body {
	b := &Body{id: id, source: source, section: -1, raw: make([]byte, frameSize)}
	b.out = append(b.out, headMagic...)
	b.out = append(b.out, version, 0, 0, 0)
	b.out = binary.LittleEndian.AppendUint64(b.out, id)
	b.size = headerSize
	return b
}

// Read implements io.Reader. An error of the source is returned as it is.
func (b *Body) Read(p []byte) (int, error) {
	for b.at == len(b.out) {
		if b.err != nil {
			return 0, b.err
		}
		b.out, b.at = b.out[:0], 0
		b.err = b.fill()
	}
	n := copy(p, b.out[b.at:])
	b.at += n
	return n, nil
}

// Layout says where things are in the file once all of it has been read.
func (b *Body) Layout() Layout { return b.layout }

// Members lists what the file holds once all of it has been read, in the file's order.
func (b *Body) Members() []Member { return b.list }

// fill takes one run and puts a block out if that ends one. At the end it returns io.EOF.
func (b *Body) fill() error {
	sh, run, err := b.source()
	if err == io.EOF {
		b.finish()
		return io.EOF
	}
	if err != nil {
		return err
	}
	if run.Count == 0 {
		return nil
	}
	return b.add(sh, run)
}

func (b *Body) add(sh Shard, run Run) error {
	m := &b.member
	fresh := m.Next == 0 || sh != m.Shard || run.First != m.Next
	if fresh && m.Next != 0 {
		if c := m.Compare(sh); c > 0 || c == 0 && run.First < m.Next {
			return ErrOrder
		}
		b.endMember()
	}
	if run.First == 0 || !fresh && run.Arrival < m.LastArrival {
		return ErrOrder
	}
	if need := b.rawLen() + len(run.Records) + sectionSize + runSize; b.rawLen() > 0 &&
		(need > maxBlock || fresh && b.rawLen() >= minBlock) {
		b.endBlock()
	}
	if fresh {
		b.noise = noise{}
		*m = Member{Shard: sh, First: run.First, FirstArrival: run.Arrival, piece: uint32(len(b.pieces) / pieceSize)}
	}
	if b.section < 0 {
		b.beginSection(run)
	}
	b.appendRun(run, fresh)
	m.Next, m.LastArrival = run.End(), run.Arrival
	m.Bytes += uint64(len(run.Records))
	return nil
}

func (b *Body) beginSection(run Run) {
	le, m := binary.LittleEndian, &b.member
	b.pieces = le.AppendUint32(b.pieces, uint32(len(b.blocks)/blockSize))
	b.pieces = le.AppendUint32(b.pieces, uint32(b.rawLen()))
	b.pieces = le.AppendUint64(b.pieces, uint64(run.First))
	b.pieces = le.AppendUint64(b.pieces, uint64(run.Arrival))
	m.count++
	b.section, b.lastRun = len(b.raw), -1
	b.raw = le.AppendUint64(b.raw, m.Stream)
	b.raw = le.AppendUint32(b.raw, uint32(m.Number))
	b.raw = le.AppendUint32(b.raw, 0) // runs
	b.raw = le.AppendUint64(b.raw, m.Born)
	b.raw = le.AppendUint64(b.raw, uint64(run.First))
	b.raw = append(b.raw, 0, 0, 0, 0, 0, 0, 0, 0) // bytes of runs
}

// appendRun adds the run to the open section, to its last run if they arrived at the same time.
func (b *Body) appendRun(run Run, fresh bool) {
	le := binary.LittleEndian
	if b.lastRun >= 0 && !fresh && run.Arrival == b.member.LastArrival {
		head := b.raw[b.lastRun:]
		le.PutUint32(head[8:], le.Uint32(head[8:])+run.Count)
		le.PutUint32(head[12:], le.Uint32(head[12:])+uint32(len(run.Records)))
		b.raw = append(b.raw, run.Records...)
		return
	}
	b.lastRun = len(b.raw)
	b.raw = le.AppendUint64(b.raw, uint64(run.Arrival))
	b.raw = le.AppendUint32(b.raw, run.Count)
	b.raw = le.AppendUint32(b.raw, uint32(len(run.Records)))
	b.raw = append(b.raw, run.Records...)
	head := b.raw[b.section:]
	le.PutUint32(head[12:], le.Uint32(head[12:])+1)
}

func (b *Body) endSection() {
	if b.section >= 0 {
		binary.LittleEndian.PutUint32(b.raw[b.section+32:], uint32(len(b.raw)-b.section-sectionSize))
		b.section = -1
	}
}

func (b *Body) endMember() {
	b.endSection()
	m := &b.member
	if m.Next == 0 {
		return
	}
	le := binary.LittleEndian
	t := b.members
	t = le.AppendUint64(t, m.Stream)
	t = le.AppendUint32(t, uint32(m.Number))
	t = le.AppendUint32(t, m.count)
	t = le.AppendUint64(t, m.Born)
	t = le.AppendUint64(t, uint64(m.First))
	t = le.AppendUint64(t, uint64(m.Next))
	t = le.AppendUint64(t, uint64(m.FirstArrival))
	t = le.AppendUint64(t, uint64(m.LastArrival))
	t = le.AppendUint64(t, m.Bytes)
	t = le.AppendUint32(t, m.piece)
	b.members = le.AppendUint32(t, 0)
	b.list = append(b.list, *m)
}

// rawLen is how many bytes the block being built has.
func (b *Body) rawLen() int { return len(b.raw) - frameSize }

// endBlock puts the block out by exchanging buffers: out is empty, for everything before was read.
func (b *Body) endBlock() {
	b.endSection()
	n := b.rawLen()
	if n == 0 {
		return
	}
	codec := byte(codecStored)
	if b.noise.try() {
		var shorter bool
		if b.scratch, shorter = compress(b.raw[frameSize:], b.scratch); shorter {
			codec = codecS2
			b.raw, b.scratch = b.scratch, b.raw
		}
		b.noise.tried(shorter)
	}
	frame(b.raw, codec, n)
	b.out, b.raw = b.raw, append(b.out[:0], make([]byte, frameSize)...)
	le := binary.LittleEndian
	b.blocks = le.AppendUint64(b.blocks, uint64(b.size))
	b.blocks = le.AppendUint32(b.blocks, uint32(len(b.out)))
	b.blocks = le.AppendUint32(b.blocks, uint32(n))
	b.size += int64(len(b.out))
}

// noise remembers whether a shard's blocks get shorter by compression. Where a few have not (media,
// ciphertext, what is compressed already) only some of the next are tried: that costs as much
// processor time as all else that is done to a block.
type noise struct{ failures, skip int }

const (
	noiseFailures = 2 // blocks that did not get shorter, one after the other
	noiseSkip     = 7 // blocks that are not tried then
)

// try says whether to compress the next block.
func (n *noise) try() bool {
	if n.skip > 0 {
		n.skip--
		return false
	}
	return true
}

// tried notes the outcome.
func (n *noise) tried(shorter bool) {
	if shorter {
		n.failures = 0
		return
	}
	if n.failures++; n.failures >= noiseFailures {
		n.skip = noiseSkip
	}
}

// finish puts out what is left, the footer and the trailer.
func (b *Body) finish() {
	b.endMember()
	b.endBlock()
	le := binary.LittleEndian
	footer := len(b.out)
	for _, n := range []int{len(b.blocks) / blockSize, len(b.members) / memberSize, len(b.pieces) / pieceSize, 0} {
		b.out = le.AppendUint32(b.out, uint32(n))
	}
	b.out = append(append(append(b.out, b.blocks...), b.members...), b.pieces...)
	length := len(b.out) - footer
	sum := crc32.Checksum(b.out[footer:], castagnoli)
	b.layout = Layout{ID: b.id, Footer: b.size, Sum: sum, Size: b.size + int64(length) + TrailerSize}
	trailer := len(b.out)
	b.out = le.AppendUint64(b.out, uint64(b.size))
	b.out = le.AppendUint64(b.out, uint64(length))
	b.out = le.AppendUint32(b.out, sum)
	b.out = append(b.out, version, 0, 0, 0)
	b.out = le.AppendUint64(b.out, b.id)
	b.out = le.AppendUint32(b.out, crc32.Checksum(b.out[trailer:], castagnoli))
	b.out = append(b.out, tailMagic...)
	b.size = b.layout.Size
	b.blocks, b.members, b.pieces, b.raw, b.scratch = nil, nil, nil, nil, nil
}

var _ io.Reader = (*Body)(nil)
