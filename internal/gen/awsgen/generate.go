package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/headrace/headrace/internal/gen/awsgen/emit"
	"github.com/headrace/headrace/internal/gen/awsgen/model"
	"github.com/headrace/headrace/internal/gen/awsgen/models"
)

// emitted lists the services that have a generated package, by the package's name.
func emitted() map[string]string {
	return map[string]string{"kinesis": "kinesis", "sts": "sts"}
}

// packages returns every generated file by its path below the module's root.
func packages() (map[string][]byte, error) {
	files := make(map[string][]byte)
	for pkg, service := range emitted() {
		text, err := models.Text(service)
		if err != nil {
			return nil, err
		}
		s, err := model.Parse(service, text)
		if err != nil {
			return nil, err
		}
		out, err := emit.Package(s, pkg, botocoreVersion)
		if err != nil {
			return nil, err
		}
		for name, text := range out {
			files[filepath.Join("internal", "awsapi", pkg, name)] = text
		}
	}
	return files, nil
}

// generate writes the packages and removes generated files that no longer belong to them.
func generate(root string) error {
	files, err := packages()
	if err != nil {
		return err
	}
	for pkg := range emitted() {
		old, err := filepath.Glob(filepath.Join(root, "internal", "awsapi", pkg, "*_gen.go"))
		if err != nil {
			return fmt.Errorf("list generated files: %w", err)
		}
		for _, path := range old {
			if rel, err := filepath.Rel(root, path); err == nil && files[rel] == nil {
				if err := os.Remove(path); err != nil {
					return fmt.Errorf("remove stale file: %w", err)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := write(filepath.Join(root, name), files[name]); err != nil {
			return err
		}
	}
	return nil
}

// write replaces a file, making its directory.
func write(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

// moduleRoot finds the directory of go.mod at or above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("find module: no go.mod at or above the working directory")
		}
		dir = up
	}
}
