package shardlog

// CarryEagerly makes a store carry wanted chunks forward whenever anything is dead.
func (c *Config) CarryEagerly() { c.eager = true }

// SlabsMade returns how many slabs the store has.
func (s *Store) SlabsMade() int { return int(s.stats.slabs.Load()) }
