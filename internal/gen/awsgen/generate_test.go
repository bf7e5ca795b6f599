package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestFresh compares the committed packages with what the stored models give now.
func TestFresh(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Errorf("%v: run make generate", err)
			continue
		}
		if !bytes.Equal(got, files[name]) {
			t.Errorf("%s is stale: run make generate", name)
		}
	}
	for pkg := range emitted() {
		have, err := filepath.Glob(filepath.Join(root, "internal", "awsapi", pkg, "*_gen.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range have {
			if rel, err := filepath.Rel(root, path); err != nil || files[rel] == nil {
				t.Errorf("%s is left over (%v): run make generate", path, err)
			}
		}
	}
}

func TestGenerate(t *testing.T) {
	root := t.TempDir()
	left := filepath.Join(root, "internal", "awsapi", "kinesis", "left_gen.go")
	if err := write(left, []byte("package kinesis\n")); err != nil {
		t.Fatal(err)
	}
	if err := generate(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("a file that no longer belongs was not removed: %v", err)
	}
	first, err := os.ReadFile(filepath.Join(root, "internal", "awsapi", "kinesis", "types_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	if err := generate(root); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(root, "internal", "awsapi", "kinesis", "types_gen.go"))
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("generating twice gave different bytes (%v)", err)
	}
}
