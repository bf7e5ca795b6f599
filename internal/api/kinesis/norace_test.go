//go:build !race

package kinesis_test

import "testing"

func skipUnderRace(*testing.T) {}
