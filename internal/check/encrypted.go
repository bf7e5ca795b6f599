package check

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/secret/wrapped"
	"github.com/headrace/headrace/internal/vfs"
)

// errTold ends a reading of which a finding has said why.
var errTold = errors.New("check: told already")

// wrappedKey reads the node's key that lies wrapped in the directory, if one does. Whether a KMS still unwraps
// it is not asked unless the directory is encrypted.
func (c *checker) wrappedKey() error {
	_, err := wrapped.Read(c.fs)
	switch {
	case err == nil, errors.Is(err, vfs.ErrNotExist):
		return nil
	case errors.Is(err, wrapped.ErrFile):
		c.add(wrapped.File, 0, err.Error())
		return nil
	}
	return err
}

// openSeal finds out how the directory is encrypted. It reports false if a finding says that nobody can
// know: nothing else would make sense then.
func (c *checker) openSeal() (bool, error) {
	id, err := encryption.Of(c.fs)
	switch {
	case errors.Is(err, encryption.ErrFile):
		c.add(encryption.File, 0, err.Error())
		return false, nil
	case err != nil:
		return false, err
	case id == "":
		return true, nil
	case c.key == nil:
		return false, fmt.Errorf("%w: its id is %s", ErrEncrypted, id)
	}
	key, err := c.key()
	if err != nil {
		return false, fmt.Errorf("%w: its id is %s: %w", ErrEncrypted, id, err)
	}
	if err := encryption.Match(id, key); err != nil {
		return false, err
	}
	c.seal = encryption.With(key)
	return true, nil
}

// sealed opens every object of a part that was whole so far: checksums say that it is as it was written,
// and only this says by whom.
func (c *checker) sealed(ctx context.Context, stored *dir.Checked, part string) error {
	if !c.seal.On() {
		return nil
	}
	infos, err := stored.List(ctx, "", "", stored.Objects())
	if err != nil {
		return err
	}
	opened := c.seal.Bucket(stored, part)
	for _, info := range infos {
		file, _ := stored.Place(info.Key, 0)
		if c.damaged[file] {
			continue
		}
		n, err := openAll(ctx, opened, info.Key)
		switch {
		case err == nil:
		case errors.Is(err, objectstore.ErrCorrupt), errors.Is(err, secret.ErrOtherKey):
			_, offset := stored.Place(info.Key, c.seal.ObjectOffset(n))
			c.object(file, offset, err)
		default:
			return err
		}
	}
	return nil
}

// openAll reads an object to its end and says how far that went.
func openAll(ctx context.Context, b objectstore.Bucket, key string) (int64, error) {
	body, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, body)
	return n, errors.Join(err, body.Close())
}

// groups returns what reads the groups of the write-ahead log.
func (c *checker) groups() interface {
	Read(ctx context.Context, from lane.Position, maxBytes int) ([]lane.Group, error)
} {
	if !c.seal.On() {
		return c.lane
	}
	return sealedGroups{c}
}

// sealedGroups opens groups, and tells of the one that does not open.
type sealedGroups struct{ c *checker }

// Read is lane.Lane's.
func (g sealedGroups) Read(ctx context.Context, from lane.Position, maxBytes int) ([]lane.Group, error) {
	opened := g.c.seal.Groups(g.c.lane)
	groups, err := opened.Read(ctx, from, maxBytes)
	for p := from; g.damage(err); p++ { // of several, one by one, until it is the first
		one, oneErr := opened.Read(ctx, p, 0)
		if g.damage(oneErr) {
			file, offset, _ := g.c.lane.Place(p, 0)
			g.c.add(file, offset, oneErr.Error())
			return nil, errors.Join(errTold, oneErr)
		}
		if oneErr != nil || len(one) == 0 {
			break
		}
	}
	return groups, err
}

func (sealedGroups) damage(err error) bool {
	return errors.Is(err, lane.ErrCorrupt) || errors.Is(err, secret.ErrOtherKey)
}
