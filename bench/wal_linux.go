package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// wal is the least that makes bytes durable at speed: one file, written once in advance, overwritten
// in a ring through O_DIRECT; one goroutine takes what waits, copies it to an aligned buffer, writes
// it and calls fdatasync. Nothing can be read back from it. It is the ceiling's, not Headrace's.
type wal struct {
	file  *os.File
	size  int64
	at    int64
	buf   []byte
	queue chan walWrite
}

type walWrite struct {
	data []byte
	done chan error
}

const (
	walBytes = 512 << 20
	walGroup = 8 << 20
	walAlign = 4 << 10
)

func openWAL(dir string) (*wal, error) {
	file, err := os.OpenFile(filepath.Join(dir, "ceiling.wal"), os.O_CREATE|os.O_RDWR|syscall.O_DIRECT, 0o600)
	if err != nil {
		return nil, err
	}
	// Mapped memory begins on a page, as O_DIRECT wants it.
	buf, err := syscall.Mmap(-1, 0, walGroup, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	w := &wal{file: file, size: walBytes, buf: buf, queue: make(chan walWrite, 1024)}
	for at := int64(0); at < w.size; at += walGroup {
		if _, err := file.WriteAt(w.buf, at); err != nil {
			return nil, fmt.Errorf("fill: %w", err)
		}
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	go w.commit()
	return w, nil
}

// append makes data durable.
func (w *wal) append(data []byte) error {
	if len(data) > walGroup {
		return errors.New("too large for a group")
	}
	done := make(chan error, 1)
	w.queue <- walWrite{data, done}
	return <-done
}

func (w *wal) commit() {
	var waiting []walWrite
	for first := range w.queue {
		waiting = append(waiting[:0], first)
		n := copy(w.buf, first.data)
	gather:
		for {
			select {
			case next := <-w.queue:
				if n+len(next.data) > walGroup {
					go func() { w.queue <- next }() // a ceiling need not keep order
					break gather
				}
				n += copy(w.buf[n:], next.data)
				waiting = append(waiting, next)
			default:
				break gather
			}
		}
		err := w.write((n + walAlign - 1) &^ (walAlign - 1))
		for _, one := range waiting {
			one.done <- err
		}
	}
}

func (w *wal) write(n int) error {
	if w.at+int64(n) > w.size {
		w.at = 0
	}
	if _, err := w.file.WriteAt(w.buf[:n], w.at); err != nil {
		return err
	}
	w.at += int64(n)
	return syscall.Fdatasync(int(w.file.Fd()))
}
