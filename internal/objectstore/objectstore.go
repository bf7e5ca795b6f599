// Package objectstore is the contract for sealed objects: blocks, snapshots and delivered files,
// written once whole and never changed.
//
// It is not a file system: there are no directories, no appends and no renames. Engines live below
// (mem, dir, s3) and pass the kit in objectstoretest.
package objectstore

import (
	"context"
	"errors"
	"io"
	"time"
)

// Info describes a stored object.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time
}

var (
	// ErrNotFound says that no object has the key.
	ErrNotFound = errors.New("objectstore: no such object")
	// ErrKey says that a key is empty, longer than 1,024 bytes, not UTF-8, or holds a NUL.
	ErrKey = errors.New("objectstore: invalid key")
	// ErrRange says that a read begins past the object's end.
	ErrRange = errors.New("objectstore: range not satisfiable")
	// ErrFull says that there is no room; nothing of the object was kept.
	ErrFull = errors.New("objectstore: no space")
)

// Bucket holds objects by key. It is safe for concurrent use.
type Bucket interface {
	// Put stores everything body yields under key, replacing what was there at once and whole: a
	// reader sees the old object or the new one. If body or the store fails, the old one stays.
	// When it returns nil the object is durable.
	Put(ctx context.Context, key string, body io.Reader) (Info, error)
	// Get opens length bytes from offset; a negative length means to the end, and a length past
	// the end is cut there. The caller closes the body.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	// Stat describes the object.
	Stat(ctx context.Context, key string) (Info, error)
	// List returns up to limit objects whose key starts with prefix and is greater than after, in
	// byte order of keys. Fewer than limit means the end.
	List(ctx context.Context, prefix, after string, limit int) ([]Info, error)
	// Delete removes the object; removing what does not exist is no error.
	Delete(ctx context.Context, key string) error
}
