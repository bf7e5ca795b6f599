package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// run carries out proposals until the journal is closed or fails.
func (j *Journal[A]) run(ctx context.Context) {
	j.snapshotIfDue(ctx)
	for {
		batch, down := j.take()
		if down != nil {
			j.stop(down)
			return
		}
		if len(batch) == 0 {
			<-j.wakeup
			continue
		}
		if err := j.commit(batch); err != nil {
			j.shutdown(err)
			continue
		}
		j.snapshotIfDue(ctx)
	}
}

// take returns the proposals of the next append, or why there is none to come.
func (j *Journal[A]) take() ([]*proposal[A], error) {
	q := &j.queue
	q.Lock()
	defer q.Unlock()
	if q.down != nil {
		return nil, q.down
	}
	n, bytes := 0, 0
	for n < len(q.waiting) && (n == 0 || bytes+len(q.waiting[n].command) <= batchBytes) {
		bytes += len(q.waiting[n].command)
		n++
	}
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	if len(q.waiting) == 0 {
		q.waiting = nil // what was taken is not pinned by what comes
	}
	return batch, nil
}

// commit appends the commands and applies them. An error is the end of the journal; that there is
// no room is only the batch's.
func (j *Journal[A]) commit(batch []*proposal[A]) error {
	err := j.append(batch)
	if err == nil {
		err = j.apply(batch)
	}
	for _, p := range batch {
		if err != nil {
			p.err = err
		}
		close(p.done)
	}
	if errors.Is(err, shardlog.ErrFull) {
		return nil
	}
	return err
}

// append makes the commands durable at the log's end. It is not given up when a proposer does: the
// outcome must be known before anything else can be appended.
func (j *Journal[A]) append(batch []*proposal[A]) error {
	entries := make([]record.Entry, len(batch))
	for i, p := range batch {
		entries[i].Data = p.command
	}
	results, err := j.cfg.Log.Append(context.Background(), []shardlog.Batch{{Shard: j.cfg.Shard, Entries: entries}})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return fmt.Errorf("append to journal %q: %w", j.cfg.Name, err)
	}
	if first := results[0].First; first != j.mu.next { // only this goroutine changes it
		return fmt.Errorf("append to journal %q: %w: the command became number %d, not %d: somebody else appends", j.cfg.Name, ErrCorrupt, first, j.mu.next)
	}
	return nil
}

// apply gives the durable commands to the machine.
func (j *Journal[A]) apply(batch []*proposal[A]) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range batch {
		answer, err := j.machine.Apply(p.command)
		if err != nil {
			return fmt.Errorf("apply command %d of journal %q: %w", j.mu.next, j.cfg.Name, err)
		}
		p.answer = answer
		j.mu.next++
		j.mu.logged += int64(len(p.command)) + commandCost
	}
	return nil
}

// stop makes everything answer with the given error, those who wait included, and gives up the
// snapshot under way.
func (j *Journal[A]) stop(why error) {
	j.cancel()
	j.queue.Lock()
	left := j.queue.waiting
	j.queue.waiting = nil
	j.queue.Unlock()
	j.mu.Lock()
	j.mu.down = why
	j.mu.Unlock()
	for _, p := range left {
		p.err = why
		close(p.done)
	}
	if f := j.cfg.Events.Failed; f != nil && why != ErrClosed {
		f(why)
	}
}
