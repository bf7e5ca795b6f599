// Package commitment is an account's minimum throughput billing commitment as a value: when it began, and when
// it may end and does. It stores nothing and refuses nobody.
package commitment

import "github.com/headrace/headrace/internal/record"

// Status says whether an account has committed itself to a minimum throughput, which on AWS is a
// matter of its bill. Here it costs nothing, and unlocks warm throughput all the same.
type Status string

// The statuses, as DescribeAccountSettings spells them.
const (
	Enabled  Status = "ENABLED"
	Disabled Status = "DISABLED"
	// Ending is a commitment that was disabled too early: it ends by itself.
	Ending Status = "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
)

// Term is how long a commitment lasts at least, in milliseconds.
const Term record.Millis = 24 * 3600_000

// Commitment is an account's minimum throughput billing commitment in a region. Times are 0 where there are none.
type Commitment struct {
	Status                      Status
	Started, Ended, EarliestEnd record.Millis
}

// On reports whether the commitment is in force.
func (c Commitment) On() bool { return c.Status != Disabled }

// Terms are what is stored of a commitment.
type Terms struct {
	Started record.Millis `json:"started"`
	// EarliestEnd is when the commitment may end, and will if Ending.
	EarliestEnd record.Millis `json:"earliestEnd"`
	Ending      bool          `json:"ending,omitempty"`
	// Ended is when it ended, 0 if it has not.
	Ended record.Millis `json:"ended,omitempty"`
}

// At returns the commitment at a time.
func (t *Terms) At(now record.Millis) Commitment {
	c := Commitment{Status: Enabled, Started: t.Started, Ended: t.Ended, EarliestEnd: t.EarliestEnd}
	switch {
	case t.Started == 0:
		c.Status = Disabled
	case t.Ended != 0:
		c.Status, c.EarliestEnd = Disabled, 0
	case t.Ending && now >= t.EarliestEnd:
		c.Status, c.Ended, c.EarliestEnd = Disabled, t.EarliestEnd, 0
	case t.Ending:
		c.Status = Ending
	}
	return c
}

// Change makes the terms what UpdateAccountSettings asks for at a time, and reports whether that differs.
func (t *Terms) Change(enable bool, now record.Millis) bool {
	is := t.At(now).Status
	switch {
	case enable && is == Disabled:
		t.Started, t.EarliestEnd, t.Ending, t.Ended = now, now+Term, false, 0
	case enable && is == Ending:
		t.Ending = false
	case !enable && is == Enabled && now < t.EarliestEnd:
		t.Ending = true
	case !enable && is == Enabled:
		t.Ended = now
	default:
		return false
	}
	return true
}
