// Package backup is the backup of a data directory as one tar archive: it takes one of a server's
// engines while they work, keeps it in a file, and makes a data directory of it again. It knows
// which objects a server keeps and in which order they stand on each other; what is in them is the
// business of the packages that write them. It is not a copy of the directory: the write-ahead log
// is not in it, nor anything that only one machine needs. docs/format/backup.md draws the archive.
//
//	b, err := backup.Begin(ctx, backup.Source{Log: store, Rows: rows, State: bucket, Clock: now})
//	err = b.Write(ctx, w)                                      // the server's side
//	summary, err := backup.Save(ctx, fs, "headrace.tar", body) // the other side: checks and stores it
//	…
//	restored, err := backup.RestoreDirectory(ctx, "/var/lib/headrace", file, key, clock.System{})
package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The names of the entries that are no objects: the first, which says what the archive is, and the
// last, without which it is none.
const (
	titleName   = "BACKUP"
	listingName = "LISTING"
	magic       = "headrace backup "
	version     = "1"
)

var (
	// ErrNotWhole says that an archive has no listing at its end: it was cut short.
	ErrNotWhole = errors.New("the backup is not whole: it was cut short")
	// ErrDamaged says that an archive is not as it was written; the error around it says where.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrNotBackup says that something else was given for a backup.
	ErrNotBackup = errors.New("not a backup of headrace")
	// ErrVersion says that a newer program has written the archive.
	ErrVersion = errors.New("the backup was written by a newer version")
)

// Entry is an object in an archive.
type Entry struct {
	// Name is the part of the data directory, a slash, and the object's key.
	Name string
	// Size is in bytes.
	Size int64
}

// Summary says what an archive holds.
type Summary struct {
	// Taken is when it was taken, by the server's clock.
	Taken time.Time
	// Objects is how many objects there are, Bytes what they have together.
	Objects int
	Bytes   int64
}

// listing is what the last entry says: a line for each entry before it.
type listing struct {
	text  bytes.Buffer
	names map[string]bool
	lines int
}

// add adds an entry whose content has been hashed.
func (l *listing) add(e Entry, sum []byte) {
	l.lines++
	fmt.Fprintf(&l.text, "%x %d %s\n", sum, e.Size, e.Name)
}

// take notes a name, and refuses one that there was or that would not stay on its line.
func (l *listing) take(name string) error {
	if l.names == nil {
		l.names = make(map[string]bool)
	}
	if name == "" || l.names[name] || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' }) {
		return fmt.Errorf("entry %q: the name cannot be, or was there before", name)
	}
	l.names[name] = true
	return nil
}

// end returns the listing whole.
func (l *listing) end() []byte {
	out := bytes.Clone(l.text.Bytes())
	return fmt.Appendf(out, "end %d %x\n", l.lines, sha256.Sum256(out))
}

// writer writes an archive.
type writer struct {
	tar     *tar.Writer
	taken   time.Time
	listing listing
	buf     []byte
}

// newWriter begins an archive.
func newWriter(w io.Writer, taken time.Time) (*writer, error) {
	aw := &writer{tar: tar.NewWriter(w), taken: taken.UTC().Truncate(time.Second), buf: make([]byte, 256<<10)}
	title := fmt.Sprintf("%s%s\ntaken %s\n", magic, version, aw.taken.Format(time.RFC3339))
	return aw, aw.add(Entry{titleName, int64(len(title))}, strings.NewReader(title))
}

// add writes an entry, which must have the size told.
func (w *writer) add(e Entry, body io.Reader) error {
	if err := w.listing.take(e.Name); err != nil {
		return err
	}
	hash := sha256.New()
	if err := w.entry(e, io.TeeReader(body, hash)); err != nil {
		return err
	}
	w.listing.add(e, hash.Sum(nil))
	return nil
}

func (w *writer) entry(e Entry, body io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.Name, Size: e.Size, Mode: 0o600, ModTime: w.taken}
	err := w.tar.WriteHeader(h)
	if err == nil {
		_, err = io.CopyBuffer(w.tar, struct{ io.Reader }{body}, w.buf)
	}
	if err == nil {
		err = w.tar.Flush() // it is too short if that fails
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", e.Name, err)
	}
	return nil
}

// close writes the listing, which makes it a backup.
func (w *writer) close() error {
	text := w.listing.end()
	if err := w.entry(Entry{listingName, int64(len(text))}, bytes.NewReader(text)); err != nil {
		return err
	}
	return w.tar.Close()
}

// Read reads an archive to its end and calls each for every object, in the archive's order; each
// reads the body or leaves it. Nothing of what each was given counts unless Read returns nil: only
// then it is known to be what was written. An error of each ends the reading.
func Read(ctx context.Context, r io.Reader, each func(e Entry, body io.Reader) error) (Summary, error) {
	ar := reader{tar: tar.NewReader(until(ctx, r)), each: each}
	for {
		h, err := ar.tar.Next()
		switch {
		case err == io.EOF && ar.listing.lines == 0:
			return ar.summary, fmt.Errorf("%w: it is empty", ErrNotBackup)
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			return ar.summary, ErrNotWhole
		case err != nil:
			return ar.summary, ar.wrong(err)
		case ar.listing.lines > 0 && h.Name == listingName:
			if err := ar.end(h); err != nil {
				return ar.summary, err
			}
			return ar.summary, ar.nothingFollows(until(ctx, r))
		}
		if err := ar.entry(h); err != nil {
			return ar.summary, err
		}
	}
}

// reader reads an archive.
type reader struct {
	tar     *tar.Reader
	each    func(Entry, io.Reader) error
	summary Summary
	listing listing
}

// wrong turns an error of the tar reader into damage, unless reading itself failed.
func (r *reader) wrong(err error) error {
	if !errors.Is(err, tar.ErrHeader) {
		return fmt.Errorf("read backup: %w", err)
	}
	if r.listing.lines == 0 {
		return ErrNotBackup
	}
	return fmt.Errorf("%w: what follows entry %d is none", ErrDamaged, r.listing.lines)
}

// entry reads one entry that is not the listing.
func (r *reader) entry(h *tar.Header) error {
	first := r.listing.lines == 0
	if first && h.Name != titleName {
		return ErrNotBackup
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") { // a few bytes that stand for many
			return fmt.Errorf("%w: entry %q is sparse", ErrDamaged, h.Name)
		}
	}
	if h.Typeflag != tar.TypeReg || h.Size < 0 {
		return fmt.Errorf("%w: entry %q is not a file", ErrDamaged, h.Name)
	}
	if err := r.listing.take(h.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	e, hash := Entry{h.Name, h.Size}, sha256.New()
	body := io.TeeReader(r.tar, hash)
	err := error(nil)
	if first {
		err = r.title(body)
	} else {
		r.summary.Objects, r.summary.Bytes = r.summary.Objects+1, r.summary.Bytes+e.Size
		err = r.each(e, body)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrNotWhole
	}
	if err != nil && !first {
		err = fmt.Errorf("%s: %w", e.Name, err)
	}
	if err != nil {
		return err
	}
	r.listing.add(e, hash.Sum(nil))
	return nil
}

// title reads the first entry.
func (r *reader) title(body io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(body, 1<<10))
	if err != nil {
		return err
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	switch v, ok := strings.CutPrefix(first, magic); {
	case !ok:
		return ErrNotBackup
	case v != version:
		return fmt.Errorf("%w: version %q", ErrVersion, v)
	}
	taken, ok := strings.CutPrefix(strings.TrimSuffix(rest, "\n"), "taken ")
	if r.summary.Taken, err = time.Parse(time.RFC3339, taken); !ok || err != nil {
		return fmt.Errorf("%w: it does not say when it was taken", ErrDamaged)
	}
	return nil
}

// end compares the listing with what was read.
func (r *reader) end(h *tar.Header) error {
	want := r.listing.end()
	got, err := io.ReadAll(io.LimitReader(r.tar, int64(len(want))+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ErrNotWhole
	case err != nil:
		return fmt.Errorf("read backup: %w", err)
	case bytes.Equal(got, want):
		return nil
	}
	// The first line that differs tells which entry it is, unless the listing is damaged itself.
	for line := range bytes.Lines(want) {
		if !bytes.HasPrefix(got, line) {
			name := listingName
			if fields := strings.SplitN(strings.TrimSuffix(string(line), "\n"), " ", 3); fields[0] != "end" {
				name = fields[2]
			}
			return fmt.Errorf("%w: %s is not what the listing says", ErrDamaged, name)
		}
		got = got[len(line):]
	}
	return fmt.Errorf("%w: %s is longer than it should be", ErrDamaged, h.Name)
}

// nothingFollows reads what pads an archive.
func (r *reader) nothingFollows(rest io.Reader) error {
	switch _, err := r.tar.Next(); {
	case err == nil, errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: something follows its listing", ErrDamaged)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ErrNotWhole
	case err != io.EOF:
		return fmt.Errorf("read backup: %w", err)
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := rest.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return fmt.Errorf("%w: something follows its end", ErrDamaged)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read backup: %w", err)
		}
	}
}

// until reads until the context ends.
func until(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

type readerFunc func(p []byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
