//go:build !linux && !darwin && !windows

package config

func machineMemory() int64 { return fallbackMemory }
