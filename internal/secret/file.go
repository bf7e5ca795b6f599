package secret

import (
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/headrace/headrace/internal/vfs"
)

// maxFile bounds what is read of a file that should hold a key.
const maxFile = 4 << 10

// ReadFile reads a key from a file. vfs.ErrNotExist if it is missing, ErrKey if it holds no key.
func ReadFile(fs vfs.FS, name string) (Key, error) {
	f, err := fs.Open(name, vfs.ReadOnly)
	if err != nil {
		return Key{}, fmt.Errorf("open node key: %w", err)
	}
	text := make([]byte, maxFile)
	n, err := f.ReadAt(text, 0)
	if !errors.Is(err, io.EOF) {
		err = errors.Join(ErrKey, err) // longer than any key, or not to be read
	} else {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return Key{}, fmt.Errorf("read node key: %w", err)
	}
	key, err := ParseKey(string(text[:n]))
	if err != nil {
		return Key{}, fmt.Errorf("read node key: %w", err)
	}
	return key, nil
}

// MakeFile makes a random key and a file that holds it, and returns it when it is durable. A file of
// the name must not exist. After a power cut there is the whole file or none.
func MakeFile(fs vfs.FS, name string) (Key, error) {
	key := NewKey()
	temporary := name + ".tmp"
	if err := fs.Remove(temporary); err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return Key{}, fmt.Errorf("make node key: %w", err)
	}
	err := writeFile(fs, temporary, []byte(key.Text().Reveal()))
	if err == nil {
		err = fs.Rename(temporary, name)
	}
	if err == nil {
		err = fs.SyncDir(path.Dir(name))
	}
	if err != nil {
		return Key{}, fmt.Errorf("make node key: %w", err)
	}
	return key, nil
}

func writeFile(fs vfs.FS, name string, text []byte) error {
	f, err := fs.Open(name, vfs.Create|vfs.Exclusive)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
