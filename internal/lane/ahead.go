package lane

import "context"

// Ahead reads a lane while what it read before is being worked on, so that neither waits for the other
// longer than it must. It holds up to three reads in memory.
type Ahead struct {
	reads  chan read // one for each Read; after the last there is none
	cancel context.CancelFunc
}

type read struct {
	groups []Group
	err    error
}

// ReadAhead begins to read the groups from to end-1, about so many bytes at a time (see Lane.Read). Stop
// must be called.
func ReadAhead(ctx context.Context, l Lane, from, end Position, bytes int) *Ahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &Ahead{reads: make(chan read, 1), cancel: cancel}
	go a.run(ctx, l, from, end, bytes)
	return a
}

// run ends with the first Read that fails or finds nothing.
func (a *Ahead) run(ctx context.Context, l Lane, from, end Position, bytes int) {
	defer close(a.reads)
	for from < end {
		groups, err := l.Read(ctx, from, bytes)
		select {
		case a.reads <- read{groups, err}:
		case <-ctx.Done():
			return
		}
		if err != nil || len(groups) == 0 {
			return
		}
		from = groups[len(groups)-1].Position + 1
	}
}

// Next returns the next groups, none behind the end, and the error of the Read that failed.
func (a *Ahead) Next() ([]Group, error) {
	r := <-a.reads
	return r.groups, r.err
}

// Stop ends the reading and waits for it.
func (a *Ahead) Stop() {
	a.cancel()
	for range a.reads { // until it is closed
	}
}
