//go:build !race

package shardlog_test

const raceEnabled = false
