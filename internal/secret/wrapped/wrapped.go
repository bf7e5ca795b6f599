// Package wrapped is the node's key as it lies in a data directory when a key management service (KMS)
// keeps it: one file, whose content only that service can turn into the key. It is the file and its
// format alone: package kms asks the service.
//
//	w, err := wrapped.Read(fs)       // vfs.ErrNotExist if there is none
//	err = wrapped.Write(fs, w)       // takes the place of an older one, whole or not at all
//
// The file is no secret: backups have it, so that what they restore finds its key. docs/format/secrets.md
// draws it.
package wrapped

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/headrace/headrace/internal/vfs"
)

// File is the file of a data directory that holds the wrapped key.
const File = "node.key.wrapped"

const (
	word        = "headrace-wrapped-node-key-v1"
	anyWord     = "headrace-wrapped-node-key-v"
	idDigits    = 16
	maxURI      = 2 << 10
	maxWrapping = 6 << 10 // the most that AWS's service makes of anything
	temporary   = File + ".tmp"
)

// MaxFile is more than the file ever has.
const MaxFile = 16 << 10

// ErrFile says that the file is not as it was written.
var ErrFile = errors.New("the wrapped node key is damaged (" + File + ")")

// Key is the node's key, wrapped.
type Key struct {
	// ID is the id of the node's key, as secret.Key.ID returns it.
	ID string
	// URI names the service's key that wrapped it. Another name of the same key may unwrap it as well.
	URI string
	// Wrapping is what the service made of the node's key.
	Wrapping []byte
}

// Text returns the content of the file.
func (k Key) Text() string {
	line := word + " " + k.ID + " " + base64.StdEncoding.EncodeToString(k.Wrapping) + " " + k.URI
	return fmt.Sprintf("%s %08x\n", line, crc32.Checksum([]byte(line), crc32.MakeTable(crc32.Castagnoli)))
}

// Parse reads the content of the file.
func Parse(text []byte) (Key, error) {
	fields := strings.Split(strings.TrimSuffix(string(text), "\n"), " ")
	if len(text) < MaxFile && fields[0] != word && strings.HasPrefix(fields[0], anyWord) {
		return Key{}, fmt.Errorf("%s: %s is of a newer version of headrace", File, fields[0])
	}
	if len(fields) != 5 {
		return Key{}, ErrFile
	}
	wrapping, err := base64.StdEncoding.DecodeString(fields[2])
	k := Key{ID: fields[1], URI: fields[3], Wrapping: wrapping}
	if err != nil || k.check() != nil || string(text) != k.Text() {
		return Key{}, ErrFile
	}
	return k, nil
}

// check returns ErrFile for what would not be read again.
func (k Key) check() error {
	unprintable := func(c rune) bool { return c <= ' ' || c > '~' }
	if len(k.ID) != idDigits || strings.Trim(k.ID, "0123456789abcdef") != "" ||
		k.URI == "" || len(k.URI) > maxURI || strings.ContainsFunc(k.URI, unprintable) ||
		len(k.Wrapping) == 0 || len(k.Wrapping) > maxWrapping {
		return ErrFile
	}
	return nil
}

// Read reads the file of the data directory fs. vfs.ErrNotExist if it is missing, ErrFile if it is
// damaged.
func Read(fs vfs.FS) (Key, error) {
	f, err := fs.Open(File, vfs.ReadOnly)
	if err != nil {
		return Key{}, fmt.Errorf("read wrapped node key: %w", err)
	}
	text := make([]byte, MaxFile)
	n, err := f.ReadAt(text, 0)
	if err == nil {
		err = ErrFile // as long as none is
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return Key{}, fmt.Errorf("read wrapped node key: %w", err)
	}
	return Parse(text[:n])
}

// Write makes the file, or replaces it, and returns when it is durable. After a power cut there is the
// new file or what was there before.
func Write(fs vfs.FS, k Key) error {
	err := k.check()
	if err == nil {
		err = write(fs, []byte(k.Text()))
	}
	if err != nil {
		return fmt.Errorf("write wrapped node key: %w", err)
	}
	return nil
}

func write(fs vfs.FS, text []byte) error {
	if err := fs.Remove(temporary); err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	f, err := fs.Open(temporary, vfs.Create|vfs.Exclusive)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = fs.Rename(temporary, File); err != nil {
		return err
	}
	return fs.SyncDir(".")
}
