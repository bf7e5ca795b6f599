package shardlog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/vfs"
)

// mistake is what a store's engines do wrong.
type mistake struct {
	fs     func(vfs.FS) vfs.FS
	bucket func(objectstore.Bucket) objectstore.Bucket
}

// catchHistories is how many histories a mistake may outlive: several times what it takes.
const catchHistories = 3000

// TestMistakesAreCaught judges the histories: each mistake is one that a store, its lane or its bucket
// could make, and makes some history wrong.
func TestMistakesAreCaught(t *testing.T) {
	t.Parallel()
	if alloctest.Raced {
		t.Skip("hundreds of histories, each many times as slow")
	}
	base := number(t, "HISTORY_SEED", rand.Uint64()>>1)
	f := func(name string, m mistake) {
		t.Run(name, func(t *testing.T) {
			for i := range uint64(catchHistories) {
				if _, err := runHistory(base+i, m); err != nil && !errors.Is(err, errUndecided) {
					t.Logf("caught by history %d: %.500v", i, err)
					return
				}
			}
			t.Errorf("not caught in %d histories from HISTORY_SEED=%d", catchHistories, base)
		})
	}
	files := func(below string, wrap func(vfs.File) vfs.File) mistake {
		return mistake{fs: func(fs vfs.FS) vfs.FS { return &mistakenFS{FS: fs, below: below, file: wrap} }}
	}
	f("acknowledged before the sync", files("wal/", func(f vfs.File) vfs.File { return &lateSync{File: f} }))
	f("failed sync tried again", files("wal/", func(f vfs.File) vfs.File { return retriedSync{f} }))
	f("checksum ignored", files("wal/", func(f vfs.File) vfs.File { return believer{f} }))
	f("directory not synced", mistake{fs: func(fs vfs.FS) vfs.FS { return &mistakenFS{FS: fs, below: "wal", lazyDir: true} }})
	f("objects' directory not synced", mistake{fs: func(fs vfs.FS) vfs.FS { return &mistakenFS{FS: fs, below: "blocks", lazyDir: true} }})
	f("objects not synced", files("blocks/", func(f vfs.File) vfs.File { return unsynced{f} }))
	f("recycled before the manifest", mistake{bucket: func(b objectstore.Bucket) objectstore.Bucket { return &hasty{Bucket: b} }})
}

// mistakenFS does something wrong below a directory.
type mistakenFS struct {
	vfs.FS
	below   string
	file    func(vfs.File) vfs.File
	lazyDir bool
}

func (m *mistakenFS) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := m.FS.Open(name, flag)
	if err == nil && m.file != nil && strings.HasPrefix(name, m.below) {
		f = m.file(f)
	}
	return f, err
}

func (m *mistakenFS) SyncDir(dir string) error {
	if m.lazyDir && strings.HasPrefix(dir, m.below) {
		return nil
	}
	return m.FS.SyncDir(dir)
}

// lateSync syncs a write before the next one only.
type lateSync struct {
	vfs.File
	mu      sync.Mutex
	waiting bool
}

func (f *lateSync) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = true
	return nil
}

func (f *lateSync) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	waiting := f.waiting
	f.waiting = false
	f.mu.Unlock()
	if waiting {
		if err := f.File.Sync(); err != nil {
			return 0, err
		}
	}
	return f.File.WriteAt(p, off)
}

// retriedSync believes the second answer.
type retriedSync struct{ vfs.File }

func (f retriedSync) Sync() error {
	if f.File.Sync() == nil {
		return nil
	}
	return f.File.Sync()
}

type unsynced struct{ vfs.File }

func (unsynced) Sync() error { return nil }

// believer makes the checksum of every group's payload right, as if nobody compared it. The offsets
// are those of docs/format/wal.md.
type believer struct{ vfs.File }

func (f believer) ReadAt(p []byte, off int64) (int, error) {
	const header, kindAt, group, lengthAt, sumAt, crcAt = 128, 5, 2, 72, 80, 124
	n, err := f.File.ReadAt(p, off)
	le, table := binary.LittleEndian, crc32.MakeTable(crc32.Castagnoli)
	for at := 0; at+vfs.Alignment <= n; at += vfs.Alignment {
		h := p[at : at+header]
		if !bytes.HasPrefix(h, []byte("HRWL")) || h[kindAt] != group || le.Uint32(h[crcAt:]) != crc32.Checksum(h[:crcAt], table) {
			continue
		}
		length := int(le.Uint32(h[lengthAt:]))
		whole := vfs.AlignedBuffer((header + length + vfs.Alignment - 1) &^ (vfs.Alignment - 1))
		if m, _ := f.File.ReadAt(whole, off+int64(at)); m == len(whole) {
			le.PutUint32(h[sumAt:], crc32.Checksum(whole[header:header+length], table))
			le.PutUint32(h[crcAt:], crc32.Checksum(h[:crcAt], table))
		}
	}
	return n, err
}

// hasty says that a manifest is stored when it only has it in memory, and stores it before the next
// object: so the lane is trimmed, and its segments are used again, before the manifest is durable.
type hasty struct {
	objectstore.Bucket
	mu   sync.Mutex
	key  string
	body []byte
}

func (h *hasty) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.key != "" {
		if _, err := h.Bucket.Put(ctx, h.key, bytes.NewReader(h.body)); err != nil {
			return objectstore.Info{}, err
		}
		h.key = ""
	}
	if !strings.HasPrefix(key, "manifest/") {
		return h.Bucket.Put(ctx, key, body)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return objectstore.Info{}, err
	}
	h.key, h.body = key, b
	return objectstore.Info{Key: key, Size: int64(len(b))}, nil
}
