// Package seal encrypts the data of the records of a stream, under data keys of the stream's own, and
// opens it again; and it keeps those keys, sealed with the node's key.
//
// It knows no streams and no storage: who has which keys, when they change, and where sealed data lies
// is package stream's. docs/format/encryption.md draws what it makes, docs/design/0009 says why.
//
//	keys := seal.Open(box, id, rows, nil)
//	key, err := keys.Find(number)
//	sealer.Begin(key, entries)
//	sealer.Seal(id, shard, entries)
//	…
//	n, err := opener.Open(keys, id, shard, page.Records)
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
)

const (
	// keySize is the length of a data key.
	keySize = 32
	// Sealed data begins with the number of its data key and a nonce, whose first part is the salt.
	numberSize, nonceSize, saltSize, tagSize = 4, 24, 12, 16
	headSize                                 = numberSize + nonceSize
)

// callsPerSalt is after how many calls another salt is drawn. Each of them draws the rest of its nonces.
const callsPerSalt = 1 << 16

// keptSalts is how many salts' keys are at hand for reading.
const keptSalts = 8

// Key is one data key, for AES-256-GCM with nonces of 192 bits: XAES-256-GCM, as C2SP specifies it. From
// the first half of a nonce, the salt, and the data key comes the key of the cipher; the second half is
// the cipher's nonce. It is safe for concurrent use.
//
// Deriving a key costs memory, and readers would pay that for each record. So a salt is kept for a
// while, by process and data key, and each call that seals draws the other half, which it then counts
// up. Nothing of this is remembered anywhere: what goes back in time, or runs twice, draws anew.
type Key struct {
	number  uint32
	block   cipher.Block        // of the data key
	mask    [aes.BlockSize]byte // the first subkey of its CMAC
	current atomic.Pointer[salted]
	// recent are the salts that were read last; turn counts them.
	recent [keptSalts]atomic.Pointer[salted]
	turn   atomic.Uint32
}

// salted is what a salt makes of a data key.
type salted struct {
	salt  [saltSize]byte
	aead  cipher.AEAD
	calls atomic.Int64
}

// newKey returns the data key of exactly keySize bytes with a number.
func newKey(number uint32, key []byte) *Key {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the caller knows the length
	}
	k := &Key{number: number, block: block}
	block.Encrypt(k.mask[:], k.mask[:])
	carry := byte(0)
	for i := len(k.mask) - 1; i >= 0; i-- {
		b := k.mask[i]
		k.mask[i] = b<<1 | carry
		carry = b >> 7
	}
	k.mask[len(k.mask)-1] ^= carry * 0x87
	return k
}

// Format prints [secret] for every verb: the cipher inside holds the key.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") } // a printer has no errors

// derive returns what a salt makes of the key.
func (k *Key) derive(salt [saltSize]byte) *salted {
	var derived [keySize]byte
	for half := range 2 {
		block := derived[half*aes.BlockSize:][:aes.BlockSize]
		copy(block, []byte{0, byte(half + 1), 'X', 0})
		copy(block[aes.BlockSize-saltSize:], salt[:])
		for i := range block {
			block[i] ^= k.mask[i]
		}
		k.block.Encrypt(block, block)
	}
	block, err := aes.NewCipher(derived[:])
	if err != nil {
		panic(err) // the key has its length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size
	}
	return &salted{salt: salt, aead: aead}
}

// writing returns the salt for one more call.
func (k *Key) writing() *salted {
	s := k.current.Load()
	if s == nil || s.calls.Add(1) > callsPerSalt {
		var salt [saltSize]byte
		rand.Read(salt[:]) // never fails
		s = k.derive(salt)
		k.current.Store(s) // two calls may do this at a time: each uses its own
	}
	return s
}

// reading returns what a salt makes of the key, derived or at hand.
func (k *Key) reading(salt []byte) *salted {
	if s := k.current.Load(); s != nil && string(s.salt[:]) == string(salt) {
		return s
	}
	for i := range k.recent {
		if s := k.recent[i].Load(); s != nil && string(s.salt[:]) == string(salt) {
			return s
		}
	}
	s := k.derive([saltSize]byte(salt))
	k.recent[k.turn.Add(1)%keptSalts].Store(s)
	return s
}

// appendBound appends what is authenticated beside the data: where the record belongs.
func appendBound(dst []byte, stream uint64, shard int32, partitionKey string) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, stream)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(shard))
	return append(dst, partitionKey...)
}
