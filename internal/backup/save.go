package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"

	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

// partial is what the name of a file ends in that is no backup yet.
const partial = ".partial"

// Save stores the archive that body yields under name and checks it on the way. The file appears, or
// takes the place of an older one, when it is whole and on the disk; until then it has another name,
// which is removed if anything fails.
func Save(ctx context.Context, fs vfs.FS, name string, body io.Reader) (Summary, error) {
	temp := name + partial
	summary, err := store(ctx, fs, temp, body)
	if err == nil {
		err = fs.Rename(temp, name)
	}
	if err != nil {
		// Should the file not go away now, the next backup writes over it.
		if rerr := fs.Remove(temp); !errors.Is(rerr, vfs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return summary, fmt.Errorf("save backup: %w", err)
	}
	if err := fs.SyncDir(path.Dir(name)); err != nil {
		return summary, fmt.Errorf("save backup: nobody knows whether the file survives a power cut: %w", err)
	}
	return summary, nil
}

// store makes the file, whole and synced.
func store(ctx context.Context, fs vfs.FS, temp string, body io.Reader) (summary Summary, err error) {
	f, err := fs.Open(temp, vfs.Create)
	if err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(0); err != nil {
		return Summary{}, err
	}
	w := bufio.NewWriterSize(&appender{f: f}, 1<<20)
	if summary, err = Read(ctx, io.TeeReader(body, w), func(Entry, io.Reader) error { return nil }); err != nil {
		return summary, err
	}
	if err := w.Flush(); err != nil {
		return summary, err
	}
	return summary, f.Sync()
}

// appender writes a file from its beginning on.
type appender struct {
	f  vfs.File
	at int64
}

// Write implements io.Writer.
func (a *appender) Write(p []byte) (int, error) {
	n, err := a.f.WriteAt(p, a.at)
	a.at += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// SaveFile is Save for a path of the machine.
func SaveFile(ctx context.Context, path string, body io.Reader) (summary Summary, err error) {
	fs, err := osfs.Open(filepath.Dir(path))
	if err != nil {
		return summary, fmt.Errorf("save backup: %w", err)
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	return Save(ctx, fs, filepath.Base(path), body)
}
