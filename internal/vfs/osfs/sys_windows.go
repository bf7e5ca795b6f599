package osfs

import (
	"errors"
	"os"
	"syscall"
	"unsafe"

	"github.com/headrace/headrace/internal/vfs"
)

const (
	lockExclusive     = 0x2
	lockAtOnce        = 0x1
	errLockViolation  = syscall.Errno(33)
	errDiskFull       = syscall.Errno(112)
	errHandleDiskFull = syscall.Errno(39)
)

// syncDir does nothing: directories cannot be synced, and NTFS journals names in order.
func syncDir(*os.File) error { return nil }

// lockFile locks the first byte; the lock ends with the handle.
func lockFile(f *os.File) error {
	lock := syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")
	var at syscall.Overlapped
	ok, _, err := lock.Call(f.Fd(), lockExclusive|lockAtOnce, 0, 1, 0, uintptr(unsafe.Pointer(&at)))
	if ok != 0 {
		return nil
	}
	if errors.Is(err, errLockViolation) {
		return vfs.ErrLocked
	}
	return err
}

func deviceSpace(dir string) (vfs.Space, error) {
	path, err := syscall.UTF16PtrFromString(dir)
	if err != nil {
		return vfs.Space{}, err
	}
	var free, total uint64
	ask := syscall.NewLazyDLL("kernel32.dll").NewProc("GetDiskFreeSpaceExW")
	ok, _, err := ask.Call(uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&free)), uintptr(unsafe.Pointer(&total)), 0)
	if ok == 0 {
		return vfs.Space{}, err
	}
	return vfs.Space{Free: int64(free), Total: int64(total)}, nil
}

func isNoSpace(err error) bool {
	return errors.Is(err, errDiskFull) || errors.Is(err, errHandleDiskFull)
}
