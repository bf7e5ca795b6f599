package stream

import (
	"fmt"
	"sync"
	"testing"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/commitment"
	"github.com/headrace/headrace/internal/stream/row"
)

// TestAutoSpreadsEvenly puts records of one key, in calls of all sizes and from several writers at a time,
// into a stream that places them by turns: its shards differ by no more than one record.
func TestAutoSpreadsEvenly(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	w.must(w.CreateStream(t.Context(), home, CreateInput{Name: "mill", Mode: OnDemand, Strategy: Auto}))
	ref := Ref{Name: "mill"}
	counts := func(writers, calls int) map[string]int {
		t.Helper()
		var mu sync.Mutex
		got := map[string]int{}
		var all sync.WaitGroup
		for writer := range writers {
			all.Go(func() {
				for i := range calls {
					recs := make([]record.Entry, 1+(writer+i)%7)
					for k := range recs {
						recs[k] = record.Entry{PartitionKey: "same", HasExplicitHashKey: k%2 == 0}
					}
					out, err := w.PutAll(t.Context(), home, ref, recs, nil)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, r := range out {
						if r.Err != nil {
							t.Error(r.Err)
						}
						got[r.ShardID]++
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		return got
	}
	even := func(got map[string]int, shards int) {
		t.Helper()
		least, most, sum := 1<<30, 0, 0
		for _, n := range got {
			least, most, sum = min(least, n), max(most, n), sum+n
		}
		if len(got) != shards || most-least > 1 {
			t.Errorf("%d records on %d shards: %v; want %d shards and no two that differ by more than 1", sum, len(got), got, shards)
		}
	}
	even(counts(1, 97), 4)
	even(counts(4, 50), 4)
	_, err := w.UpdateAccountSettings(t.Context(), home, true)
	w.must(err)
	_, err = w.UpdateWarmThroughput(t.Context(), home, ref, 7)
	w.must(err)
	even(counts(3, 61), 7)
	w.restart()
	even(counts(1, 50), 7)
	w.must(w.UpdateStrategy(t.Context(), home, ref, UserPartitionKey))
	out, err := w.PutAll(t.Context(), home, ref, []record.Entry{{PartitionKey: "same"}, {PartitionKey: "same"}}, nil)
	w.must(err)
	if out[0].ShardID != out[1].ShardID {
		t.Errorf("records of one key went to %s and %s", out[0].ShardID, out[1].ShardID)
	}
}

// TestAccountsWithSettingsAreBounded gives settings to one account after the other, as a stranger may where
// credentials are not checked.
func TestAccountsWithSettingsAreBounded(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	for i := range maxAccounts - 1 {
		set := row.NewAccount(fmt.Sprintf("%012d", i), "eu-west-1")
		_, err := w.cfg.Coordinator.Put(t.Context(), set.Key(), row.Encode(set), 0)
		w.must(err)
	}
	_, err := w.UpdateAccountSettings(t.Context(), home, true)
	w.must(err)
	last := Scope{Account: "999999999999", Region: home.Region}
	_, err = w.UpdateAccountSettings(t.Context(), last, true)
	refused(t, err, LimitExceeded, "This request would exceed the limit of accounts with settings. Account: 999999999999. Limit: 10000.")
	if c, err := w.UpdateAccountSettings(t.Context(), last, false); err != nil || c.Status != commitment.Disabled {
		t.Errorf("disabling what is disabled: %+v, %v", c, err)
	}
	_, err = w.UpdateAccountSettings(t.Context(), home, false)
	w.must(err)
}
