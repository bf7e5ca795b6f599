package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// comparison is one load on Headrace and on servers that do less, or the same more slowly.
type comparison struct {
	title   string
	records int // in a request; 1 is PutRecord
	conns   int
	targets []*target // the first is Headrace
}

// target is a server and what the rounds found: data in MB/s, requests a second, the time of the
// slowest hundredth in milliseconds, and microseconds of its own processor time a request, which the
// load of other programs disturbs less.
type target struct {
	name    string
	process *process
	// shards is how many shards its stream has, 0 for a server that knows no streams.
	shards int
	// encrypted says that the stream is.
	encrypted bool
	// start starts the process anew for each round, if it is not nil.
	start func(context.Context) (*process, error)

	rates, requests, slowest, costs []float64
	// flushes is the least number of flushes that a counted run saw, -1 before there was one.
	flushes int
	// refused counts the puts that were throttled.
	refused int64
}

const (
	// wantFlushes is how many flushes a measurement of a data directory must see: a rate that owes
	// its writes to later is none.
	wantFlushes = 3
	// warmest ends a warm-up that does not fill the memory.
	warmest = 90 * time.Second
)

// run measures the targets in turns.
//
// The first bytes a process ever stores cost a page fault each, on a virtual machine one of the
// hypervisor too. What is wanted is the rate of a server that has been running, so there is a
// round before those that count, as long as it takes to fill the memory once.
func (c *comparison) run(ctx context.Context, o options) error {
	requests := putRequests(4, c.records)
	for _, t := range c.targets {
		t.flushes = -1
	}
	for round := range 1 + o.rounds {
		order := slices.Clone(c.targets)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, t := range order {
			if err := t.round(ctx, o, requests, c.conns, round > 0); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	c.print(o)
	return nil
}

func (c *comparison) print(o options) {
	fmt.Fprintf(o.out, "\n%s: puts of %dx%d B, JSON, %d connections (medians)\n", c.title, c.records, recordBytes, c.conns)
	fmt.Fprintf(o.out, "  %-52s %6s %7s %6s %9s %6s %14s %6s %7s\n", "", "MB/s", "req/s", "ratio", "p99", "ratio", "CPU a request", "ratio", "flushes")
	first := c.targets[0]
	for _, t := range c.targets {
		flushes := ""
		if t.flushes >= 0 {
			flushes = fmt.Sprint(t.flushes)
		}
		fmt.Fprintf(o.out, "  %-52s %6.1f %7.1f %6.2f %6.1f ms %6.2f %11.0f us %6.2f %7s\n", t.name, median(t.rates), median(t.requests),
			first.ratio(t), median(t.slowest), median(first.slowest)/median(t.slowest), median(t.costs), median(t.costs)/median(first.costs), flushes)
	}
	for _, t := range c.targets {
		if t.refused > 0 {
			fmt.Fprintf(o.out, "  %s: %d puts were throttled for want of room and made again\n", t.name, t.refused)
		}
	}
	fmt.Fprintf(o.out, "  ratios are the first line's to that line's, of processor time the other way round\n")
}

// ratio is t's requests a second to another's.
func (t *target) ratio(to *target) float64 { return median(t.requests) / median(to.requests) }

// round measures the target once.
func (t *target) round(ctx context.Context, o options, requests []request, conns int, counts bool) error {
	if t.start != nil {
		p, err := t.start(ctx)
		if err != nil {
			return err
		}
		defer p.stop()
		t.process = p
	}
	if t.shards > 0 {
		if err := t.process.freshStream(ctx, t.shards); err != nil {
			return err
		}
		if t.encrypted {
			in := map[string]any{"StreamName": benchStream, "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}
			if err := t.process.call(ctx, "StartStreamEncryption", in, nil); err != nil {
				return err
			}
		}
	}
	requests, err := t.process.signed(ctx, requests)
	if err != nil {
		return err
	}
	if !counts || t.start != nil {
		if err := t.warm(ctx, o, requests, conns); err != nil || !counts {
			return err
		}
	}
	before, err := t.process.cpu()
	if err != nil {
		return err
	}
	got, err := t.measure(ctx, o, requests, conns)
	if err != nil {
		return err
	}
	after, err := t.process.cpu()
	if err != nil {
		return err
	}
	t.refused += got.refused
	t.rates = append(t.rates, got.mbPerSecond())
	t.requests = append(t.requests, got.perSecond())
	t.slowest = append(t.slowest, got.millis(.99))
	t.costs = append(t.costs, float64((after-before).Microseconds())/float64(len(got.times)))
	return t.process.settle(ctx)
}

// measure loads the target for the length of a measurement, and longer while a data directory has
// seen too few flushes.
func (t *target) measure(ctx context.Context, o options, requests []request, conns int) (load, error) {
	first := t.process.manifests()
	got, err := runLoad(ctx, t.process.addr, requests, conns, o.duration)
	if err != nil || t.process.data == "" {
		return got, err
	}
	for more := 0; t.process.manifests()-first < wantFlushes && more < 6; more++ {
		next, err := runLoad(ctx, t.process.addr, requests, conns, o.duration/2)
		if err != nil {
			return got, err
		}
		got = got.add(next)
	}
	if n := t.process.manifests() - first; t.flushes < 0 || n < t.flushes {
		t.flushes = n
	}
	return got, nil
}

// warm loads the target for a little while, and before that with large puts until its memory has been
// filled once, if it keeps any.
func (t *target) warm(ctx context.Context, o options, requests []request, conns int) error {
	step := min(o.duration, 2*time.Second)
	if t.process.data != "" {
		large, err := t.process.signed(ctx, putRequests(4, 500))
		if err != nil {
			return err
		}
		for begin, sent := time.Now(), int64(0); sent < o.memory*3/4 && time.Since(begin) < warmest; {
			got, err := runLoad(ctx, t.process.addr, large, o.conns, step)
			if err != nil {
				return err
			}
			sent += got.payload
		}
	}
	if _, err := runLoad(ctx, t.process.addr, requests, conns, step); err != nil {
		return err
	}
	return t.process.settle(ctx)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}
