// Command headrace is Amazon Kinesis that you run yourself. This file ties the process to package
// cli: its streams, its signals and its exit code. It holds nothing else.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/headrace/headrace/internal/cli"
)

// version and commit are set by the linker (-ldflags "-X main.version=1.2.3") and never written.
var version, commit string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal drains; from then on signals have their default effect: the second ends
	// the process at once.
	context.AfterFunc(ctx, stop)
	app := cli.New(os.Stdin, os.Stdout, os.Stderr, os.Environ(), cli.Build{Version: version, Commit: commit})
	os.Exit(app.Run(ctx, os.Args[1:]))
}
