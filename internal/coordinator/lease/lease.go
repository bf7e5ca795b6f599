// Package lease lets one of many workers own a piece of work at a time, with nothing but a
// coordinator row: who owns it, the epoch of the ownership, and a beat that the owner renews.
//
// Safety never depends on clocks. Each acquisition is a compare-and-set that raises the epoch, so
// of two workers that both believe to be the owner only one can go on writing the row; whatever
// else the owner writes must carry the epoch and be refused when a higher one has been seen.
// Expiry only decides when another worker tries: when the row has not changed for a while on that
// worker's own timer. Clocks of different machines are never compared.
//
// It is not a lock: an owner learns that it has lost the lease when it next renews, not before.
//
//	l, err := lease.Acquire(ctx, c, "lease/trim/7", owner, 5*time.Second)
//	…
//	go func() { lost <- l.Keep(ctx, time.Second) }()
//	work(ctx, l.Epoch())
//	l.Release(ctx)
package lease

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
)

// ErrLost says that another worker owns the lease now, or that it was released: stop working.
var ErrLost = errors.New("lease: lost")

// row is the value of a lease's key. The key is never deleted while anything remembers its epochs:
// they would begin again at 1.
type row struct {
	// Owner is empty while nobody owns the lease.
	Owner string `json:"owner"`
	// Epoch counts acquisitions.
	Epoch uint64 `json:"epoch"`
	// Beat counts what the owner wrote since it acquired the lease.
	Beat uint64 `json:"beat"`
	// Checkpoint is the owner's; it outlives the ownership.
	Checkpoint []byte `json:"checkpoint,omitempty"`
}

// Lease is an ownership that was acquired. It is safe for concurrent use; its calls run one at a
// time.
type Lease struct {
	c     coordinator.Coordinator
	key   string
	epoch uint64

	// turn is held by the one call that reads or writes what follows. It is a channel so that
	// waiting for it ends with the caller's context.
	turn    chan struct{}
	row     row
	version coordinator.Version
	lost    bool
}

// Acquire waits until it owns the lease at key. owner names the caller for people; the epoch tells
// owners apart. A lease that another worker holds is taken over when its row has not changed for
// ttl, which should be several times the interval of the owner's renewals.
//
// If ctx ends during the last write the lease may be owned by a caller that does not know; it then
// expires like that of a dead one.
func Acquire(ctx context.Context, c coordinator.Coordinator, key, owner string, ttl time.Duration) (*Lease, error) {
	l, err := acquire(ctx, c, key, owner, ttl)
	if err != nil {
		return nil, fmt.Errorf("acquire lease %q: %w", key, err)
	}
	return l, nil
}

func acquire(ctx context.Context, c coordinator.Coordinator, key, owner string, ttl time.Duration) (*Lease, error) {
	w, err := c.Watch(ctx, key)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for {
		held, version, err := read(ctx, c, key)
		if err != nil {
			return nil, err
		}
		if held.Owner != "" {
			expired, err := unchanged(ctx, w, key, version, ttl)
			if err != nil {
				return nil, err
			}
			if !expired {
				continue
			}
		}
		held = row{Owner: owner, Epoch: held.Epoch + 1, Checkpoint: held.Checkpoint}
		version, err = write(ctx, c, key, held, version)
		if err == nil {
			l := &Lease{c: c, key: key, epoch: held.Epoch, turn: make(chan struct{}, 1), row: held, version: version}
			return l, nil
		}
		if !errors.Is(err, coordinator.ErrConflict) {
			return nil, err
		}
	}
}

// unchanged waits until key has another version, and reports true if that did not happen for ttl.
func unchanged(ctx context.Context, w coordinator.Watcher, key string, version coordinator.Version, ttl time.Duration) (bool, error) {
	waiting, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	for {
		entries, err := w.Next(waiting)
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		for _, e := range entries {
			if e.Key == key && e.Version > version {
				return false, nil
			}
		}
	}
}

// Epoch numbers this ownership: higher than that of every owner before. What the owner writes
// elsewhere carries it as the fence.
func (l *Lease) Epoch() uint64 { return l.epoch }

// Checkpoint returns what was saved last, by this owner or the one before; nil if nothing was.
func (l *Lease) Checkpoint(ctx context.Context) ([]byte, error) {
	if err := l.begin(ctx); err != nil {
		return nil, err
	}
	defer l.end()
	return bytes.Clone(l.row.Checkpoint), nil
}

// Renew shows that the owner lives. ErrLost means that it is the owner no more; after any other
// error it may still be, and the caller tries again.
func (l *Lease) Renew(ctx context.Context) error {
	return l.change(ctx, "renew", func(*row) {})
}

// Save renews the lease and stores checkpoint with it, in one write that only the owner can make.
func (l *Lease) Save(ctx context.Context, checkpoint []byte) error {
	return l.change(ctx, "save checkpoint of", func(r *row) { r.Checkpoint = bytes.Clone(checkpoint) })
}

// Release gives the lease up, so that another worker need not wait. The lease is lost afterwards.
func (l *Lease) Release(ctx context.Context) error {
	return l.change(ctx, "release", func(r *row) { r.Owner = "" })
}

// Keep renews the lease at every interval and returns when ctx is done or a renewal fails.
func (l *Lease) Keep(ctx context.Context, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			if err := l.Renew(ctx); err != nil {
				return err
			}
		}
	}
}

// change writes the row as edit leaves it.
func (l *Lease) change(ctx context.Context, verb string, edit func(*row)) error {
	if err := l.begin(ctx); err != nil {
		return fmt.Errorf("%s lease %q: %w", verb, l.key, err)
	}
	defer l.end()
	err := l.put(ctx, edit)
	if errors.Is(err, coordinator.ErrConflict) {
		// An earlier write whose outcome was unknown may have landed: then the row is still ours.
		if err = l.reload(ctx); err == nil {
			err = l.put(ctx, edit)
		}
	}
	if errors.Is(err, coordinator.ErrConflict) {
		l.lost = true
		err = ErrLost
	}
	if err != nil {
		return fmt.Errorf("%s lease %q: %w", verb, l.key, err)
	}
	return nil
}

// put tries one conditional write. REQUIRES: the turn.
func (l *Lease) put(ctx context.Context, edit func(*row)) error {
	changed := l.row
	changed.Beat++
	edit(&changed)
	version, err := write(ctx, l.c, l.key, changed, l.version)
	if err != nil {
		return err
	}
	l.row, l.version = changed, version
	l.lost = changed.Owner == ""
	return nil
}

// reload reads the row again, or returns ErrConflict if it is another owner's. REQUIRES: the turn.
func (l *Lease) reload(ctx context.Context) error {
	now, version, err := read(ctx, l.c, l.key)
	if err != nil {
		return err
	}
	if now.Epoch != l.epoch || now.Owner != l.row.Owner {
		return coordinator.ErrConflict
	}
	l.row, l.version = now, version
	return nil
}

// begin waits for the turn; the caller gives it back with end.
func (l *Lease) begin(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.lost {
		l.end()
		return ErrLost
	}
	return nil
}

func (l *Lease) end() { <-l.turn }

// read returns the lease's row; one that does not exist is free, at version 0.
func read(ctx context.Context, c coordinator.Coordinator, key string) (row, coordinator.Version, error) {
	e, err := c.Get(ctx, key)
	if errors.Is(err, coordinator.ErrNotFound) {
		return row{}, 0, nil
	}
	if err != nil {
		return row{}, 0, err
	}
	var r row
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return row{}, 0, fmt.Errorf("read lease row: %w", err)
	}
	return r, e.Version, nil
}

func write(ctx context.Context, c coordinator.Coordinator, key string, r row, expect coordinator.Version) (coordinator.Version, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("encode lease row: %w", err)
	}
	return c.Put(ctx, key, value, expect)
}
