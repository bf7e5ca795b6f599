package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/secret"
)

var (
	// ErrMissing says that a stream has no data key of a number.
	ErrMissing = errors.New("seal: the data key is missing")
	// ErrDamaged says that the data key was altered, or moved from another stream.
	ErrDamaged = errors.New("seal: the data key is damaged")
	// ErrOtherNodeKey says that the data key was sealed with another node's key.
	ErrOtherNodeKey = errors.New("seal: the data key was sealed with another node key")
)

// Row is how a data key is kept.
type Row struct {
	// Number is unique among the keys of a stream, and rises.
	Number uint32 `json:"n"`
	// Made is when it was made.
	Made record.Millis `json:"made"`
	// Box is the key, sealed with the node's key.
	Box []byte `json:"box"`
}

// Add makes another data key for a stream, and returns the rows with it, but without those that have been
// out of use for longer than life. It leaves rows as they are.
func Add(box *secret.Box, stream uint64, rows []Row, now, life record.Millis) (with []Row, number uint32) {
	number = 1
	if n := len(rows); n > 0 {
		number = rows[n-1].Number + 1
	}
	for len(rows) > 1 && rows[1].Made+life < now { // what comes next took its place
		rows = rows[1:]
	}
	var key [keySize]byte
	rand.Read(key[:]) // never fails
	made := Row{Number: number, Made: now, Box: box.Seal(key[:], boxContext(stream, number))}
	return append(slices.Clone(rows), made), number
}

// boxContext is where a data key belongs.
func boxContext(stream uint64, number uint32) []byte {
	return fmt.Appendf(nil, "kinesis/%016x/%d", stream, number)
}

// Keys are the data keys of a stream, the oldest first. They are never changed.
type Keys []held

// held is a data key, or why there is none.
type held struct {
	number uint32
	box    []byte
	key    *Key
	err    error
}

// Open opens the data keys of a stream. Those of old that are the same are taken over, with what they
// have at hand. One that cannot be opened is no obstacle to others: Find tells.
func Open(box *secret.Box, stream uint64, rows []Row, old Keys) Keys {
	if len(rows) == 0 {
		return nil
	}
	keys := make(Keys, 0, len(rows))
	for _, r := range rows {
		for len(old) > 0 && old[0].number < r.Number { // numbers rise
			old = old[1:]
		}
		if len(old) > 0 && old[0].number == r.Number && bytes.Equal(old[0].box, r.Box) {
			keys = append(keys, old[0])
			continue
		}
		h := held{number: r.Number, box: r.Box}
		h.key, h.err = openKey(box, stream, r)
		keys = append(keys, h)
	}
	return keys
}

func openKey(box *secret.Box, stream uint64, r Row) (*Key, error) {
	key, err := box.Open(r.Box, boxContext(stream, r.Number))
	switch {
	case errors.Is(err, secret.ErrOtherKey):
		return nil, fmt.Errorf("open data key %d: %w", r.Number, ErrOtherNodeKey)
	case err != nil || len(key) != keySize:
		return nil, fmt.Errorf("open data key %d: %w", r.Number, ErrDamaged)
	}
	return newKey(r.Number, key), nil
}

// Find returns the key of a number: ErrMissing, ErrDamaged or ErrOtherNodeKey if it is not to be had.
func (k Keys) Find(number uint32) (*Key, error) {
	for i := len(k) - 1; i >= 0; i-- { // the newest is asked for most
		if k[i].number == number {
			return k[i].key, k[i].err
		}
	}
	return nil, fmt.Errorf("find data key %d: %w", number, ErrMissing)
}

// Err returns why the newest key that is not to be had is not, nil if all are.
func (k Keys) Err() error {
	for i := len(k) - 1; i >= 0; i-- {
		if k[i].err != nil {
			return k[i].err
		}
	}
	return nil
}
