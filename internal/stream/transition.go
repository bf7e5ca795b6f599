package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/row"
)

// opsAtOnce is how many splits or merges one plan holds: the row stays well under the
// coordinator's limit, and a large reshard becomes visible piece by piece.
const opsAtOnce = 256

// attempts bounds how often a write that keeps losing to other writers is tried.
const attempts = 100

// Every generation of shards is created at least a second later than the one before, or a child's
// sequence numbers would not lie above its parents': whoever reshards faster gets ahead of the clock.
// maxLead bounds that, so that a time can be told above which no shard was created: a reshard of a
// stream that is further ahead waits, but not longer than this, whatever the clock did. What one plan
// adds, a few generations at most, comes on top: after a restore new shards are created restoreMargin
// above its time.
const maxLead, restoreMargin = record.Millis(15_000), record.Millis(30_000)

// errUnchanged ends an update that has nothing to write.
var errUnchanged = errors.New("stream: unchanged")

// update changes a stream's row by compare-and-set: change is given a copy of the row to alter, as
// often as somebody else got there first. An error from change ends the update and is returned,
// but for errUnchanged, which counts as success.
func (s *Streams) update(ctx context.Context, e *entry, change func(v *view, row *streamRow) error) error {
	for range attempts {
		v := e.view.Load()
		if v.gone {
			return streamNotFound(e.scope, e.name)
		}
		row := v.row.Clone()
		if err := change(v, row); err != nil {
			if errors.Is(err, errUnchanged) {
				return nil
			}
			return err
		}
		err := s.writeStream(ctx, row, v.version)
		if !errors.Is(err, coordinator.ErrConflict) {
			return err
		}
		if err := s.reload(ctx, e); err != nil {
			return err
		}
	}
	return fmt.Errorf("update stream %s: %w", e.name, coordinator.ErrConflict)
}

// begin starts a transition: it changes the row like update, makes the stream UPDATING or whatever
// change says, and carries the plan out at once if transitions have no delay.
func (s *Streams) begin(ctx context.Context, e *entry, status Status, change func(v *view, row *streamRow) error) error {
	err := s.update(ctx, e, func(v *view, row *streamRow) error {
		if err := change(v, row); err != nil {
			return err
		}
		row.Status, row.Due = status, s.due()
		if row.Plan.Reshards() {
			row.Due = max(row.Due, s.now()+min(v.lead(s.now())-maxLead, maxLead))
		}
		return nil
	})
	if err == nil {
		s.advance(ctx, e)
	}
	return err
}

// due returns when a transition that begins now may be carried out.
func (s *Streams) due() record.Millis {
	return record.MillisOf(s.cfg.Clock.Now().Add(s.cfg.TransitionDelay))
}

// lead is how far the creation times of the open shards are ahead of the clock, if they are.
func (v *view) lead(now record.Millis) record.Millis {
	last := int64(0)
	for _, sh := range v.open {
		last = max(last, sh.Created)
	}
	return max(0, record.Millis(last)*1000-now)
}

// creation returns the creation time, in seconds, of a shard that is to be created at at or later.
func (s *Streams) creation(at int64) int64 {
	if s.cfg.RestoredAt == 0 {
		return at
	}
	return max(at, (s.cfg.RestoredAt+restoreMargin).Seconds()+1)
}

// advance carries out a transition within the call that began it, if it is due. The call
// has been accepted whatever happens now; if it is cut off, Run finishes the transition.
func (s *Streams) advance(ctx context.Context, e *entry) {
	if e.view.Load().row.Due > s.now() {
		return
	}
	e.driving <- struct{}{}
	defer func() { <-e.driving }()
	if err := s.drive(context.WithoutCancel(ctx), e); err != nil {
		s.failed(e, err)
	}
}

// failed reports a transition that stopped half-way and has Run try again a second later.
func (s *Streams) failed(e *entry, err error) {
	s.rows.Lock()
	e.retry = s.now() + record.Millis(time.Second/time.Millisecond)
	s.rows.Unlock()
	s.poke()
	if f := s.cfg.Events.TransitionFailed; f != nil {
		f(e.scope, e.name, err)
	}
}

// drive carries out a stream's transition until it is ACTIVE or gone. Every step may be repeated
// and may meet another node doing the same; what loses a compare-and-set reads the rows again.
//
// REQUIRES: the caller holds e.driving.
func (s *Streams) drive(ctx context.Context, e *entry) error {
	conflicts := 0
	for {
		v := e.view.Load()
		if v.gone || v.row.Status == Active {
			return nil
		}
		var err error
		switch v.row.Status {
		case Creating:
			err = s.finishCreate(ctx, e, v)
		case Updating:
			err = s.finishUpdate(ctx, e, v)
		case Deleting:
			err = s.finishDelete(ctx, e, v)
		default:
			err = fmt.Errorf("drive stream %s: unknown status %s", e.name, v.row.Status)
		}
		if errors.Is(err, coordinator.ErrConflict) && conflicts < attempts {
			conflicts++
			err = s.reload(ctx, e)
		}
		if err != nil {
			return err
		}
	}
}

// finishCreate opens the logs and writes the rows of a CREATING stream's first shards.
func (s *Streams) finishCreate(ctx context.Context, e *entry, v *view) error {
	n := v.row.Shards
	logs := make([]shardlog.ShardID, n)
	for i := range logs {
		logs[i] = shardlog.ShardID{Stream: e.id, Shard: int32(i)}
	}
	if err := s.cfg.Registry.Open(ctx, logs, v.retain()); err != nil {
		return fmt.Errorf("open logs of stream %s: %w", e.name, err)
	}
	known := s.known(e)
	var changes []change
	for i := range n {
		if known[int32(i)] != nil {
			continue
		}
		first := &shard{Shard: row.Shard{
			Stream: e.id, Number: int32(i), ID: ShardID(int32(i)), Parent: -1, Adjacent: -1,
			Hash: keyspace.Uniform(i, n), Created: s.creation(v.row.Created - backdate),
		}}
		c, err := s.writeShard(ctx, first)
		if err != nil {
			s.learn(changes...)
			return err
		}
		changes = append(changes, c)
	}
	s.learn(changes...)
	return s.activate(ctx, v)
}

// activate ends a transition.
func (s *Streams) activate(ctx context.Context, v *view) error {
	row := v.row.Clone()
	if p := row.Plan; p != nil && p.Encryption != nil {
		row.Encryption = *p.Encryption
	}
	row.Status, row.Due, row.Plan = Active, 0, nil
	return s.writeStream(ctx, row, v.version)
}

// finishUpdate does the next piece of an UPDATING stream's plan.
func (s *Streams) finishUpdate(ctx context.Context, e *entry, v *view) error {
	p := v.row.Plan
	if p != nil && p.Retain {
		if err := s.cfg.Registry.SetRetention(ctx, s.logs(e), v.retain()); err != nil {
			return fmt.Errorf("set retention of stream %s: %w", e.name, err)
		}
	}
	if p == nil || len(p.Ops) == 0 && p.Target == 0 {
		return s.activate(ctx, v)
	}
	if err := s.reshard(ctx, e, v); err != nil {
		return err
	}
	// The ops are done and the view shows it. What remains is worked out from the shards that are
	// open now and written down in the same stroke that strikes the finished ops.
	var next []op
	if p.Target > 0 {
		next = keyspace.NextOps(places(e.view.Load().open), p.Target, opsAtOnce, v.row.NextShard)
	}
	if len(next) == 0 {
		return s.activate(ctx, v)
	}
	r := v.row.Clone()
	r.Plan = &plan{Ops: next, Target: p.Target}
	r.NextShard = row.LastChild(next) + 1
	return s.writeStream(ctx, r, v.version)
}

// reshard carries out the ops of a plan: open the children's logs, seal the parents, close the
// parents' rows and write the children's. When it returns nil the view shows the outcome.
func (s *Streams) reshard(ctx context.Context, e *entry, v *view) error {
	ops := v.row.Plan.Ops
	known := s.known(e)
	ops = slices.DeleteFunc(slices.Clone(ops), func(o op) bool { return complete(o, known) })
	var logs []shardlog.ShardID
	for _, o := range ops {
		for _, c := range o.Children {
			logs = append(logs, shardlog.ShardID{Stream: e.id, Shard: c.Number})
		}
	}
	if len(logs) == 0 {
		return nil
	}
	if err := s.cfg.Registry.Open(ctx, logs, v.retain()); err != nil {
		return fmt.Errorf("open logs of stream %s: %w", e.name, err)
	}
	var changes []change
	var err error
	for _, o := range ops {
		var done []change
		if done, err = s.carryOut(ctx, e, o, known); err != nil {
			changes = append(changes, done...)
			break
		}
		changes = append(changes, done...)
	}
	s.learn(changes...)
	return err
}

// carryOut does one op whose children's logs are open, and returns the rows it wrote.
//
// Parents close together, at one time: not before the last record any of them took nor before
// their own creation, whatever the clock says. The first row written settles it for everyone who
// repeats the op.
func (s *Streams) carryOut(ctx context.Context, e *entry, o op, known map[int32]*shard) (done []change, err error) {
	closing, settled := s.now(), record.Millis(0)
	for _, n := range o.Parents {
		p := known[n]
		if p == nil {
			return nil, fmt.Errorf("reshard stream %s: no row for %s: %w", e.name, ShardID(n), coordinator.ErrConflict)
		}
		bounds, err := s.cfg.Log.Seal(ctx, p.log())
		if err != nil {
			return nil, fmt.Errorf("seal %s of stream %s: %w", p.ID, e.name, err)
		}
		closing = max(closing, bounds.LastArrival, record.Millis(p.Created)*1000, p.Opened)
		settled = max(settled, p.Closed)
	}
	if settled != 0 {
		closing = settled
	}
	for _, n := range o.Parents {
		if known[n].Closed != 0 {
			continue
		}
		p := *known[n]
		p.Closed = closing
		c, err := s.writeShard(ctx, &p)
		if err != nil {
			return done, err
		}
		done = append(done, c)
	}
	for _, ch := range o.Children {
		if known[ch.Number] != nil {
			continue
		}
		opened := &shard{Shard: row.Shard{
			Stream: e.id, Number: ch.Number, ID: ShardID(ch.Number), Parent: o.Parents[0], Adjacent: -1,
			Hash: ch.Hash, Created: s.creation(closing.Seconds() + 1), Opened: closing,
		}}
		if len(o.Parents) > 1 {
			opened.Adjacent = o.Parents[1]
		}
		c, err := s.writeShard(ctx, opened)
		if err != nil {
			return done, err
		}
		done = append(done, c)
	}
	return done, nil
}

// finishDelete drops the logs of a DELETING stream and then its rows, the stream's own last.
func (s *Streams) finishDelete(ctx context.Context, e *entry, v *view) error {
	// A stream cut off while it was CREATING or UPDATING may have logs without rows.
	logs := make([]shardlog.ShardID, v.row.NextShard)
	for i := range logs {
		logs[i] = shardlog.ShardID{Stream: e.id, Shard: int32(i)}
	}
	if err := s.cfg.Registry.Drop(ctx, logs); err != nil {
		return fmt.Errorf("drop logs of stream %s: %w", e.name, err)
	}
	var changes []change
	for _, sh := range s.known(e) {
		c, err := s.deleteRow(ctx, sh.Key(), sh.version)
		if err != nil {
			s.learn(changes...)
			return err
		}
		changes = append(changes, c)
	}
	s.learn(changes...)
	changes = nil
	for _, c := range s.knownConsumers(e) {
		if err := s.deleteConsumer(ctx, c); err != nil {
			return errors.Join(err, s.reloadConsumer(ctx, c))
		}
	}
	if err := s.forgetCapacity(ctx, e); err != nil {
		return err
	}
	c, err := s.deleteRow(ctx, e.key(), v.version)
	if err == nil {
		changes = append(changes, c)
	}
	s.learn(changes...)
	return err
}

// expire drops the closed shards of an ACTIVE stream whose last record has expired.
//
// REQUIRES: the caller holds e.driving.
func (s *Streams) expire(ctx context.Context, e *entry) error {
	v, now := e.view.Load(), s.now()
	if v.gone || v.row.Status != Active {
		return nil // an op may still need its parents' rows
	}
	var logs []shardlog.ShardID
	var changes []change
	horizon := v.row.Horizon
	for _, sh := range v.shards {
		if v.expired(sh, now) {
			logs = append(logs, sh.log())
			changes = append(changes, change{key: sh.Key(), version: sh.version})
			horizon = max(horizon, sh.Closed)
		}
	}
	if len(logs) == 0 {
		return nil
	}
	if horizon > v.row.Horizon {
		row := v.row.Clone()
		row.Horizon = horizon
		if err := s.writeStream(ctx, row, v.version); err != nil {
			return s.reloadOn(ctx, e, err)
		}
	}
	if err := s.cfg.Registry.Drop(ctx, logs); err != nil {
		return fmt.Errorf("drop logs of stream %s: %w", e.name, err)
	}
	for i, c := range changes {
		done, err := s.deleteRow(ctx, c.key, c.version)
		if err != nil {
			s.learn(changes[:i]...)
			return s.reloadOn(ctx, e, err)
		}
		changes[i] = done
	}
	s.learn(changes...)
	return nil
}

// reloadOn reads a stream's rows again if err is a conflict, and otherwise returns err.
func (s *Streams) reloadOn(ctx context.Context, e *entry, err error) error {
	if errors.Is(err, coordinator.ErrConflict) {
		return s.reload(ctx, e)
	}
	return err
}

// retain returns the retention of the stream's logs.
func (v *view) retain() shardlog.Retention {
	return shardlog.Retention{Age: time.Duration(v.row.RetentionHours) * time.Hour}
}

// known returns every shard row of a stream, also those that the view does not show.
func (s *Streams) known(e *entry) map[int32]*shard {
	s.rows.Lock()
	defer s.rows.Unlock()
	all := make(map[int32]*shard, len(e.shards))
	for n, sh := range e.shards {
		all[n] = sh
	}
	return all
}

// knownConsumers returns every consumer row of a stream.
func (s *Streams) knownConsumers(e *entry) []*consumer {
	s.rows.Lock()
	defer s.rows.Unlock()
	return slices.Collect(maps.Values(e.consumers))
}

// logs returns the logs of every shard row of a stream.
func (s *Streams) logs(e *entry) []shardlog.ShardID {
	var logs []shardlog.ShardID
	for _, sh := range s.known(e) {
		logs = append(logs, sh.log())
	}
	return logs
}

// writeStream writes a stream's row over version expect and makes it known. A coordinator that has no
// room for it throttles the caller: nothing changed, and there will be room again.
func (s *Streams) writeStream(ctx context.Context, next *streamRow, expect coordinator.Version) error {
	version, err := s.cfg.Coordinator.Put(ctx, next.Key(), row.Encode(next), expect)
	if errors.Is(err, shardlog.ErrFull) {
		return refuse(LimitExceeded, "Rate exceeded for stream %s under account %s.", next.Name, next.Account)
	}
	if err != nil {
		return fmt.Errorf("write row %s: %w", next.Key(), err)
	}
	s.learn(change{key: next.Key(), version: version, stream: next})
	return nil
}

// writeShard writes a shard's row over the version it was read at.
func (s *Streams) writeShard(ctx context.Context, sh *shard) (change, error) {
	version, err := s.cfg.Coordinator.Put(ctx, sh.Key(), sh.Encode(), sh.version)
	if err != nil {
		return change{}, fmt.Errorf("write row %s: %w", sh.Key(), err)
	}
	return change{key: sh.Key(), version: version, shard: sh}, nil
}

func (s *Streams) deleteRow(ctx context.Context, key string, expect coordinator.Version) (change, error) {
	if err := s.cfg.Coordinator.Delete(ctx, key, expect); err != nil {
		return change{}, fmt.Errorf("delete row %s: %w", key, err)
	}
	return change{key: key, version: expect, deleted: true}, nil
}
