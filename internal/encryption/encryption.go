// Package encryption says whether a data directory is encrypted, under which key, and gives those who
// open the directory its lane and buckets accordingly. It ciphers nothing itself: lane/sealed and
// objectstore/sealed do. It is not about what lies outside of the two: the audit log, certificates, and
// the node's key.
//
//	id, err := encryption.Of(fs)         // "" if it is not encrypted
//	seal := encryption.With(key)         // the zero Seal leaves everything as it is
//	blocks := seal.Bucket(dir, "blocks")
//
// A directory is encrypted from its first byte on or not at all: its file ENCRYPTION is made before
// anything else, and never goes. docs/format/encryption.md draws it.
package encryption

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/headrace/headrace/internal/lane"
	lanesealed "github.com/headrace/headrace/internal/lane/sealed"
	"github.com/headrace/headrace/internal/objectstore"
	objectsealed "github.com/headrace/headrace/internal/objectstore/sealed"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/vfs"
)

// File is the file of a data directory that says that it is encrypted.
const File = "ENCRYPTION"

const (
	word = "headrace-encryption-v1"
	// idDigits is the length of a key's id.
	idDigits = 16
	// maxFile bounds what is read of the file.
	maxFile   = 1 << 10
	temporary = File + ".tmp"
	walName   = "wal"
)

var (
	// ErrFile says that the file ENCRYPTION is not as it was written.
	ErrFile = errors.New("encryption: the file " + File + " is damaged")
	// ErrOtherKey says that a directory or a backup needs another key than the one given.
	ErrOtherKey = errors.New("encrypted under another node key")
)

// Of returns the id of the key that the directory is encrypted under, or "" if it is not.
func Of(fs vfs.FS) (id string, err error) {
	f, err := fs.Open(File, vfs.ReadOnly)
	if errors.Is(err, vfs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", File, err)
	}
	text := make([]byte, maxFile)
	n, err := f.ReadAt(text, 0)
	if err = errors.Join(ending(err), f.Close()); err != nil {
		return "", fmt.Errorf("read %s: %w", File, err)
	}
	return Parse(text[:n])
}

// ending returns nil where a short file ended, and ErrFile for a long one.
func ending(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return errors.Join(ErrFile, err)
}

// Parse reads the content of the file.
func Parse(text []byte) (id string, err error) {
	line := string(text)
	fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if len(fields) == 3 && fields[0] != word && strings.HasPrefix(fields[0], "headrace-encryption-v") {
		return "", fmt.Errorf("%s: %s is of a newer version of headrace", File, fields[0])
	}
	if len(fields) != 3 || len(fields[1]) != idDigits || line != Text(fields[1]) {
		return "", ErrFile
	}
	return fields[1], nil
}

// Text returns the content of the file for the key with an id.
func Text(id string) string {
	line := word + " " + id
	return fmt.Sprintf("%s %08x\n", line, crc32.Checksum([]byte(line), crc32.MakeTable(crc32.Castagnoli)))
}

// Mark makes the file, for a directory in which nothing else is yet, and returns when it is durable.
// After a power cut there is the whole file or none.
func Mark(fs vfs.FS, id string) error {
	if err := fs.Remove(temporary); err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return fmt.Errorf("make %s: %w", File, err)
	}
	f, err := fs.Open(temporary, vfs.Create|vfs.Exclusive)
	if err == nil {
		_, err = f.WriteAt([]byte(Text(id)), 0)
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = fs.Rename(temporary, File)
	}
	if err == nil {
		err = fs.SyncDir(".")
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", File, err)
	}
	return nil
}

// Match returns ErrOtherKey if key is not the one with the id.
func Match(id string, key secret.Key) error {
	if key.ID() != id {
		return fmt.Errorf("%w (%s): it needs the one with the id %s, and the one given is %s", ErrOtherKey, File, id, key.ID())
	}
	return nil
}

// Seal encrypts what a data directory keeps. The zero Seal leaves it as it is.
type Seal struct{ key secret.Key }

// With returns the Seal of a key.
func With(key secret.Key) Seal { return Seal{key} }

// On says whether anything is encrypted.
func (s Seal) On() bool { return !s.key.IsZero() }

// KeyID returns the id of the key, or "" if nothing is encrypted.
func (s Seal) KeyID() string {
	if !s.On() {
		return ""
	}
	return s.key.ID()
}

// Bucket returns the bucket for a part of the directory: its objects are sealed in inner.
func (s Seal) Bucket(inner objectstore.Bucket, part string) objectstore.Bucket {
	if !s.On() {
		return inner
	}
	return objectsealed.New(inner, s.key, part)
}

// Open returns what a stored object of a part holds, for who has it from elsewhere than the directory.
func (s Seal) Open(part, key string, stored io.Reader) io.Reader {
	if !s.On() {
		return stored
	}
	return objectsealed.New(nil, s.key, part).Reader(key, stored)
}

// ObjectOffset returns where in a stored object its byte n stands.
func (s Seal) ObjectOffset(n int64) int64 {
	if !s.On() {
		return n
	}
	return objectsealed.StoredOffset(n)
}

// Lane returns the lane whose groups are sealed in inner, and a function that says how many bytes inner
// is given for n.
func (s Seal) Lane(ctx context.Context, inner lane.Lane) (l lane.Lane, stored func(n int) int, err error) {
	if !s.On() {
		return inner, func(n int) int { return n }, nil
	}
	sealed, err := lanesealed.Open(ctx, inner, s.key, walName)
	if err != nil {
		return nil, nil, err
	}
	return sealed, sealed.Stored, nil
}

// Groups returns what reads the groups that are sealed in a lane.
func (s Seal) Groups(inner lanesealed.Groups) lanesealed.Groups {
	if !s.On() {
		return inner
	}
	return lanesealed.NewReader(inner, s.key, walName)
}

// GroupOffset returns where in a stored group its byte n stands.
func (s Seal) GroupOffset(n int64) int64 {
	if !s.On() {
		return n
	}
	return n + int64(lanesealed.HeaderSize)
}
