package config

import (
	"encoding/binary"
	"syscall"
)

func machineMemory() int64 {
	text, err := syscall.Sysctl("hw.memsize")
	if err != nil || len(text) > 8 {
		return fallbackMemory
	}
	// Sysctl is made for strings and cuts a trailing zero byte off the little-endian number.
	var raw [8]byte
	copy(raw[:], text)
	if n := int64(binary.LittleEndian.Uint64(raw[:])); n > 0 {
		return n
	}
	return fallbackMemory
}
