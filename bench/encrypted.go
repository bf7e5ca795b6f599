package main

import (
	"context"
	"path/filepath"
)

// encrypted is what encryption costs: puts into an encrypted stream on an encrypted data directory, so that
// every byte is sealed twice, beside puts into neither.
func encrypted(ctx context.Context, o options) error {
	const records = 500
	dir, done, err := o.tempDir()
	if err != nil {
		return err
	}
	defer done()
	targets := []*target{
		{name: "headrace serve --encrypt, the stream encrypted", encrypted: true},
		{name: "headrace serve"},
	}
	for i, args := range [][]string{{"--encrypt", "--node-key", filepath.Join(dir, "node.key")}, nil} {
		p, err := o.startServe(ctx, filepath.Join(dir, []string{"sealed", "clear"}[i]), append(args, o.walFor(records)...)...)
		if err != nil {
			return err
		}
		defer p.stop()
		p.key = believedKey()
		targets[i].process, targets[i].shards = p, benchShards
	}
	c := comparison{title: "Encrypted", records: records, conns: o.conns, targets: targets}
	if err := c.run(ctx, o); err != nil {
		return err
	}
	o.report.ratio("PutRecords 500x1 KiB, node key and stream key on, to off", targets[0].ratio(targets[1]), 0.85, "%.2f")
	return nil
}
