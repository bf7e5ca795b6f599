package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/secret"
)

// The layout of a chunk: magic and version, key id, salt, whether it is the last, what the cipher made,
// tag. Every chunk but the last is ChunkBytes long, so that each is one block of a file of package dir.
const (
	magic      = "HRC\x01"
	keyIDSize  = 8
	saltSize   = 32
	flagSize   = 4                                   // 1 in the last chunk, else 0, little-endian
	headerSize = 4 + keyIDSize + saltSize + flagSize // 4 of the magic
	tagSize    = 16
	nonceSize  = 12

	// ChunkBytes is the length of a stored chunk.
	ChunkBytes = 64 << 10
	// plainBytes is how much of an object is in it.
	plainBytes = ChunkBytes - headerSize - tagSize
	overhead   = headerSize + tagSize
)

// purpose names what keys are derived for.
const purpose = "object"

// StoredOffset returns where in a stored object its byte n stands.
func StoredOffset(n int64) int64 {
	return n/plainBytes*ChunkBytes + headerSize + n%plainBytes
}

// plainSize returns how long the object is that is stored in so many bytes; ok is false if none is.
func plainSize(stored int64) (size int64, ok bool) {
	full, rest := stored/ChunkBytes, stored%ChunkBytes
	switch {
	case rest == 0:
		return full * plainBytes, full > 0
	case rest < overhead, rest == overhead && full > 0: // only an object without a byte has an empty chunk
		return 0, false
	}
	return full*plainBytes + rest - overhead, true
}

// objectCipher seals and opens the chunks of one object that was put once.
type objectCipher struct {
	aead cipher.AEAD
	salt [saltSize]byte
	// bound is what is authenticated with each chunk: its header, and the object's key.
	bound []byte
	nonce [nonceSize]byte
}

// cipher returns the cipher of an object with a salt.
func (b *Bucket) cipher(key string, salt [saltSize]byte) *objectCipher {
	block, err := aes.NewCipher(b.key.Derive(purpose, string(salt[:])+b.name, secret.KeySize))
	if err != nil {
		panic(err) // the key has its length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size
	}
	c := &objectCipher{aead: aead, salt: salt, bound: make([]byte, 0, headerSize+len(key))}
	c.bound = append(append(append(c.bound, magic...), b.id[:]...), salt[:]...)
	c.bound = append(append(c.bound, 0, 0, 0, 0), key...)
	return c
}

// at sets what the cipher needs for one chunk.
func (c *objectCipher) at(number uint64, last bool) {
	flag := c.bound[headerSize-flagSize:]
	flag[0] = 0
	if last {
		flag[0] = 1
	}
	binary.BigEndian.PutUint64(c.nonce[nonceSize-8:], number)
}

// seal appends a chunk to dst.
func (c *objectCipher) seal(dst, plain []byte, number uint64, last bool) []byte {
	c.at(number, last)
	return c.aead.Seal(append(dst, c.bound[:headerSize]...), c.nonce[:], plain, c.bound)
}

// open opens a chunk in place.
func (c *objectCipher) open(stored []byte, h chunkHeader, number uint64) ([]byte, error) {
	c.at(number, h.last)
	sealed := stored[headerSize:]
	plain, err := c.aead.Open(sealed[:0], c.nonce[:], sealed, c.bound)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not what was sealed for this place", objectstore.ErrCorrupt)
	}
	return plain, nil
}

// chunkHeader is what stands before the ciphertext of a chunk.
type chunkHeader struct {
	id   [keyIDSize]byte
	salt [saltSize]byte
	last bool
}

// parse reads the header of a chunk, whose length it checks too.
func parse(b []byte, number uint64) (h chunkHeader, err error) {
	switch {
	case len(b) < len(magic) || string(b[:len(magic)-1]) != magic[:len(magic)-1]:
		return h, fmt.Errorf("%w: it is not sealed", objectstore.ErrCorrupt)
	case b[len(magic)-1] != magic[len(magic)-1]:
		return h, fmt.Errorf("a sealed object of version %d, which this program does not know", b[len(magic)-1])
	case len(b) < overhead:
		return h, fmt.Errorf("%w: a chunk of %d bytes", objectstore.ErrCorrupt, len(b))
	}
	rest := b[len(magic):]
	copy(h.id[:], rest)
	copy(h.salt[:], rest[keyIDSize:])
	flag := binary.LittleEndian.Uint32(rest[keyIDSize+saltSize:])
	h.last = flag == 1
	switch {
	case flag > 1:
		return h, fmt.Errorf("%w: a chunk with the flags %#x", objectstore.ErrCorrupt, flag)
	case !h.last && len(b) < ChunkBytes:
		return h, fmt.Errorf("%w: its end is missing", objectstore.ErrCorrupt)
	case len(b) == overhead && number > 0:
		return h, fmt.Errorf("%w: an empty chunk behind others", objectstore.ErrCorrupt)
	}
	return h, nil
}
