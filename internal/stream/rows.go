package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/quota"
	"github.com/headrace/headrace/internal/stream/row"
	"github.com/headrace/headrace/internal/stream/seal"
)

// rows is what this node knows of the coordinator's rows. Its lock is held to change memory, never
// across I/O, and no call that puts or reads records takes it.
//
// Rows become known twice, from the node's own writes and from the watch, in any order. Versions
// decide: the higher one stands. A row this node has deleted leaves its version in gone, or else
// a late report of its last state would bring it back. And what this node has written or read may be
// taken in so late that the watch has reported the row's end already: the watch reports in order of
// versions, so whatever is not above the last one it has reported is known, or gone.
type rows struct {
	sync.Mutex
	byID map[uint64]*entry
	// orphans are shards whose stream's row has not been seen yet.
	orphans map[uint64]map[int32]*shard
	// lostConsumers are consumers whose stream's row has not been seen yet.
	lostConsumers map[uint64]map[string]*consumer
	// watched says that deletions will be reported and so clear gone again.
	watched bool
	gone    map[string]coordinator.Version
	latest  coordinator.Version
	// reported is the last version that the watch has reported.
	reported coordinator.Version
	// pending holds the streams that Run has something to do for, now or later.
	pending map[*entry]struct{}
	usage   quota.Book[Scope]
}

func (r *rows) init() {
	r.byID = map[uint64]*entry{}
	r.orphans = map[uint64]map[int32]*shard{}
	r.lostConsumers = map[uint64]map[string]*consumer{}
	r.gone = map[string]coordinator.Version{}
	r.pending = map[*entry]struct{}{}
}

// account holds the streams of a scope.
type account struct {
	// entries is guarded by rows; directory is a copy of it for everyone else.
	entries   map[string]*entry
	directory atomic.Pointer[directory]
}

// directory is the streams of a scope by name. It is never changed.
type directory struct {
	byName map[string]*entry
	names  []string // sorted
}

// entry is one stream from its creation to its deletion.
type entry struct {
	scope Scope
	name  string
	arn   string
	id    uint64
	view  atomic.Pointer[view]
	// driving holds a token while this node carries out the stream's transition.
	driving chan struct{}
	// enrolling holds a token while a consumer is being registered, or the stream told to end.
	enrolling chan struct{}
	// spread counts the records that were placed by turns.
	spread atomic.Uint32

	// The rest is guarded by rows.
	row       *streamRow
	version   coordinator.Version
	shards    map[int32]*shard
	consumers map[string]*consumer
	counted   quota.Usage
	// retry is when a failed transition is tried again.
	retry record.Millis
}

func (e *entry) key() string {
	return row.StreamKey(e.scope.Account, e.scope.Region, e.name)
}

// change is one row as it became known. Exactly one of stream, shard, consumer and deleted is set.
type change struct {
	key      string
	version  coordinator.Version
	stream   *streamRow
	shard    *shard
	consumer *consumer
	deleted  bool
}

// changeOf decodes an entry of the coordinator; ok is false for rows that are not streams, shards or
// consumers.
func changeOf(e coordinator.Entry) (c change, ok bool, err error) {
	c = change{key: e.Key, version: e.Version, deleted: e.Value == nil}
	switch {
	case strings.HasPrefix(e.Key, row.StreamPrefix):
		if !c.deleted {
			c.stream, err = row.DecodeStream(e.Key, e.Value)
		}
	case strings.HasPrefix(e.Key, row.ShardPrefix):
		if !c.deleted {
			var sh row.Shard
			sh, err = row.DecodeShard(e.Key, e.Value)
			c.shard = &shard{Shard: sh, version: e.Version}
		}
	case strings.HasPrefix(e.Key, row.ConsumerPrefix):
		if !c.deleted {
			var co row.Consumer
			co, err = row.DecodeConsumer(e.Key, e.Value)
			c.consumer = &consumer{Consumer: co, version: e.Version}
		}
	default:
		return c, false, nil
	}
	return c, err == nil, err
}

// learn takes in rows that this node has written or read, and publishes the views that they change.
func (s *Streams) learn(changes ...change) {
	s.rows.Lock()
	defer s.rows.Unlock()
	s.takeIn(changes, s.rows.reported)
}

// report is learn for rows as the watch reports them.
func (s *Streams) report(changes ...change) {
	s.rows.Lock()
	defer s.rows.Unlock()
	s.takeIn(changes, 0)
	for _, c := range changes {
		s.rows.reported = max(s.rows.reported, c.version)
	}
}

// takeIn takes in rows but those whose version is not above stale. REQUIRES: rows held.
func (s *Streams) takeIn(changes []change, stale coordinator.Version) {
	r := &s.rows
	touched, renamed := map[*entry]struct{}{}, map[Scope]struct{}{}
	for _, c := range changes {
		r.latest = max(r.latest, c.version)
		switch {
		case c.deleted && strings.HasPrefix(c.key, row.StreamPrefix):
			s.forgetStream(c, renamed)
		case c.deleted && strings.HasPrefix(c.key, row.ConsumerPrefix):
			if e := s.forgetConsumer(c); e != nil {
				touched[e] = struct{}{}
			}
		case c.deleted:
			if e := s.forgetShard(c); e != nil {
				touched[e] = struct{}{}
			}
		case c.version <= max(stale, r.gone[c.key]):
		case c.stream != nil:
			if e := s.knowStream(c, renamed); e != nil {
				touched[e] = struct{}{}
			}
		case c.consumer != nil:
			if e := s.knowConsumer(c); e != nil {
				touched[e] = struct{}{}
			}
		default:
			if e := s.knowShard(c); e != nil {
				touched[e] = struct{}{}
			}
		}
	}
	for e := range touched {
		if r.byID[e.id] == e {
			s.publish(e)
		}
	}
	s.rename(renamed)
}

// knowStream takes in a stream's row and returns its entry if the row is news.
// REQUIRES: rows held.
func (s *Streams) knowStream(c change, renamed map[Scope]struct{}) *entry {
	sc := Scope{c.stream.Account, c.stream.Region}
	a := s.account(sc)
	e := a.entries[c.stream.Name]
	if e != nil && e.version >= c.version {
		return nil
	}
	if e != nil && e.id != c.stream.ID {
		s.retire(e)
		e = nil
	}
	if e == nil {
		e = &entry{
			scope: sc, name: c.stream.Name, arn: sc.arn(c.stream.Name), id: c.stream.ID,
			driving: make(chan struct{}, 1), enrolling: make(chan struct{}, 1),
			shards: s.rows.orphans[c.stream.ID], consumers: s.rows.lostConsumers[c.stream.ID],
		}
		if e.shards == nil {
			e.shards = map[int32]*shard{}
		}
		if e.consumers == nil {
			e.consumers = map[string]*consumer{}
		}
		delete(s.rows.orphans, e.id)
		delete(s.rows.lostConsumers, e.id)
		s.rows.byID[e.id] = e
		a.entries[e.name] = e
		renamed[sc] = struct{}{}
		if f := s.cfg.Events.Appeared; f != nil {
			f(sc, e.name)
		}
	}
	e.row, e.version, e.retry = c.stream, c.version, 0
	return e
}

// knowShard takes in a shard's row and returns its stream's entry if the row is news.
// REQUIRES: rows held.
func (s *Streams) knowShard(c change) *entry {
	c.shard.version = c.version
	e := s.rows.byID[c.shard.Stream]
	if e == nil {
		o := s.rows.orphans[c.shard.Stream]
		if o == nil {
			o = map[int32]*shard{}
			s.rows.orphans[c.shard.Stream] = o
		}
		if old := o[c.shard.Number]; old == nil || old.version < c.version {
			s.giveBudget(c.shard, old)
			o[c.shard.Number] = c.shard
		}
		return nil
	}
	old := e.shards[c.shard.Number]
	if old != nil && old.version >= c.version {
		return nil
	}
	s.giveBudget(c.shard, old)
	e.shards[c.shard.Number] = c.shard
	return e
}

// knowConsumer takes in a consumer's row and returns its stream's entry if the row is news.
// REQUIRES: rows held.
func (s *Streams) knowConsumer(c change) *entry {
	known := *c.consumer
	known.version = c.version
	e := s.rows.byID[known.Stream]
	consumers := s.rows.lostConsumers[known.Stream]
	switch {
	case e != nil:
		consumers = e.consumers
	case consumers == nil:
		consumers = map[string]*consumer{}
		s.rows.lostConsumers[known.Stream] = consumers
	}
	if old := consumers[known.Name]; old != nil && old.version >= known.version {
		return nil
	}
	consumers[known.Name] = &known
	return e
}

// forgetStream takes in the deletion of a stream's row. REQUIRES: rows held.
func (s *Streams) forgetStream(c change, renamed map[Scope]struct{}) {
	account, region, name, ok := row.ParseStreamKey(c.key)
	if !ok {
		return
	}
	sc := Scope{account, region}
	if a := (*s.accounts.Load())[sc]; a != nil {
		if e := a.entries[name]; e != nil && e.version <= c.version {
			s.retire(e)
			delete(a.entries, name)
			renamed[sc] = struct{}{}
			s.bury(c, e.version)
			return
		}
	}
	s.unbury(c)
}

// forgetShard takes in the deletion of a shard's row and returns its stream's entry if that is
// news. REQUIRES: rows held.
func (s *Streams) forgetShard(c change) *entry {
	stream, number, err := row.ParseShardKey(c.key)
	if err != nil {
		return nil
	}
	if e := s.rows.byID[stream]; e != nil {
		if old := e.shards[number]; old != nil && old.version <= c.version {
			delete(e.shards, number)
			s.bury(c, old.version)
			return e
		}
	} else if o := s.rows.orphans[stream]; o != nil {
		if delete(o, number); len(o) == 0 {
			delete(s.rows.orphans, stream)
		}
	}
	s.unbury(c)
	return nil
}

// forgetConsumer takes in the deletion of a consumer's row and returns its stream's entry if that is news.
// REQUIRES: rows held.
func (s *Streams) forgetConsumer(c change) *entry {
	stream, name, err := row.ParseConsumerKey(c.key)
	if err != nil {
		return nil
	}
	if e := s.rows.byID[stream]; e != nil {
		if old := e.consumers[name]; old != nil && old.version <= c.version {
			delete(e.consumers, name)
			s.subscriptions.endConsumer(old, consumerNotFound(e.scope, name))
			s.bury(c, old.version)
			return e
		}
	} else if lost := s.rows.lostConsumers[stream]; lost != nil {
		if delete(lost, name); len(lost) == 0 {
			delete(s.rows.lostConsumers, stream)
		}
	}
	s.unbury(c)
	return nil
}

// bury remembers a row of version known that this node deleted, until the watch reports it. A
// deletion that the watch itself reports has a version of its own. REQUIRES: rows held.
func (s *Streams) bury(c change, known coordinator.Version) {
	if s.rows.watched && c.version == known {
		s.rows.gone[c.key] = c.version
	}
}

// unbury forgets a row that this node deleted once the watch has reported that. A row deleted, made and
// deleted again may be reported as deleted for the first time after it was for the second: what is to
// come then is not over with that. REQUIRES: rows held.
func (s *Streams) unbury(c change) {
	if c.version > s.rows.gone[c.key] {
		delete(s.rows.gone, c.key)
	}
}

// retire ends an entry: whoever still holds its view sees that the stream is gone. REQUIRES: rows held.
func (s *Streams) retire(e *entry) {
	delete(s.rows.byID, e.id)
	delete(s.rows.pending, e)
	s.count(e, quota.Usage{})
	s.subscriptions.endStream(e.id, streamNotFound(e.scope, e.name))
	s.hot.Forget(e.id)
	if f := s.cfg.Events.Gone; f != nil {
		f(e.scope, e.name)
	}
	old := e.view.Load()
	if old == nil {
		return
	}
	v := *old
	v.gone, v.superseded = true, make(chan struct{})
	e.view.Store(&v)
	close(old.superseded)
}

// publish makes a new view of an entry's rows. Rows that do not fit together yet leave the shards as
// they appeared before. REQUIRES: rows held.
func (s *Streams) publish(e *entry) {
	old := e.view.Load()
	v, ok := buildView(e.row, e.version, e.shards)
	if !ok {
		v.shards, v.open, v.starts = nil, nil, nil
		if old != nil {
			v.shards, v.open, v.starts = old.shards, old.open, old.starts
		}
	}
	v.consumers = maps.Clone(e.consumers)
	var had seal.Keys
	if old != nil {
		had = old.keys
	}
	v.keys = seal.Open(s.cfg.KeyBox, e.id, e.row.Keys, had)
	e.view.Store(v)
	if old != nil {
		close(old.superseded)
	}
	s.count(e, v.usage(len(e.shards)))
	s.monitored(e, old, v)
	s.enrolled(e, old, v)
	if v.row.Status != Active || len(v.open) < len(v.shards) || v.deletesConsumers() {
		s.rows.pending[e] = struct{}{}
		s.poke()
	} else {
		delete(s.rows.pending, e)
	}
}

// poke wakes Run.
func (s *Streams) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// usage returns what the stream counts for, with what its plan will add.
func (v *view) usage(held int) quota.Usage {
	u := quota.Usage{Streams: 1, Open: len(v.open), Held: held}
	if v.row.Mode == OnDemand {
		u.OnDemand = 1
	}
	if v.row.Status == Creating {
		u.Creating, u.Open, u.Held = 1, v.row.Shards, v.row.Shards
	}
	if p := v.row.Plan; p != nil {
		u.Open = max(u.Open, p.Target)
		if p.Target == 0 {
			for _, o := range p.Ops {
				u.Open += len(o.Children) - len(o.Parents)
			}
		}
	}
	return u
}

// count replaces what an entry counts for. REQUIRES: rows held.
func (s *Streams) count(e *entry, now quota.Usage) {
	s.use(e.scope, e.counted, -1)
	s.use(e.scope, now, +1)
	e.counted = now
}

// REQUIRES: rows held.
func (s *Streams) use(sc Scope, what quota.Usage, sign int) {
	if _, known := s.rows.usage.Of(sc); !known {
		// The scope may be parts of a request, which must not stay with the book.
		sc = Scope{strings.Clone(sc.Account), strings.Clone(sc.Region)}
	}
	s.rows.usage.Add(sc, what, sign)
}

// reserve claims what a call is about to add, or returns LimitExceeded. The claim is given up with
// release once the rows that replace it are known, or the call has failed.
func (s *Streams) reserve(sc Scope, more quota.Usage) (release func(), err error) {
	s.rows.Lock()
	defer s.rows.Unlock()
	switch over := s.rows.usage.Exceeds(sc, more, s.cfg.Caps); {
	case over != nil && over.Of == quota.Shard:
		return nil, shardLimitExceeded(sc, over.Have, over.Limit, over.More)
	case over != nil:
		return nil, streamLimitExceeded(sc, over.Of, over.Have, over.Limit)
	}
	s.use(sc, more, +1)
	return sync.OnceFunc(func() {
		s.rows.Lock()
		defer s.rows.Unlock()
		s.use(sc, more, -1)
	}), nil
}

// account returns the account of a scope and makes it if need be. REQUIRES: rows held.
func (s *Streams) account(sc Scope) *account {
	old := *s.accounts.Load()
	if a := old[sc]; a != nil {
		return a
	}
	a := &account{entries: map[string]*entry{}}
	a.directory.Store(&directory{})
	next := maps.Clone(old)
	next[sc] = a
	s.accounts.Store(&next)
	return a
}

// rename publishes the directories of scopes that gained or lost a stream. REQUIRES: rows held.
func (s *Streams) rename(scopes map[Scope]struct{}) {
	for sc := range scopes {
		a := (*s.accounts.Load())[sc]
		if len(a.entries) == 0 {
			a.directory.Store(&directory{})
			next := maps.Clone(*s.accounts.Load())
			delete(next, sc)
			s.accounts.Store(&next)
			continue
		}
		a.directory.Store(&directory{maps.Clone(a.entries), slices.Sorted(maps.Keys(a.entries))})
	}
}

// listPage is how many rows are asked for at a time.
const listPage = 1000

// list calls each with the rows under prefix, a page at a time.
func (s *Streams) list(ctx context.Context, prefix string, each func([]coordinator.Entry) error) error {
	for after := ""; ; {
		page, err := s.cfg.Coordinator.List(ctx, prefix, after, listPage)
		if err != nil {
			return fmt.Errorf("list rows %s: %w", prefix, err)
		}
		if err := each(page); err != nil {
			return err
		}
		if len(page) < listPage {
			return nil
		}
		after = page[len(page)-1].Key
	}
}

// load takes in every row there is, and forgets those that are no longer there.
func (s *Streams) load(ctx context.Context) error {
	s.rows.Lock()
	began := s.rows.latest
	s.rows.Unlock()
	var changes []change
	seen := map[string]bool{}
	err := s.list(ctx, row.Prefix, func(page []coordinator.Entry) error {
		for _, e := range page {
			c, ok, err := changeOf(e)
			if err != nil {
				return err
			}
			if seen[e.Key] = true; ok {
				changes = append(changes, c)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.learn(append(changes, s.missing(began, seen)...)...)
	return nil
}

// missing returns the deletion of every known row that is as old as began and was not seen.
func (s *Streams) missing(began coordinator.Version, seen map[string]bool) []change {
	s.rows.Lock()
	defer s.rows.Unlock()
	var changes []change
	lost := func(key string, version coordinator.Version) {
		if version <= began && !seen[key] {
			changes = append(changes, change{key: key, version: version, deleted: true})
		}
	}
	for _, e := range s.rows.byID {
		for _, sh := range e.shards {
			lost(sh.Key(), sh.version)
		}
		for _, c := range e.consumers {
			lost(c.Key(), c.version)
		}
		lost(e.key(), e.version)
	}
	return changes
}

// reload reads the rows of one stream again, after a conflict said that they changed.
func (s *Streams) reload(ctx context.Context, e *entry) error {
	got, err := s.cfg.Coordinator.Get(ctx, e.key())
	switch {
	case errors.Is(err, coordinator.ErrNotFound):
		s.rows.Lock()
		c := change{key: e.key(), version: e.version, deleted: true}
		s.rows.Unlock()
		s.learn(c)
		return nil
	case err != nil:
		return fmt.Errorf("read row %s: %w", e.key(), err)
	}
	c, _, err := changeOf(got)
	if err != nil {
		return err
	}
	changes := []change{c}
	if c.stream.ID == e.id {
		for _, prefix := range []string{row.ShardsKey(e.id), row.ConsumersKey(e.id)} {
			err = errors.Join(err, s.list(ctx, prefix, func(page []coordinator.Entry) error {
				for _, got := range page {
					c, ok, err := changeOf(got)
					if err != nil {
						return err
					}
					if ok {
						changes = append(changes, c)
					}
				}
				return nil
			}))
		}
	}
	if err == nil {
		s.learn(changes...)
	}
	return err
}
