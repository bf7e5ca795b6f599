package shardlog_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// A history of calls by many clients is right if some order of them, in which no call comes before
// another that had ended when it began, is what a single log would have answered to one caller at a
// time. Package porcupine looks for such an order, for each shard alone.
//
// A call whose caller never heard of its end has happened or not. It lasts until the next process has
// recovered, and no longer: what that did not find must not come later.

// call is what a client asked a shard.
type call struct {
	kind  callKind
	shard int
	ids   []uint32     // of the records appended
	from  record.Index // read from there, or trim to there
	limit int
	// exact says that nobody else was calling.
	exact bool
}

type callKind uint8

const (
	callAppend callKind = iota
	callRead
	callTrim
	callSeal
)

// answer is what the client heard.
type answer struct {
	unknown bool
	err     error        // ErrSealed or ErrFull
	first   record.Index // of the records appended, or read
	ids     []uint32     // of the records read
	next    record.Index // Page.Next
	bounds  shardlog.Bounds
}

// logState is a shard as one caller would have it. It is never changed.
type logState struct {
	ids    []uint32 // ids[i] is the record at index i+1
	sum    uint64   // of ids, so that they need not be compared
	first  record.Index
	sealed bool
}

func (s *logState) next() record.Index { return record.Index(len(s.ids) + 1) }

func (s *logState) appended(ids []uint32) *logState {
	n := *s
	n.ids = append(s.ids[:len(s.ids):len(s.ids)], ids...)
	for _, id := range ids {
		n.sum = (n.sum ^ uint64(id)) * 0x9e3779b97f4a7c15
		n.sum ^= n.sum >> 29
	}
	return &n
}

// logModel is the rule of a shard's log.
func logModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{&logState{first: 1}} },
		Step: func(state, input, output any) []any {
			return step(state.(*logState), input.(*call), output.(*answer))
		},
		Equal: func(a, b any) bool {
			s, t := a.(*logState), b.(*logState)
			return len(s.ids) == len(t.ids) && s.sum == t.sum && s.first == t.first && s.sealed == t.sealed
		},
		Hash: func(state any) uint64 { s := state.(*logState); return s.sum ^ uint64(s.first)<<40 },
	}
	return m.ToModel()
}

// step returns the states that the log may be in after a call with that answer, none if it cannot have
// given it.
func step(s *logState, c *call, a *answer) []any {
	switch {
	case a.unknown:
		if after := s.after(c); after != s {
			return []any{s, after}
		}
		return []any{s}
	case a.err == shardlog.ErrFull:
		return []any{s}
	case a.err == shardlog.ErrSealed:
		if !s.sealed {
			return nil
		}
		return []any{s}
	}
	right := false
	switch c.kind {
	case callAppend:
		right = !s.sealed && a.first == s.next()
	case callRead:
		right = s.shows(c, a)
	case callTrim:
		right = true
	case callSeal:
		right = a.bounds.Sealed && a.bounds.Next == s.next()
	}
	if !right {
		return nil
	}
	return []any{s.after(c)}
}

// after returns the state after a call that has happened.
func (s *logState) after(c *call) *logState {
	n := *s
	switch {
	case c.kind == callAppend && !s.sealed:
		return s.appended(c.ids)
	case c.kind == callTrim && min(c.from, s.next()) > s.first:
		n.first = min(c.from, s.next())
	case c.kind == callSeal && !s.sealed:
		n.sealed = true
	default:
		return s
	}
	return &n
}

// shows says whether a page is what a reader of the state gets. Records that were trimmed while it read
// may be on it, and it may end where they ended.
func (s *logState) shows(c *call, a *answer) bool {
	if a.bounds.Next != s.next() || a.bounds.First != s.first || a.bounds.Sealed != s.sealed {
		return false
	}
	n := record.Index(len(a.ids))
	if n < record.Index(c.limit) && a.next < s.next() && (a.next != s.first || c.exact) {
		return false // it ends too early
	}
	if n == 0 {
		return true
	}
	from := max(c.from, s.first)
	if a.first > from || a.first < c.from || a.first < 1 || c.exact && a.first != from {
		return false
	}
	end := a.first + n
	if a.next != end && (a.next != s.first || c.exact) || end > s.next() {
		return false
	}
	return slices.Equal(a.ids, s.ids[a.first-1:end-1])
}

func byShard(history []porcupine.Operation) [][]porcupine.Operation {
	shards := map[int][]porcupine.Operation{}
	for _, o := range history {
		n := o.Input.(*call).shard
		shards[n] = append(shards[n], o)
	}
	var out [][]porcupine.Operation
	for _, ops := range shards {
		out = append(out, ops)
	}
	return out
}

// judgeLimit is how long the search for an order may take: histories here take milliseconds, but for one in
// thousands that leaves many calls of unknown outcome at once.
const judgeLimit = 30 * time.Second

// errUndecided says that the search has found neither an order nor that there is none.
var errUndecided = errors.New("the search for an order took too long")

// linear returns an error that shows the shard for which no order explains a history, or errUndecided.
func linear(history []porcupine.Operation) error {
	model := logModel()
	var undecided error
	for _, ops := range byShard(history) {
		result := porcupine.CheckOperationsTimeout(model, ops, judgeLimit)
		switch result {
		case porcupine.Ok:
			continue
		case porcupine.Unknown:
			undecided = errUndecided
			continue
		}
		n := ops[0].Input.(*call).shard
		return fmt.Errorf("shard %d: no order explains these calls (%s):\n%s", n, result, describeAll(shortest(model, ops)))
	}
	return undecided
}

// shortest cuts a history that is wrong after the first answer that makes it so.
func shortest(model porcupine.Model, ops []porcupine.Operation) []porcupine.Operation {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	n, _ := slices.BinarySearchFunc(ops, true, func(o porcupine.Operation, _ bool) int {
		var before []porcupine.Operation
		for _, p := range ops {
			if p.Call > o.Return {
				continue
			}
			if p.Return > o.Return { // still under way then
				p.Output = &answer{unknown: true}
				if p.Input.(*call).kind == callRead {
					continue
				}
			}
			before = append(before, p)
		}
		if porcupine.CheckOperationsTimeout(model, before, judgeLimit) == porcupine.Ok {
			return -1
		}
		return 0
	})
	return ops[:min(n+1, len(ops))]
}

// describeAll shows the last of some calls.
func describeAll(ops []porcupine.Operation) string {
	const most = 30
	var b strings.Builder
	if n := len(ops) - most; n > 0 {
		fmt.Fprintf(&b, "  (%d before)\n", n)
		ops = ops[n:]
	}
	for _, o := range ops {
		fmt.Fprintf(&b, "  %6d to %6d, client %d: %s\n", o.Call, o.Return, o.ClientId, describe(o.Input.(*call), o.Output.(*answer)))
	}
	return b.String()
}

func describe(c *call, a *answer) string {
	var ask string
	switch c.kind {
	case callAppend:
		ask = fmt.Sprintf("append %v", c.ids)
	case callRead:
		ask = fmt.Sprintf("read %d from %d", c.limit, c.from)
	case callTrim:
		ask = fmt.Sprintf("trim to %d", c.from)
	case callSeal:
		ask = "seal"
	}
	switch {
	case a.unknown:
		return ask + ": nobody knows"
	case a.err != nil:
		return ask + ": " + a.err.Error()
	case c.kind == callAppend:
		return fmt.Sprintf("%s at %d", ask, a.first)
	case c.kind == callRead:
		return fmt.Sprintf("%s: %v from %d, next %d of %+v", ask, a.ids, a.first, a.next, a.bounds)
	case c.kind == callSeal:
		return fmt.Sprintf("%s: %+v", ask, a.bounds)
	}
	return ask
}

// TestJudge shows the judge histories that are right and histories that are wrong.
func TestJudge(t *testing.T) {
	f := func(name string, want bool, ops ...porcupine.Operation) {
		t.Helper()
		if err := linear(ops); (err == nil) != want {
			t.Errorf("%s: linear() = %v; want right: %v", name, err, want)
		}
	}
	op := func(began, ended int64, c call, a answer) porcupine.Operation {
		return porcupine.Operation{Input: &c, Call: began, Output: &a, Return: ended}
	}
	put := func(began, ended int64, first record.Index, ids ...uint32) porcupine.Operation {
		return op(began, ended, call{kind: callAppend, ids: ids}, answer{first: first})
	}
	doubt := func(began, ended int64, ids ...uint32) porcupine.Operation {
		return op(began, ended, call{kind: callAppend, ids: ids}, answer{unknown: true})
	}
	page := func(began, ended int64, first record.Index, sealed bool, ids ...uint32) porcupine.Operation {
		next := first + record.Index(len(ids))
		return op(began, ended, call{kind: callRead, from: 1, limit: 100},
			answer{first: first, ids: ids, next: next, bounds: shardlog.Bounds{First: first, Next: next, Sealed: sealed}})
	}
	seal := func(began, ended int64, next record.Index) porcupine.Operation {
		return op(began, ended, call{kind: callSeal}, answer{bounds: shardlog.Bounds{First: 1, Next: next, Sealed: true}})
	}
	trim := func(began, ended int64, to record.Index) porcupine.Operation {
		return op(began, ended, call{kind: callTrim, from: to}, answer{})
	}
	f("one after the other", true, put(1, 2, 1, 1), put(3, 4, 2, 2, 3), page(5, 6, 1, false, 1, 2, 3))
	f("at the same time", true, put(1, 9, 3, 3), put(2, 8, 1, 1, 2), page(3, 7, 1, false, 1, 2), page(10, 11, 1, false, 1, 2, 3))
	f("an index twice", false, put(1, 9, 1, 1), put(2, 8, 1, 2))
	f("an acknowledged record lost", false, put(1, 2, 1, 1), page(3, 4, 1, false))
	f("a reader who looks back", false, put(1, 9, 1, 1), page(2, 3, 1, false, 1), page(4, 5, 1, false))
	f("records in another order", false, put(1, 2, 1, 1), put(3, 4, 2, 2), page(5, 6, 1, false, 2, 1))
	f("in doubt and there", true, doubt(1, 5, 1), page(6, 7, 1, false, 1))
	f("in doubt and gone", true, doubt(1, 5, 1), page(6, 7, 1, false), put(8, 9, 1, 2))
	f("in doubt and there after it was not", false, doubt(1, 5, 1), page(6, 7, 1, false), page(8, 9, 1, false, 1))
	f("in doubt and there in part", false, doubt(1, 5, 1, 2), page(6, 7, 1, false, 1))
	f("in doubt, seen, and gone", false, doubt(1, 5, 1), page(2, 3, 1, false, 1), page(6, 7, 1, false))
	f("sealed", true, put(1, 2, 1, 1), seal(3, 4, 2), page(5, 6, 1, true, 1))
	f("appended to after the seal", false, seal(1, 2, 1), put(3, 4, 1, 1))
	f("refused before the seal", false, op(1, 2, call{kind: callAppend, ids: []uint32{1}}, answer{err: shardlog.ErrSealed}), seal(3, 4, 1))
	f("trimmed", true, put(1, 2, 1, 1, 2, 3), trim(3, 4, 3), page(5, 6, 3, false, 3))
	f("trimmed too far", false, put(1, 2, 1, 1, 2, 3), trim(3, 4, 2), page(5, 6, 3, false, 3))
	f("trimmed and there again", false, put(1, 2, 1, 1, 2, 3), trim(3, 4, 3), page(5, 6, 1, false, 1, 2, 3))
	f("no room and there", false, op(1, 2, call{kind: callAppend, ids: []uint32{1}}, answer{err: shardlog.ErrFull}), page(3, 4, 1, false, 1))
}
