//go:build race

package shardlog_test

const raceEnabled = true
