package stream

import "testing"

// TestIDs follows streams of two scopes through creation and deletion.
func TestIDs(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	w.create("a", 1)
	w.create("b", 1)
	other := Scope{"111111111111", "eu-west-1"}
	w.must(w.CreateStream(t.Context(), other, CreateInput{Name: "a", ShardCount: 1}))
	ids := map[uint64]bool{}
	f := func(want int) {
		t.Helper()
		n := 0
		w.Each(func(sc Scope, name string, id uint64) {
			n++
			ids[id] = true
			if gotScope, got, ok := w.Named(id); !ok || got != name || gotScope != sc {
				t.Errorf("Named(%d) = %v, %q, %v; want %v, %q", id, gotScope, got, ok, sc, name)
			}
			_, v, err := w.find(sc, Ref{Name: name})
			if err != nil || v.shards[0].log().Stream != id {
				t.Errorf("stream %s of %v: its id is not that of its logs (%v)", name, sc, err)
			}
		})
		if n != want {
			t.Errorf("%d streams; want %d", n, want)
		}
	}
	f(3)
	w.must(w.DeleteStream(t.Context(), home, Ref{Name: "a"}, false))
	f(2)
	gone := 0
	for id := range ids {
		if _, _, ok := w.Named(id); !ok {
			gone++
		}
	}
	if len(ids) != 3 || gone != 1 {
		t.Errorf("%d ids were seen and %d are gone; want 3 and 1", len(ids), gone)
	}
}
