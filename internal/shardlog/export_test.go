package shardlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/shardlog/slab"
	"github.com/headrace/headrace/internal/shardlog/space"
)

// CarryEagerly makes a store carry wanted chunks forward whenever anything is dead.
func (c *Config) CarryEagerly() { c.eager = true }

// Inline makes the committer wait for every flush and merge.
func (c *Config) Inline() { c.inline = true }

// Piece makes flushes of more than n bytes wait until it is time for each further n.
func (c *Config) Piece(n int64) { c.piece = n }

// NoCache makes a store evict what is flushed at once.
func (c *Config) NoCache() { c.noCache = true }

// MergeFan sets how many files of a size are merged.
func (c *Config) MergeFan(n int) { c.mergeFan = n }

// SlabsMade returns how many slabs the store has.
func (s *Store) SlabsMade() int { return int(s.stats.slabs.Load()) }

// Slabs returns the store's slabs.
func (s *Store) Slabs() (all []*slab.Slab) {
	_ = s.control(context.Background(), false, func(c *committer) error {
		all = slices.Collect(c.slabs.All())
		return nil
	})
	return all
}

// DecodeManifest decodes b as a manifest, after putting its checksum right, and makes a restored one
// of it, which must be whole as well.
func DecodeManifest(b []byte) {
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	m, err := decodeManifest("m", b)
	if err != nil {
		return
	}
	out := Restored{Next: 1 << 58}
	if err := m.jump(&out); err != nil {
		return
	}
	again, err := decodeManifest("m", m.encode())
	if err == nil {
		err = again.eachState(func(lane.Position, ShardID, *state) string { return "" })
	}
	if err != nil {
		panic(fmt.Sprintf("a manifest that was restored is refused: %v", err))
	}
}

// ForgetFooters makes the next read of each file begin from the bucket.
func (s *Store) ForgetFooters() {
	s.blocks.footers.Lock()
	defer s.blocks.footers.Unlock()
	clear(s.blocks.footers.m)
	s.blocks.footers.bytes = 0
}

// FlushNow flushes everything and waits for it.
func (s *Store) FlushNow() {
	_ = s.control(context.Background(), false, func(c *committer) error { c.tier.pressed = true; return nil })
	_ = s.control(context.Background(), false, func(*committer) error { return nil })
}

// WithoutFile returns a manifest that names all files of another but the first.
func WithoutFile(b []byte) []byte {
	m, err := decodeManifest("m", b)
	if err != nil || len(m.files) == 0 {
		return b
	}
	m.files = m.files[1:]
	return m.encode()
}

// Waiting returns how many calls wait for the committer.
func (s *Store) Waiting() int {
	s.queue.Lock()
	defer s.queue.Unlock()
	return len(s.queue.requests)
}

// Recount returns what every stream takes, counted from nothing, beside what the accounts say.
func (s *Store) Recount() (want, got map[uint64]space.Usage) {
	want, got = map[uint64]space.Usage{}, map[uint64]space.Usage{}
	_ = s.control(context.Background(), false, func(c *committer) error {
		for id, sh := range s.shards.m {
			u := want[id.Stream]
			for _, r := range sh.mu.tail.refs() {
				if r.first >= sh.mu.flushed {
					u.Unflushed += int64(r.size)
				}
			}
			for _, sp := range sh.mu.spans {
				u.Stored += sp.stored()
			}
			want[id.Stream], got[id.Stream] = u, s.Used(id.Stream)
		}
		return nil
	})
	return want, got
}

// WithoutJumps returns a manifest whose shards have forgotten what was left out of them.
func WithoutJumps(b []byte) []byte {
	m, err := decodeManifest("m", b)
	if err != nil {
		return b
	}
	var states []byte
	err = m.eachState(func(born lane.Position, id ShardID, st *state) string {
		st.jumps = nil
		states = appendState(binary.LittleEndian.AppendUint64(states, uint64(born)), id, st)
		return ""
	})
	if err != nil {
		return b
	}
	m.states = states
	return m.encode()
}
