package osfs

import (
	"errors"
	"os"
	"syscall"
)

// directFlag opens a file past the page cache.
const directFlag = syscall.O_DIRECT

// syncData writes content and size to the device, but not times and modes: on a file that is only
// overwritten, fdatasync needs no journal commit.
func syncData(f *os.File) error {
	return control(f, "fdatasync", func(fd int) error { return syscall.Fdatasync(fd) })
}

// allocate reserves the room first, so that a full device is found before anything is written.
func allocate(f *os.File, from, to int64) error {
	err := control(f, "fallocate", func(fd int) error {
		return syscall.Fallocate(fd, 0, from, to-from)
	})
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return f.Truncate(to)
	}
	return err
}

// control runs call on the file's descriptor, again while a signal interrupts it.
func control(f *os.File, name string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			if result = call(int(fd)); result != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		// Control fails only on a closed file, with an error that has no name.
		result = os.ErrClosed
	}
	if result != nil {
		return &os.PathError{Op: name, Path: f.Name(), Err: result}
	}
	return nil
}
