package stream

import (
	"context"

	"github.com/headrace/headrace/internal/stream/quota"
)

const (
	// shardMiBps is what a shard takes nominally, in MiB/s of writes.
	shardMiBps = 1
	// maxWarmMiBps is the most warm throughput that a stream may ask for.
	maxWarmMiBps = 10 << 10
)

// Strategy says which shard of a stream a record goes to.
type Strategy string

// The strategies, as AWS spells them.
const (
	// UserPartitionKey places records by partition key or explicit hash key, which the producer gives.
	UserPartitionKey Strategy = "USER_PARTITION_KEY"
	// Auto places them evenly, whatever keys they have, if any.
	Auto Strategy = "AUTO"
)

// strategy returns the strategy of a stream.
func (v *view) strategy() Strategy {
	if v.row.Auto {
		return Auto
	}
	return UserPartitionKey
}

// WarmThroughput is what an on-demand stream was asked to be ready for and what it is ready for, in MiB/s of
// writes.
type WarmThroughput struct{ Target, Current int }

// warm returns the warm throughput of a stream; Target is 0 if none was asked for.
func (v *view) warm() WarmThroughput {
	return WarmThroughput{Target: v.row.WarmMiBps, Current: len(v.open) * shardMiBps}
}

// UpdateStrategy changes where the records of an on-demand stream go from now on. The stream stays ACTIVE.
func (s *Streams) UpdateStrategy(ctx context.Context, sc Scope, ref Ref, strategy Strategy) error {
	e, _, err := s.find(sc, ref)
	if err != nil {
		return err
	}
	return s.update(ctx, e, func(v *view, row *streamRow) error {
		if err := v.idle(sc); err != nil {
			return err
		}
		auto := strategy == Auto
		if err := checkStrategy(sc, e.name, row.Mode, auto); err != nil {
			return err
		}
		if row.Auto == auto {
			return errUnchanged
		}
		row.Auto = auto
		return nil
	})
}

// checkStrategy returns the objection to the strategy of a stream in a mode.
func checkStrategy(sc Scope, name string, mode Mode, auto bool) error {
	if auto && mode != OnDemand {
		return refuse(InvalidArgument, "RecordDistributionStrategy AUTO is not supported in Provisioned mode. "+
			"Stream %s under account %s.", name, sc.Account)
	}
	return nil
}

// Warmed is the outcome of UpdateWarmThroughput.
type Warmed struct {
	Name, ARN string
	WarmThroughput
}

// UpdateWarmThroughput makes an on-demand stream ready for writes of so many MiB/s: it is split until it has
// a shard for each. It never merges: what there is already stays. The stream is UPDATING until it is done.
func (s *Streams) UpdateWarmThroughput(ctx context.Context, sc Scope, ref Ref, mibps int) (Warmed, error) {
	e, v, err := s.find(sc, ref)
	if err != nil {
		return Warmed{}, err
	}
	if err := s.checkWarm(ctx, sc, e.name, v.row.Mode, mibps); err != nil {
		return Warmed{}, err
	}
	release, limited := s.reserveWarm(sc, v, mibps)
	defer release()
	out := Warmed{Name: e.name, ARN: sc.arn(e.name)}
	err = s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		switch {
		case v.row.Mode != OnDemand:
			return provisionedRefused(sc, e.name)
		case v.idle(sc) != nil:
			return v.idle(sc)
		case limited != nil:
			return limited
		}
		out.WarmThroughput = WarmThroughput{Target: mibps, Current: len(v.open) * shardMiBps}
		warmUp(row, v, mibps)
		return nil
	})
	return out, err
}

// reserveWarm claims the shards that warm throughput adds to a stream. The release is never nil.
func (s *Streams) reserveWarm(sc Scope, v *view, mibps int) (release func(), err error) {
	more := max(0, mibps/shardMiBps-len(v.open))
	switch {
	case more == 0:
		return func() {}, nil
	case len(v.open)+more > maxShards:
		return func() {}, shardLimitExceeded(sc, len(v.open), maxShards, more)
	}
	if release, err = s.reserve(sc, quota.Usage{Open: more, Held: more}); err != nil {
		return func() {}, err
	}
	return release, nil
}

// warmUp plans the shards that warm throughput asks for, if it asks for more than are open.
func warmUp(r *streamRow, v *view, mibps int) {
	r.WarmMiBps, r.Plan = mibps, nil
	if target := mibps / shardMiBps; target > len(v.open) {
		r.Plan = &plan{Target: target}
	}
}

// checkWarm returns the objection to warm throughput for a stream in a mode: AWS has it for accounts that
// have committed themselves to a minimum throughput.
func (s *Streams) checkWarm(ctx context.Context, sc Scope, name string, mode Mode, mibps int) error {
	c, err := s.AccountSettings(ctx, sc)
	switch {
	case err != nil:
		return err
	case !c.On():
		return noWarmThroughput(sc)
	case mode != OnDemand:
		return provisionedRefused(sc, name)
	case mibps > maxWarmMiBps:
		return refuse(LimitExceeded, "Warm throughput of stream %s under account %s cannot be greater than %d MiBps. "+
			"Requested: %d MiBps.", name, sc.Account, maxWarmMiBps, mibps)
	}
	return nil
}
