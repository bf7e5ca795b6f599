package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/vfs"
)

// sequence is a row of files that are written one after the other. It belongs to one goroutine.
type sequence struct {
	fs                    vfs.FS
	dir, prefix           string
	clock                 clock.Clock
	age                   time.Duration
	fileBytes, totalBytes int64

	old      []oldFile // oldest first, the current one not among them
	last     uint64    // the number of the newest file
	name     string    // of the current file; "" for none
	file     vfs.File
	size     int64
	made     time.Time
	unsynced int64 // bytes written since the last sync
}

// oldFile is a file that is complete.
type oldFile struct {
	name string
	size int64
}

const (
	suffix = ".jsonl"
	// numberWidth makes names sort by number.
	numberWidth = 10
	stamp       = "20060102T150405Z"
	// maxFiles bounds the files of a disk that fails, each of which ends with the failure.
	maxFiles = 1000
)

// fileName returns the name of a file: its number, which orders it, and when it was made, for people.
func (s *sequence) fileName(number uint64, made time.Time) string {
	return fmt.Sprintf("%s%0*d-%s%s", s.prefix, numberWidth, number, made.UTC().Format(stamp), suffix)
}

// parseName is the inverse of fileName; false for a name that is not one of ours.
func (s *sequence) parseName(name string) (number uint64, made time.Time, ok bool) {
	rest, ok1 := strings.CutPrefix(name, s.prefix)
	rest, ok2 := strings.CutSuffix(rest, suffix)
	digits, at, ok3 := strings.Cut(rest, "-")
	if !ok1 || !ok2 || !ok3 || len(digits) != numberWidth {
		return 0, time.Time{}, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, time.Time{}, false
	}
	if made, err = time.Parse(stamp, at); err != nil {
		return 0, time.Time{}, false
	}
	return number, made, true
}

// recover lists the files and makes the newest one current, without what a crash left of its end.
func (s *sequence) recover() error {
	entries, err := s.fs.List(s.dir) // sorted by name, which is by number
	if err != nil {
		return err
	}
	for _, e := range entries {
		if number, _, ok := s.parseName(e.Name); ok && !e.Dir && !e.Irregular {
			s.old = append(s.old, oldFile{e.Name, e.Size})
			s.last = number
		}
	}
	if len(s.old) == 0 {
		return nil
	}
	newest := s.old[len(s.old)-1]
	file, err := s.fs.Open(path.Join(s.dir, newest.name), 0)
	if err != nil {
		return err
	}
	size, err := wholeLines(file, newest.size)
	if err == nil && size < newest.size {
		err = file.Truncate(size)
	}
	if err == nil { // a process that was killed may have left more than the disk has
		err = errors.Join(file.Sync(), s.fs.SyncDir(s.dir))
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	s.old = s.old[:len(s.old)-1]
	_, s.made, _ = s.parseName(newest.name)
	s.name, s.file, s.size = newest.name, file, size
	return nil
}

// wholeLines returns where the whole lines of a file end. A crash leaves anything in the place of what
// was not synced, which is at most a batch and what came before it; all before that is left alone.
func wholeLines(f vfs.File, size int64) (int64, error) {
	const suspect = syncBytes + 2*maxBatch + maxLine
	from := max(size-suspect, 0)
	text, err := io.ReadAll(io.NewSectionReader(f, from, size-from))
	if err != nil {
		return 0, err
	}
	if from > 0 { // somewhere in a line
		cut := bytes.IndexByte(text, '\n') + 1
		from, text = from+int64(cut), text[cut:]
	}
	return from + int64(wholeLinesOf(text)), nil
}

// wholeLinesOf returns the length of the lines of JSON that text begins with.
func wholeLinesOf(text []byte) (n int) {
	for {
		end := bytes.IndexByte(text[n:], '\n')
		if end < 0 || !json.Valid(text[n:n+end]) {
			return n
		}
		n += end + 1
	}
}

// append writes whole lines and returns how many were written.
func (s *sequence) append(lines []byte) (written int, err error) {
	for len(lines) > 0 {
		n := min(len(lines), maxBatch, int(s.fileBytes)) // which is more than a line
		if n < len(lines) {
			n = bytes.LastIndexByte(lines[:n], '\n') + 1
		}
		batch := lines[:n]
		lines = lines[n:]
		if err := s.write(batch); err != nil {
			return written, err
		}
		written += bytes.Count(batch, []byte{'\n'})
	}
	return written, nil
}

// write puts one batch into the current file, or into a new one where that is due.
func (s *sequence) write(batch []byte) error {
	now := s.clock.Now()
	if s.file != nil && (s.size > 0 && s.size+int64(len(batch)) > s.fileBytes || now.Sub(s.made) >= s.age) {
		if err := s.close(); err != nil {
			return err
		}
	}
	if s.file == nil {
		if err := s.create(now); err != nil {
			return err
		}
	}
	if _, err := s.file.WriteAt(batch, s.size); err != nil {
		// A part of it may be there: it goes, or the file does.
		if cut := s.file.Truncate(s.size); cut != nil {
			err = errors.Join(err, cut, s.leave())
		}
		return fmt.Errorf("write %s: %w", s.name, err)
	}
	s.size += int64(len(batch))
	s.unsynced += int64(len(batch))
	if s.unsynced >= syncBytes {
		return s.sync()
	}
	return nil
}

// create makes room for a new file and makes it.
func (s *sequence) create(now time.Time) error {
	kept := int64(0)
	for _, f := range s.old {
		kept += f.size
	}
	for len(s.old) > 0 && (kept+s.fileBytes > s.totalBytes || len(s.old) >= maxFiles) {
		if err := s.fs.Remove(path.Join(s.dir, s.old[0].name)); err != nil && !errors.Is(err, vfs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", s.old[0].name, err)
		}
		kept -= s.old[0].size
		s.old = slices.Delete(s.old, 0, 1)
	}
	name := s.fileName(s.last+1, now)
	file, err := s.fs.Open(path.Join(s.dir, name), vfs.Create|vfs.Exclusive)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	s.last++
	s.name, s.file, s.size, s.made = name, file, 0, now
	if err := s.fs.SyncDir(s.dir); err != nil {
		return errors.Join(fmt.Errorf("sync the directory of %s: %w", name, err), s.leave())
	}
	return nil
}

// sync makes what was written durable. A file that cannot be synced is in no known state: the next
// batch has another.
func (s *sequence) sync() error {
	s.unsynced = 0
	if err := s.file.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync %s: %w", s.name, err), s.leave())
	}
	return nil
}

// close ends the current file, synced. One that nothing was written to stays for the next.
func (s *sequence) close() error {
	if s.file == nil {
		return nil
	}
	var err error
	if s.unsynced > 0 {
		err = s.sync()
	}
	return errors.Join(err, s.leave())
}

// leave closes the current file as it is.
func (s *sequence) leave() error {
	if s.file == nil {
		return nil
	}
	s.old = append(s.old, oldFile{s.name, s.size})
	err := s.file.Close()
	s.file, s.unsynced = nil, 0
	return err
}
