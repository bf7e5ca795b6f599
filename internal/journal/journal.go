// Package journal keeps a state machine durable: its commands in a log, its state as a snapshot
// from time to time. Queues, lease tables, manifests and the coordinator on disk are such machines.
// It is not a database: it has no queries, no transactions but a command, and the whole state is in
// memory.
//
// The log is a hidden shard of package shardlog that is trimmed by position, so that the commands
// of all journals ride in the groups that carry records, and one sync serves them all. Snapshots
// are objects; docs/format/journal.md draws them.
//
//	counter := &counter{}
//	j, err := journal.Open(ctx, journal.Config{Log: store, Registry: store, Bucket: bucket, Shard: id, Name: "counter"}, counter)
//	answer, err := j.Propose(ctx, command)
//	err = j.View(func() { n = counter.n })
package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

const (
	// MaxCommand is the longest command in bytes.
	MaxCommand = 4 << 20
	// MaxRow is the longest row of a snapshot in bytes.
	MaxRow = 16 << 20
	// DefaultSnapshotBytes is Config.SnapshotBytes where it is 0.
	DefaultSnapshotBytes = 16 << 20
	// DefaultRetry is Config.Retry where it is 0.
	DefaultRetry = 10 * time.Second

	// batchBytes is about how much one append carries: room for many commands, and less than a
	// lane's group, so that commands do not have to be cut.
	batchBytes = 1 << 20
	// commandCost is what a command takes in the log beside its bytes, about.
	commandCost = 64
)

var (
	// ErrClosed says that the journal has been closed; the command was not carried out.
	ErrClosed = errors.New("journal: closed")
	// ErrTooLarge says that a command exceeds MaxCommand.
	ErrTooLarge = errors.New("journal: command too large")
	// ErrCorrupt says that a snapshot is damaged, or that it and the log do not fit together; the
	// error around it says which and how.
	ErrCorrupt = errors.New("journal: damaged")
)

// Machine is a pure state machine: its state depends on the commands it was given, in their order,
// and on nothing else. It reads no clock and draws no random numbers (who proposes puts those into
// the command), and iterates over no map where order shows. Machines need no locks: the journal
// calls Apply and Restore alone, and Freeze beside nothing but functions given to View.
type Machine[A any] interface {
	// Apply carries out a command and returns its answer, which may well be a refusal. It must not
	// keep or change command. An error means that the command makes no sense: the journal stops,
	// now and at every recovery that meets the command, so proposers check what they propose.
	Apply(command []byte) (A, error)
	// Freeze returns the state as it is now as a sequence of rows, which is run through once,
	// elsewhere, while further commands are applied. A row is valid until the next.
	Freeze() iter.Seq[[]byte]
	// Restore takes one row of a snapshot, in the order Freeze gave them, before any Apply. It must
	// not keep row. An error means that the row makes no sense.
	Restore(row []byte) error
}

// Config says what a journal stands on. All but the last three fields are required.
type Config struct {
	Log      shardlog.Log
	Registry shardlog.Registry
	Bucket   objectstore.Bucket
	// Shard is the journal's log. Nobody else appends to it or trims it.
	Shard shardlog.ShardID
	// Name is unique in the bucket and holds no slash: snapshots are kept under journal/Name/.
	Name string
	// SnapshotBytes is how many bytes of commands the log gathers, at least, before a snapshot is
	// taken; 0 means DefaultSnapshotBytes. A state larger than that waits for as many bytes as its
	// last snapshot had: so snapshots never write more than the commands did, and recovery reads
	// at most about as much log as state.
	SnapshotBytes int64
	// Retry is how long after a failed snapshot the next is tried; 0 means DefaultRetry.
	Retry time.Duration
	// Events tells the owner what no caller is told.
	Events Events
}

// Events are functions the journal calls from goroutines of its own; each may be nil. They must
// return soon and not call Close.
type Events struct {
	// SnapshotFailed is called when a snapshot could not be stored, or the log not be trimmed after
	// it. Nothing is lost: the log keeps the commands, and grows, until one succeeds.
	SnapshotFailed func(error)
	// Failed is called once, when the log has failed or a command made no sense: nothing more is
	// acknowledged, and the process must exit and recover.
	Failed func(error)
}

// Journal is a machine with its log and its snapshots. It is safe for concurrent use.
//
// # Commands are decided when they are applied
//
// A command goes into the log first, is applied when the log has it, in the log's order, and the
// answer is what the machine says then. So a conditional write that fails is a command in the log
// like any other, and fails again, for the same reason, at every replay.
//
// The other way, to ask the machine first and log only effects, was not taken: the state that
// proposals are judged by would have to run ahead of the log, commands that are being made durable
// included, and be wound back when the log has no room, while readers go on seeing what is durable.
// Two states and an undo are much to get wrong; a log entry for a refusal costs a few bytes. Who
// expects many refusals looks first with View: what the applied state refuses need not be proposed.
//
// # One append at a time
//
// One goroutine takes all proposals that wait, appends them as one batch, applies them and answers;
// while a batch is being made durable the next gathers. The place in the log is the order, and
// since nobody else appends to the shard, it is known before.
type Journal[A any] struct {
	cfg     Config
	machine Machine[A]

	queue struct {
		sync.Mutex
		waiting []*proposal[A]
		// down is why nothing more is taken.
		down error
	}
	wakeup chan struct{}
	// snapshots is held by the snapshot under way, or by whoever wants none.
	snapshots chan struct{}

	mu struct {
		// The machine is read and changed under it too.
		sync.RWMutex
		// next is the index of the next command.
		next record.Index
		// logged is how many bytes of commands the log holds since the last snapshot, frozen the
		// length of that.
		logged, frozen int64
		// snapshotting says that a goroutine is after a snapshot.
		snapshotting bool
		// down is what View answers once the journal has failed or is closed.
		down error
	}

	cancel     context.CancelFunc
	background sync.WaitGroup
}

// proposal is a command on its way.
type proposal[A any] struct {
	command []byte
	answer  A
	err     error
	done    chan struct{}
}

// Open recovers machine, which must be empty, from the newest snapshot and the log after it, and
// makes the log if there is none. The error wraps ErrCorrupt and names the snapshot if that is
// damaged: an older one is not tried, because the log may no longer hold what came between.
func Open[A any](ctx context.Context, cfg Config, machine Machine[A]) (*Journal[A], error) {
	if cfg.Name == "" || strings.Contains(cfg.Name, "/") {
		return nil, fmt.Errorf("open journal: the name %q is empty or holds a slash", cfg.Name)
	}
	if cfg.SnapshotBytes == 0 {
		cfg.SnapshotBytes = DefaultSnapshotBytes
	}
	if cfg.Retry == 0 {
		cfg.Retry = DefaultRetry
	}
	j := &Journal[A]{cfg: cfg, machine: machine, wakeup: make(chan struct{}, 1), snapshots: make(chan struct{}, 1)}
	if err := j.recover(ctx); err != nil {
		return nil, fmt.Errorf("open journal %q: %w", cfg.Name, err)
	}
	lifetime, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	j.background.Go(func() { j.run(lifetime) })
	return j, nil
}

// recover loads the newest snapshot and replays the log from there.
func (j *Journal[A]) recover(ctx context.Context) error {
	err := j.cfg.Registry.Open(ctx, []shardlog.ShardID{j.cfg.Shard}, shardlog.Retention{})
	if err != nil {
		return err
	}
	snapshot, err := j.newest(ctx)
	if err != nil {
		return err
	}
	j.mu.next = 1
	if snapshot.Key != "" {
		if j.mu.next, err = j.load(ctx, snapshot.Key); err != nil {
			return fmt.Errorf("read snapshot %q: %w", snapshot.Key, err)
		}
		j.mu.frozen = snapshot.Size
	}
	bounds, err := j.cfg.Log.Bounds(ctx, j.cfg.Shard)
	switch {
	case err != nil:
		return err
	case bounds.First > j.mu.next:
		return fmt.Errorf("%w: the log begins at command %d, the newest snapshot %q ends before %d", ErrCorrupt, bounds.First, snapshot.Key, j.mu.next)
	case bounds.Next < j.mu.next:
		return fmt.Errorf("%w: the log ends before command %d, the snapshot %q before %d", ErrCorrupt, bounds.Next, snapshot.Key, j.mu.next)
	case bounds.Sealed:
		return fmt.Errorf("%w: the log is sealed", ErrCorrupt)
	}
	for j.mu.next < bounds.Next {
		if err := j.replay(ctx); err != nil {
			return err
		}
	}
	return nil
}

// replay applies one page of the log.
func (j *Journal[A]) replay(ctx context.Context) error {
	page, err := j.cfg.Log.Read(ctx, j.cfg.Shard, j.mu.next, shardlog.Limit{Records: 10_000, Bytes: 4 << 20})
	if err != nil {
		return err
	}
	defer page.Release()
	if len(page.Records) == 0 {
		return fmt.Errorf("%w: command %d is missing", ErrCorrupt, j.mu.next)
	}
	for i := range page.Records {
		r := &page.Records[i]
		if r.Index != j.mu.next {
			return fmt.Errorf("%w: command %d is missing", ErrCorrupt, j.mu.next)
		}
		if _, err := j.machine.Apply(r.Data); err != nil {
			return fmt.Errorf("apply command %d: %w", r.Index, err)
		}
		j.mu.next++
		j.mu.logged += int64(len(r.Data)) + commandCost
	}
	return nil
}

// Propose has the machine carry out a command and returns its answer. When it returns nil the
// command is durable and every View that begins afterwards sees what it did. The journal keeps
// command: nobody may change it any more.
//
// The command was not carried out if the error is shardlog.ErrFull, ErrTooLarge or ErrClosed. If ctx
// ends meanwhile, or with any other error, it may have been or may yet be.
func (j *Journal[A]) Propose(ctx context.Context, command []byte) (A, error) {
	var none A
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if len(command) > MaxCommand {
		return none, ErrTooLarge
	}
	p := &proposal[A]{command: command, done: make(chan struct{})}
	j.queue.Lock()
	if err := j.queue.down; err != nil {
		j.queue.Unlock()
		return none, err
	}
	j.queue.waiting = append(j.queue.waiting, p)
	j.queue.Unlock()
	j.signal()
	select {
	case <-p.done:
		return p.answer, p.err
	case <-ctx.Done():
		j.withdraw(p)
		return none, ctx.Err()
	}
}

// withdraw takes a proposal back if it still waits.
func (j *Journal[A]) withdraw(p *proposal[A]) {
	j.queue.Lock()
	defer j.queue.Unlock()
	if i := slices.Index(j.queue.waiting, p); i >= 0 {
		j.queue.waiting = slices.Delete(j.queue.waiting, i, i+1)
	}
}

// View calls f while no command is applied; f reads the machine, returns soon and does not call the
// journal. Everything f sees is durable. After Close the error is ErrClosed, after a failure that.
func (j *Journal[A]) View(f func()) error {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.mu.down != nil {
		return j.mu.down
	}
	f()
	return nil
}

// Close refuses the proposals that wait, lets the append under way finish, gives up a snapshot under
// way, and stops. It closes neither log nor bucket. It returns the error the journal failed with, if
// it did.
func (j *Journal[A]) Close() error {
	j.shutdown(ErrClosed)
	j.cancel()
	j.background.Wait()
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.mu.down != ErrClosed {
		return j.mu.down
	}
	return nil
}

// shutdown makes the queue refuse everything with the given error, unless it does already.
func (j *Journal[A]) shutdown(why error) {
	j.queue.Lock()
	if j.queue.down == nil {
		j.queue.down = why
	}
	j.queue.Unlock()
	j.signal()
}

func (j *Journal[A]) signal() {
	select {
	case j.wakeup <- struct{}{}:
	default:
	}
}
