package shardlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/block"
)

const (
	manifestPrefix     = "manifest/"
	manifestMagic      = "HRmf"
	manifestVersion    = 1
	manifestHeaderSize = 56
	manifestFileSize   = 32
	listStep           = 1000
)

// manifest is one whole snapshot of the second tier: which files there are, and how every shard
// stood at a position of the lane. What the shards went through from there on is in the lane. The
// valid manifest of the highest number counts; docs/format/manifest.md has its bytes.
type manifest struct {
	number   uint64
	position lane.Position
	// time is the latest time the store had read: records, and files of them, may have been let go
	// up to it.
	time record.Millis
	// nextFile is above the id of any file there ever was.
	nextFile uint64
	files    []*file
	// states are state chunks, each after the shard's birth.
	states     []byte
	stateCount uint32
}

func manifestKey(n uint64) string { return fmt.Sprintf("%s%016x", manifestPrefix, n) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (m *manifest) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, manifestHeaderSize+len(m.files)*manifestFileSize+len(m.states)+4)
	b = append(b, manifestMagic...)
	b = append(b, manifestVersion, 0, 0, 0)
	b = le.AppendUint64(b, m.number)
	b = le.AppendUint64(b, uint64(m.position))
	b = le.AppendUint64(b, uint64(m.time))
	b = le.AppendUint64(b, m.nextFile)
	b = le.AppendUint32(b, uint32(len(m.files)))
	b = le.AppendUint32(b, m.stateCount)
	b = le.AppendUint64(b, uint64(len(m.states)))
	for _, f := range m.files {
		b = le.AppendUint64(b, f.layout.ID)
		b = le.AppendUint64(b, uint64(f.layout.Size))
		b = le.AppendUint64(b, uint64(f.layout.Footer))
		b = le.AppendUint32(b, f.layout.Sum)
		b = append(b, byte(f.class), 0, 0, 0)
	}
	b = append(b, m.states...)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeManifest takes a manifest apart. Its files have no members yet.
func decodeManifest(key string, b []byte) (*manifest, error) {
	le := binary.LittleEndian
	end := len(b) - 4
	switch {
	case end < manifestHeaderSize || string(b[:4]) != manifestMagic:
		return nil, damaged(key, 0, "not a manifest")
	case le.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli):
		return nil, damaged(key, 0, "checksum does not match")
	case b[4] != manifestVersion || b[5]|b[6]|b[7] != 0:
		return nil, damaged(key, 4, "unknown version")
	}
	m := &manifest{
		number: le.Uint64(b[8:]), position: lane.Position(le.Uint64(b[16:])),
		time: record.Millis(le.Uint64(b[24:])), nextFile: le.Uint64(b[32:]), stateCount: le.Uint32(b[44:]),
	}
	files, states := uint64(le.Uint32(b[40:])), le.Uint64(b[48:])
	rest := b[manifestHeaderSize:end]
	if files*manifestFileSize > uint64(len(rest)) || states != uint64(len(rest))-files*manifestFileSize {
		return nil, damaged(key, manifestHeaderSize, "lengths disagree")
	}
	for range files {
		l := block.Layout{ID: le.Uint64(rest), Size: int64(le.Uint64(rest[8:])), Footer: int64(le.Uint64(rest[16:])), Sum: le.Uint32(rest[24:])}
		if int(rest[28]) >= len(classes) || rest[29]|rest[30]|rest[31] != 0 || l.Size < 0 || l.Footer < 0 || l.Footer > l.Size {
			return nil, damaged(key, int64(end-len(rest)), "file entry out of range")
		}
		m.files = append(m.files, newFile(class(rest[28]), l, nil))
		rest = rest[manifestFileSize:]
	}
	m.states = rest
	return m, nil
}

// eachState calls f for every shard's state, until it says what is wrong.
func (m *manifest) eachState(f func(born lane.Position, id ShardID, st *state) (wrong string)) error {
	rest := m.states
	for n := range m.stateCount {
		wrong := "short state"
		if len(rest) >= 8 {
			var ch chunk
			if ch, wrong = decodeChunk(rest[8:]); wrong == "" {
				st, ok := ch.decodeState()
				switch {
				case ch.kind != kindState || !ok || !st.whole:
					wrong = "malformed state"
				default:
					wrong = f(lane.Position(binary.LittleEndian.Uint64(rest)), ch.id, &st)
				}
			}
			rest = rest[min(8+ch.size, len(rest)):]
		}
		if wrong != "" {
			return fmt.Errorf("read state %d of manifest %d: %s: %w", n, m.number, wrong, ErrCorrupt)
		}
	}
	if len(rest) != 0 {
		return fmt.Errorf("read manifest %d: bytes after the last state: %w", m.number, ErrCorrupt)
	}
	return nil
}

// listed is what a bucket holds for the store.
type listed struct {
	manifests []string // in rising order
	blocks    []string
	// highest numbers in use
	manifest, file uint64
}

// list lists the store's objects.
func list(ctx context.Context, bucket objectstore.Bucket) (l listed, err error) {
	f := func(prefix string, add func(key string, number uint64)) {
		for after := ""; err == nil; {
			var infos []objectstore.Info
			infos, err = bucket.List(ctx, prefix, after, listStep)
			for _, o := range infos {
				n, _ := strconv.ParseUint(o.Key[strings.LastIndexByte(o.Key, '/')+1:], 16, 64)
				add(o.Key, n)
				after = o.Key
			}
			if len(infos) < listStep {
				return
			}
		}
	}
	f(manifestPrefix, func(key string, n uint64) {
		l.manifests, l.manifest = append(l.manifests, key), max(l.manifest, n)
	})
	f(blockPrefix, func(key string, n uint64) { l.blocks, l.file = append(l.blocks, key), max(l.file, n) })
	if err != nil {
		return l, fmt.Errorf("list objects: %w", err)
	}
	return l, nil
}

// newestManifest returns the valid manifest of the highest number, nil if there is none. A manifest
// that lies before the lane's first group is of no use: what came between has been trimmed. If one
// is damaged and no other serves, the error says so.
func newestManifest(ctx context.Context, bucket objectstore.Bucket, l *listed, held lane.Bounds) (*manifest, error) {
	var trouble error
	for i := len(l.manifests) - 1; i >= 0; i-- {
		key := l.manifests[i]
		m, err := readManifest(ctx, bucket, key)
		switch {
		case errors.Is(err, ErrCorrupt):
			trouble = errors.Join(trouble, err)
			continue
		case err != nil:
			return nil, err
		case m.position >= held.First && m.position <= held.Next:
			return m, nil
		}
		err = fmt.Errorf("object %s goes with position %d of the lane, which holds groups %d to %d: %w", key, m.position, held.First, held.Next, ErrCorrupt)
		return nil, errors.Join(trouble, err)
	}
	if trouble == nil && len(l.blocks) > 0 && held.First > 1 {
		trouble = fmt.Errorf("there are block files but no manifest, and the lane begins at %d: %w", held.First, ErrCorrupt)
	}
	return nil, trouble
}

func readManifest(ctx context.Context, bucket objectstore.Bucket, key string) (*manifest, error) {
	info, err := bucket.Stat(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", key, err)
	}
	b, err := readRange(ctx, bucket, key, 0, info.Size, nil)
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(key, b)
	if err == nil && manifestKey(m.number) != key {
		return nil, damaged(key, 8, "another manifest's number")
	}
	return m, err
}

func (m *manifest) put(ctx context.Context, bucket objectstore.Bucket) error {
	if _, err := bucket.Put(ctx, manifestKey(m.number), bytes.NewReader(m.encode())); err != nil {
		return fmt.Errorf("store manifest %d: %w", m.number, err)
	}
	return nil
}
