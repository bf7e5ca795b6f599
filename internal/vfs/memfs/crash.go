package memfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// CrashClone returns the file system as a machine might find it after the power failed now. What
// was not synced is dropped, torn at 512 bytes or reordered, and names not synced have changed or
// not, as rng decides: the same seed after the same calls gives the same clone. Everything in the
// clone is durable, no lock is held, and it shares nothing with the original, which goes on.
func (f *FS) CrashClone(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	survived := maps.Clone(f.mu.durable)
	if n := len(f.mu.pending); n > 0 {
		kept := keep(rng, n)
		for i, ch := range f.mu.pending {
			if i < kept() {
				ch.apply(survived)
			}
		}
	}

	clone := NewSized(f.room)
	names := make(map[string]*node, len(survived))
	copies := make(map[*node]*node, len(survived))
	// In order of names, so that rng is asked in the same order every time.
	for _, name := range slices.Sorted(maps.Keys(survived)) {
		if !reachable(survived, name) {
			continue
		}
		n := survived[name]
		if copies[n] == nil {
			copies[n] = n.crashed(rng)
			clone.mu.used += copies[n].content.size()
		}
		names[name] = copies[n]
	}
	clone.mu.names = names
	clone.mu.durable = maps.Clone(names)
	return clone
}

// ForgetWrites does to a file what systems do when a sync fails: what was not synced stays
// readable, but no later Sync saves it. Tests call it with the error that they inject into Sync,
// to catch an engine that tries again and believes the second answer.
func (f *FS) ForgetWrites(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.mu.names[name]; n != nil {
		n.content.forget()
	}
}

// crashed returns a copy of what a power cut leaves of the node.
func (n *node) crashed(rng *rand.Rand) *node {
	if n.dir {
		return &node{dir: true}
	}
	data := n.content.crashed(rng)
	return &node{content: content{live: data, synced: append([]byte(nil), data...)}}
}
