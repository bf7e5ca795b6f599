// Compatgen writes COMPATIBILITY.md from the headers of the operations' files. It is run by
// `make generate` at the root of the repository and takes no arguments; a lint rule fails when the
// file it would write differs from the one committed.
package main

import (
	"fmt"
	"os"

	"github.com/headrace/headrace/internal/lint"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compatgen:", err)
		os.Exit(1)
	}
}

// run writes the file, unless no API is generated yet.
func run() error {
	tree, err := lint.Load(os.DirFS("."))
	if err != nil {
		return fmt.Errorf("load repository: %w", err)
	}
	text := lint.Compatibility(tree)
	if text == "" {
		return nil
	}
	if err := os.WriteFile(lint.CompatibilityFile, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write compatibility: %w", err)
	}
	return nil
}
