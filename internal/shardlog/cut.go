package shardlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
)

// ErrNoFiles says that a store without a bucket was to be cut: there are no files of it.
var ErrNoFiles = errors.New("shardlog: nothing is kept in files")

// Cut is a store as it stood at one position of its lane, as objects of its bucket: block files and
// the manifest that names them. They are sealed; the store goes on.
type Cut struct {
	// Position is the first group of the lane that is not in the cut.
	Position lane.Position
	// Time is the latest time that the store had read.
	Time record.Millis
	// Objects are the keys and sizes of the cut's objects; the last is the manifest.
	Objects []objectstore.Info
}

// cut is a cut that somebody waits for.
type cut struct {
	out  Cut
	err  error
	done chan struct{}
}

// Cut takes a cut: everything that was answered before the call is in it. It flushes what is in no
// file yet and waits for that. The store deletes objects of the cut as soon as it needs them no more,
// so whoever is to read them sees to it first that the bucket keeps them (package objectstore/held).
// The error is ErrNoFiles, ErrClosed, that of ctx or that of the flush, which wraps
// objectstore.ErrFull if there was no room.
func (s *Store) Cut(ctx context.Context) (Cut, error) {
	if s.cfg.Bucket == nil {
		return Cut{}, ErrNoFiles
	}
	w := &cut{done: make(chan struct{})}
	err := s.control(ctx, false, func(c *committer) error {
		c.tier.cutting = append(c.tier.cutting, w)
		return nil
	})
	if err == nil {
		select {
		case <-w.done:
			err = w.err
		case <-ctx.Done(): // the flush goes on, for nobody
			err = ctx.Err()
		}
	}
	if err != nil {
		return Cut{}, fmt.Errorf("cut shard logs: %w", err)
	}
	return w.out, nil
}

// cut tells those who wait for a cut what became of the job that was to make it.
func (o *outcome) cut() {
	for _, w := range o.cuts {
		if w.err = o.err; o.err == nil {
			w.out = o.manifest.cut(o.size)
		}
		close(w.done)
	}
	o.cuts = nil
}

// cut returns the cut that a manifest of that size is.
func (m *manifest) cut(size int64) Cut {
	c := Cut{Position: m.position, Time: m.time}
	for _, f := range m.files {
		c.Objects = append(c.Objects, objectstore.Info{Key: f.key, Size: f.layout.Size})
	}
	c.Objects = append(c.Objects, objectstore.Info{Key: manifestKey(m.number), Size: size})
	return c
}

// endCuts ends the waiting of all who wait. REQUIRES: the goroutines have stopped.
func (t *tier) endCuts(why error) {
	if t.running != nil {
		t.cutting = append(t.cutting, t.running.cuts...)
	}
	for _, w := range t.cutting {
		w.err = why
		close(w.done)
	}
	t.cutting = nil
}
