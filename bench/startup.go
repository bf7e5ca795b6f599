package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// startup measures the shipped binary at rest: how long `headrace dev` takes from exec to healthy,
// its resident memory a second later, and its size.
func startup(ctx context.Context, o options) error {
	var starts, idles []float64
	for range max(o.rounds, 5) {
		begin := time.Now()
		p, err := startHeadrace(ctx, o.headrace, "dev", "--log-level", "error")
		if err != nil {
			return err
		}
		starts = append(starts, float64(time.Since(begin).Microseconds())/1000)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		idle, err := p.rss()
		p.stop()
		if err != nil {
			return err
		}
		idles = append(idles, float64(idle)/(1<<20))
	}
	info, err := os.Stat(o.headrace)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.out, "\nheadrace dev at rest (median)\n")
	fmt.Fprintf(o.out, "  %-44s %8.1f ms    (at most 100)\n", "start to healthy", median(starts))
	fmt.Fprintf(o.out, "  %-44s %8.1f MiB   (at most 40)\n", "idle resident memory", median(idles))
	fmt.Fprintf(o.out, "  %-44s %8.1f MB    (at most 40)\n", "binary", float64(info.Size())/1e6)
	o.report.limit("headrace dev: start to healthy", median(starts), 100, "%.1f ms")
	o.report.limit("headrace dev: idle resident memory", median(idles), 40, "%.1f MiB")
	o.report.limit("the binary", float64(info.Size())/1e6, 40, "%.1f MB")
	return nil
}
