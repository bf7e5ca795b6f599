package block

import "encoding/binary"

// HeaderSize is how many bytes come before the first block.
const HeaderSize = headerSize

// CheckHeader checks the first HeaderSize bytes of the file of the given id. Readers do without, for
// a footer leads them to everything else; it is for those who want to know every byte.
func CheckHeader(object string, id uint64, head []byte) error {
	switch {
	case len(head) != headerSize || string(head[:4]) != headMagic:
		return damage(object, 0, "no header")
	case head[4] != version || head[5]|head[6]|head[7] != 0:
		return damage(object, 4, "unknown version")
	case binary.LittleEndian.Uint64(head[8:]) != id:
		return damage(object, 8, "another file's header")
	}
	return nil
}
