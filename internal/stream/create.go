package stream

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/stream/quota"
	"github.com/headrace/headrace/internal/stream/row"
)

const (
	// onDemandShards is how many shards an on-demand stream starts with.
	onDemandShards = 4
	// backdate is how many seconds before its creation a stream's first shards were created.
	backdate = 2
	// minRetention and maxRetention bound a stream's retention in hours; a stream starts with the
	// former.
	minRetention, maxRetention = 24, 8760
	// defaultMaxRecord is the size in KiB of the largest record a stream takes unless told otherwise.
	defaultMaxRecord = 1024
)

// CreateInput describes a stream to create.
type CreateInput struct {
	Name string
	// Mode is Provisioned if empty.
	Mode Mode
	// ShardCount is how many shards a provisioned stream gets; an on-demand stream ignores it.
	ShardCount int
	Tags       map[string]string
	// MaxRecordKiB is the largest record the stream takes, 1024 to 10240; 0 means 1024.
	MaxRecordKiB int
	// WarmThroughputMiBps is what an on-demand stream is to be ready for from its first moment, 0 if it
	// does not matter. The account must have a commitment: UpdateAccountSettings.
	WarmThroughputMiBps int
	// Strategy is UserPartitionKey if empty.
	Strategy Strategy
}

// CreateStream creates a stream; it is CREATING until its shards exist. A name in use is InUse.
func (s *Streams) CreateStream(ctx context.Context, sc Scope, in CreateInput) error {
	if in.WarmThroughputMiBps > 0 {
		if err := s.checkWarm(ctx, sc, in.Name, in.Mode, in.WarmThroughputMiBps); err != nil {
			return err
		}
	}
	row, err := newStream(sc, in)
	if err != nil {
		return err
	}
	if _, _, err := s.find(sc, Ref{Name: in.Name}); err == nil {
		return alreadyExists(sc, in.Name)
	}
	more := quota.Usage{Streams: 1, Creating: 1, Open: row.Shards, Held: row.Shards}
	if row.Mode == OnDemand {
		more.OnDemand = 1
	}
	release, err := s.reserve(sc, more)
	if err != nil {
		return err
	}
	defer release()
	row.Created, row.Due = s.now().Seconds(), s.due()
	err = s.writeStream(ctx, row, 0)
	if errors.Is(err, coordinator.ErrConflict) {
		return alreadyExists(sc, in.Name)
	}
	if err != nil {
		return err
	}
	if e, _, err := s.find(sc, Ref{Name: in.Name}); err == nil {
		s.advance(ctx, e)
	}
	return nil
}

// newStream checks in and returns the row it asks for.
func newStream(sc Scope, in CreateInput) (*streamRow, error) {
	shards := in.ShardCount
	switch {
	case in.Mode == OnDemand:
		shards = max(onDemandShards, in.WarmThroughputMiBps/shardMiBps)
	case shards == 0:
		return nil, refuse(Validation, "1 validation error detected: Value null at 'shardCount' "+
			"failed to satisfy constraint: Member must not be null")
	case shards < 0 || shards > maxShards:
		return nil, shardLimitExceeded(sc, 0, maxShards, shards)
	}
	if err := checkStrategy(sc, in.Name, in.Mode, in.Strategy == Auto); err != nil {
		return nil, err
	}
	if err := checkTags(sc, "stream", in.Name, "add tags to", in.Tags); err != nil {
		return nil, err
	}
	if len(in.Tags) > maxTags {
		return nil, tooManyTags(sc, "stream", in.Name)
	}
	// The row outlives the request, whose buffer the texts may be parts of.
	row := &streamRow{
		Layout: row.Version, Account: strings.Clone(sc.Account), Region: strings.Clone(sc.Region), Name: strings.Clone(in.Name),
		Status: Creating, Mode: Provisioned, RetentionHours: minRetention, MaxRecordKiB: defaultMaxRecord,
		Tags: copyTags(nil, in.Tags), Shards: shards, NextShard: int32(shards),
		Auto: in.Strategy == Auto, WarmMiBps: in.WarmThroughputMiBps,
	}
	if in.Mode == OnDemand {
		row.Mode = OnDemand
	}
	if in.MaxRecordKiB != 0 {
		row.MaxRecordKiB = in.MaxRecordKiB
	}
	var id [8]byte
	rand.Read(id[:]) // never fails
	row.ID = binary.BigEndian.Uint64(id[:])
	return row, nil
}

func alreadyExists(sc Scope, name string) error {
	return refuse(InUse, "Stream %s under account %s already exists.", name, sc.Account)
}

// DeleteStream deletes a stream, its shards and its records, whatever state it is in; it is DELETING
// until they are gone. Deleting a DELETING stream does nothing. A stream with consumers is InUse unless
// withConsumers says that they go with it.
func (s *Streams) DeleteStream(ctx context.Context, sc Scope, ref Ref, withConsumers bool) error {
	e, _, err := s.find(sc, ref)
	if err != nil {
		return err
	}
	e.enrolling <- struct{}{} // no consumer may be registered meanwhile
	defer func() { <-e.enrolling }()
	return s.begin(ctx, e, Deleting, func(v *view, row *streamRow) error {
		if row.Status == Deleting {
			return errUnchanged
		}
		if n := len(v.consumersAt(s.now())); n > 0 && !withConsumers {
			return refuse(InUse, "Stream %s under account %s has %d registered consumers. "+
				"Deregister them, or delete the stream with EnforceConsumerDeletion.", e.name, sc.Account, n)
		}
		row.Plan = nil
		return nil
	})
}
