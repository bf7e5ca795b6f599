package server

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/check"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/secret"
)

// encrypted makes a server keep everything in dir, encrypted under the key in a file.
func encrypted(dir, key string) func(*Config) {
	return func(c *Config) {
		onDisk(dir)(c)
		c.Encrypt, c.Access.NodeKey = true, key
	}
}

// finish stops a server and waits until it has.
func finish(t *testing.T, r *running) {
	t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil
}

// holds says which files below dir hold the text.
func holds(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestEncrypted keeps records encrypted: no file has a byte of them, another start serves them, check
// and restore read them with the key alone, and the archive has none of them in clear either.
func TestEncrypted(t *testing.T) {
	const plain, base64 = "nobody may read this", "bm9ib2R5IG1heSByZWFkIHRoaXM="
	root := t.TempDir()
	dir, key := filepath.Join(root, "data"), filepath.Join(root, "node.key")
	r := start(t, onDisk(filepath.Join(root, "open")))
	c := client(t, "HTTP/1.1")
	const create, put = `{"StreamName":"hidden-name","ShardCount":1}`, `{"StreamName":"hidden-name","PartitionKey":"k","Data":"` + base64 + `"}`
	r.call(c, "CreateStream", create)
	r.call(c, "PutRecord", put)
	finish(t, r)
	if len(holds(t, filepath.Join(root, "open"), plain)) == 0 || len(holds(t, filepath.Join(root, "open"), "hidden-name")) == 0 {
		t.Fatal("without encryption nothing is found: the search proves nothing")
	}

	r = start(t, encrypted(dir, key))
	r.call(c, "CreateStream", create)
	r.call(c, "PutRecord", put)
	saved := filepath.Join(root, "b.tar")
	if _, err := backup.SaveFile(t.Context(), saved, r.order(c, "POST", "/_headrace/backup").Body); err != nil {
		t.Fatal(err)
	}
	finish(t, r)
	nowhere := func(dir string) {
		t.Helper()
		for _, text := range []string{plain, base64, "hidden-name"} {
			if files := holds(t, dir, text); len(files) > 0 {
				t.Errorf("%q stands in %v", text, files)
			}
		}
	}
	nowhere(dir)
	nowhere(saved)

	open := func() (secret.Key, error) { return ReadNodeKey(t.Context(), key, "") }
	wrong := func() (secret.Key, error) { return secret.NewKey(), nil }
	restored := filepath.Join(root, "restored")
	for _, f := range []struct {
		key  func() (secret.Key, error)
		want error
	}{{nil, backup.ErrEncrypted}, {wrong, encryption.ErrOtherKey}, {open, nil}} {
		archive, err := os.Open(saved)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = backup.RestoreDirectory(t.Context(), restored, archive, f.key, clock.System{}); !errors.Is(err, f.want) {
			t.Errorf("RestoreDirectory() = %v, want %v", err, f.want)
		}
		archive.Close()
	}
	nowhere(restored)
	for _, dir := range []string{dir, restored} {
		found := func(f check.Finding) { t.Errorf("%s: %v", dir, f) }
		if report, err := check.Directory(t.Context(), dir, open, found); err != nil || report.Shards < 2 {
			t.Errorf("check %s: %+v, %v", dir, report, err)
		}
		if _, err := check.Directory(t.Context(), dir, nil, found); !errors.Is(err, check.ErrEncrypted) {
			t.Errorf("check without a key: %v", err)
		}
		if _, err := check.Directory(t.Context(), dir, wrong, found); !errors.Is(err, encryption.ErrOtherKey) {
			t.Errorf("check with another key: %v", err)
		}
		r = start(t, encrypted(dir, key))
		_, body := r.call(c, "GetShardIterator", `{"StreamName":"hidden-name","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)
		_, body = r.call(c, "GetRecords", `{"ShardIterator":"`+field(t, body, "ShardIterator")+`"}`)
		if !strings.Contains(body, base64) {
			t.Errorf("a start on %s serves %s", dir, body)
		}
		finish(t, r)
	}
}

// TestEncryptedRefused starts on directories that are made otherwise, or without their key.
func TestEncryptedRefused(t *testing.T) {
	root := t.TempDir()
	dir, open, key := filepath.Join(root, "data"), filepath.Join(root, "open"), filepath.Join(root, "node.key")
	finish(t, start(t, encrypted(dir, key)))
	finish(t, start(t, onDisk(open)))
	f := func(what string, change func(*Config), want error, says string) {
		t.Helper()
		cfg := Config{Listen: "127.0.0.1:0", MemoryBytes: 64 << 20, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()}
		change(&cfg)
		err := Run(t.Context(), cfg)
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: Run() = %v; want %v saying %q", what, err, want, says)
		}
	}
	other := filepath.Join(root, "other.key")
	if err := os.WriteFile(other, []byte(secret.NewKey().Text().Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	f("without the option", onDisk(dir), ErrEncrypted, "ENCRYPTION")
	f("with another key", encrypted(dir, other), encryption.ErrOtherKey, "ENCRYPTION")
	f("without the key", encrypted(dir, filepath.Join(root, "gone.key")), fs.ErrNotExist, "gone.key")
	if _, err := os.Stat(filepath.Join(root, "gone.key")); err == nil {
		t.Error("another key was made")
	}
	f("one that is not encrypted", encrypted(open, key), ErrNotEncrypted, "cannot be switched in place")
	f("in memory", func(c *Config) { c.Encrypt = true }, nil, "data directory")
	if err := os.WriteFile(filepath.Join(dir, encryption.File), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("a damaged file", encrypted(dir, key), encryption.ErrFile, "ENCRYPTION")
	found := 0
	if _, err := check.Directory(t.Context(), dir, nil, func(check.Finding) { found++ }); err != nil || found != 1 {
		t.Errorf("check of a damaged file: %d findings, %v", found, err)
	}
}
