package disk

import (
	"context"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
)

// Reader gives the groups of a ring that no lane has open, and changes nothing. It is for tools that
// look at a data directory while no server runs; whoever uses it holds the directory's lock.
type Reader struct {
	lane  Lane
	found Recovery
}

// OpenReader reads a ring to the last byte. The error is ErrCorrupt, with every place found,
// ErrVersion, or that of the file system. A directory without a ring is one without groups. The
// caller closes the Reader.
func OpenReader(ctx context.Context, fs vfs.FS) (*Reader, error) {
	entries, err := fs.List(dir)
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return nil, fmt.Errorf("list lane: %w", err)
	}
	names, err := segmentNames(entries)
	if err != nil {
		return nil, err
	}
	found, err := readRing(ctx, fs, names, vfs.ReadOnly, true)
	r := &Reader{}
	r.lane.id = found.id
	r.lane.mu.all, r.lane.mu.live = found.all, found.live
	r.lane.mu.first, r.lane.mu.next = found.first, found.next
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.found = found.recovery()
	return r, nil
}

// Check reads a ring as OpenReader does and says what it holds.
func Check(ctx context.Context, fs vfs.FS) (Recovery, error) {
	r, err := OpenReader(ctx, fs)
	if err != nil {
		return Recovery{}, err
	}
	return r.found, r.Close()
}

// Found says what the ring holds.
func (r *Reader) Found() Recovery { return r.found }

// Read is lane.Lane's.
func (r *Reader) Read(ctx context.Context, from lane.Position, maxBytes int) ([]lane.Group, error) {
	return r.lane.Read(ctx, from, maxBytes)
}

// Place returns the file and the offset in it of byte n of a group's payload; ok is false if the
// ring does not hold the group.
func (r *Reader) Place(p lane.Position, n int64) (file string, offset int64, ok bool) {
	for _, s := range r.lane.mu.live {
		if p >= s.first && p < s.next() {
			return s.name, s.index[p-s.first].offset() + headerSize + n, true
		}
	}
	return "", 0, false
}

// Close closes the files. Nobody may be reading.
func (r *Reader) Close() error {
	var err error
	for _, s := range r.lane.mu.all {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
