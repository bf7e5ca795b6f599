package shardlog

// CarryEagerly makes a store carry wanted chunks forward whenever anything is dead.
func (c *Config) CarryEagerly() { c.eager = true }
