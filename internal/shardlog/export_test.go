package shardlog

// CarryEagerly makes a store carry wanted chunks forward whenever anything is dead.
func (c *Config) CarryEagerly() { c.eager = true }

// Inline makes the committer wait for every flush and merge.
func (c *Config) Inline() { c.inline = true }

// NoCache makes a store evict what is flushed at once.
func (c *Config) NoCache() { c.noCache = true }

// MergeFan sets how many files of a size are merged.
func (c *Config) MergeFan(n int) { c.mergeFan = n }

// SlabsMade returns how many slabs the store has.
func (s *Store) SlabsMade() int { return int(s.stats.slabs.Load()) }
