//go:build race

package kinesis_test

import "testing"

// skipUnderRace skips a test that counts allocations: the race detector makes some of its own.
func skipUnderRace(t *testing.T) { t.Skip("the race detector allocates") }
