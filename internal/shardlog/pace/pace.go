// Package pace says when the next piece of a flush may be written, so that a flush takes about as long
// as what it makes room for takes to fill up again, and those who wait for the log find the disk free
// most of the time. It takes values and time and returns values: it waits for nothing and writes
// nothing itself.
//
//	p := pace.New(plan)
//	for wait := p.Next(seen()); wait > 0; wait = p.Next(seen()) { … }
//	// write a piece
//
// # Why by what has come
//
// A rate limit in bytes a second has to be guessed: too low, and the next flush is due before this one
// has ended; too high, and nothing is gained. What makes the next flush due is known: bytes in memory,
// bytes in the log, or time. So a flush follows these as a shadow: when a share of what makes the next
// one due has come, the same share of this one, and a third on top, should be written. There is nothing
// to tune, and a flush that cannot keep up, because the disk does not give more, never waits: it is as
// fast as one that is not paced.
package pace

import "time"

const (
	// Piece is how many bytes are written at a time where a Plan leaves it open. What waits behind one
	// waits for about a millisecond.
	Piece = 256 << 10
	// target is the share of what makes the next flush due at which this one should have ended.
	target = 0.75
	// late is the share of a flush by which it may lag, lateBy how many pieces at least, before it is
	// written in larger ones: a disk that takes its time for each write, because others write as well,
	// gives more a second to these.
	late, lateBy = 1. / 32, 4
	// look is how long to wait before asking again, rest how long nothing must have come for a
	// flush to stop waiting for anybody.
	look = 2 * time.Millisecond
	rest = 50 * time.Millisecond
)

// Plan is a flush that is about to begin.
type Plan struct {
	// Bytes is how much it writes.
	Bytes int64
	// Memory and Lane are how many bytes may come in memory and in the log until the next one is due, or
	// room becomes short; Lane is 0 if the log has no end. Age is how long that takes if nothing fills up.
	Memory, Lane int64
	Age          time.Duration
	// Piece is how many bytes are written at a time; 0 means Piece.
	Piece int64
}

// Seen is what has come since the flush began.
type Seen struct {
	// Memory and Lane are the Plan's bytes, Groups how often the log was written.
	Memory, Lane, Groups int64
	// Age is the time since. It may fall: clocks are corrected.
	Age time.Duration
	// Hurry says that somebody waits for the flush: nothing else counts then.
	Hurry bool
}

// Pacer paces one flush. It is for one goroutine.
type Pacer struct {
	plan    Plan
	written int64
	// groups is how many there were when the last one came, waited how long was waited since.
	groups int64
	waited time.Duration
	free   bool // see Free
}

// New returns the pacer of a flush.
func New(p Plan) *Pacer {
	if p.Piece == 0 {
		p.Piece = Piece
	}
	return &Pacer{plan: p}
}

// Next returns 0 if the next piece may be written now, which then counts as written, and else how long to
// wait before asking again.
func (p *Pacer) Next(s Seen) time.Duration {
	if s.Groups != p.groups {
		p.groups, p.waited = s.Groups, 0
	}
	share := p.due(s)
	behind := share*float64(p.plan.Bytes) - float64(p.written)
	p.free = s.Hurry || p.waited >= rest || share >= 1 || behind > max(late*float64(p.plan.Bytes), lateBy*float64(p.plan.Piece))
	if p.free || p.written == 0 || behind >= float64(p.plan.Piece) {
		p.written += p.plan.Piece
		return 0
	}
	p.waited += look
	return look
}

// Piece is how many bytes Next lets be taken.
func (p *Pacer) Piece() int64 { return p.plan.Piece }

// Free says that nobody is to be spared now: what may be written is best written as fast as the disk
// takes it.
func (p *Pacer) Free() bool { return p.free }

// due returns which share of the flush should be written, 1 or more for all of it.
func (p *Pacer) due(s Seen) float64 {
	share := float64(s.Age) / float64(max(p.plan.Age, 1))
	share = max(share, filled(s.Memory, p.plan.Memory))
	if p.plan.Lane != 0 {
		share = max(share, filled(s.Lane, p.plan.Lane))
	}
	return share / target
}

// filled returns which share of the room has been filled: all of it if there is none.
func filled(n, room int64) float64 {
	if room <= 0 {
		return 1
	}
	return float64(n) / float64(room)
}
