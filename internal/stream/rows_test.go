package stream

import (
	"testing"

	"github.com/headrace/headrace/internal/coordinator"
)

// TestDeletedStaysDeleted takes in rows and the reports of their end in every order that two goroutines
// can bring about. A stream that is gone must not come back, not even for a moment.
func TestDeletedStaysDeleted(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	w.watch(true)
	key := ""
	// live creates and deletes the stream and returns its last row and the versions of that and of its
	// deletion.
	live := func() (row *streamRow, put, deleted coordinator.Version) {
		t.Helper()
		ref := w.create("mill", 1)
		e, v, err := w.find(home, ref)
		w.must(err)
		w.must(w.DeleteStream(t.Context(), home, ref, false))
		key, row = e.key(), v.row.Clone()
		row.Status = Deleting
		w.rows.Lock()
		put = w.rows.gone[key]
		w.rows.Unlock()
		if put == 0 {
			t.Fatal("the deletion was not noted")
		}
		return row, put, put + 2 // the shard's row goes first
	}
	gone := func(when string) {
		t.Helper()
		if _, _, err := w.find(home, Ref{Name: "mill"}); err == nil {
			t.Fatalf("%s: the stream is back", when)
		}
	}

	row, put, deleted := live()
	w.report(change{key: key, version: put, stream: row})
	gone("its last state was reported late")
	w.report(change{key: key, version: deleted, deleted: true})
	w.learn(change{key: key, version: put, stream: row})
	gone("whoever wrote its last state was late to take it in")

	_, _, first := live()
	row, put, deleted = live()
	w.report(change{key: key, version: first, deleted: true})
	w.report(change{key: key, version: put, stream: row})
	gone("the deletion of one of the same name was reported late")
	w.report(change{key: key, version: deleted, deleted: true})

	w.rows.Lock()
	defer w.rows.Unlock()
	if n := w.rows.gone[key]; n != 0 {
		t.Errorf("version %d is remembered although its deletion was reported", n)
	}
}
