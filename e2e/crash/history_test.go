package crash

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// The ledger knows what must be there; a history knows when it had to be seen. Every put and every
// page that was read is kept with the time it took, and package porcupine looks for an order of them
// that one caller at a time could have made, for each shard alone: a put's numbers are above all before
// it, a page shows nothing that was not put, and an empty one follows nothing that was.
//
// A put without an answer has happened before the next start was over, if its records are found then,
// and else never.

// visit is a put of records to one shard, or a page of one.
type visit struct {
	shard string
	put   bool
	// first and last are the numbers of the records put, or read; last is empty for an empty page.
	first, last string
	// after is the number behind which the page was read.
	after string
}

func (v *visit) String() string {
	switch {
	case v.put:
		return fmt.Sprintf("put %s to %s", v.first, v.last)
	case v.last == "":
		return fmt.Sprintf("nothing after %s", v.after)
	}
	return fmt.Sprintf("read to %s after %s", v.last, v.after)
}

// doubt is a put whose outcome is settled by the next start.
type doubt struct {
	keys  []string
	began time.Time
}

// shardModel is a shard as the highest number in it.
func shardModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, _ any) (bool, any) {
			top, v := state.(string), input.(*visit)
			switch {
			case v.put:
				return v.first > top, v.last
			case v.last == "":
				return top <= v.after, top
			}
			return v.last <= top, top
		},
	}
}

// visited notes a put or a page.
func (l *ledger) visited(v visit, began, ended time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visitedLocked(v, began, ended)
}

func (l *ledger) visitedLocked(v visit, began, ended time.Time) {
	l.visits = append(l.visits, porcupine.Operation{Input: &v, Call: began.Sub(l.began).Nanoseconds(), Return: ended.Sub(l.began).Nanoseconds()})
}

// putsOf makes one visit a shard of records that were put in one call.
func putsOf(keys []string, where func(key string) (shard, number string)) map[string]*visit {
	visits := map[string]*visit{}
	for _, key := range keys {
		shard, number := where(key)
		switch v := visits[shard]; {
		case number == "":
		case v == nil:
			visits[shard] = &visit{shard: shard, put: true, first: number, last: number}
		default:
			v.first, v.last = min(v.first, number), max(v.last, number)
		}
	}
	return visits
}

// heard notes the answer of a put that began at a time.
func (l *ledger) heard(keys []string, puts []put, began time.Time) {
	ended := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	numbers := map[string]put{}
	for i, p := range puts {
		switch p.ErrorCode {
		case "":
			numbers[keys[i]] = p
		case "InternalFailure":
			l.doubts = append(l.doubts, doubt{[]string{keys[i]}, began})
		}
	}
	for _, v := range putsOf(keys, func(key string) (string, string) { return numbers[key].ShardID, numbers[key].SequenceNumber }) {
		l.visitedLocked(*v, began, ended)
	}
}

// unheard notes a put that had no answer.
func (l *ledger) unheard(keys []string, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubts = append(l.doubts, doubt{keys, began})
}

// resolve settles what was in doubt, after everything was read.
func (l *ledger) resolve() {
	ended := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.doubts {
		found := func(key string) (string, string) {
			if f := l.records[key]; f.state == acknowledged {
				return f.shard, f.number
			}
			return "", ""
		}
		for _, v := range putsOf(d.keys, found) {
			l.visitedLocked(*v, d.began, ended)
		}
	}
	l.doubts = nil
}

// judgeLimit is how long the search for an order may take. It takes less than a second.
const judgeLimit = time.Minute

// linear notes the shards whose puts and pages no order explains, and returns how many there were.
func (l *ledger) linear() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	shards := map[string][]porcupine.Operation{}
	for _, o := range l.visits {
		shard := o.Input.(*visit).shard
		shards[shard] = append(shards[shard], o)
	}
	for shard, ops := range shards {
		result := porcupine.CheckOperationsTimeout(shardModel(), ops, judgeLimit)
		if result != porcupine.Ok {
			l.wrongLocked("no order explains the %d puts and pages of %s (%s), the last of which is %v", len(ops), shard, result, ops[len(ops)-1].Input)
		}
	}
	return len(l.visits)
}
