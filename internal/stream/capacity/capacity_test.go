package capacity

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/headrace/headrace/internal/record"
)

// sim is a stream that its plans are carried out for at once.
type sim struct {
	t      *testing.T
	now    record.Millis
	shards []float64 // widths
	h      History
	rules  Rules
	// counts are how many shards there were each minute.
	counts         []int
	splits, merges int
}

const start = 20_000 * day

func newSim(t *testing.T) *sim {
	return &sim{t: t, now: start, shards: []float64{.25, .25, .25, .25}, h: History{Changed: start}, rules: Rules{Most: 200}}
}

// minute lives through a minute in which load is offered, spread evenly over the hash keys if spread is nil;
// a shard takes no more than it can if throttled. It returns what was taken.
func (s *sim) minute(load float64, throttled bool, spread func(begin, width float64) float64) float64 {
	s.t.Helper()
	s.now += minute
	shards := make([]Shard, len(s.shards))
	total, begin := 0.0, 0.0
	for i, w := range s.shards {
		part := w
		if spread != nil {
			part = spread(begin, w)
		}
		got := load * part
		if throttled {
			got = min(got, 1)
		}
		shards[i] = Shard{Bytes: got * NominalBytes, Width: w}
		total, begin = total+got, begin+w
	}
	s.h.Note(s.now, total)
	s.carryOut(Make(s.now, shards, &s.h, s.rules))
	return total
}

func (s *sim) carryOut(p Plan) {
	s.t.Helper()
	if len(p.Split) > 0 && len(p.Merge) > 0 {
		s.t.Fatalf("a plan that splits and merges: %+v", p)
	}
	before := len(s.shards)
	if !p.Empty() {
		s.h.Did(s.now, before, p)
	}
	var next []float64
	for i := 0; i < len(s.shards); i++ {
		switch w := s.shards[i]; {
		case slices.Contains(p.Split, i):
			next, s.splits = append(next, w/2, w/2), s.splits+1
		case slices.Contains(p.Merge, i):
			next, s.merges = append(next, w+s.shards[i+1]), s.merges+1
			i++
		default:
			next = append(next, w)
		}
	}
	if want := before + len(p.Split) - len(p.Merge); len(next) != want {
		s.t.Fatalf("%+v of %d shards leaves %d; want %d", p, before, len(next), want)
	}
	s.shards = next
	s.counts = append(s.counts, len(next))
	if len(next) > max(s.rules.Most, s.rules.Warm) || len(next) < 1 {
		s.t.Fatalf("%d shards", len(next))
	}
	if from := max(0, len(s.counts)-15); len(next) > 2*slices.Min(s.counts[from:]) {
		s.t.Fatalf("%d shards, where there were %d within 15 minutes", len(next), slices.Min(s.counts[from:]))
	}
}

func (s *sim) minutes(n int, load float64) {
	s.t.Helper()
	for range n {
		s.minute(load, false, nil)
	}
}

func (s *sim) want(what string, shards int) {
	s.t.Helper()
	if len(s.shards) != shards {
		s.t.Errorf("%s: %d shards; want %d", what, len(s.shards), shards)
	}
}

// TestRamp raises the load by a tenth every 5 minutes, which is less than twice in 15: there are always
// shards for twice the highest load, and nothing is refused.
func TestRamp(t *testing.T) {
	s := newSim(t)
	for load := 0.5; load < 80; load *= 1.1 {
		for range 5 {
			if got := s.minute(load, true, nil); got < load*0.999 {
				t.Fatalf("%d shards took %.2f of %.2f", len(s.shards), got, load)
			}
			if have := float64(len(s.shards)); have < 2*load {
				t.Fatalf("%d shards for a peak of %.2f", len(s.shards), load)
			}
		}
	}
	s.minutes(60, 80)
	s.want("after the ramp", 160)
}

// TestSpike multiplies the load at once: what is more than twice the highest load is refused for a while, and
// the stream doubles every 15 minutes until it has enough.
func TestSpike(t *testing.T) {
	s := newSim(t)
	s.minutes(60, 1.9)
	s.want("at first", 4)
	var full int
	for minute := 1; full == 0 && minute < 120; minute++ {
		if s.minute(30, true, nil) >= 30 {
			full = minute
		}
	}
	// 4 shards become 8 after a minute, 16 after 16 and 32 after 31.
	if full != 32 {
		t.Errorf("all was taken from minute %d on; want 32", full)
	}
	s.minutes(60, 30)
	s.want("an hour later", 64) // each of the 32 was near its capacity, so that all were split
	s.minutes(30, 300)
	s.minutes(120, 300)
	s.want("at the cap", 200)
}

// TestIdle goes idle: the shards stay while the peak is remembered, and are merged when it is not, by half a
// day at most, down to four.
func TestIdle(t *testing.T) {
	s := newSim(t)
	s.minutes(90, 10)
	s.want("after a peak of 10", 20)
	s.minutes(29*24*60, 0.5)
	s.want("29 days later", 20)
	if s.merges != 0 {
		t.Errorf("%d merges while the peak was remembered", s.merges)
	}
	s.minutes(24*60, 0.5)
	s.want("after 30 days", 10)
	s.minutes(24*60, 0.5)
	s.want("a day later", 5)
	s.minutes(24*60, 0.5)
	s.want("two days later", 4)
	splits := s.splits
	s.minutes(5*24*60, 0.5)
	s.want("at rest", 4)
	if s.splits != splits {
		t.Errorf("%d splits of an idle stream", s.splits-splits)
	}
}

// TestDays has a high load each noon: the stream keeps its shards and neither splits nor merges.
func TestDays(t *testing.T) {
	s := newSim(t)
	day := func() {
		s.minutes(12*60, 0.2)
		s.minutes(60, 6)
		s.minutes(11*60, 0.2)
	}
	day()
	splits := s.splits
	for range 40 {
		day()
	}
	s.want("after 40 days", 12)
	if s.splits != splits || s.merges != 0 {
		t.Errorf("%d splits and %d merges of a stream that is the same every day", s.splits-splits, s.merges)
	}
}

// TestSkew sends all keys to an eighth of the range: that is split until its shards are not near capacity,
// though the stream has shards enough.
func TestSkew(t *testing.T) {
	s := newSim(t)
	eighth := func(begin, width float64) float64 {
		end := min(begin+width, 0.125)
		return max(0, end-begin) / 0.125
	}
	for range 90 {
		s.minute(1.9, true, eighth)
	}
	if got := s.minute(1.9, true, eighth); got < 1.899 {
		t.Errorf("%.2f of 1.9 were taken", got)
	}
	if len(s.shards) > 8 {
		t.Errorf("%d shards; want at most twice the 4 that the load needs", len(s.shards))
	}
}

// TestOneKey does not split a shard in vain of which one key has most.
func TestOneKey(t *testing.T) {
	shards := []Shard{{Bytes: NominalBytes, Width: .25, TopKey: .9}, {Width: .25}, {Width: .25}, {Width: .25}}
	h := History{Changed: start}
	h.Note(start, 1)
	if p := Make(start+minute, shards, &h, Rules{Most: 200}); !p.Empty() {
		t.Errorf("planned %+v", p)
	}
	shards[0].TopKey = .1
	if p := Make(start+minute, shards, &h, Rules{Most: 200}); fmt.Sprint(p) != "{[0] []}" {
		t.Errorf("planned %+v; want the split of the first", p)
	}
	shards[0].Width = narrow / 2
	if p := Make(start+minute, shards, &h, Rules{Most: 200}); !p.Empty() {
		t.Errorf("planned %+v for a shard of next to no keys", p)
	}
}

// TestRules bounds streams by the cap, and keeps them warm.
func TestRules(t *testing.T) {
	f := func(peak float64, r Rules, want int) {
		t.Helper()
		h := History{}
		h.Note(start, peak)
		if got := h.Target(r); got != want {
			t.Errorf("a peak of %v with %+v: %d shards; want %d", peak, r, got, want)
		}
	}
	f(0, Rules{Most: 200}, 4)
	f(2, Rules{Most: 200}, 4)
	f(2.01, Rules{Most: 200}, 5)
	f(99, Rules{Most: 200}, 198)
	f(101, Rules{Most: 200}, 200)
	f(math.MaxFloat64, Rules{Most: 200}, 200)
	f(1, Rules{Most: 200, Warm: 50}, 50)
	f(1, Rules{Most: 200, Warm: 500}, 500)
	f(1, Rules{Most: 2}, 2)
	h := History{}
	h.Note(start, 4)
	if p := Make(start, make([]Shard, 4), &h, Rules{Most: 200}); !p.Empty() {
		t.Errorf("shards of no keys at all are split: %+v", p)
	}
	wide := []Shard{{Width: .25}, {Width: .25}, {Width: .25}, {Width: .25}}
	if p := Make(start, wide, &h, Rules{Most: 200, AtOnce: 3}); len(p.Split) != 3 {
		t.Errorf("%d splits; want 3 at once", len(p.Split))
	}
}

// TestHistory keeps what it must, whatever the clock does.
func TestHistory(t *testing.T) {
	h := History{}
	if !h.Note(start, 1.001) || h.Note(start, 1.02) || !h.Note(start, 1.06) {
		t.Error("a peak is noted when it is a twentieth of a shard higher")
	}
	if h.Note(start+day, 0) || !h.Note(start+day, 0.1) || h.Peak() != 1.1 {
		t.Errorf("the second day: peak %v", h.Peak())
	}
	h.Note(start-day, 3)
	if h.Peak() != 3 || !slices.IsSortedFunc(h.Peaks, func(a, b Peak) int { return int(a.Day - b.Day) }) {
		t.Errorf("after the clock went back: %+v", h.Peaks)
	}
	if !h.Note(start+31*day-1, 0) || h.Peak() != 0.1 || len(h.Peaks) != 1 {
		t.Errorf("after 31 days: %+v", h.Peaks)
	}
	for i := range 100 {
		h.Did(start+record.Millis(i)*minute, 4+i, Plan{Split: []int{0}})
	}
	if len(h.Grown) > 15 {
		t.Errorf("%d growths are remembered", len(h.Grown))
	}
	o := History{Changed: start + 5*day}
	o.Note(start, 9)
	h = History{Changed: start}
	h.Note(start, 8)
	if h.Merge(o); h.Peak() != 9 || h.Changed != o.Changed {
		t.Errorf("merged: %+v", h)
	}
}
