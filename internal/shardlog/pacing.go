package shardlog

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/block"
	"github.com/headrace/headrace/internal/shardlog/pace"
)

// flow is what the committer tells a flush that runs: what has come since the store was opened, and
// whether somebody waits for the flush.
type flow struct {
	memory, lane, groups atomic.Int64
	hurry                atomic.Bool
}

// add counts a group.
func (f *flow) add(memory, lane int64) {
	f.memory.Add(memory)
	f.lane.Add(lane)
	f.groups.Add(1)
}

// pacing spreads a flush over the time until the next one is due. It stands between the tails and the
// block file that is made of them, so that whatever a byte costs on its way, its compression among it,
// is spread as well.
type pacing struct {
	store *Store
	// plan is the flush, at its freeze, when flow stood at memory, lane and groups.
	plan                 pace.Plan
	memory, lane, groups int64
	begun                record.Millis

	pacer *pace.Pacer
	// credit is how many bytes may be taken before the pacer is asked again.
	credit int64
	timer  *time.Timer
}

// newPacing returns the pacing of the flush of what is frozen.
func (t *tier) newPacing() *pacing {
	cfg, f := &t.store.cfg, &t.store.flow
	p := &pacing{store: t.store, memory: f.memory.Load(), lane: f.lane.Load(), groups: f.groups.Load(), begun: t.store.time()}
	// While a flush runs nothing of what it stores goes: what comes must find room beside it. And one that
	// has much more to store than makes a flush due is late, and has less time.
	p.plan = pace.Plan{Piece: cfg.piece, Age: cfg.FlushAge, Memory: min(cfg.FlushBytes, 2*cfg.FlushBytes-t.frozen.bytes, cfg.Memory/8*7-t.frozen.bytes)}
	if cfg.LaneBytes > 0 {
		p.plan.Lane = min(cfg.LaneBytes/2, cfg.LaneBytes/8*7-t.frozen.lane)
		if p.plan.Lane <= 0 {
			p.plan.Lane = -1
		}
	}
	return p
}

// begin begins to pace the flush of these files.
func (p *pacing) begin(files [][]frozen) {
	if p == nil {
		return
	}
	for _, shards := range files {
		for i := range shards {
			p.plan.Bytes += shards[i].bytes
		}
	}
	p.pacer = pace.New(p.plan)
}

// source returns a source that yields what next does, when it is time for that.
func (p *pacing) source(ctx context.Context, next block.Source) block.Source {
	if p == nil {
		return next
	}
	return func() (block.Shard, block.Run, error) {
		if p.credit <= 0 {
			if err := p.wait(ctx); err != nil {
				return block.Shard{}, block.Run{}, err
			}
		}
		sh, run, err := next()
		p.credit -= int64(len(run.Records))
		return sh, run, err
	}
}

// wait waits until a piece may be written, or ctx is done.
func (p *pacing) wait(ctx context.Context) error {
	for {
		d := p.pacer.Next(p.seen())
		if d == 0 {
			p.credit += p.pacer.Piece()
			return nil
		}
		if p.timer == nil {
			p.timer = time.NewTimer(d)
		} else {
			p.timer.Reset(d)
		}
		select {
		case <-p.timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pacedBody is a block file on its way into a bucket that says how it should be written there.
type pacedBody struct {
	*block.Body
	*pacing
}

// Piece implements objectstore.Paced.
func (b pacedBody) Piece() int {
	if b.pacer.Free() {
		return 0
	}
	return int(b.pacer.Piece())
}

// body returns the body to be stored.
func (p *pacing) body(b *block.Body) io.Reader {
	if p == nil {
		return b
	}
	return pacedBody{b, p}
}

var (
	_ objectstore.Paced = pacedBody{}
	_ objectstore.Paced = mergeBody{}
)

// mergeBody returns the body of a merge's file. A merge may take its time, but need not: it is written in
// small pieces, between which groups find the disk free, and is not made to wait.
func (t *tier) mergeBody(b *block.Body) io.Reader { return mergeBody{b, t.store} }

type mergeBody struct {
	*block.Body
	store *Store
}

// Piece implements objectstore.Paced.
func (b mergeBody) Piece() int {
	if b.store.flow.hurry.Load() {
		return 0
	}
	return pace.Piece
}

// seen returns what has come since the freeze.
func (p *pacing) seen() pace.Seen {
	f := &p.store.flow
	age := time.Duration(p.store.time()-p.begun) * time.Millisecond
	return pace.Seen{Memory: f.memory.Load() - p.memory, Lane: f.lane.Load() - p.lane, Groups: f.groups.Load() - p.groups,
		Age: age, Hurry: f.hurry.Load()}
}
