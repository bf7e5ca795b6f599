//go:build !linux

package main

import "errors"

// wal is Linux's: it needs O_DIRECT and fdatasync.
type wal struct{}

func openWAL(string) (*wal, error) {
	return nil, errors.New("the durable ceiling is measured on Linux only")
}

func (*wal) append([]byte) error { return nil }
