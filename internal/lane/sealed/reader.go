package sealed

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/secret"
)

// The layout of a group: magic and version, key id, generation, what the cipher made, tag.
const (
	magic          = "HRG\x01"
	keyIDSize      = 8
	generationSize = 16
	// HeaderSize is how many bytes stand before the first one of the payload.
	HeaderSize = len(magic) + keyIDSize + generationSize
	tagSize    = 16
	nonceSize  = 12
	// Overhead is how much longer a sealed group is.
	Overhead = HeaderSize + tagSize
)

// purpose names what keys are derived for.
const purpose = "lane group"

// openers is of how many generations a Reader keeps the cipher. A lane holds those of the last few
// starts.
const openers = 8

type generation [generationSize]byte

func newGeneration() (g generation) {
	rand.Read(g[:]) // never fails
	return g
}

// opener seals and opens the groups of one generation. It is immutable.
type opener struct {
	generation generation
	header     [HeaderSize]byte
	aead       cipher.AEAD
}

// Groups is the part of a lane that a Reader reads.
type Groups interface {
	Read(ctx context.Context, from lane.Position, maxBytes int) ([]lane.Group, error)
}

// Reader opens the groups of a lane. It is safe for concurrent use.
type Reader struct {
	from Groups
	key  secret.Key
	id   [keyIDSize]byte
	name string

	mu struct {
		sync.Mutex
		// known are the ciphers made last; oldest is the next to be replaced.
		known  [openers]*opener
		oldest int
	}
}

// NewReader returns a reader of what a Lane of that key and name wrote.
func NewReader(from Groups, key secret.Key, name string) *Reader {
	r := &Reader{from: from, key: key, name: name}
	if n, err := hex.Decode(r.id[:], []byte(key.ID())); n != keyIDSize || err != nil {
		panic("sealed: a key's id has another length") // which is a constant
	}
	return r
}

// opener returns the cipher of a generation.
func (r *Reader) opener(g generation) *opener {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.mu.known {
		if o != nil && o.generation == g {
			return o
		}
	}
	o := r.derive(g)
	r.mu.known[r.mu.oldest] = o
	r.mu.oldest = (r.mu.oldest + 1) % openers
	return o
}

func (r *Reader) derive(g generation) *opener {
	block, err := aes.NewCipher(r.key.Derive(purpose, string(g[:])+r.name, secret.KeySize))
	if err != nil {
		panic(err) // the key has its length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size
	}
	o := &opener{generation: g, aead: aead}
	header := append(append(append(o.header[:0], magic...), r.id[:]...), g[:]...)
	copy(o.header[:], header)
	return o
}

// nonceOf fills nonce in for a position.
func nonceOf(nonce *[nonceSize]byte, p lane.Position) []byte {
	binary.BigEndian.PutUint64(nonce[nonceSize-8:], uint64(p))
	return nonce[:]
}

// Read implements lane.Lane. It counts maxBytes as they are stored, so it may return less than fits.
// The payloads share a buffer. A group that does not open is lane.ErrCorrupt, one that was sealed under
// another key secret.ErrOtherKey.
func (r *Reader) Read(ctx context.Context, from lane.Position, maxBytes int) ([]lane.Group, error) {
	stored, err := r.from.Read(ctx, from, maxBytes)
	if err != nil || len(stored) == 0 {
		return nil, err
	}
	size := 0
	for _, g := range stored {
		size += max(0, len(g.Payload)-Overhead)
	}
	// What inner gave may be its own memory, so nothing is opened in place.
	buf, groups := make([]byte, 0, size), make([]lane.Group, len(stored))
	var nonce [nonceSize]byte
	for i, g := range stored {
		begin := len(buf)
		if buf, err = r.open(buf, &nonce, g); err != nil {
			return nil, fmt.Errorf("open group %d: %w", g.Position, err)
		}
		groups[i] = lane.Group{Position: g.Position, Payload: buf[begin:len(buf):len(buf)]}
	}
	return groups, nil
}

// open appends a group's payload to buf.
func (r *Reader) open(buf []byte, nonce *[nonceSize]byte, g lane.Group) ([]byte, error) {
	id, gen, err := parse(g.Payload)
	if err != nil {
		return nil, err
	}
	if id != r.id {
		return nil, fmt.Errorf("%w: its id is %x, and that of the one given %x", secret.ErrOtherKey, id, r.id)
	}
	o := r.opener(gen)
	buf, err = o.aead.Open(buf, nonceOf(nonce, g.Position), g.Payload[HeaderSize:], o.header[:])
	if err != nil {
		return nil, fmt.Errorf("%w: it is not what was sealed for this place", lane.ErrCorrupt)
	}
	return buf, nil
}

// parse reads what stands before the ciphertext, of which there is at least a tag.
func parse(b []byte) (id [keyIDSize]byte, g generation, err error) {
	switch {
	case len(b) < len(magic) || string(b[:len(magic)-1]) != magic[:len(magic)-1]:
		return id, g, fmt.Errorf("%w: it is not sealed", lane.ErrCorrupt)
	case b[len(magic)-1] != magic[len(magic)-1]:
		return id, g, fmt.Errorf("a sealed group of version %d, which this program does not know", b[len(magic)-1])
	case len(b) < Overhead:
		return id, g, fmt.Errorf("%w: a sealed group of %d bytes", lane.ErrCorrupt, len(b))
	}
	copy(id[:], b[len(magic):])
	copy(g[:], b[len(magic)+keyIDSize:])
	return id, g, nil
}
