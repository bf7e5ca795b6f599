//go:build linux || darwin || freebsd

package slab

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// adviseHugePages is Linux's MADV_HUGEPAGE.
const adviseHugePages = 14

// mapMemory returns n zero bytes of the system's own, nil if it gives none. They take up memory as
// they are first written, on Linux in large pages if it may: one fault then stands for hundreds.
func mapMemory(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	if runtime.GOOS == "linux" {
		_ = unix.Madvise(b, adviseHugePages) // small pages serve as well
	}
	return b
}

// unmapMemory gives back what mapMemory returned. Who touches it afterwards is ended by the system.
func unmapMemory(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic("slab: give memory back: " + err.Error()) // these bytes were never ours
	}
}
