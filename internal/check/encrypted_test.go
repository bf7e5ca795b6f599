package check

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/encryption"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/testpoll"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

// sealedDirectory makes an encrypted directory with files, a manifest, a snapshot and groups behind both.
func sealedDirectory(t testing.TB, key secret.Key) (path string, disk *osfs.FS) {
	t.Helper()
	path = t.TempDir()
	open := func() *osfs.FS {
		disk, err := osfs.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return disk
	}
	if err := encryption.Mark(open(), key.ID()); err != nil {
		t.Fatal(err)
	}
	r := startSealed(t, open(), encryption.With(key))
	r.fill(300)
	testpoll.Until(t, 10*time.Second, func() bool {
		return len(files(t, path, "blocks/manifest+")) > 0 && len(files(t, path, state)) > 0
	}, "a manifest and a snapshot")
	r.stop()
	return path, open()
}

// TestForged puts into an encrypted directory what every checksum says is as it was written, and nobody
// with the key wrote: a group of the log, an object of the store, or one of another place.
func TestForged(t *testing.T) {
	key := secret.NewKey()
	f := func(name string, forge func(t *testing.T, disk *osfs.FS) (file string)) {
		t.Run(name, func(t *testing.T) {
			path, disk := sealedDirectory(t, key)
			look := func() (found []Finding) {
				_, err := Directory(t.Context(), path, func() (secret.Key, error) { return key, nil }, func(f Finding) { found = append(found, f) })
				if err != nil {
					t.Fatalf("Directory() = %v", err)
				}
				return found
			}
			if found := look(); len(found) > 0 {
				t.Fatalf("a sound directory: %v", found)
			}
			file := forge(t, disk)
			found := look()
			if len(found) == 0 || !strings.HasPrefix(found[0].File, file) {
				t.Errorf("Directory() found %v; want something wrong with %s", found, file)
			}
		})
	}
	f("group", func(t *testing.T, disk *osfs.FS) string {
		l, err := lanedisk.Open(t.Context(), disk, lanedisk.Config{Segments: segments, SegmentBytes: segmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Bounds(t.Context())
		if err == nil {
			err = l.Append(t.Context(), b.Next, bytes.Repeat([]byte("forged"), 100))
		}
		if err == nil {
			err = l.Append(t.Context(), b.Next+1, make([]byte, 1000))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return "wal/"
	})
	object := func(body []byte) func(t *testing.T, disk *osfs.FS) string {
		return func(t *testing.T, disk *osfs.FS) string {
			stored, err := dir.Open(disk, blocks, clock.System{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stored.Put(t.Context(), "blocks/forged", bytes.NewReader(body)); err != nil {
				t.Fatal(err)
			}
			return "blocks/"
		}
	}
	f("object", object(bytes.Repeat([]byte("forged"), 100_000)))
	f("empty object", object(nil))
}
