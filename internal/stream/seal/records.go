package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/headrace/headrace/internal/record"
)

// maxIdle is the most memory that a Sealer or an Opener keeps between two calls.
const maxIdle = 4 << 20

// ErrRecord says that a record's data was altered or moved: to another stream, shard or partition key.
var ErrRecord = errors.New("seal: the data of a record cannot be opened")

// Sealer seals the data of records, call after call. The zero Sealer is ready for Begin. It is for one
// goroutine.
type Sealer struct {
	aead  cipher.AEAD
	head  [headSize]byte
	bound []byte
	buf   []byte
}

// Begin prepares for the entries of one call, under a key. What was sealed before is no longer valid.
func (s *Sealer) Begin(k *Key, entries []record.Entry) {
	size := 0
	for i := range entries {
		size += len(entries[i].Data) + record.SealOverhead
	}
	s.buf = slices.Grow(s.buf[:0], size)
	salted := k.writing()
	s.aead = salted.aead
	binary.LittleEndian.PutUint32(s.head[:], k.number)
	copy(s.head[numberSize:], salted.salt[:])
	rand.Read(s.head[numberSize+saltSize:]) // never fails
}

// Seal seals the data of entries for a shard, in memory that is good until the next Begin or Reset. A call
// has fewer than 2^32 entries.
func (s *Sealer) Seal(stream uint64, shard int32, entries []record.Entry) {
	for i := range entries {
		e, at := &entries[i], len(s.buf)
		s.bound = appendBound(s.bound[:0], stream, shard, e.PartitionKey)
		s.buf = append(s.buf, s.head[:]...)
		s.buf = s.aead.Seal(s.buf, s.head[numberSize+saltSize:], e.Data, s.bound)
		e.Data, e.Seal = s.buf[at:len(s.buf):len(s.buf)], record.Sealed
		counter := s.head[headSize-4:]
		binary.BigEndian.PutUint32(counter, binary.BigEndian.Uint32(counter)+1)
	}
}

// Reset lets go of the key, and of memory that was needed for a large call.
func (s *Sealer) Reset() {
	s.aead = nil
	if cap(s.buf) > maxIdle {
		s.buf = nil
	}
}

// Any reports whether there is a sealed one among records.
func Any(records []record.Record) bool {
	for i := range records {
		if records[i].Seal == record.Sealed {
			return true
		}
	}
	return false
}

// Opener opens the data of records, and holds it. Records that were sealed one after another cost least.
// The zero Opener is ready. It is for one goroutine.
type Opener struct {
	key    *Key
	salted *salted
	bound  []byte
	buf    []byte
}

// Open opens the sealed ones among records of a shard: what the producer gave is their data then, in memory
// that is good until Reset. It returns how many records can be read, all if err is nil; or else err says
// why the next one cannot: ErrRecord, or an error of Keys.Find.
func (o *Opener) Open(keys Keys, stream uint64, shard int32, records []record.Record) (n int, err error) {
	size := 0
	for i := range records {
		if records[i].Seal == record.Sealed {
			size += len(records[i].Data) - record.SealOverhead
		}
	}
	o.buf = slices.Grow(o.buf[:0], size)
	for i := range records {
		if e := &records[i].Entry; e.Seal == record.Sealed {
			if err := o.open(keys, stream, shard, e); err != nil {
				return i, err
			}
		}
	}
	return len(records), nil
}

func (o *Opener) open(keys Keys, stream uint64, shard int32, e *record.Entry) error {
	if n := binary.LittleEndian.Uint32(e.Data); o.key == nil || o.key.number != n {
		key, err := keys.Find(n)
		if err != nil {
			return err
		}
		o.key, o.salted = key, nil
	}
	head, sealed := e.Data[:headSize], e.Data[headSize:]
	if salt := head[numberSize:][:saltSize]; o.salted == nil || string(o.salted.salt[:]) != string(salt) {
		o.salted = o.key.reading(salt)
	}
	o.bound = appendBound(o.bound[:0], stream, shard, e.PartitionKey)
	opened, err := o.salted.aead.Open(o.buf, head[numberSize+saltSize:], sealed, o.bound)
	if err != nil {
		return ErrRecord
	}
	e.Data, e.Seal = opened[len(o.buf):len(opened):len(opened)], record.Opened
	o.buf = opened
	return nil
}

// Reset lets go of the keys, and of what was opened. It reports whether the Opener is worth keeping: one
// with much memory is not.
func (o *Opener) Reset() bool {
	o.key, o.salted = nil, nil
	return cap(o.buf) <= maxIdle
}
