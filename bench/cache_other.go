//go:build !linux

package main

import "errors"

// dropCache is Linux's.
func dropCache(string) error {
	return errors.New("files are dropped from the system's cache on Linux only")
}
