package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// durable compares puts that are on the disk before they are answered with a bare server that makes
// as many bytes durable: O_DIRECT writes of groups into a file written before, one fdatasync each.
func durable(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp(o.dir, "headrace-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, c := range []struct {
		records, conns int
	}{{500, o.conns}, {100, o.conns}, {1, 64}} {
		if err := durableCase(ctx, o, filepath.Join(dir, fmt.Sprint(c.records)), c.records, c.conns); err != nil {
			return err
		}
	}
	return nil
}

func durableCase(ctx context.Context, o options, dir string, records, conns int) error {
	payload := strconv.Itoa(records * recordBytes)
	var ceilings []*measured
	for _, kind := range []struct {
		name string
		args []string
	}{
		{"bare net/http, reads, hashes, writes, syncs", []string{"-hash"}},
		{"bare net/http, reads, writes, syncs", nil},
	} {
		place := filepath.Join(dir, fmt.Sprint("ceiling", len(ceilings)))
		if err := os.MkdirAll(place, 0o700); err != nil {
			return err
		}
		p, err := startCeiling(ctx, o.self, append(kind.args, "-wal", place, "-payload", payload)...)
		if err != nil {
			return err
		}
		defer p.stop()
		ceilings = append(ceilings, &measured{name: kind.name, process: p})
	}
	under, err := startHeadrace(ctx, o.headrace, "serve", "--data", filepath.Join(dir, "data"), "--memory", "2GiB")
	if err != nil {
		return err
	}
	defer under.stop()
	c := comparison{
		title: "durable", records: records, conns: conns,
		headrace: &measured{name: "headrace serve (verifies no signature: no hash)", process: under},
		ceilings: ceilings, wanted: "at least 0.60 to the server that does not hash either",
	}
	return c.run(ctx, o)
}
