// Package sealed is a lane on top of another lane in which every group is encrypted: what lies below
// sees positions and lengths, and no byte of a payload. docs/format/encryption.md draws a group.
//
// It is not an engine, and keeps nothing itself. It does not hide how many groups there are nor how
// long, and it cannot tell that a whole lane was put back to what it was earlier.
//
//	l, err := sealed.Open(ctx, inner, key, "wal")
//
// # No nonce twice
//
// AES-GCM breaks when one key seals two payloads with one nonce. The nonce of a group is its position,
// so the question is which positions a key sees. A key belongs to a generation: 16 random bytes that
// Open draws, and that stand in front of each group. Nothing about it is remembered, so nothing can be
// remembered wrongly: a process that recovers after a crash, a directory that is restored or copied and
// then used twice, draws a generation of its own. Within a generation positions only rise. An Append at
// a position that is not above the last one, because that one was refused or failed, draws another
// generation first, whatever became of the first bytes.
//
// What this does not cover is a copy of a running process, as a snapshot of a virtual machine with its
// memory makes: both copies would go on in one generation.
package sealed

import (
	"context"
	"fmt"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/secret"
)

// groupsPerGeneration is after how many groups another generation is drawn. GCM is sound for far more
// under one key: with 8 MiB in each this is 2^43 blocks.
const groupsPerGeneration = 1 << 24

// Lane implements lane.Lane. Use Open.
type Lane struct {
	*Reader
	inner lane.Lane
	keeps bool
	// turn is held by whoever appends.
	turn chan struct{}
	// limit is groupsPerGeneration.
	limit int

	// The rest belongs to whoever has the turn.

	sealer *opener
	// last is the position sealed last in this generation, groups how many were.
	last   lane.Position
	groups int
	buf    []byte
	nonce  [nonceSize]byte
}

var _ lane.Lane = (*Lane)(nil)

// Open returns a lane over inner, which it closes when it is closed. Groups are sealed under a key that
// depends on key and on name, which says which lane of an installation this is. If the lane holds a
// group, its last one is opened: secret.ErrOtherKey if it was sealed under another key, lane.ErrCorrupt
// if it is none. Inner stays open after an error.
func Open(ctx context.Context, inner lane.Lane, key secret.Key, name string) (*Lane, error) {
	l := &Lane{
		Reader: NewReader(inner, key, name), inner: inner, keeps: inner.Keeps(),
		turn: make(chan struct{}, 1), limit: groupsPerGeneration,
	}
	if inner.MaxGroup() <= Overhead {
		return nil, fmt.Errorf("open sealed lane: groups of %d bytes have no room", inner.MaxGroup())
	}
	l.draw()
	b, err := inner.Bounds(ctx)
	if err == nil && b.First < b.Next {
		_, err = l.Read(ctx, b.Next-1, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("open sealed lane: %w", err)
	}
	return l, nil
}

// draw begins another generation. REQUIRES: the turn.
func (l *Lane) draw() {
	l.sealer = l.opener(newGeneration())
	l.last, l.groups = 0, 0
}

// MaxGroup implements lane.Lane.
func (l *Lane) MaxGroup() int { return l.inner.MaxGroup() - Overhead }

// Keeps implements lane.Lane: what inner may keep is not the payload.
func (l *Lane) Keeps() bool { return false }

// Stored returns how many bytes the lane below is given for n bytes in groups as large as can be.
func (l *Lane) Stored(n int) int {
	groups := max(1, (n+l.MaxGroup()-1)/l.MaxGroup())
	return n + groups*Overhead
}

// Append implements lane.Lane. It seals into one buffer again and again, unless inner keeps what it is
// given.
func (l *Lane) Append(ctx context.Context, next lane.Position, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	if len(payload) > l.MaxGroup() {
		return l.tooLarge(ctx, next)
	}
	return l.inner.Append(ctx, next, l.seal(next, payload))
}

// tooLarge answers for a group that inner is not shown: a writer that has lost the lane hears of that.
func (l *Lane) tooLarge(ctx context.Context, next lane.Position) error {
	b, err := l.inner.Bounds(ctx)
	switch {
	case err != nil:
		return err
	case b.Next != next:
		return fmt.Errorf("append group %d: %w", next, lane.ErrFenced)
	}
	return lane.ErrTooLarge
}

// seal returns the group to be stored. REQUIRES: the turn.
func (l *Lane) seal(p lane.Position, payload []byte) []byte {
	if p <= l.last || l.groups >= l.limit {
		l.draw()
	}
	l.last, l.groups = p, l.groups+1
	buf := l.buf[:0]
	if l.keeps {
		buf = make([]byte, 0, len(payload)+Overhead)
	} else if cap(buf) < len(payload)+Overhead {
		// Twice what it was, up to the most there can be, so that groups that grow do not cost one each.
		buf = make([]byte, 0, max(len(payload)+Overhead, min(2*cap(buf), l.inner.MaxGroup())))
		l.buf = buf
	}
	s := l.sealer
	return s.aead.Seal(append(buf, s.header[:]...), nonceOf(&l.nonce, p), payload, s.header[:])
}

// Bounds implements lane.Lane.
func (l *Lane) Bounds(ctx context.Context) (lane.Bounds, error) { return l.inner.Bounds(ctx) }

// TrimTo implements lane.Lane.
func (l *Lane) TrimTo(ctx context.Context, first lane.Position) error {
	return l.inner.TrimTo(ctx, first)
}

// Close implements lane.Lane.
func (l *Lane) Close() error { return l.inner.Close() }
