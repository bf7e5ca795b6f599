// Package memfs is a file system in memory that knows what a power cut would leave of it. It is
// for tests: CrashClone returns one of the file systems that a machine might find after the power
// came back, drawn by a seeded generator, and the original goes on.
//
//	disk := memfs.New()
//	… run the engine on disk, note what it acknowledges …
//	after := disk.CrashClone(rand.New(rand.NewPCG(seed, 0)))
//	… recover on after: everything acknowledged must be there …
//
// It does not model a disk that breaks its promises (lost or flipped bits after Sync): tests write
// such damage themselves. Errors come from package errfs.
package memfs

import (
	"cmp"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/headrace/headrace/internal/vfs"
)

// FS implements vfs.FS.
//
// It keeps every name twice: as the programs see it, and as the disk holds it for certain. The
// changes of names between the two wait in pending until SyncDir. Each file does the same with
// its content.
type FS struct {
	room int64

	mu struct {
		sync.Mutex
		names   map[string]*node // what programs see, by full name; "." is there
		durable map[string]*node // what survives for certain
		pending []nameChange     // in the order made
		locks   map[string]bool
		used    int64
	}
}

// node is a file or directory. Names point at nodes, so that a renamed file keeps its content.
type node struct {
	dir     bool
	content content
}

// nameChange is one creation, rename or removal that may not have reached the disk.
type nameChange struct {
	node *node
	// from is the name taken away, to the one given; either may be empty.
	from, to string
	// unsynced are the directories whose SyncDir is still missing.
	unsynced []string
}

// New returns an empty file system without limit.
func New() *FS { return NewSized(0) }

// NewSized returns an empty file system whose files hold room bytes in all, or any number if room
// is 0.
func NewSized(room int64) *FS {
	f := &FS{room: room}
	f.mu.names = map[string]*node{".": {dir: true}}
	f.mu.durable = map[string]*node{".": f.mu.names["."]}
	f.mu.locks = make(map[string]bool)
	return f
}

// Open implements vfs.FS.
func (f *FS) Open(name string, flag vfs.Flag) (vfs.File, error) {
	if err := vfs.CheckName("open", name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.mu.names[name]
	switch {
	case n == nil && flag&vfs.Create != 0:
		if err := f.parentLocked("open", name); err != nil {
			return nil, err
		}
		n = &node{}
		f.changeLocked(n, "", name)
	case n == nil:
		return nil, fail("open", name, fs.ErrNotExist)
	case n.dir:
		return nil, fail("open", name, errIsDir)
	case flag&vfs.Create != 0 && flag&vfs.Exclusive != 0:
		return nil, fail("open", name, fs.ErrExist)
	}
	return &file{fs: f, node: n, name: name, flag: flag}, nil
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	for _, name := range []string{from, to} {
		if err := vfs.CheckName("rename", name); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, replaced := f.mu.names[from], f.mu.names[to]
	if n == nil {
		return fail("rename", from, fs.ErrNotExist)
	}
	if n.dir || (replaced != nil && replaced.dir) {
		return fail("rename", from, errIsDir)
	}
	if err := f.parentLocked("rename", to); err != nil {
		return err
	}
	if n == replaced {
		return nil
	}
	if replaced != nil {
		f.mu.used -= replaced.content.size()
	}
	f.changeLocked(n, from, to)
	return nil
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	if err := vfs.CheckName("remove", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.mu.names[name]
	if n == nil {
		return fail("remove", name, fs.ErrNotExist)
	}
	if n.dir && (name == "." || len(f.listLocked(name)) > 0) {
		return fail("remove", name, errNotEmpty)
	}
	f.mu.used -= n.content.size()
	f.changeLocked(n, name, "")
	return nil
}

// List implements vfs.FS.
func (f *FS) List(dir string) ([]vfs.Entry, error) {
	if err := vfs.CheckName("list", dir); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.dirLocked("list", dir); err != nil {
		return nil, err
	}
	return f.listLocked(dir), nil
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(dir string) error {
	if err := vfs.CheckName("mkdir", dir); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mkdirLocked(dir)
}

// mkdirLocked makes dir and those above it. REQUIRES: f.mu held.
func (f *FS) mkdirLocked(dir string) error {
	if n := f.mu.names[dir]; n != nil {
		if !n.dir {
			return fail("mkdir", dir, fs.ErrExist)
		}
		return nil
	}
	if err := f.mkdirLocked(path.Dir(dir)); err != nil {
		return err
	}
	f.changeLocked(&node{dir: true}, "", dir)
	return nil
}

// SyncDir implements vfs.FS. A rename between two directories is on the disk for certain when both
// are synced.
func (f *FS) SyncDir(dir string) error {
	if err := vfs.CheckName("syncdir", dir); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.dirLocked("syncdir", dir); err != nil {
		return err
	}
	waiting := f.mu.pending[:0]
	for _, ch := range f.mu.pending {
		ch.unsynced = slices.DeleteFunc(ch.unsynced, func(d string) bool { return d == dir })
		if len(ch.unsynced) == 0 {
			ch.apply(f.mu.durable)
		} else {
			waiting = append(waiting, ch)
		}
	}
	f.mu.pending = waiting
	return nil
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	opened, err := f.Open(name, vfs.Create)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.locks[name] {
		return nil, fail("lock", name, vfs.ErrLocked)
	}
	f.mu.locks[name] = true
	return &lock{file: opened.(*file)}, nil
}

// lock gives the name back once.
type lock struct{ file *file }

func (l *lock) Close() error {
	if err := l.file.Close(); err != nil {
		return err
	}
	f := l.file.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.mu.locks, l.file.name)
	return nil
}

// Space implements vfs.FS. Without a limit it claims 1 TiB.
func (f *FS) Space() (vfs.Space, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	total := f.room
	if total == 0 {
		total = 1 << 40
	}
	return vfs.Space{Free: total - f.mu.used, Total: total}, nil
}

// changeLocked changes a name and notes that the disk may not know. REQUIRES: f.mu held.
func (f *FS) changeLocked(n *node, from, to string) {
	ch := nameChange{node: n, from: from, to: to}
	for _, name := range []string{from, to} {
		if dir := path.Dir(name); name != "" && !slices.Contains(ch.unsynced, dir) {
			ch.unsynced = append(ch.unsynced, dir)
		}
	}
	ch.apply(f.mu.names)
	f.mu.pending = append(f.mu.pending, ch)
}

// apply makes the change in names, where the changes before this one may not have happened: a node
// that is elsewhere moves from there, and one that is not at the name to remove stays where it is.
func (ch nameChange) apply(names map[string]*node) {
	if names[ch.from] == ch.node {
		delete(names, ch.from)
	} else if ch.from != "" && ch.to != "" {
		maps.DeleteFunc(names, func(_ string, n *node) bool { return n == ch.node })
	}
	if ch.to != "" {
		names[ch.to] = ch.node
	}
}

// parentLocked returns an error unless the directory of name exists. REQUIRES: f.mu held.
func (f *FS) parentLocked(op, name string) error { return f.dirLocked(op, path.Dir(name)) }

// dirLocked returns an error unless dir is a directory. REQUIRES: f.mu held.
func (f *FS) dirLocked(op, dir string) error {
	n := f.mu.names[dir]
	if n == nil {
		return fail(op, dir, fs.ErrNotExist)
	}
	if !n.dir {
		return fail(op, dir, errNotDir)
	}
	return nil
}

// listLocked returns what is in dir. REQUIRES: f.mu held.
func (f *FS) listLocked(dir string) []vfs.Entry {
	entries := []vfs.Entry{}
	for name, n := range f.mu.names {
		if isIn(dir, name) {
			entries = append(entries, vfs.Entry{Name: path.Base(name), Dir: n.dir, Size: n.content.size()})
		}
	}
	slices.SortFunc(entries, func(a, b vfs.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return entries
}

// isIn says whether name is directly in dir. It makes nothing of the names, which are many.
func isIn(dir, name string) bool {
	if dir != "." {
		rest, below := strings.CutPrefix(name, dir)
		if !below || rest == "" || rest[0] != '/' {
			return false
		}
		name = rest[1:]
	}
	return name != "." && strings.IndexByte(name, '/') < 0
}

// reachable says whether every directory above name is in names.
func reachable(names map[string]*node, name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if n := names[dir]; n == nil || !n.dir {
			return false
		}
	}
	return true
}
