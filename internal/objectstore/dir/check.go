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

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/vfs"
)

// ErrReadOnly says that a bucket made by Check was asked to change something.
var ErrReadOnly = errors.New("objectstore: opened for reading only")

// Checked is a bucket whose every object has been read by Check. It changes nothing: Put and Delete
// answer ErrReadOnly. List gives all objects, damaged ones as well, those without size and time;
// Get and Stat answer ErrCorrupt for them.
type Checked struct {
	bucket Bucket
	infos  []objectstore.Info
	bad    map[string]bool
}

var _ objectstore.Bucket = (*Checked)(nil)

// Check reads every object of a bucket that nobody has open and changes nothing. It tells found of
// each file that is not as it was written, with the offset in it, and goes on. What a crash leaves
// is no damage. A directory that is missing is an empty bucket. The error is ctx's or that of
// listing a directory.
func Check(ctx context.Context, fs vfs.FS, dir string, found func(file string, offset int64, err error)) (*Checked, error) {
	c := &Checked{bucket: Bucket{fs: fs, dir: dir}, bad: make(map[string]bool)}
	c.bucket.buffers.New = func() any { return new([]byte) }
	err := c.walk(ctx, dir, "", found)
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return nil, fmt.Errorf("check objects: %w", err)
	}
	slices.SortFunc(c.infos, func(a, b objectstore.Info) int { return cmp.Compare(a.Key, b.Key) })
	return c, nil
}

// walk reads what is in and below dir, whose keys all begin with base.
func (c *Checked) walk(ctx context.Context, dir, base string, found func(file string, offset int64, err error)) error {
	entries, err := c.bucket.fs.List(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		element, ours := decode(e.Name)
		switch {
		case e.Irregular:
			found(name, 0, errors.New("it is neither a file nor a directory"))
		case !ours || element.dir != e.Dir:
		case e.Dir:
			if err := c.walk(ctx, name, base+element.text, found); err != nil {
				return err
			}
		default:
			info, offset, err := c.object(ctx, name, base+element.text)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				found(name, offset, err)
				info = objectstore.Info{Key: base + element.text}
				c.bad[info.Key] = true
			}
			c.infos = append(c.infos, info)
		}
	}
	return nil
}

// object reads one object to its end; with an error it says how far that went.
func (c *Checked) object(ctx context.Context, name, key string) (objectstore.Info, int64, error) {
	f, h, err := c.bucket.openObject(name, key)
	if err != nil {
		return objectstore.Info{}, 0, err
	}
	r := &body{f: f, name: name, h: h, end: h.size, pool: &c.bucket.buffers, buf: c.bucket.buffers.Get().(*[]byte)}
	for err == nil {
		if err = ctx.Err(); err == nil {
			r.data = nil // it has been looked at; nobody wants it
			_, err = r.advance(nil)
		}
	}
	at := headerBytes(key) + r.number*strideBytes
	if cerr := r.Close(); err == io.EOF {
		err = cerr
	}
	return h.info(), at, err
}

// Objects is how many objects there are.
func (c *Checked) Objects() int { return len(c.infos) }

// Place returns the object's file, and where in that byte n of the object stands.
func (c *Checked) Place(key string, n int64) (file string, offset int64) {
	return c.bucket.fileOf(key), headerBytes(key) + n + n/blockBytes*checksumBytes
}

// Put implements objectstore.Bucket.
func (c *Checked) Put(context.Context, string, io.Reader) (objectstore.Info, error) {
	return objectstore.Info{}, ErrReadOnly
}

// Delete implements objectstore.Bucket.
func (c *Checked) Delete(context.Context, string) error { return ErrReadOnly }

// Get implements objectstore.Bucket.
func (c *Checked) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if c.bad[key] {
		return nil, objectstore.ErrCorrupt
	}
	return c.bucket.Get(ctx, key, offset, length)
}

// Stat implements objectstore.Bucket.
func (c *Checked) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	if c.bad[key] {
		return objectstore.Info{}, objectstore.ErrCorrupt
	}
	return c.bucket.Stat(ctx, key)
}

// List implements objectstore.Bucket.
func (c *Checked) List(_ context.Context, prefix, after string, limit int) ([]objectstore.Info, error) {
	var out []objectstore.Info
	for _, info := range c.infos {
		if len(out) < limit && info.Key > after && strings.HasPrefix(info.Key, prefix) {
			out = append(out, info)
		}
	}
	return out, nil
}
