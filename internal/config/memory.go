package config

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// fallbackMemory is assumed where the machine's memory cannot be read.
const fallbackMemory = 2 << 30

// linuxMemory returns what this process may use, in bytes: the machine's memory or the tightest
// limit of the control groups it is in, whichever is less. root is the file system's root.
//
// In a container the control group's own path is usually "/" and its limit stands in the mount's
// root; on a host the limits of all parents count too, so every directory up to the root is read.
func linuxMemory(root fs.FS) int64 {
	total := int64(math.MaxInt64)
	if meminfo, err := fs.ReadFile(root, "proc/meminfo"); err == nil {
		for line := range strings.Lines(string(meminfo)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
				if kib, err := strconv.ParseInt(f[1], 10, 53); err == nil {
					total = kib << 10
				}
			}
		}
	}
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		// hierarchy-id:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(f) != 3:
		case f[0] == "0" && f[1] == "":
			total = min(total, groupLimit(root, "sys/fs/cgroup", f[2], "memory.max"))
		case strings.Contains(","+f[1]+",", ",memory,"):
			total = min(total, groupLimit(root, "sys/fs/cgroup/memory", f[2], "memory.limit_in_bytes"))
		}
	}
	if total <= 0 || total == math.MaxInt64 {
		return fallbackMemory
	}
	return total
}

// groupLimit returns the least limit set in dir/group/file or any directory above it up to dir.
func groupLimit(root fs.FS, dir, group, file string) int64 {
	limit := int64(math.MaxInt64)
	for at := path.Clean("/" + group); ; at = path.Dir(at) {
		text, err := fs.ReadFile(root, path.Join(dir, at, file))
		if err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				limit = min(limit, n)
			}
		}
		if at == "/" {
			return limit
		}
	}
}
