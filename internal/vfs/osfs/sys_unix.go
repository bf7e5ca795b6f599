//go:build linux || darwin || freebsd

package osfs

import (
	"errors"
	"os"
	"syscall"

	"github.com/headrace/headrace/internal/vfs"
)

func syncDir(d *os.File) error { return d.Sync() }

// lockFile takes an exclusive lock that ends with the descriptor.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return vfs.ErrLocked
	}
	return err
}

func deviceSpace(dir string) (vfs.Space, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return vfs.Space{}, err
	}
	block := int64(s.Bsize)
	return vfs.Space{Free: int64(s.Bavail) * block, Total: int64(s.Blocks) * block}, nil
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
