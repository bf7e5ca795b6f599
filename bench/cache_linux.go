package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const adviseDontNeed = 4 // POSIX_FADV_DONTNEED

// dropCache drops what the system has cached of the files below dir, and of no others.
func dropCache(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		// Only what is on the disk can be dropped.
		if err := f.Sync(); err != nil {
			return err
		}
		if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, adviseDontNeed, 0, 0); errno != 0 {
			return errno
		}
		return nil
	})
}
