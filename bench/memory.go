package main

import (
	"context"
)

// inMemory compares PutRecords of 500 records of 1 KiB, JSON, into the memory engine with a bare
// server that reads (and hashes) the same bodies.
func inMemory(ctx context.Context, o options) error {
	hashing, err := startCeiling(ctx, o.self, "-hash")
	if err != nil {
		return err
	}
	defer hashing.stop()
	reading, err := startCeiling(ctx, o.self)
	if err != nil {
		return err
	}
	defer reading.stop()
	under, err := startHeadrace(ctx, o.headrace, "dev", "--log-level", "error", "--memory", "8GiB")
	if err != nil {
		return err
	}
	defer under.stop()
	dev := &target{name: "headrace dev", process: under, shards: benchShards}
	bare := &target{name: "bare net/http: reads and hashes (SHA-256)", process: hashing}
	// A run must fit the memory: nothing is trimmed within it.
	short := o
	short.duration = min(o.duration, o.inMemory)
	c := comparison{title: "In memory", records: 500, conns: o.conns, targets: []*target{
		dev, bare, {name: "bare net/http: reads only", process: reading},
	}}
	if err := c.run(ctx, short); err != nil {
		return err
	}
	o.report.ratio("in memory: PutRecords 500x1 KiB, to a ceiling that hashes", dev.ratio(bare), 0.5, "%.2f")
	return nil
}
