package shardlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/jump"
)

// Restored says what Restore made.
type Restored struct {
	// Position is where the lane goes on, Time that of the cut.
	Position lane.Position
	Time     record.Millis
	// Shards are all shards, Jumped those of them whose next record gets the index Next.
	Shards, Jumped int
	Next           record.Index
}

// ErrClock says that the time of a restore cannot be right: it would give indexes that were given
// before.
var ErrClock = errors.New("shardlog: the machine's clock is wrong")

// IsManifest says whether an object of a cut is its manifest.
func IsManifest(key string) bool { return strings.HasPrefix(key, manifestPrefix) }

// Restore makes a store of a cut: bucket holds the cut's block files, and nothing else of a store;
// key is the manifest's, and b its bytes. It compares the files with what the manifest says of them and
// stores a manifest that goes with a lane still to be made (see Origin), in which every shard that is
// open, and whose records come of age, goes on above every index given until now, as package jump
// says. Sealed shards keep their end, and so do journals: nobody but they knows their indexes.
//
// The error wraps ErrCorrupt if files and manifest do not go together, and ErrClock if the cut was
// taken of what had been restored after now.
func Restore(ctx context.Context, bucket objectstore.Bucket, key string, b []byte, now time.Time) (Restored, error) {
	m, err := decodeManifest(key, b)
	if err == nil && manifestKey(m.number) != key {
		err = damaged(key, 8, "another manifest's number")
	}
	if err != nil {
		return Restored{}, err
	}
	if err := m.sameFiles(ctx, bucket); err != nil {
		return Restored{}, err
	}
	to, ok := jump.To(record.MillisOf(now))
	if !ok {
		return Restored{}, fmt.Errorf("%w: it says %s", ErrClock, now.UTC().Format(time.RFC3339))
	}
	out := Restored{Position: m.position, Time: m.time, Next: to}
	if err := m.jump(&out); err != nil {
		return Restored{}, err
	}
	_, err = m.put(ctx, bucket)
	return out, err
}

// sameFiles compares the files in the bucket with those of the manifest.
func (m *manifest) sameFiles(ctx context.Context, bucket objectstore.Bucket) error {
	l, err := list(ctx, bucket)
	if err != nil {
		return err
	}
	if len(l.manifests) > 0 {
		return fmt.Errorf("there is a manifest %s already", l.manifests[0])
	}
	named := make(map[string]bool, len(m.files))
	for _, f := range m.files {
		named[f.key] = true
		if _, err := readFooter(ctx, bucket, f.key, f.layout); err != nil {
			if errors.Is(err, objectstore.ErrNotFound) {
				err = damaged(f.key, 0, "the object is missing")
			}
			return fmt.Errorf("open files of manifest %d: %w", m.number, err)
		}
	}
	for _, key := range l.blocks {
		if !named[key] {
			return damaged(key, 0, "the manifest does not name the object")
		}
	}
	return nil
}

// jump makes the manifest that of a restored store.
func (m *manifest) jump(out *Restored) error {
	var states []byte
	highest := m.floor
	err := m.eachState(func(born lane.Position, id ShardID, st *state) string {
		out.Shards++
		if !st.sealed && st.keep.Age > 0 {
			out.Jumped++
			if highest = max(highest, st.next); highest < out.Next {
				st.leap(out.Next)
			}
		}
		states = appendState(binary.LittleEndian.AppendUint64(states, uint64(born)), id, st)
		return ""
	})
	switch {
	case err != nil:
		return err
	case highest >= out.Next:
		return fmt.Errorf("%w: there is a record index %d in the backup, and a restore at this time gives %d", ErrClock, highest, out.Next)
	}
	m.states, m.floor, m.begins = states, out.Next, true
	return nil
}

// leap makes the next record of a shard the one at to.
func (st *state) leap(to record.Index) {
	if st.first == st.next { // nothing is kept that a reader could come from
		st.first, st.jumps = to, nil
	} else {
		st.jumps = st.jumps.Leap(st.next, to)
	}
	st.next = to
}

// Origin returns the position at which a lane is to begin, should there be none: 1, or where the cut
// ended that the bucket was restored from, until a store has been open since. If the newest manifest
// is damaged it is 1, and Open says more.
func Origin(ctx context.Context, bucket objectstore.Bucket) (lane.Position, error) {
	l, err := list(ctx, bucket)
	if err != nil || len(l.manifests) == 0 {
		return 1, err
	}
	m, err := readManifest(ctx, bucket, l.manifests[len(l.manifests)-1])
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, objectstore.ErrCorrupt), errors.Is(err, objectstore.ErrNotFound):
		return 1, nil
	case err != nil:
		return 0, err
	case m.begins:
		return m.position, nil
	}
	return 1, nil
}
