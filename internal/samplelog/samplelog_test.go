package samplelog

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestGenerate(t *testing.T) {
	log := Generate(2000, 7)
	if again := Generate(2000, 7); !bytes.Equal(log, again) {
		t.Error("the same seed gives another log")
	}
	if other := Generate(2000, 8); bytes.Equal(log, other) {
		t.Error("another seed gives the same log")
	}
	combined := regexp.MustCompile(`^\S+ - - \[[^]]+\] "[A-Z]+ \S+ HTTP/1\.[01]" \d{3} (\d+|-) "[^"]*" "(\\"|[^"])*"$`)
	lines := bytes.Split(bytes.TrimSuffix(log, []byte("\n")), []byte("\n"))
	if len(lines) != 2000 {
		t.Fatalf("got %d lines; want 2000", len(lines))
	}
	for _, line := range lines {
		if !combined.Match(line) {
			t.Fatalf("not a combined log line: %s", line)
		}
	}
}

func TestLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(name, []byte("a line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(Env, name)
	if log, source, err := Load(); string(log) != "a line\n" || source != name || err != nil {
		t.Errorf("Load() = %q, %q, %v", log, source, err)
	}
	t.Setenv(Env, filepath.Join(t.TempDir(), "missing"))
	if _, _, err := Load(); err == nil {
		t.Error("Load of a missing file succeeds")
	}
	t.Setenv(Env, "")
	if log, _, err := Load(); bytes.Count(log, []byte("\n")) != Lines || err != nil {
		t.Errorf("Load() without a file gives %d lines, %v", bytes.Count(log, []byte("\n")), err)
	}
}
