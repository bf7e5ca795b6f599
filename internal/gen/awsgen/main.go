// Command awsgen writes the packages under internal/awsapi from AWS's service models. It runs at
// development time only.
//
//	go run ./internal/gen/awsgen models     refreshes the stored models: the one step that uses the network
//	go run ./internal/gen/awsgen generate   writes the packages from the stored models; same models, same bytes
//
// It does not decide what a service does: handlers are written by hand in internal/api.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "awsgen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: awsgen models|generate")
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	switch args[0] {
	case "models":
		return refreshModels(ctx, root)
	case "generate":
		return generate(root)
	}
	return fmt.Errorf("unknown mode %q: want models or generate", args[0])
}
