package shardlog_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"

	"github.com/headrace/headrace/internal/clock"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// onDisk is a store as a data directory holds it: its lane and its bucket on one file system.
type onDisk struct {
	*shardlog.Store
	lane *lanedisk.Lane
}

// engines says how a store on a disk is put together.
type engines struct {
	ring lanedisk.Config
	// bucket, if set, stands between the store and its bucket.
	bucket func(objectstore.Bucket) objectstore.Bucket
	store  shardlog.Config
}

// openOnDisk opens what fs holds, as package server does.
func openOnDisk(fs vfs.FS, e engines) (*onDisk, error) {
	l, err := lanedisk.Open(ctx, fs, e.ring)
	if err != nil {
		return nil, err
	}
	cfg := e.store
	cfg.Lane, cfg.LaneBytes = l, l.Capacity()
	if cfg.Bucket, err = dir.Open(fs, "blocks", cfg.Clock); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if e.bucket != nil {
		cfg.Bucket = e.bucket(cfg.Bucket)
	}
	s, err := shardlog.Open(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &onDisk{s, l}, nil
}

// Close closes the store and its lane.
func (d *onDisk) Close() error { return errors.Join(d.Store.Close(), d.lane.Close()) }

// end is how a process on a disk comes to its end.
type end uint8

const (
	// stopped ends in order.
	stopped end = iota
	// killed takes the process away between two of its calls; what it wrote stays in the system's
	// cache, synced or not.
	killed
	// powerCut takes the machine away.
	powerCut
	// failedCall lets one write or sync fail, as a disk that is about to die does: what was not synced
	// can be read and will never be on the disk. What becomes of the process is its own affair.
	failedCall
	ends
)

var errGone = errors.New("the process is gone")

// outage ends a process at one of its calls to the disk.
type outage struct {
	disk *memfs.FS
	end  end

	mu   sync.Mutex
	rng  *rand.Rand
	left int // calls that still come through
	// struck says that it has happened, over that no call is made any more.
	struck, over bool
	after        *memfs.FS
}

// newOutage draws when it happens: half of them early, while the process starts or soon after.
func newOutage(disk *memfs.FS, rng *rand.Rand, e end, calls int) *outage {
	o := &outage{disk: disk, end: e, rng: rand.New(rand.NewPCG(rng.Uint64(), 1)), left: rng.IntN(calls)}
	if rng.IntN(2) == 0 {
		o.left = rng.IntN(40)
	}
	return o
}

// fs is the disk as the process sees it.
func (o *outage) fs() vfs.FS { return errfs.New(o.disk, o.ask) }

func (o *outage) ask(c errfs.Call) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return errGone
	}
	if o.left--; o.left >= 0 || o.struck {
		return nil
	}
	switch o.end {
	case killed, powerCut:
		o.endLocked()
		return errGone
	case failedCall:
		if c.Op != errfs.OpWrite && c.Op != errfs.OpSync {
			return nil // the next that is one
		}
		o.struck = true
		if c.Op == errfs.OpSync {
			o.disk.ForgetWrites(c.Name)
			return syscall.EIO
		}
		return &errfs.Short{N: o.rng.IntN(1 + c.Length), Err: syscall.EIO}
	}
	return nil
}

// endLocked ends the process. REQUIRES: o.mu held.
func (o *outage) endLocked() {
	o.struck, o.over = true, true
	if o.end == powerCut {
		o.after = o.disk.CrashClone(o.rng)
	}
}

// strike ends the process now, unless it is to end in order.
func (o *outage) strike() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != stopped && !o.over {
		o.endLocked()
	}
}

// gone says whether the process has ended: what it answers from then on nobody hears.
func (o *outage) gone() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over
}

// faulted says whether the process has met an error that was not its own.
func (o *outage) faulted() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.struck
}

// left returns the disk that the next process finds.
func (o *outage) leaves() *memfs.FS {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.after != nil {
		return o.after
	}
	return o.disk
}

// seeded is a source of generations that follows from a seed.
func seeded(rng *rand.Rand) io.Reader {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rng.IntN(256))
	}
	return rand.NewChaCha8(seed)
}

// smallEngines draws engines that are full, and flush and merge, within a few records.
func smallEngines(rng *rand.Rand, now clock.Clock) engines {
	e := engines{ring: lanedisk.Config{Segments: 3 + rng.IntN(3), SegmentBytes: 32 << 10, Random: seeded(rng)}}
	if rng.IntN(2) == 0 {
		e.ring.MaxGroup = 2 << 10 // so that batches span groups
	}
	e.store = shardlog.Config{Clock: now, Memory: 192 << 10, FlushBytes: int64(1 + rng.IntN(20<<10))}
	e.store.MergeFan(2 + rng.IntN(3))
	e.store.Piece(int64(1 + rng.IntN(8<<10)))
	if rng.IntN(2) == 0 {
		e.store.NoCache()
	}
	return e
}
