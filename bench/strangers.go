package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/strangers"
)

const (
	crowdSize = 1000
	// crowdSettles is how long the crowd is there before it counts: every kind of stranger has been
	// cut once by then.
	crowdSettles = 25 * time.Second
)

// crowded measures what a thousand clients that waste the server's time do to one that behaves, and
// how much memory they take.
func crowded(ctx context.Context, o options) error {
	under, err := startHeadrace(ctx, o.headrace, "dev", "--memory", "256MiB")
	if err != nil {
		return err
	}
	defer under.stop()
	if err := under.freshStream(ctx, benchShards); err != nil {
		return err
	}
	answer, err := largeAnswer(ctx, under)
	if err != nil {
		return err
	}
	// Memory first, while the server holds no records to speak of.
	memory := int64(0)
	err = withCrowd(ctx, under.addr, answer, func() (err error) {
		memory, err = under.rss()
		return err
	})
	if err != nil {
		return err
	}
	requests := putRequests(4, 1)
	var alone, beside []float64 // the slowest hundredth in milliseconds
	for range o.rounds {
		measure := func(to *[]float64) error {
			got, err := runLoad(ctx, under.addr, requests, 1, o.duration)
			if err == nil {
				*to = append(*to, got.millis(0.99))
			}
			return err
		}
		if err := measure(&alone); err != nil {
			return err
		}
		if err := withCrowd(ctx, under.addr, answer, func() error { return measure(&beside) }); err != nil {
			return err
		}
		if err := under.freshStream(ctx, benchShards); err != nil { // else memory is full before long
			return err
		}
	}
	fmt.Fprintf(o.out, "\nPutRecord of 1 KiB by one client, beside %d connections that waste time (medians)\n", crowdSize)
	fmt.Fprintf(o.out, "  %-44s %8.2f ms\n", "slowest hundredth, alone", median(alone))
	fmt.Fprintf(o.out, "  %-44s %8.2f ms    (at most 50)\n", "slowest hundredth, beside them", median(beside))
	fmt.Fprintf(o.out, "  %-44s %8.1f MiB   (at most 100)\n", "resident memory beside them", float64(memory)/(1<<20))
	return nil
}

// withCrowd runs f once a crowd has been there for a while.
func withCrowd(ctx context.Context, addr, answer string, f func() error) error {
	crowd := strangers.Gather(strangers.Config{Address: addr, Connections: crowdSize, Answer: answer})
	defer crowd.Leave()
	select {
	case <-time.After(crowdSettles):
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// largeAnswer puts a record into a stream of its own and returns the body of a call that reads it.
func largeAnswer(ctx context.Context, p *process) (string, error) {
	type in map[string]any
	for _, call := range []struct {
		operation string
		in        in
	}{
		{"CreateStream", in{"StreamName": "crowd", "ShardCount": 1}},
		{"PutRecord", in{"StreamName": "crowd", "PartitionKey": "k", "Data": strings.Repeat("A", 64_000)}},
	} {
		if err := p.call(ctx, call.operation, call.in, nil); err != nil {
			return "", err
		}
	}
	var answer json.RawMessage
	err := p.call(ctx, "GetShardIterator", in{"StreamName": "crowd", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}, &answer)
	return string(answer), err
}
