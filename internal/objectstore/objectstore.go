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
	"strings"
	"time"
	"unicode/utf8"
)

// MaxKey is the longest key in bytes.
const MaxKey = 1024

// Info describes a stored object.
type Info struct {
	Key string
	// Size is the object's length in bytes.
	Size int64
	// Modified is when the object was stored, by the store's clock.
	Modified time.Time
}

var (
	// ErrNotFound says that no object has the key.
	ErrNotFound = errors.New("objectstore: no such object")
	// ErrKey says that a key is empty, longer than MaxKey, not UTF-8, or holds a NUL.
	ErrKey = errors.New("objectstore: invalid key")
	// ErrRange says that a read begins before the object's start or past its end.
	ErrRange = errors.New("objectstore: range not satisfiable")
	// ErrFull says that there is no room; nothing of the object was kept.
	ErrFull = errors.New("objectstore: no space")
	// ErrCorrupt says that what is stored is not what Put was given; the error around it says
	// where. An opened body may say so in the middle: what it yielded before was whole.
	ErrCorrupt = errors.New("objectstore: object is damaged")
)

// Bucket holds objects by key. It is safe for concurrent use. Every method but List returns ErrKey
// for a key that CheckKey refuses. A key is opaque: "a/../b" and "/a" are keys like any other, and
// no key reaches outside the bucket. A call whose context is done before it begins returns the
// context's error and changes nothing.
type Bucket interface {
	// Put stores everything body yields under key, replacing what was there at once and whole: a
	// reader sees the old object or the new one, and a body opened before goes on yielding the
	// old one. If body or the store fails, the old one stays. When it returns nil the object is
	// durable and every call that begins afterwards sees it.
	Put(ctx context.Context, key string, body io.Reader) (Info, error)
	// Get opens length bytes from offset; a negative length means to the end, and a length past
	// the end is cut there. At the end exactly the body is empty; beyond it, or with a negative
	// offset, ErrRange. The caller closes the body; ctx must stay alive until then.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	// Stat describes the object.
	Stat(ctx context.Context, key string) (Info, error)
	// List returns up to limit objects whose key starts with prefix and is greater than after, in
	// byte order of keys. Fewer than limit means the end. Writes that run meanwhile may or may
	// not show.
	List(ctx context.Context, prefix, after string, limit int) ([]Info, error)
	// Delete removes the object; removing what does not exist is no error. A body opened before
	// stays readable.
	Delete(ctx context.Context, key string) error
}

// Paced may be implemented by the body of a Put that is made while others wait for the same disk.
type Paced interface {
	io.Reader
	// Piece says how many bytes should be written at a time for now, 0 for as many as is fastest. It is
	// asked between reads.
	Piece() int
}

// PieceOf returns the body's Piece, 0 if it has none.
func PieceOf(body io.Reader) int {
	if p, ok := body.(Paced); ok {
		return p.Piece()
	}
	return 0
}

// CheckKey returns ErrKey, or nil if key may name an object.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return ErrKey
	}
	return nil
}
