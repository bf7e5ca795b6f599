package main

import (
	"context"
	"fmt"
	"regexp"
)

var rateColumn = regexp.MustCompile(`([0-9.]+) MB/s`)

// aggregated measures how fast aggregated records are taken apart, beside MD5 of the same bytes: the format
// ends with it, so no reader that checks it can be faster.
func aggregated(ctx context.Context, o options) error {
	for _, size := range []int{100, 1024} {
		var read, sum []float64
		for range o.rounds {
			for _, c := range []struct {
				name string
				into *[]float64
			}{{"read", &read}, {"md5", &sum}} {
				rate, err := o.benchmark(ctx, "./aggregation", fmt.Sprintf("Reader/1000x%d/%s", size, c.name), "1s", rateColumn)
				if err != nil {
					return err
				}
				*c.into = append(*c.into, rate)
			}
		}
		fmt.Fprintf(o.out, "\nAggregated records: 1000 of %d B, on one core (medians)\n", size)
		fmt.Fprintf(o.out, "  %-44s %8.1f MB/s\n", "taken apart, checksum and all", median(read))
		fmt.Fprintf(o.out, "  %-44s %8.1f MB/s\n", "crypto/md5 of the same bytes", median(sum))
		o.report.ratio(fmt.Sprintf("aggregation: 1000 records of %d B decoded, to crypto/md5", size), median(read)/median(sum), 0.85, "%.2f")
	}
	return nil
}
