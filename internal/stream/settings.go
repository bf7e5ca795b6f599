package stream

import (
	"context"
	"strings"

	"github.com/headrace/headrace/internal/stream/quota"
)

// UpdateStreamMode makes a stream provisioned or on demand; its shards stay as they are, unless warm
// throughput in MiB/s asks for more. The stream is UPDATING for a while. One whose strategy is Auto cannot
// become provisioned: producers may have left partition keys out.
func (s *Streams) UpdateStreamMode(ctx context.Context, sc Scope, ref Ref, mode Mode, warmMiBps int) error {
	e, v, err := s.find(sc, ref)
	if err != nil {
		return err
	}
	if warmMiBps > 0 {
		if err := s.checkWarm(ctx, sc, e.name, mode, warmMiBps); err != nil {
			return err
		}
	}
	release, limited := s.reserveWarm(sc, v, warmMiBps)
	defer release()
	if mode == OnDemand && v.row.Mode != OnDemand {
		release, err := s.reserve(sc, quota.Usage{OnDemand: 1})
		if err != nil {
			return err
		}
		defer release()
	}
	mode = Mode(strings.Clone(string(mode))) // the row outlives the request, which it may be part of
	return s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		if err := v.idle(sc); err != nil {
			return err
		}
		if err := checkStrategy(sc, e.name, mode, row.Auto); err != nil {
			return err
		}
		if limited != nil {
			return limited
		}
		if err := s.daily(e.name, sc, "UpdateStreamMode", &row.Switches, maxSwitches); err != nil {
			return err
		}
		if mode != OnDemand || warmMiBps > 0 {
			row.WarmMiBps = warmMiBps
		}
		row.Mode = mode
		warmUp(row, v, row.WarmMiBps)
		return nil
	})
}

// UpdateMaxRecordSize sets the size of the largest record a stream takes, in KiB.
func (s *Streams) UpdateMaxRecordSize(ctx context.Context, sc Scope, ref Ref, kib int) error {
	e, _, err := s.find(sc, ref)
	if err != nil {
		return err
	}
	return s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		row.MaxRecordKiB, row.Plan = kib, nil
		return v.idle(sc)
	})
}

// IncreaseRetention makes a stream keep records for longer, up to 8,760 hours. What has expired
// stays so. The hours it has already are no change and no error.
func (s *Streams) IncreaseRetention(ctx context.Context, sc Scope, ref Ref, hours int) error {
	return s.setRetention(ctx, sc, ref, hours, func(v *view) error {
		if hours < v.row.RetentionHours {
			return refuse(InvalidArgument, "Requested retention period (%d hours) for stream %s can not be shorter than "+
				"existing retention period (%d hours). Use DecreaseRetentionPeriod API.", hours, v.row.Name, v.row.RetentionHours)
		}
		return nil
	})
}

// DecreaseRetention makes a stream keep records for a shorter time, down to 24 hours; older ones
// are gone at once. The hours it has already are no change and no error.
func (s *Streams) DecreaseRetention(ctx context.Context, sc Scope, ref Ref, hours int) error {
	return s.setRetention(ctx, sc, ref, hours, func(v *view) error {
		if hours > v.row.RetentionHours {
			return refuse(InvalidArgument, "Requested retention period (%d hours) for stream %s can not be longer than "+
				"existing retention period (%d hours). Use IncreaseRetentionPeriod API.", hours, v.row.Name, v.row.RetentionHours)
		}
		return nil
	})
}

func (s *Streams) setRetention(ctx context.Context, sc Scope, ref Ref, hours int, check func(v *view) error) error {
	e, _, err := s.find(sc, ref)
	if err != nil {
		return err
	}
	switch {
	case hours < minRetention:
		return refuse(InvalidArgument, "Minimum allowed retention period is %d hours. "+
			"Requested retention period (%d hours) is too short.", minRetention, hours)
	case hours > maxRetention:
		return refuse(InvalidArgument, "Maximum allowed retention period is %d hours. "+
			"Requested retention period (%d hours) is too long.", maxRetention, hours)
	}
	return s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		if err := check(v); err != nil {
			return err
		}
		if err := v.idle(sc); err != nil {
			return err
		}
		if hours == row.RetentionHours {
			return errUnchanged
		}
		// Shards that have expired under the old period must not come back under the new one.
		row.Horizon = max(row.Horizon, s.now()-v.row.Retention())
		row.RetentionHours, row.Plan = hours, &plan{Retain: true}
		return nil
	})
}
