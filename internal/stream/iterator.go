package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/seal"
	"github.com/headrace/headrace/internal/stream/token"
)

// IteratorType is where a shard iterator starts.
type IteratorType string

// The iterator types, as AWS spells them.
const (
	AtSequenceNumber    IteratorType = "AT_SEQUENCE_NUMBER"
	AfterSequenceNumber IteratorType = "AFTER_SEQUENCE_NUMBER"
	TrimHorizon         IteratorType = "TRIM_HORIZON"
	Latest              IteratorType = "LATEST"
	FromTime            IteratorType = "AT_TIMESTAMP"
)

// IteratorInput asks for an iterator.
type IteratorInput struct {
	ShardID string
	Type    IteratorType
	// Sequence is the StartingSequenceNumber, empty if there is none.
	Sequence string
	// Timestamp belongs to FromTime.
	Timestamp    record.Millis
	HasTimestamp bool
}

// iteratorLife is how long an iterator is good for, in milliseconds, as often as anyone uses it.
const iteratorLife record.Millis = 300_000

// iteratorSize is the least number of bytes in an iterator; AWS's have 152 to 280.
const iteratorSize = 152

func (s *Streams) sealIterator(sc Scope, it token.Iterator) string {
	it.Made = s.now()
	return s.sealer.Seal(sealContext(sc, iterators), it.Encode(), iteratorSize)
}

// openIterator reads an iterator made for a scope, forgiving a pair of double quotes around it.
func (s *Streams) openIterator(sc Scope, text string) (it token.Iterator, err error) {
	if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	payload, err := s.sealer.Open(sealContext(sc, iterators), text)
	if err != nil || !it.Decode(payload) {
		return it, refuse(InvalidArgument, "Invalid ShardIterator.")
	}
	if now := s.now(); now-it.Made > iteratorLife {
		return it, refuse(ExpiredIterator, "Iterator expired. The iterator was created at time %s while right now it is %s "+
			"which is further in the future than the tolerated delay of %d milliseconds.",
			javaDate(it.Made), javaDate(now), iteratorLife)
	}
	return it, nil
}

// IteratorARN returns the ARN of the stream that an iterator is of, expired or not, and "" for what is
// no iterator made for the scope.
func (s *Streams) IteratorARN(sc Scope, text string) string {
	it, _ := s.openIterator(sc, text)
	if it.Name == "" {
		return ""
	}
	return sc.arn(it.Name)
}

// javaDate prints a time the way Java's Date does, which AWS's messages contain.
func javaDate(m record.Millis) string { return m.Time().Format("Mon Jan 02 15:04:05 UTC 2006") }

func timestampAhead(at, now record.Millis) error {
	return refuse(InvalidArgument, "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "+
		"timestampInMillis: %d, currentTimestampInMillis: %d", at, now)
}

// GetShardIterator returns an iterator. LATEST means the end of the shard at this moment, so that no
// record put after this call is missed.
func (s *Streams) GetShardIterator(ctx context.Context, sc Scope, ref Ref, in IteratorInput) (string, error) {
	e, v, err := s.find(sc, ref)
	number, ok := ParseShardID(in.ShardID)
	if err != nil {
		return "", iteratorNotFound(sc, ref, in.ShardID, number, ok, err)
	}
	if !ok {
		return "", noSuchShard(sc, e.name, in.ShardID)
	}
	sh := v.shard(number, s.now())
	if sh == nil || v.row.Status == Deleting {
		return "", shardNotFound(sc, e.name, number)
	}
	if s.cfg.Limits && !sh.budget.Iterator(s.now()) {
		return "", sh.refusal(e)
	}
	it := token.Iterator{Stream: e.id, Shard: number, Name: e.name}
	if it.Next, _, err = s.position(ctx, sc, e.name, sh, in); err != nil {
		return "", err
	}
	return s.sealIterator(sc, it), nil
}

// iteratorNotFound turns a stream that is not there into a shard that is not there, as AWS does.
func iteratorNotFound(sc Scope, ref Ref, id string, number int32, ok bool, err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Kind != NotFound {
		return err
	}
	name := ref.Name
	if ref.ARN != "" {
		sc, name, _ = ParseARN(ref.ARN)
	}
	if !ok {
		return noSuchShard(sc, name, id)
	}
	return shardNotFound(sc, name, number)
}

func sequenceMisplaced(t IteratorType, has string) error {
	return refuse(InvalidArgument, "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and "+
		"StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. "+
		"Request specified %s and %s StartingSequenceNumber.", t, has)
}

// startAt returns the index a starting sequence number means for a shard.
func startAt(sc Scope, name string, sh *shard, in IteratorInput) (record.Index, error) {
	if in.Type != AtSequenceNumber && in.Type != AfterSequenceNumber {
		return 0, sequenceMisplaced(in.Type, "also a")
	}
	invalid := func(why string) error {
		return refuse(InvalidArgument, "StartingSequenceNumber %s used in GetShardIterator on shard %s "+
			"in stream %s under account %s is invalid%s.", in.Sequence, sh.ID, name, sc.Account, why)
	}
	p, ok := record.ParsePosition(in.Sequence)
	switch {
	case !ok:
		return 0, invalid("")
	case p.Shard != sh.Number:
		return 0, refuse(InvalidArgument, "Invalid StartingSequenceNumber. It encodes %s, "+
			"while it was used in a call to a shard with %s", ShardID(p.Shard), sh.ID)
	case p.Version == 0: // AWS answers InternalFailure, which tells the caller nothing
		return 0, invalid("")
	case p.Version != 2 || p.Created != sh.Created:
		return 0, invalid(" because it did not come from this stream")
	case !p.Exact:
		return 0, invalid("")
	case in.Type == AfterSequenceNumber:
		return p.Index + 1, nil
	}
	return p.Index, nil
}

// seek returns the index of the first record that arrived at or after a time.
func (s *Streams) seek(ctx context.Context, sh *shard, in IteratorInput) (record.Index, error) {
	if !in.HasTimestamp {
		return 0, refuse(InvalidArgument, "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "+
			"Current request has no timestamp parameter.")
	}
	if now := s.now(); in.Timestamp > now {
		return 0, timestampAhead(in.Timestamp, now)
	}
	index, err := s.cfg.Log.SeekTime(ctx, sh.log(), in.Timestamp)
	if err != nil {
		err = fmt.Errorf("seek in %s: %w", sh.ID, err)
	}
	return index, err
}

const (
	// maxRecords and maxBytes bound what one GetRecords returns.
	maxRecords = 10_000
	maxBytes   = 10 << 20
)

// Records is a page of one shard's records. Release it when they have been sent.
type Records struct {
	// Page holds the records; they alias storage until Release.
	Page *shardlog.Page
	// Next continues where the page ends. It is empty if the shard is closed and wholly read, and
	// only then are there Children.
	Next     string
	Children []ChildShard
	// MillisBehind is how long ago the first record after the page arrived, at least 1; 0 if there is
	// none yet.
	MillisBehind int64
	// Stream is the name of the records' stream.
	Stream string

	shard *shard
	// opener holds the data of sealed records, nil if there are none; streams takes it back.
	opener  *seal.Opener
	streams *Streams
}

// ChildShard is a shard that a closed shard became.
type ChildShard struct {
	ID string
	// Parents are one id after a split, two after a merge.
	Parents      []string
	HashKeyRange HashRange
}

// Sequence returns the sequence number of the page's record i.
func (r *Records) Sequence(i int) record.SequenceNumber {
	rec := &r.Page.Records[i]
	return r.shard.Sequence(rec.Index, rec.ArrivalTime)
}

// Shard returns the number of the records' shard.
func (r *Records) Shard() int32 { return r.shard.Number }

// Release gives the records back to storage.
func (r *Records) Release() {
	r.Page.Release()
	r.streams.giveOpener(r.opener)
}

// GetRecords returns the records at an iterator, at most limit of them (0 means 10,000, which is
// also the most) and at most 10 MiB. It never waits. arn, if not empty, must be the stream's.
// A shard that gives nothing now comes back without a page, and is not released, with the error.
func (s *Streams) GetRecords(ctx context.Context, sc Scope, arn, text string, limit int) (*Records, error) {
	it, err := s.openIterator(sc, text)
	if err != nil {
		return nil, err
	}
	e, v, err := s.find(sc, Ref{Name: it.Name, ARN: arn})
	if err != nil {
		if arn != "" && !strings.HasSuffix(arn, "/"+it.Name) {
			return nil, err
		}
		if target, _, ok := ParseARN(arn); ok {
			sc = target
		}
		return nil, shardNotFound(sc, it.Name, it.Shard)
	}
	if e.name != it.Name {
		return nil, refuse(InvalidArgument, "Invalid ShardIterator.")
	}
	sh := v.shard(it.Shard, s.now())
	if e.id != it.Stream || sh == nil || v.row.Status == Deleting {
		return nil, shardNotFound(sc, it.Name, it.Shard)
	}
	if limit <= 0 || limit > maxRecords {
		limit = maxRecords
	}
	if s.cfg.Limits && !sh.budget.Read(s.now()) {
		return &Records{Stream: e.name, shard: sh}, sh.refusal(e)
	}
	page, err := s.cfg.Log.Read(ctx, sh.log(), it.Next, shardlog.Limit{Records: limit, Bytes: maxBytes})
	switch {
	case errors.Is(err, shardlog.ErrNotFound):
		return nil, shardNotFound(sc, it.Name, it.Shard)
	case err != nil:
		return nil, fmt.Errorf("read %s of stream %s: %w", sh.ID, e.name, err)
	}
	opener, err := s.openPage(ctx, e, sh, page)
	if err != nil {
		page.Release()
		return nil, err
	}
	s.sent(sh, page)
	r := &Records{Page: page, Stream: e.name, shard: sh, opener: opener, streams: s}
	it.Next = max(it.Next, page.Next)
	if it.Next < page.Bounds.Next {
		r.MillisBehind = max(1, int64(s.now()-page.NextArrival))
	} else if sh.Closed != 0 {
		r.Children = v.childShards(sh.Number)
	}
	if len(r.Children) == 0 {
		r.Next = s.sealIterator(sc, it)
	}
	return r, nil
}

// childShards describes the shards that a closed shard became.
func (v *view) childShards(number int32) []ChildShard {
	var out []ChildShard
	for _, sh := range v.children(number) {
		c := ChildShard{ID: sh.ID, Parents: []string{ShardID(sh.Parent)}, HashKeyRange: sh.Hash}
		if sh.Adjacent >= 0 {
			c.Parents = append(c.Parents, ShardID(sh.Adjacent))
		}
		out = append(out, c)
	}
	return out
}
