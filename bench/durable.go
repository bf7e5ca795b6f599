package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// ceilings starts the bare servers that make as many bytes durable as a request's records have:
// O_DIRECT writes of groups into a file written before, one fdatasync each. One of them hashes bodies.
func (o options) ceilings(ctx context.Context, dir string, records int) (plain, hashing *target, err error) {
	for i, kind := range []struct {
		name string
		into **target
		args []string
	}{
		{"bare net/http: reads, writes, syncs", &plain, nil},
		{"bare net/http: reads, hashes, writes, syncs", &hashing, []string{"-hash"}},
	} {
		place := filepath.Join(dir, fmt.Sprint("ceiling", i))
		if err := os.MkdirAll(place, 0o700); err != nil {
			return nil, nil, err
		}
		p, err := startCeiling(ctx, o.self, append(kind.args, "-wal", place, "-payload", strconv.Itoa(records*recordBytes))...)
		if err != nil {
			return plain, nil, err
		}
		*kind.into = &target{name: kind.name, process: p}
	}
	return plain, hashing, nil
}

// durable compares puts that are on the disk before they are answered with a bare server that makes
// as many bytes durable.
func durable(ctx context.Context, o options) error {
	for _, records := range []int{500, 100} {
		if err := durableCase(ctx, o, records, o.conns, fmt.Sprintf("PutRecords %dx1 KiB", records)); err != nil {
			return err
		}
	}
	return nil
}

// single is durable for puts of one record, from as many connections as fill a group. It shows besides
// what part of the rate the verification of signatures takes.
func single(ctx context.Context, o options) error {
	return durableCase(ctx, o, 1, 64, "PutRecord 1 KiB, 64 connections")
}

func durableCase(ctx context.Context, o options, records, conns int, what string) error {
	dir, done, err := o.tempDir()
	if err != nil {
		return err
	}
	defer done()
	plain, hashing, err := o.ceilings(ctx, dir, records)
	if err != nil {
		return err
	}
	defer plain.process.stop()
	defer hashing.process.stop()
	p, err := o.startServe(ctx, filepath.Join(dir, "data"), o.walFor(records)...)
	if err != nil {
		return err
	}
	defer p.stop()
	p.key = believedKey() // signed by the client, too, so that the requests are the same
	v, err := o.startVerifying(ctx, filepath.Join(dir, "verified"), o.walFor(records)...)
	if err != nil {
		return err
	}
	defer v.stop()
	under := &target{name: "headrace serve, signatures believed: no hash", process: p, shards: benchShards}
	verifying := &target{name: "headrace serve, signatures verified: hashes", process: v, shards: benchShards}
	c := comparison{title: "Durable", records: records, conns: conns, targets: []*target{under, verifying, plain, hashing}}
	if err := c.run(ctx, o); err != nil {
		return err
	}
	o.report.ratio(what+", to the ceiling, no hash in either", under.ratio(plain), 0.6, "%.2f")
	o.report.ratio(what+", to the ceiling, hash in both", verifying.ratio(hashing), 0.6, "%.2f")
	if records == 1 {
		hash := hashing.ratio(plain)
		o.report.fact("what the hash of the body alone leaves of the ceiling's rate", hash, "%.2f")
		o.report.ratio(what+", signatures verified, to believed, beyond the hash", verifying.ratio(under)/hash, 0.9, "%.2f")
		o.report.limit(what+", p99 to the ceiling's, no hash", median(under.slowest)/median(plain.slowest), 2, "%.2f")
		o.report.limit(what+", p99 to the ceiling's, hash in both", median(verifying.slowest)/median(hashing.slowest), 2, "%.2f")
	}
	return nil
}

// walBytes keeps the log of a slow case small: a flush begins when half of it is full, and a measurement
// must see some.
func (o options) walBytes(records int) int64 {
	switch {
	case records == 1:
		return 64 << 20
	case o.duration < 10*time.Second:
		return 512 << 20
	}
	return 2 << 30
}

func (o options) walFor(records int) []string {
	return []string{"--wal-size", fmt.Sprintf("%dMiB", o.walBytes(records)>>20)}
}

// openLoop sends puts at a third of the rate that the ceiling manages, whatever becomes of them.
func openLoop(ctx context.Context, o options) error {
	for _, records := range []int{100, 500} {
		if err := openCase(ctx, o, records); err != nil {
			return err
		}
	}
	return nil
}

func openCase(ctx context.Context, o options, records int) error {
	dir, done, err := o.tempDir()
	if err != nil {
		return err
	}
	defer done()
	plain, hashing, err := o.ceilings(ctx, dir, records)
	if err != nil {
		return err
	}
	hashing.process.stop()
	defer plain.process.stop()
	p, err := o.startServe(ctx, filepath.Join(dir, "data"), o.walFor(records)...)
	if err != nil {
		return err
	}
	defer p.stop()
	requests := putRequests(4, records)
	under := &target{process: p, shards: benchShards}
	if err := under.round(ctx, o, requests, o.conns, false); err != nil {
		return err
	}
	var ours, theirs, rates []float64
	for range o.rounds {
		most, err := runLoad(ctx, plain.process.addr, requests, o.conns, min(o.duration, 10*time.Second))
		if err != nil {
			return err
		}
		rate := most.perSecond() / 3
		bare, err := runOpen(ctx, plain.process.addr, requests, rate, 64, min(o.duration, 10*time.Second))
		if err != nil {
			return err
		}
		if err := p.freshStream(ctx, benchShards); err != nil {
			return err
		}
		got, err := runOpen(ctx, p.addr, requests, rate, 64, o.duration)
		if err != nil {
			return err
		}
		rates, ours, theirs = append(rates, rate), append(ours, got.millis(.99)), append(theirs, bare.millis(.99))
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.out, "\nOpen loop: puts of %dx%d B at a third of the ceiling's rate (medians)\n", records, recordBytes)
	fmt.Fprintf(o.out, "  %.0f requests a second, %.0f MB/s: p99 %.1f ms; of the ceiling at the same rate %.1f ms\n",
		median(rates), median(rates)*float64(records*recordBytes)/1e6, median(ours), median(theirs))
	o.report.limit(fmt.Sprintf("PutRecords %dx1 KiB at a third of the ceiling's rate, p99", records), median(ours), 5, "%.1f ms")
	return nil
}

// shards compares streams of many shards with one of 8. Each has a server of its own, whose memory is
// looked at before anything is put.
func shards(ctx context.Context, o options) error {
	dir, done, err := o.tempDir()
	if err != nil {
		return err
	}
	defer done()
	c := comparison{title: "Many shards", records: 500, conns: o.conns}
	for _, n := range []int{benchShards, 1000, 10_000} {
		p, err := o.startServe(ctx, filepath.Join(dir, fmt.Sprint(n)), append(o.walFor(500), "--limits-shards", "20000")...)
		if err != nil {
			return err
		}
		defer p.stop()
		if err := p.createStream(ctx, n); err != nil {
			return err
		}
		if n == 10_000 {
			pause(ctx, 3*time.Second)
			idle, err := p.rss()
			if err != nil {
				return err
			}
			o.report.limit("idle memory with 10,000 shards", float64(idle)/(1<<20), 300, "%.0f MiB")
		}
		c.targets = append(c.targets, &target{name: fmt.Sprintf("headrace serve, %d shards", n), process: p, shards: n})
	}
	if err := c.run(ctx, o); err != nil {
		return err
	}
	for _, t := range c.targets[1:] {
		o.report.ratio(fmt.Sprintf("PutRecords 500x1 KiB on %d shards, to 8", t.shards), t.ratio(c.targets[0]), 0.8, "%.2f")
	}
	return nil
}
