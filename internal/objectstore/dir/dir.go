// Package dir is the object store on a directory of the machine: each object is a file of its own,
// with a header and a checksum for every 64 KiB, whose layout is docs/format/objects.md. It is not
// a view of ordinary files: what it did not write it neither lists nor serves.
//
//	fs, err := osfs.Open(data)
//	bucket, err := dir.Open(fs, "objects", clock.System{})
//
// # How an object becomes durable
//
// Put writes a temporary file beside the object's place, syncs it, renames it over the old object
// and syncs the directory; new directories are made durable before anything is put into them. A
// power cut leaves the old object or the new one, and at most a temporary file, which Open removes.
//
// A Put that fails before the rename has changed nothing and may be tried again: ErrFull when the
// disk is full. When a directory cannot be synced nobody knows any more what a power cut would
// leave, so the bucket answers everything with that error from then on: the process stops and
// recovers.
//
// # What is damage
//
// Every byte that Get yields was compared with its checksum before. Damage is ErrCorrupt with the
// name of the file: a changed byte, a file cut or extended, blocks in another order, a file under a
// name that is not its object's. Symbolic links are refused.
package dir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/vfs"
)

// Bucket implements objectstore.Bucket. Use Open.
//
// Directories that have become empty stay until the next Open: removing them while others put
// objects into them would need a lock held while the disk works.
type Bucket struct {
	fs    vfs.FS
	dir   string
	clock clock.Clock
	// temps counts the temporary files.
	temps atomic.Uint64
	// failed is set once a directory could not be synced.
	failed  atomic.Pointer[error]
	buffers sync.Pool // *[]byte for batchBlocks blocks
	writers sync.Pool // *writer

	mu struct {
		sync.Mutex
		// durable holds the directories known to survive.
		durable map[string]bool
	}
}

// Open opens the bucket in a directory of fs, making it if need be. Objects are dated by c. It
// removes what crashed Puts left and directories without an object, makes everything it finds
// durable, and refuses symbolic links. Nobody else may use the directory meanwhile or afterwards:
// whoever opens the data directory holds its lock.
func Open(fs vfs.FS, dir string, c clock.Clock) (*Bucket, error) {
	b := &Bucket{fs: fs, dir: dir, clock: c}
	b.buffers.New = func() any { return new([]byte) }
	b.writers.New = func() any { return newWriter() }
	b.mu.durable = map[string]bool{".": true}
	if err := b.ensure(dir); err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	if _, err := b.tidy(dir); err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	return b, nil
}

// tidy removes what is left over below a directory and makes the rest durable: a process that was
// killed may have left names that this one would show and a power cut then take away. It reports
// whether the directory is empty now.
func (b *Bucket) tidy(dir string) (empty bool, err error) {
	entries, err := b.fs.List(dir)
	if err != nil {
		return false, err
	}
	left := len(entries)
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		element, ours := decode(e.Name)
		gone := false
		switch {
		case e.Irregular:
			return false, fmt.Errorf("%q is neither a file nor a directory", name)
		case e.Dir && ours && element.dir:
			if gone, err = b.tidy(name); err != nil {
				return false, err
			}
		case !e.Dir:
			gone = isTemp(e.Name)
		}
		if gone {
			if err := b.fs.Remove(name); err != nil {
				return false, err
			}
			left--
		}
	}
	if left == 0 && dir != b.dir {
		return true, nil
	}
	b.mu.durable[dir] = true
	return false, b.fs.SyncDir(dir)
}

// Put implements objectstore.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	if err := b.usable(ctx, key); err != nil {
		return objectstore.Info{}, err
	}
	name := b.fileOf(key)
	dir := path.Dir(name)
	if err := b.ensure(dir); err != nil {
		return objectstore.Info{}, fmt.Errorf("store object: %w", full(err))
	}
	temp := path.Join(dir, tempName(b.temps.Add(1)))
	h, err := b.write(temp, key, body)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = b.fs.Rename(temp, name)
	}
	if err != nil {
		// Should the file not go away now, the next Open removes it.
		if rerr := b.fs.Remove(temp); !errors.Is(rerr, vfs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return objectstore.Info{}, fmt.Errorf("store object: %w", full(err))
	}
	if err := b.syncDir(dir); err != nil {
		return objectstore.Info{}, fmt.Errorf("store object: %w", err)
	}
	return h.info(), nil
}

// write makes the temporary file, whole and synced.
func (b *Bucket) write(temp, key string, body io.Reader) (h header, err error) {
	f, err := b.fs.Open(temp, vfs.Create|vfs.Exclusive|vfs.Direct)
	if err != nil {
		return header{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := b.writers.Get().(*writer)
	defer b.writers.Put(w)
	return w.write(f, key, body, func() int64 { return b.clock.Now().UnixNano() })
}

// Get implements objectstore.Bucket.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := b.usable(ctx, key); err != nil {
		return nil, err
	}
	name := b.fileOf(key)
	f, h, err := b.openObject(name, key)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > h.size {
		return nil, errors.Join(objectstore.ErrRange, f.Close())
	}
	end := h.size
	if length >= 0 && length < h.size-offset {
		end = offset + length
	}
	return &body{f: f, name: name, h: h, next: offset, end: end, pool: &b.buffers, buf: b.buffers.Get().(*[]byte)}, nil
}

// Stat implements objectstore.Bucket.
func (b *Bucket) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	if err := b.usable(ctx, key); err != nil {
		return objectstore.Info{}, err
	}
	return b.info(b.fileOf(key), key)
}

func (b *Bucket) info(name, key string) (objectstore.Info, error) {
	f, h, err := b.openObject(name, key)
	if err != nil {
		return objectstore.Info{}, err
	}
	return h.info(), f.Close()
}

func (h *header) info() objectstore.Info {
	return objectstore.Info{Key: h.key, Size: h.size, Modified: time.Unix(0, h.modified).UTC()}
}

// Delete implements objectstore.Bucket. When it returns nil the object does not come back.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := b.usable(ctx, key); err != nil {
		return err
	}
	name := b.fileOf(key)
	err := b.fs.Remove(name)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = b.syncDir(path.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("delete object: %w", err)
	}
	return nil
}

// List implements objectstore.Bucket. It reads the directories that may hold such keys, each as a
// whole.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]objectstore.Info, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	l := listing{b: b, prefix: prefix, after: after, limit: limit}
	if limit <= 0 {
		return nil, nil
	}
	if err := l.walk(ctx, b.dir, ""); err != nil {
		return nil, err
	}
	return l.found, nil
}

// listing is one List on its way through the directories.
type listing struct {
	b             *Bucket
	prefix, after string
	limit         int
	found         []objectstore.Info
}

// entry is a name in a directory: an object's key, or what all keys below a directory begin with.
type entry struct {
	text string
	name string
	dir  bool
}

// walk lists what is in and below dir, whose keys all begin with base.
func (l *listing) walk(ctx context.Context, dir, base string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	listed, err := l.b.fs.List(dir)
	if err != nil {
		return fmt.Errorf("list objects: %w", err)
	}
	entries := make([]entry, 0, len(listed))
	for _, e := range listed {
		element, ours := decode(e.Name)
		if ours && e.Irregular {
			return fmt.Errorf("list objects: %q is neither a file nor a directory", path.Join(dir, e.Name))
		}
		text := base + element.text
		if ours && element.dir == e.Dir && l.wants(text, e.Dir) {
			entries = append(entries, entry{text: text, name: path.Join(dir, e.Name), dir: e.Dir})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.text, b.text) })
	for _, e := range entries {
		if len(l.found) == l.limit {
			return nil
		}
		if e.dir {
			err = l.walk(ctx, e.name, e.text)
		} else {
			err = l.add(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wants says whether the key, or some key below the directory, may be asked for.
func (l *listing) wants(text string, dir bool) bool {
	if !dir {
		return text > l.after && strings.HasPrefix(text, l.prefix)
	}
	return (strings.HasPrefix(text, l.prefix) || strings.HasPrefix(l.prefix, text)) &&
		(text > l.after || strings.HasPrefix(l.after, text))
}

func (l *listing) add(e entry) error {
	info, err := l.b.info(e.name, e.text)
	if errors.Is(err, objectstore.ErrNotFound) {
		return nil // deleted meanwhile
	}
	if err == nil {
		l.found = append(l.found, info)
	}
	return err
}

func (b *Bucket) fileOf(key string) string { return path.Join(b.dir, pathOf(key)) }

// ensure makes a directory and those above it, durably. Who finds a directory that is not known to
// be durable, because another Put is just making it, syncs it as well.
func (b *Bucket) ensure(dir string) error {
	b.mu.Lock()
	durable := b.mu.durable[dir]
	b.mu.Unlock()
	if durable {
		return nil
	}
	above := path.Dir(dir)
	if err := b.ensure(above); err != nil {
		return err
	}
	if err := b.fs.Mkdir(dir); err != nil {
		return err
	}
	if err := b.syncDir(above); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.durable[dir] = true
	return nil
}

// syncDir makes the names in a directory durable or ends the bucket.
func (b *Bucket) syncDir(dir string) error {
	err := b.fs.SyncDir(dir)
	if err != nil {
		err = fmt.Errorf("sync directory %q: %w", dir, err)
		b.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// usable returns why a call must not begin.
func (b *Bucket) usable(ctx context.Context, key string) error {
	if err := objectstore.CheckKey(key); err != nil {
		return err
	}
	return b.ready(ctx)
}

func (b *Bucket) ready(ctx context.Context) error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

// full gives the error of a full disk the name that callers branch on.
func full(err error) error {
	if errors.Is(err, vfs.ErrNoSpace) {
		return fmt.Errorf("%w: %w", objectstore.ErrFull, err)
	}
	return err
}
