package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// idSize is the length of a key's id, which tells keys apart and nothing more.
const idSize = 8

// keyWord begins the text of a key.
const keyWord = "headrace-node-key-v1"

var (
	// ErrKey says that a text is not that of a key. It does not repeat the text.
	ErrKey = errors.New("secret: not a key")
	// ErrSealed says that a box was altered, cut or moved from where it was sealed for.
	ErrSealed = errors.New("secret: a sealed value cannot be opened")
	// ErrOtherKey says that a box was sealed with another key.
	ErrOtherKey = errors.New("secret: sealed with another key")
)

// Key is a root key. Nothing is encrypted with it directly: each purpose has a key derived from it, so
// that a value sealed for one is none for another. Printing it shows [secret]. It is immutable.
//
// It is kept as a Text is. A pointer to the array would not do: package fmt shows what such a pointer
// points to when the verb does not fit.
type Key struct{ root *string }

// NewKey returns a random key.
func NewKey() Key {
	var root [KeySize]byte
	rand.Read(root[:]) // never fails
	text := string(root[:])
	return Key{&text}
}

// KeyOf returns the key of exactly KeySize bytes, else ErrKey.
func KeyOf(root []byte) (Key, error) {
	if len(root) != KeySize {
		return Key{}, ErrKey
	}
	text := string(root)
	return Key{&text}, nil
}

// ParseKey reads a key's text: what Text wrote, or the base64 of 32 bytes alone, as other tools make
// it. Space around it does not matter.
func ParseKey(text string) (Key, error) {
	fields := strings.Fields(text)
	sum := ""
	if len(fields) == 3 && fields[0] == keyWord {
		fields, sum = fields[1:2], fields[2]
	}
	if len(fields) != 1 {
		return Key{}, ErrKey
	}
	root, err := base64.StdEncoding.DecodeString(fields[0])
	if err != nil || sum != "" && sum != checksum(root) {
		return Key{}, ErrKey
	}
	return KeyOf(root)
}

// Text returns the key as the line that is kept in a file.
func (k Key) Text() Text {
	root := k.Bytes()
	return NewText(keyWord + " " + base64.StdEncoding.EncodeToString(root) + " " + checksum(root) + "\n")
}

// checksum tells a damaged key from a wrong one.
func checksum(root []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(root, crc32.MakeTable(crc32.Castagnoli)))
}

// Bytes returns the key itself, for sealing it under another one.
func (k Key) Bytes() []byte { return []byte(*k.root) }

// IsZero reports whether k is no key at all.
func (k Key) IsZero() bool { return k.root == nil }

// ID returns a name for the key, of 16 hexadecimal digits. It is no secret.
func (k Key) ID() string {
	id := k.id()
	return hex.EncodeToString(id[:])
}

func (k Key) id() (id [idSize]byte) {
	copy(id[:], k.derive("key id", idSize))
	return id
}

// derive returns key material for one purpose.
func (k Key) derive(purpose string, n int) []byte {
	material, err := hkdf.Key(sha256.New, k.Bytes(), nil, "headrace "+purpose, n)
	if err != nil {
		panic(err) // only lengths and hash functions that are constants here can be wrong
	}
	return material
}

// Derive returns n bytes that depend on the key, the purpose and context, and from which nothing about
// the key can be told. n is at most 255 times 32.
func (k Key) Derive(purpose, context string, n int) []byte {
	return k.derive(purpose+"\x00"+context, n)
}

// String returns [secret].
func (k Key) String() string { return shown }

// Format prints [secret] for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, shown) } // a printer has no errors

// MarshalText returns [secret].
func (k Key) MarshalText() ([]byte, error) { return []byte(shown), nil }

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(shown) }

// Box seals values with one derived key and opens them again. It is safe for concurrent use.
//
// Each sealing draws a nonce of 96 bits at random, so a copy of a disk that is put to use again draws
// others than the original does. By that, one key is good for 2^32 sealings.
type Box struct {
	id   [idSize]byte
	aead cipher.AEAD
}

// Format prints [secret] for every verb: the cipher inside holds the key.
func (b *Box) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, shown) } // a printer has no errors

// Box returns the box of a purpose.
func (k Key) Box(purpose string) *Box {
	block, err := aes.NewCipher(k.derive("box\x00"+purpose, KeySize))
	if err != nil {
		panic(err) // the key has its length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size
	}
	return &Box{id: k.id(), aead: aead}
}

// boxVersion is the layout of a sealed value: version, key id, nonce, what the cipher made, tag.
const boxVersion = 1

// Overhead is how much longer a sealed value is.
const Overhead = 1 + idSize + 12 + 16

// Seal returns value sealed for a context, which Open must be given again: where the value lies, so
// that it cannot be moved.
func (b *Box) Seal(value, context []byte) []byte {
	sealed := make([]byte, 0, len(value)+Overhead)
	sealed = append(append(sealed, boxVersion), b.id[:]...)
	return b.aead.Seal(sealed, nil, value, b.bound(context))
}

// Open returns the value that was sealed for the context, or ErrOtherKey or ErrSealed.
func (b *Box) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != boxVersion {
		return nil, ErrSealed
	}
	if [idSize]byte(sealed[1:]) != b.id {
		return nil, ErrOtherKey
	}
	value, err := b.aead.Open(nil, nil, sealed[1+idSize:], b.bound(context))
	if err != nil {
		return nil, ErrSealed
	}
	return value, nil
}

// bound returns what is authenticated beside the value: the head of the box, and the context.
func (b *Box) bound(context []byte) []byte {
	return append(append([]byte{boxVersion}, b.id[:]...), context...)
}
