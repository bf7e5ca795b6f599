//go:build race

package slab

// poisoned has every pool overwrite what nobody may read any more, in all tests that run under the race
// detector. The detector itself does not see accesses to memory that is the system's.
const poisoned = true
