package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/held"
	"github.com/headrace/headrace/internal/secret/wrapped"
	"github.com/headrace/headrace/internal/shardlog"
)

// Parts of a data directory, and of an archive.
const (
	blocksPart = "blocks" // the shards' records and the manifest
	statePart  = "state"  // the coordinator's snapshot
)

// Source is what a backup is taken of: the engines of a server, which go on meanwhile.
type Source struct {
	// Log is a *shardlog.Store.
	Log interface {
		Cut(ctx context.Context) (shardlog.Cut, error)
	}
	// Blocks is what lies below the Log's bucket: the same objects, as they are stored.
	Blocks *held.Bucket
	// Rows is the coordinator, a journal whose log is in Log and whose snapshots are in State, as they are
	// stored.
	Rows interface {
		Hold(ctx context.Context) (newest objectstore.Info, release func(), err error)
	}
	State objectstore.Bucket
	// KeyID is the id of the key that the objects are encrypted under; empty if they are not. They are in
	// the archive as they are stored.
	KeyID string
	// NodeKey returns the node's key as it lies wrapped in the directory. Nil if it lies elsewhere, or in
	// clear: it is not in the archive then.
	NodeKey func() (wrapped.Key, error)
	Clock   clock.Clock
}

// Backup is a backup being taken. It holds a cut of the log, and the newest snapshot of the rows that
// is not newer: the commands between the two are in the cut.
type Backup struct {
	taken    time.Time
	keyID    string
	nodeKey  string // the text of its file, empty without one
	cut      shardlog.Cut
	hold     *held.Hold
	snapshot objectstore.Info // its Key is empty if there is none yet
	rows     io.ReadCloser
}

// Begin takes hold of what a backup needs. Everything that was answered before the call is in it. The
// caller closes the Backup; ctx must stay alive until then.
func Begin(ctx context.Context, src Source) (_ *Backup, err error) {
	b := &Backup{taken: src.Clock.Now(), keyID: src.KeyID, hold: src.Blocks.Hold()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("begin backup: %w", err), b.Close())
		}
	}()
	if src.NodeKey != nil {
		w, err := src.NodeKey()
		if err != nil {
			return nil, err
		}
		b.nodeKey = w.Text()
	}
	// The snapshot is older than the cut, and no other may be taken before that: the log would forget
	// commands that neither the snapshot nor the cut has.
	newest, release, err := src.Rows.Hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if b.snapshot = newest; newest.Key != "" {
		if b.snapshot, err = src.State.Stat(ctx, newest.Key); err != nil {
			return nil, err
		}
		if b.rows, err = src.State.Get(ctx, newest.Key, 0, -1); err != nil {
			return nil, err
		}
	}
	if b.cut, err = src.Log.Cut(ctx); err != nil {
		return nil, err
	}
	var keys []string
	for i, o := range b.cut.Objects {
		keys = append(keys, o.Key)
		// The cut has the sizes that the log knows. Encrypted, an object is longer.
		if b.cut.Objects[i], err = src.Blocks.Stat(ctx, o.Key); err != nil {
			return nil, fmt.Errorf("find %s: %w", o.Key, err)
		}
	}
	b.hold.Only(keys)
	return b, nil
}

// Bytes is the size of all objects.
func (b *Backup) Bytes() int64 {
	n := b.snapshot.Size
	for _, o := range b.cut.Objects {
		n += o.Size
	}
	return n
}

// Write writes the archive. After an error what was written is no backup.
func (b *Backup) Write(ctx context.Context, to io.Writer) error {
	buffered := bufio.NewWriterSize(to, 256<<10)
	w, err := newWriter(buffered, b.taken)
	if err == nil && b.nodeKey != "" {
		err = w.add(Entry{wrapped.File, int64(len(b.nodeKey))}, strings.NewReader(b.nodeKey))
	}
	if text := encryption.Text(b.keyID); err == nil && b.keyID != "" {
		err = w.add(Entry{encryption.File, int64(len(text))}, strings.NewReader(text))
	}
	if err == nil && b.rows != nil {
		err = w.add(Entry{statePart + "/" + b.snapshot.Key, b.snapshot.Size}, until(ctx, b.rows))
	}
	for i := 0; i < len(b.cut.Objects) && err == nil; i++ {
		err = b.object(ctx, w, b.cut.Objects[i])
	}
	if err == nil {
		err = w.close()
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

func (b *Backup) object(ctx context.Context, w *writer, o objectstore.Info) error {
	body, err := b.hold.Get(ctx, o.Key)
	if err != nil {
		return fmt.Errorf("read %s: %w", o.Key, err)
	}
	return errors.Join(w.add(Entry{blocksPart + "/" + o.Key, o.Size}, until(ctx, body)), body.Close())
}

// Close lets go of everything.
func (b *Backup) Close() error {
	var err error
	if b.rows != nil {
		err = b.rows.Close()
	}
	b.hold.Release()
	return err
}
