package shardlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/chunk"
	format "github.com/headrace/headrace/internal/shardlog/manifest"
)

// listStep is how many objects are listed at a time.
const listStep = 1000

// manifest is one whole snapshot of the second tier: which files there are, and how every shard
// stood at a position of the lane. What the shards went through from there on is in the lane. The
// valid manifest of the highest number counts; package manifest has its bytes.
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
	// floor is where shards begin that are opened from here on, if their records come of age: a
	// restore raises it, for one of the name may have been opened, and lost, since the backup. It is 1
	// where nothing was ever restored.
	floor record.Index
	// begins says that a restore has written the manifest: its lane is still to be made.
	begins bool
}

const manifestPrefix = format.Prefix

func manifestKey(n uint64) string { return format.Key(n) }

func (m *manifest) encode() []byte {
	out := format.Manifest{Number: m.number, Position: m.position, Time: m.time, NextFile: m.nextFile,
		States: m.states, StateCount: m.stateCount, Floor: m.floor, Begins: m.begins}
	for _, f := range m.files {
		out.Files = append(out.Files, format.File{Layout: f.layout, Class: uint8(f.class)})
	}
	return out.Encode()
}

// decodeManifest takes a manifest apart. Its files have no members yet.
func decodeManifest(key string, b []byte) (*manifest, error) {
	in, offset, wrong := format.Decode(b, len(classes))
	if wrong != "" {
		return nil, damaged(key, offset, wrong)
	}
	m := &manifest{number: in.Number, position: in.Position, time: in.Time, nextFile: in.NextFile,
		states: in.States, stateCount: in.StateCount, floor: in.Floor, begins: in.Begins}
	for _, f := range in.Files {
		m.files = append(m.files, newFile(class(f.Class), f.Layout, nil))
	}
	return m, nil
}

// eachState calls f for every shard's state, until it says what is wrong.
func (m *manifest) eachState(f func(born lane.Position, id ShardID, st *state) (wrong string)) error {
	rest := m.states
	for n := range m.stateCount {
		wrong := "short state"
		if len(rest) >= 8 {
			var ch chunk.Chunk
			if ch, wrong = chunk.Decode(rest[8:]); wrong == "" {
				st, ok := decodeState(&ch)
				switch {
				case ch.Kind != chunk.State || !ok || !st.whole:
					wrong = "malformed state"
				default:
					wrong = f(lane.Position(binary.LittleEndian.Uint64(rest)), ShardID(ch.ID), &st)
				}
			}
			rest = rest[min(8+ch.Size, len(rest)):]
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

func (m *manifest) put(ctx context.Context, bucket objectstore.Bucket) (size int64, err error) {
	b := m.encode()
	if _, err := bucket.Put(ctx, manifestKey(m.number), bytes.NewReader(b)); err != nil {
		return 0, fmt.Errorf("store manifest %d: %w", m.number, err)
	}
	return int64(len(b)), nil
}
