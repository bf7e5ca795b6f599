package stream

// Each calls f with every stream and its unique id, which is the Stream of its shards' logs. Streams
// that come or go meanwhile may be among them or not.
func (s *Streams) Each(f func(sc Scope, name string, id uint64)) {
	for sc, a := range *s.accounts.Load() {
		for name, e := range a.directory.Load().byName {
			f(sc, name, e.id)
		}
	}
}

// Named returns the stream with a unique id; ok is false if there is none.
func (s *Streams) Named(id uint64) (sc Scope, name string, ok bool) {
	s.rows.Lock()
	defer s.rows.Unlock()
	e := s.rows.byID[id]
	if e == nil {
		return Scope{}, "", false
	}
	return e.scope, e.name, true
}
