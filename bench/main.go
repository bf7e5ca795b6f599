// Command bench measures Headrace against ceilings taken in the same run on the same machine: bare
// net/http servers that do only what no server could leave out. It prints ratios of medians over
// interleaved rounds, because absolute figures on a shared machine say little, and in the end one
// table of everything with what was wanted of it.
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
	"syscall"
	"time"
)

// options are what every scenario may use.
type options struct {
	headrace string        // path of the shipped binary
	self     string        // path of this program, for the ceiling processes
	rounds   int           // interleaved rounds; medians are printed
	duration time.Duration // of one measurement within a round
	inMemory time.Duration // the same, where what is put stays in memory
	conns    int           // concurrent connections
	memory   int64         // budget of a server on a data directory, in bytes
	dir      string        // where data directories are made; "" is the system's
	out      io.Writer
	report   *report
}

// scenario is one thing measured.
type scenario struct {
	name string
	run  func(ctx context.Context, o options) error
}

func scenarios() []scenario {
	return []scenario{
		{"startup", startup},
		{"strangers", crowded},
		{"memory", inMemory},
		{"durable", durable},
		{"putrecord", single},
		{"encrypted", encrypted},
		{"signatures", signatures},
		{"openloop", openLoop},
		{"shards", shards},
		{"peers", peers},
		{"getrecords", getRecords},
		{"fanout", fanOut},
		{"aggregation", aggregated},
		{"latency", latency},
		{"kill", kill},
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "ceiling" {
		exit(serveCeiling(os.Args[2:]))
	}
	o := options{out: os.Stdout, report: new(report), inMemory: 4 * time.Second}
	only := flag.String("only", "", "run the scenarios named, with commas between them")
	quick := flag.Bool("quick", false, "one short round of everything: does it work, not how fast is it")
	memory := flag.Int64("memory", 2048, "memory budget of servers on a data directory, in MiB")
	flag.StringVar(&o.headrace, "headrace", "bin/headrace", "the binary under test")
	flag.IntVar(&o.rounds, "rounds", 3, "interleaved rounds")
	flag.DurationVar(&o.duration, "duration", 30*time.Second, "length of one measurement")
	flag.IntVar(&o.conns, "conns", 6, "concurrent connections")
	flag.StringVar(&o.dir, "dir", "", "directory on the disk to measure (default the system's temporary one)")
	flag.Parse()
	if *quick {
		o.rounds, o.duration, *memory = 1, 3*time.Second, 1024
	}
	o.memory = *memory << 20
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		exit(err)
	}
	o.self = self
	fmt.Fprintf(o.out, "%s, %d CPUs, %s/%s, %d rounds of %v\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, o.rounds, o.duration)
	for _, s := range scenarios() {
		if *only != "" && !named(*only, s.name) {
			continue
		}
		if err := s.run(ctx, o); err != nil {
			o.report.print(o.out)
			exit(fmt.Errorf("run %s: %w", s.name, err))
		}
	}
	o.report.print(o.out)
}

func named(list, name string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one == name {
			return true
		}
	}
	return false
}

// tempDir makes a directory on the disk that is measured; done removes it.
func (o options) tempDir() (dir string, done func(), err error) {
	if dir, err = os.MkdirTemp(o.dir, "headrace-bench"); err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
