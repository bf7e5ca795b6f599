package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/secret/wrapped"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

const (
	// lockFile is package server's: who holds it may use the directory.
	lockFile = "LOCK"
	// Mark is a file that is there as long as a restore into the directory is under way.
	Mark = "RESTORING"
	// maxManifest is the most bytes that a manifest is believed to have: it has some hundred a shard.
	maxManifest = 1 << 30
)

var (
	// ErrUnfinished says that a restore into the directory was cut short.
	ErrUnfinished = errors.New("a restore was cut short here (" + Mark + "): empty the directory and restore again")
	// ErrEncrypted says that a backup is encrypted and that the node's key was not found.
	ErrEncrypted = errors.New("the backup is encrypted and needs the node's key: name where it is with --node-key")
	// ErrNotEmpty says that the directory is in the way of a restore.
	ErrNotEmpty = errors.New("the directory is not empty")
)

// Finished returns ErrUnfinished if a restore into the data directory was cut short: what is in it
// must not be used.
func Finished(fs vfs.FS) error {
	f, err := fs.Open(Mark, vfs.ReadOnly)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(ErrUnfinished, f.Close())
}

// Restored says what a restore made.
type Restored struct {
	Summary
	// Shards are the shards' logs; Jumped those that go on at sequence numbers above every one that
	// was ever given.
	Shards, Jumped int
	// KeyURI names the KMS's key that wraps the node's key, which was restored with the rest; "" if it was
	// not in the backup.
	KeyURI string
}

// RestoreDirectory makes the directory at path, which must not exist or be empty, a data directory
// with what the archive holds. If that is encrypted so is the directory, and key is asked for the node's
// key. Where it fails it leaves nothing behind, as far as it can.
func RestoreDirectory(ctx context.Context, path string, archive io.Reader, key Key, c clock.Clock) (out Restored, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return out, fmt.Errorf("restore: %w", err)
	}
	err = os.Mkdir(path, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, os.ErrExist) {
		return out, fmt.Errorf("restore: %w", err)
	}
	fs, err := osfs.Open(path)
	if err != nil {
		return out, fmt.Errorf("restore: %w", err)
	}
	if out, err = Restore(ctx, fs, archive, key, c); err != nil && made {
		_ = fs.Remove(lockFile) // which leaves it as it was, if it can
	}
	err = errors.Join(err, fs.Close())
	switch {
	case err != nil && made:
		_ = os.Remove(path) // if nothing is in it
	case err == nil && made:
		err = syncParent(path)
	}
	if err != nil {
		return out, fmt.Errorf("restore to %s: %w", path, err)
	}
	return out, nil
}

// syncParent makes the name of a directory durable.
func syncParent(path string) error {
	fs, err := osfs.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(fs.SyncDir("."), fs.Close())
}

// Restore makes fs a data directory. A file that says so is there first and goes last, so that nobody
// takes a part for the whole.
func Restore(ctx context.Context, fs vfs.FS, archive io.Reader, key Key, c clock.Clock) (out Restored, err error) {
	lock, err := fs.Lock(lockFile)
	if errors.Is(err, vfs.ErrLocked) {
		return out, fmt.Errorf("another process uses the directory (%s is locked): %w", lockFile, err)
	}
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := empty(fs); err != nil {
		return out, err
	}
	err = mark(fs)
	if err == nil {
		out, err = fill(ctx, fs, archive, key, c)
	}
	if err == nil {
		// Had this one failed nobody would know what there is.
		return out, errors.Join(fs.Remove(Mark), fs.SyncDir("."))
	}
	return out, errors.Join(err, undo(fs))
}

// empty returns an error if something is in the way. What a file system keeps in its root is not.
func empty(fs vfs.FS) error {
	entries, err := fs.List(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name {
		case lockFile, "lost+found":
		case Mark:
			return ErrUnfinished
		default:
			return fmt.Errorf("%w: it holds %s", ErrNotEmpty, e.Name)
		}
	}
	return nil
}

// mark says that a restore is under way.
func mark(fs vfs.FS) error {
	f, err := fs.Open(Mark, vfs.Create|vfs.Exclusive)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("A restore is under way, or was cut short. No server starts on this directory.\n"), 0)
	return errors.Join(err, f.Sync(), f.Close(), fs.SyncDir("."))
}

// Key returns the node's key, for an archive that is encrypted. Nil has none.
type Key func() (secret.Key, error)

// fill restores the archive's objects.
func fill(ctx context.Context, fs vfs.FS, archive io.Reader, key Key, c clock.Clock) (out Restored, err error) {
	t := target{fs: fs, ask: key}
	if t.blocks, err = dir.Open(fs, blocksPart, c); err != nil {
		return out, err
	}
	if t.state, err = dir.Open(fs, statePart, c); err != nil {
		return out, err
	}
	out.Summary, err = Read(ctx, archive, func(e Entry, body io.Reader) error { return t.object(ctx, e, body) })
	if err != nil {
		return out, err
	}
	if t.key == "" {
		return out, fmt.Errorf("%w: it has no manifest", ErrDamaged)
	}
	made, err := shardlog.Restore(ctx, t.seal.Bucket(t.blocks, blocksPart), t.key, t.manifest, c.Now())
	out.Shards, out.Jumped, out.KeyURI = made.Shards, made.Jumped, t.keyURI
	return out, err
}

// target is where objects go. The manifest, which would make them count, waits until all are known
// to be whole.
type target struct {
	fs  vfs.FS
	ask Key
	// seal is how the objects are encrypted.
	seal          encryption.Seal
	blocks, state *dir.Bucket
	key           string
	manifest      []byte
	keyURI        string
}

func (t *target) object(ctx context.Context, e Entry, body io.Reader) (err error) {
	part, key, _ := strings.Cut(e.Name, "/")
	switch {
	case e.Name == wrapped.File:
		return t.nodeKey(body)
	case e.Name == encryption.File:
		return t.encrypted(e, body)
	case part == blocksPart && shardlog.IsManifest(key):
		if t.key != "" || e.Size > maxManifest {
			return fmt.Errorf("%w: a manifest too many or too large", ErrDamaged)
		}
		t.key = key
		t.manifest, err = io.ReadAll(t.seal.Open(blocksPart, key, body))
		if errors.Is(err, objectstore.ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return err
	case part == blocksPart:
		_, err = t.blocks.Put(ctx, key, body)
	case part == statePart:
		_, err = t.state.Put(ctx, key, body)
	default:
		return fmt.Errorf("%w: no such part", ErrVersion)
	}
	if errors.Is(err, objectstore.ErrKey) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// nodeKey takes the entry that holds the node's key as it lay in the directory, wrapped. It comes before the
// one that needs it.
func (t *target) nodeKey(body io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(body, wrapped.MaxFile))
	if err != nil {
		return err
	}
	w, err := wrapped.Parse(text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	t.keyURI = w.URI
	return wrapped.Write(t.fs, w)
}

// encrypted takes the entry that says that those behind it are encrypted. So is the directory then.
func (t *target) encrypted(e Entry, body io.Reader) error {
	const most = 1 << 10
	text, err := io.ReadAll(io.LimitReader(body, most))
	if err != nil {
		return err
	}
	id, err := encryption.Parse(text)
	if err != nil || e.Size >= most {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if t.ask == nil {
		return fmt.Errorf("%w: its id is %s", ErrEncrypted, id)
	}
	key, err := t.ask()
	if err != nil {
		return fmt.Errorf("%w: its id is %s: %w", ErrEncrypted, id, err)
	}
	if err := encryption.Match(id, key); err != nil {
		return err
	}
	t.seal = encryption.With(key)
	return encryption.Mark(t.fs, id)
}

// undo removes what a restore made: its mark last, when the rest is gone for certain.
func undo(fs vfs.FS) error {
	err := errors.Join(remove(fs, blocksPart, true), remove(fs, statePart, true),
		remove(fs, encryption.File, false), remove(fs, wrapped.File, false), fs.SyncDir("."))
	if err == nil {
		err = errors.Join(remove(fs, Mark, false), fs.SyncDir("."))
	}
	if err != nil {
		return fmt.Errorf("the directory must be emptied by hand: %w", err)
	}
	return nil
}

// remove removes a file, or a directory with everything in it. What is not there is gone.
func remove(fs vfs.FS, name string, directory bool) error {
	if directory {
		entries, err := fs.List(name)
		if err != nil && !errors.Is(err, vfs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if err := remove(fs, path.Join(name, e.Name), e.Dir); err != nil {
				return err
			}
		}
	}
	if err := fs.Remove(name); !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	return nil
}
