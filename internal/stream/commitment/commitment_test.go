package commitment

import (
	"testing"

	"github.com/headrace/headrace/internal/record"
)

// TestTerms follows a commitment that is disabled too early, taken back, and ended.
func TestTerms(t *testing.T) {
	const began record.Millis = 1_000_000
	var terms Terms
	f := func(at record.Millis, enable, changes bool, want Commitment) {
		t.Helper()
		if got := terms.Change(enable, at); got != changes {
			t.Errorf("at %d: changed %v; want %v", at, got, changes)
		}
		if got := terms.At(at); got != want || got.On() != (want.Status != Disabled) {
			t.Errorf("at %d: %+v; want %+v", at, got, want)
		}
	}
	end := began + Term
	f(began, false, false, Commitment{Status: Disabled})
	f(began, true, true, Commitment{Status: Enabled, Started: began, EarliestEnd: end})
	f(began+1, true, false, Commitment{Status: Enabled, Started: began, EarliestEnd: end})
	f(began+2, false, true, Commitment{Status: Ending, Started: began, EarliestEnd: end})
	f(began+3, true, true, Commitment{Status: Enabled, Started: began, EarliestEnd: end})
	f(began+4, false, true, Commitment{Status: Ending, Started: began, EarliestEnd: end})
	f(end, false, false, Commitment{Status: Disabled, Started: began, Ended: end})
	f(end+1, true, true, Commitment{Status: Enabled, Started: end + 1, EarliestEnd: end + 1 + Term})
	f(end+1+Term, false, true, Commitment{Status: Disabled, Started: end + 1, Ended: end + 1 + Term})
}
