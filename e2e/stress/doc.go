// Package stress lives through days in minutes: a server with a thousand shards in the test's own
// process, whose clock runs hundreds of times as fast as the machine's, under puts, reads, splits, merges,
// deletions and restarts. Records come of age within minutes, closed shards go, files are flushed, merged
// and dropped by the thousand; every record is read once and in order, and memory and files must not grow.
//
//	go test ./e2e/stress                               # some seconds, to see that it works
//	STRESS_FOR=30m go test ./e2e/stress -timeout 1h -v # as make stress runs it
//
// Crashes are not its subject: package crash has those.
package stress
