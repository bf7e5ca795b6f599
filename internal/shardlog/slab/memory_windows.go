package slab

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapMemory returns n zero bytes of the system's own, nil if it gives none.
func mapMemory(n int) []byte {
	at, err := windows.VirtualAlloc(0, uintptr(n), windows.MEM_RESERVE|windows.MEM_COMMIT, windows.PAGE_READWRITE)
	if err != nil {
		return nil
	}
	// The address is not the heap's, so the rules that vet checks for such conversions do not apply.
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), n)
}

// unmapMemory gives back what mapMemory returned. Who touches it afterwards is ended by the system.
func unmapMemory(b []byte) {
	if err := windows.VirtualFree(uintptr(unsafe.Pointer(unsafe.SliceData(b))), 0, windows.MEM_RELEASE); err != nil {
		panic("slab: give memory back: " + err.Error()) // these bytes were never ours
	}
}
