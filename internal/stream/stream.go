// Package stream is the domain of Kinesis Data Streams: streams, shards and hash-key ranges,
// routing and putting records, shard iterators and reading, splitting, merging and uniform
// scaling, retention, tags and limits, with AWS's rules and AWS's error texts.
//
// It is not the AWS API: it knows no HTTP, no AWS shapes and no model constraints (lengths,
// patterns and enums are checked before a call gets here), and it is not storage: records live in a
// shardlog.Log, streams and shards are rows in a coordinator.Coordinator.
//
// # State
//
// A stream is one row; each of its shards is another. Rows change by compare-and-set alone, so any
// node may serve any call. What a node knows of the rows it keeps in memory: for each stream an
// immutable view (description and routing table) that is swapped whole, so that calls which only
// look never wait for anything. A node learns of its own writes at once and of others' through Run.
//
// # Transitions
//
// A stream is CREATING, ACTIVE, UPDATING or DELETING. A call that changes more than one row first
// writes its plan into the stream's row; drive then carries the plan out in steps that can each
// be repeated, so that whoever finds the row after a crash goes on from there. With no
// TransitionDelay that happens inside the call and the next call sees the outcome.
package stream

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/hot"
	"github.com/headrace/headrace/internal/stream/limit"
	"github.com/headrace/headrace/internal/stream/quota"
	"github.com/headrace/headrace/internal/stream/row"
	"github.com/headrace/headrace/internal/stream/seal"
	"github.com/headrace/headrace/internal/stream/token"
)

// Scope is a name space for streams: an account in a region. Streams in different scopes have
// nothing to do with each other, whatever their names.
type Scope struct {
	// Account is the 12-digit account id.
	Account string
	Region  string
}

// arn returns the ARN of the stream with a name.
func (sc Scope) arn(name string) string {
	partition := "aws"
	switch {
	case strings.HasPrefix(sc.Region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(sc.Region, "us-gov-"):
		partition = "aws-us-gov"
	}
	return "arn:" + partition + ":kinesis:" + sc.Region + ":" + sc.Account + ":stream/" + name
}

// Ref is how a request names a stream: by name, by ARN, or both, and then the ARN wins. StreamId,
// which AWS reserves for later, names nothing and has no field here.
type Ref struct{ Name, ARN string }

// Status is where a stream is in its life.
type Status = row.Status

// Mode is a stream's capacity mode.
type Mode = row.Mode

// The statuses and the modes, as DescribeStream spells them.
const (
	Creating, Active, Updating, Deleting = row.Creating, row.Active, row.Updating, row.Deleting
	Provisioned, OnDemand                = row.Provisioned, row.OnDemand
)

// Caps bound what callers can create.
type Caps = quota.Caps

// Events are called, if set, when something happens that no caller is told of. They must not block
// and must not call Streams.
type Events struct {
	// Appeared reports a stream that this node did not know before: created here or elsewhere, or
	// found at the start. Gone reports one that was deleted.
	Appeared, Gone func(sc Scope, name string)
	// Monitored reports which shard-level metrics a stream has, and of which shards. It is called when
	// either changes, and when a stream that has some appears.
	Monitored func(sc Scope, name string, metrics []ShardMetric, shards []int32)
	// Consumers reports which consumers a stream has, by name. It is called when that changes, and when a
	// stream that has some appears.
	Consumers func(sc Scope, name string, consumers []string)
	// TransitionFailed reports a transition that stopped half-way. Run tries again.
	TransitionFailed func(sc Scope, name string, err error)
}

// Config is what Streams stand on. Log, Registry, Coordinator and Clock are required.
type Config struct {
	Log         shardlog.Log
	Registry    shardlog.Registry
	Coordinator coordinator.Coordinator
	Clock       clock.Clock
	// TransitionDelay is how long a stream stays CREATING, UPDATING or DELETING; with 0 a call
	// returns when the transition is complete.
	TransitionDelay time.Duration
	// RestoredAt is when the logs were restored from a backup, 0 if they never were. Shards that are
	// made from then on get creation times above any that can have been given before.
	RestoredAt record.Millis
	// Limits has AWS's limits hold: what a shard takes and gives in a second, and how often calls are made.
	Limits bool
	// Scaling says how on-demand streams follow their load.
	Scaling Scaling
	// KeyBox is what data keys are sealed in: see the function of that name. Without one they are lost
	// with the process, which is good for streams that are, too.
	KeyBox *secret.Box
	Caps   Caps
	Events Events
}

// Streams serves the streams of all accounts and regions. It is safe for concurrent use; Run must
// be running for transitions that are delayed, were interrupted or came from another node.
type Streams struct {
	cfg    Config
	sealer *token.Sealer
	// accounts is replaced, never changed, when an account gets its first stream or loses its last.
	accounts atomic.Pointer[map[Scope]*account]
	// scratch holds *putScratch, openers *seal.Opener.
	scratch, openers sync.Pool
	// hot is which keys shards get most of.
	hot *hot.Shards
	// wake tells Run that a stream needs attention.
	wake          chan struct{}
	rows          rows
	subscriptions subscriptions
	// calls are those of which a second has so many.
	calls limit.Calls
}

// New returns Streams that know every row the coordinator holds. It makes the key that iterators and
// tokens are sealed with if there is none yet.
func New(ctx context.Context, cfg Config) (*Streams, error) {
	cfg.Caps = cfg.Caps.WithDefaults()
	if cfg.Limits {
		cfg.Caps.Creating = maxBeingCreated
	}
	if cfg.Scaling.MostShards <= 0 {
		cfg.Scaling.MostShards = defaultMostShards
	}
	s := &Streams{cfg: cfg, hot: hot.New(hotShards), wake: make(chan struct{}, 1)}
	if s.cfg.KeyBox == nil {
		s.cfg.KeyBox = KeyBox(secret.NewKey())
	}
	s.scratch.New = func() any { return new(putScratch) }
	s.openers.New = func() any { return new(seal.Opener) }
	s.accounts.Store(&map[Scope]*account{})
	s.rows.init()
	key, err := sealingKey(ctx, cfg.Coordinator)
	if err != nil {
		return nil, err
	}
	if s.sealer, err = token.New(key); err != nil {
		return nil, err
	}
	return s, s.load(ctx)
}

// now returns the current time in milliseconds.
func (s *Streams) now() record.Millis { return record.MillisOf(s.cfg.Clock.Now()) }

// find returns the stream a request names. Both results belong together for good; the view ages.
func (s *Streams) find(sc Scope, ref Ref) (*entry, *view, error) {
	name := ref.Name
	if ref.ARN != "" {
		target, n, ok := ParseARN(ref.ARN)
		switch {
		case !ok:
			return nil, nil, refuse(InvalidArgument, "StreamARN %s is invalid.", ref.ARN)
		case target != sc:
			return nil, nil, streamNotFound(target, n)
		}
		name = n
	}
	if name == "" {
		return nil, nil, refuse(InvalidArgument, "Either StreamName or StreamARN should be provided.")
	}
	if e, v := s.lookup(sc, name); e != nil {
		return e, v, nil
	}
	return nil, nil, streamNotFound(sc, name)
}

// lookup returns the stream with a name in a scope, or nil.
func (s *Streams) lookup(sc Scope, name string) (*entry, *view) {
	if a := (*s.accounts.Load())[sc]; a != nil {
		if e := a.directory.Load().byName[name]; e != nil {
			if v := e.view.Load(); !v.gone {
				return e, v
			}
		}
	}
	return nil, nil
}

// ParseARN takes a stream's ARN apart without allocating; ok is false for what is none.
func ParseARN(arn string) (sc Scope, name string, ok bool) {
	rest, ok := strings.CutPrefix(arn, "arn:aws")
	if !ok {
		return sc, "", false
	}
	_, rest, ok = strings.Cut(rest, ":kinesis:")
	if !ok {
		return sc, "", false
	}
	sc.Region, rest, ok = strings.Cut(rest, ":")
	if !ok {
		return sc, "", false
	}
	sc.Account, rest, ok = strings.Cut(rest, ":")
	if !ok {
		return sc, "", false
	}
	name, ok = strings.CutPrefix(rest, "stream/")
	return sc, name, ok && name != "" && !strings.Contains(name, "/")
}
