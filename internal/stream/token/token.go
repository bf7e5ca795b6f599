// Package token seals small values into the opaque texts that callers hold for a while and hand
// back: shard iterators and paging tokens. A sealed text cannot be read, altered or made up by
// anyone without the key, and opens only under the context it was sealed for.
//
// A payload is whatever the caller has; that of a shard iterator is an Iterator. When it expires is the
// caller's business.
//
// The layout, before base64, is the one AWS's own iterators show:
//
//	00 00 00 00 00 00 00 01 | nonce:24 | ciphertext | tag:16
//
// where everything after the first eight bytes is a multiple of sixteen bytes long.
package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// KeySize is the length of a sealing key in bytes.
const KeySize = 32

const (
	header     = "\x00\x00\x00\x00\x00\x00\x00\x01"
	nonceSize  = 24
	tagSize    = 16
	lengthSize = 2
	// maxText bounds the work done for a text that somebody made up.
	maxText = 4096
)

// ErrInvalid says that a text was not sealed with this key for this context. It does not say why.
var ErrInvalid = errors.New("token: invalid")

// Sealer seals and opens texts under one key. It is safe for concurrent use.
//
// One key serves for years, on every node, and a copied virtual machine must not repeat a nonce;
// the 12 random bytes of plain AES-GCM are too few for that. So each text draws 24 random bytes:
// the first half derives a key for this text alone (CMAC, as in NIST SP 800-108r1), the second is
// the nonce. This construction is published as XAES-256-GCM.
type Sealer struct {
	block cipher.Block
	k1    [aes.BlockSize]byte
}

// New returns a Sealer for a key.
func New(key [KeySize]byte) (*Sealer, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	s := &Sealer{block: block}
	block.Encrypt(s.k1[:], s.k1[:])
	var carry byte
	for i := len(s.k1) - 1; i >= 0; i-- {
		b := s.k1[i]
		s.k1[i], carry = b<<1|carry, b>>7
	}
	s.k1[len(s.k1)-1] ^= carry * 0x87
	return s, nil
}

// aead returns the cipher for texts whose nonce begins with half.
func (s *Sealer) aead(half []byte) cipher.AEAD {
	var key [KeySize]byte
	for i := range 2 {
		part := key[i*aes.BlockSize:][:aes.BlockSize]
		part[1], part[2] = byte(i+1), 'X'
		copy(part[4:], half)
		for j := range part {
			part[j] ^= s.k1[j]
		}
		s.block.Encrypt(part, part)
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has a valid size
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size that GCM wants
	}
	return aead
}

// Seal returns the text for payload, at most 64 KiB, different at every call. The text opens only
// with the same context. Its decoded form has at least atLeast bytes.
func (s *Sealer) Seal(context string, payload []byte, atLeast int) string {
	size := len(header) + nonceSize + lengthSize + len(payload) + tagSize
	size = max(size, atLeast)
	size += (aes.BlockSize - (size-len(header))%aes.BlockSize) % aes.BlockSize
	out := make([]byte, len(header)+nonceSize, size)
	copy(out, header)
	nonce := out[len(header):]
	rand.Read(nonce) // never fails
	plain := make([]byte, size-len(out)-tagSize)
	binary.BigEndian.PutUint16(plain, uint16(len(payload)))
	copy(plain[lengthSize:], payload)
	out = s.aead(nonce[:12]).Seal(out, nonce[12:], plain, []byte(context))
	return base64.StdEncoding.EncodeToString(out)
}

// Open returns what was sealed into text, or ErrInvalid.
func (s *Sealer) Open(context, text string) ([]byte, error) {
	if len(text) > maxText {
		return nil, ErrInvalid
	}
	in, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(in) < len(header)+nonceSize+lengthSize+tagSize || string(in[:len(header)]) != header {
		return nil, ErrInvalid
	}
	if base64.StdEncoding.EncodedLen(len(in)) != len(text) { // the decoder skips line breaks
		return nil, ErrInvalid
	}
	nonce, sealed := in[len(header):][:nonceSize], in[len(header)+nonceSize:]
	plain, err := s.aead(nonce[:12]).Open(sealed[:0], nonce[12:], sealed, []byte(context))
	if err != nil {
		return nil, ErrInvalid
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n > len(plain)-lengthSize {
		return nil, ErrInvalid
	}
	return plain[lengthSize:][:n], nil
}
