package shardlog

import (
	"context"
	"errors"
	"time"

	"github.com/headrace/headrace/internal/record"
)

// ShardID names one shard's log for ever. Stream is the stream's unique id (a stream deleted and
// created again under its name gets another), Shard the number at the end of the shard id.
type ShardID struct {
	Stream uint64
	Shard  int32
}

// Log is the data path of every shard. It takes and returns values only (no shared mutable
// buffers, no callbacks), so that a shard's owner may be another node. It is safe for concurrent use.
//
// Every method answers ErrNotFound for a shard without a log (Append in the batch's Result),
// ErrClosed once the log is closed, and with the storage's own error once that has failed, after
// which nothing works until the process has recovered.
type Log interface {
	// Append makes the batches durable, each whole or not at all, and returns one Result a batch
	// in the same order. Batches for one shard are applied in slice order. The error is for the
	// call as a whole: a cancelled context (the outcome is then unknown) or ErrClosed; what
	// concerns one batch is in its Result. Entries are copied before Append returns. A batch
	// without entries writes no record; its First is the index the next record gets.
	Append(ctx context.Context, batches []Batch) ([]Result, error)
	// Read returns records of a shard in order starting at the first whose index is at least from
	// and that is not trimmed. It never waits: an empty page means that there is nothing yet.
	Read(ctx context.Context, id ShardID, from record.Index, limit Limit) (*Page, error)
	// Wait returns when the shard holds a record with index at least from, is sealed, or is
	// dropped (ErrNotFound); or when ctx is done, with its error. Records that are trimmed are not
	// held: go on from Page.Next.
	Wait(ctx context.Context, id ShardID, from record.Index) error
	// Seal closes the shard: when it returns nil no record can follow. Sealing a sealed shard
	// returns the same bounds again.
	Seal(ctx context.Context, id ShardID) (Bounds, error)
	// Bounds returns what the shard holds now, after retention.
	Bounds(ctx context.Context, id ShardID) (Bounds, error)
	// SeekTime returns the index of the first record held that arrived at or after t; Bounds.Next
	// when there is none.
	SeekTime(ctx context.Context, id ShardID, t record.Millis) (record.Index, error)
	// TrimTo forgets records below first; holds still keep theirs. Trimming what is trimmed does
	// nothing, trimming past the end trims all.
	TrimTo(ctx context.Context, id ShardID, first record.Index) error
}

// Registry is the control path: which shard logs exist and what they keep. Every change is durable
// when the call returns. It is safe for concurrent use.
type Registry interface {
	// Open creates the logs that do not exist yet, all of them or none. Opening one that exists
	// does nothing, whatever its retention.
	Open(ctx context.Context, ids []ShardID, keep Retention) error
	// SetRetention changes what the logs keep. It takes effect at once; what is trimmed stays so.
	// ErrNotFound if one of them does not exist; then nothing changes.
	SetRetention(ctx context.Context, ids []ShardID, keep Retention) error
	// Hold keeps every record with index at least from untrimmed by retention until the hold of
	// that name is moved or released. Moving a hold back over trimmed records does not revive them.
	Hold(ctx context.Context, id ShardID, name string, from record.Index) error
	// Release removes the hold; releasing what is not held does nothing.
	Release(ctx context.Context, id ShardID, name string) error
	// Drop forgets logs and everything in them. Dropping what does not exist does nothing.
	Drop(ctx context.Context, ids []ShardID) error
}

// Retention says what a log keeps. Trimmed records are never returned again, at once; their space
// comes back later.
type Retention struct {
	// Age is how long after its arrival a record is kept: it is trimmed when that much time has
	// passed. 0 keeps records until TrimTo: the position-trimmed class that journals use. Quotas and
	// the low-water mark hold for the others only.
	Age time.Duration
}

// Batch is what one caller appends to one shard at a time.
type Batch struct {
	Shard   ShardID
	Entries []record.Entry
	// Producer, when its ID is not 0, makes the append exactly-once and fenced: see Producer.
	Producer Producer
}

// Producer identifies an append so that a retry or a paused worker cannot write twice. The log
// keeps the last Epoch and Sequence of each producer and shard, through flush and trim. A batch of
// a lower epoch gets ErrFencedProducer; one of the same epoch whose Sequence is not above the last
// gets ErrDuplicate, also after the shard was sealed; everything else is appended and remembered. A
// batch without entries is remembered too: it fences producers of lower epochs.
type Producer struct {
	ID       uint64
	Epoch    uint64
	Sequence uint64
}

// Result is what became of one batch.
type Result struct {
	// First is the index of the batch's first record; the others follow without a gap.
	First record.Index
	// ArrivalTime is the batch's arrival time.
	ArrivalTime record.Millis
	// Err is nil, ErrSealed, ErrNotFound, ErrFull, ErrFencedProducer or ErrDuplicate; then nothing
	// of the batch was written.
	Err error
}

// Limit bounds a page.
type Limit struct {
	// Records is the most records a page holds; at 0 the page is empty.
	Records int
	// Bytes is the most bytes of data and partition keys a page holds; one record is returned
	// however large it is.
	Bytes int
}

// Bounds says what a shard's log holds: the records First to Next-1.
type Bounds struct {
	// First is the index of the oldest record kept, or Next if there is none.
	First record.Index
	// Next is the index that the next record gets; it starts at 1. In a store that was restored from
	// a backup it starts, and went on, above all that may have been used since the backup.
	Next record.Index
	// LastArrival is when the newest record ever arrived, 0 if none has.
	LastArrival record.Millis
	// Sealed says that Next will never be used.
	Sealed bool
}

// Page is a run of records. Its records alias storage and stay valid until Release; a page that is
// never released costs memory, never correctness.
type Page struct {
	Records []record.Record
	// Next is where to go on reading; it lies beyond the last record returned and beyond
	// everything trimmed, and is never less than the index asked for.
	Next record.Index
	// Bounds are the shard's bounds when the page was read.
	Bounds Bounds
	// NextArrival is the arrival time of the record at Next, 0 if there is none yet.
	NextArrival record.Millis

	release func(*Page)
}

// Release gives the page back. Neither the page nor its records may be used afterwards.
func (p *Page) Release() {
	if p.release != nil {
		p.release(p)
	}
}

var (
	// ErrSealed sends the caller back to routing: the shard was split or merged.
	ErrSealed = errors.New("shardlog: shard is sealed")
	// ErrNotFound says that the shard has no log.
	ErrNotFound = errors.New("shardlog: no such shard")
	// ErrFull says that there is no room within the memory or disk budget, or the stream's share of
	// it; the caller throttles.
	ErrFull = errors.New("shardlog: no room")
	// ErrFencedProducer says that the producer has been succeeded by one of a higher epoch.
	ErrFencedProducer = errors.New("shardlog: producer is fenced")
	// ErrDuplicate says that the producer's batch has been appended before.
	ErrDuplicate = errors.New("shardlog: duplicate batch")
	// ErrClosed says that the log has been closed.
	ErrClosed = errors.New("shardlog: closed")
)
