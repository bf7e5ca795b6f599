//go:build !linux

package osfs

import "os"

// directFlag is 0 where files are always buffered.
const directFlag = 0

func syncData(f *os.File) error { return f.Sync() }

// allocate reserves nothing: a later write may find the device full.
func allocate(f *os.File, _, to int64) error { return f.Truncate(to) }
