// Command bench measures Headrace against ceilings taken in the same run on the same machine: a
// bare net/http server that does only what no server could leave out. It prints ratios of medians
// over interleaved rounds, because absolute figures on a shared machine say little.
//
// It is not part of the tests: a timed test fails for reasons that are not the code's. Tests guard
// speed by allocations and system calls instead.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"
)

// options are what every scenario may use.
type options struct {
	headrace string        // path of the shipped binary
	self     string        // path of this program, for the ceiling processes
	rounds   int           // interleaved rounds; medians are printed
	duration time.Duration // of one measurement within a round
	conns    int           // concurrent connections
	dir      string        // where data directories are made; "" is the system's
	out      io.Writer
}

// scenario is one thing measured.
type scenario struct {
	name string
	run  func(ctx context.Context, o options) error
}

func scenarios() []scenario {
	return []scenario{
		{"putrecords", putRecords},
		{"durable", durable},
		{"startup", startup},
		{"strangers", crowded},
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "ceiling" {
		exit(serveCeiling(os.Args[2:]))
	}
	o := options{out: os.Stdout}
	only := flag.String("only", "", "run the scenarios with this text in their name")
	flag.StringVar(&o.headrace, "headrace", "bin/headrace", "the binary under test")
	flag.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	flag.DurationVar(&o.duration, "duration", 4*time.Second, "length of one measurement")
	flag.IntVar(&o.conns, "conns", 6, "concurrent connections")
	flag.StringVar(&o.dir, "dir", "", "directory on the disk to measure (default the system's temporary one)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		exit(err)
	}
	o.self = self
	fmt.Fprintf(o.out, "%s, %d CPUs, %s/%s, %d rounds of %v\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, o.rounds, o.duration)
	for _, s := range scenarios() {
		if !strings.Contains(s.name, *only) {
			continue
		}
		if err := s.run(ctx, o); err != nil {
			exit(fmt.Errorf("run %s: %w", s.name, err))
		}
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
