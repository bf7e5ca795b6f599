package stream

import (
	"fmt"
	"testing"
)

// TestCapsOfAllAccounts makes one stream in every account it can think of, as a stranger may where
// credentials are not checked.
func TestCapsOfAllAccounts(t *testing.T) {
	f := func(caps Caps, shards, fit int, what string) {
		t.Helper()
		w := newWorld(t, 0, caps)
		create := func(i int) error {
			sc := Scope{Account: fmt.Sprintf("%012d", i), Region: fmt.Sprintf("region-%d", i%2)}
			return w.CreateStream(t.Context(), sc, CreateInput{Name: "clicks", ShardCount: shards})
		}
		for i := range fit {
			w.must(create(i))
		}
		err := create(fit)
		refused(t, err, LimitExceeded, err.Error()[len("LimitExceededException: "):])
		w.must(w.DeleteStream(t.Context(), Scope{Account: "000000000000", Region: "region-0"}, Ref{Name: "clicks"}, false))
		if err := create(fit); err != nil {
			t.Errorf("after a deletion made room for a %s: %v", what, err)
		}
	}
	f(Caps{HeldStreams: 5}, 1, 5, "stream")
	f(Caps{HeldShards: 9}, 2, 4, "stream's shards")
}
