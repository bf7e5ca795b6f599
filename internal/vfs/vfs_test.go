package vfs

import (
	"errors"
	"testing"
)

func TestAlignedBuffer(t *testing.T) {
	for _, n := range []int{0, 1, Alignment, Alignment + 1, 10 * Alignment} {
		b := AlignedBuffer(n)
		if len(b) != n || cap(b) != n {
			t.Errorf("AlignedBuffer(%d) has length %d and capacity %d", n, len(b), cap(b))
		}
		if n > 0 && address(b)%Alignment != 0 {
			t.Errorf("AlignedBuffer(%d) is at %#x", n, address(b))
		}
	}
}

func TestCheckAligned(t *testing.T) {
	b := AlignedBuffer(4 * Alignment)
	f := func(p []byte, off int64, want error) {
		t.Helper()
		if err := CheckAligned(p, off); !errors.Is(err, want) {
			t.Errorf("CheckAligned(%d bytes, %d) = %v, want %v", len(p), off, err, want)
		}
	}
	f(b, 0, nil)
	f(b[Alignment:2*Alignment], 3*Alignment, nil)
	f(nil, 1, nil)
	f(b[:1], 0, ErrUnaligned)
	f(b[1:Alignment+1], 0, ErrUnaligned)
	f(b[:Alignment], 512, ErrUnaligned)
}

func TestCheckName(t *testing.T) {
	f := func(name string, want error) {
		t.Helper()
		if err := CheckName("open", name); !errors.Is(err, want) {
			t.Errorf("CheckName(%q) = %v, want %v", name, err, want)
		}
	}
	f(".", nil)
	f("a/b.c", nil)
	f("", ErrName)
	f("/a", ErrName)
	f("a/../b", ErrName)
}
