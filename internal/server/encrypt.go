package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/vfs"
)

// walDir is where the write-ahead log is, below the data directory.
const walDir = "wal"

var (
	// ErrEncrypted says that a data directory is encrypted and that nobody asked for that.
	ErrEncrypted = errors.New("the data directory is encrypted (" + encryption.File + "): start with --encrypt and its node key")
	// ErrNotEncrypted says that a data directory in use is to be encrypted.
	ErrNotEncrypted = errors.New("the data directory is in use and not encrypted (there is no " + encryption.File +
		"), and it cannot be switched in place: take the option away, or start on a new directory")
)

// openSeal returns the key under which the directory is encrypted, none if it is not: that is as it was made.
// A new one is made as the configuration says, which is written down before anything else is.
func openSeal(ctx context.Context, cfg Config, fs vfs.FS) (secret.Key, error) {
	id, err := encryption.Of(fs)
	switch {
	case err != nil:
		return secret.Key{}, err
	case id != "" && !cfg.Encrypt:
		return secret.Key{}, ErrEncrypted
	case id != "":
		return readSeal(ctx, cfg, id)
	case !cfg.Encrypt:
		return secret.Key{}, nil
	}
	used, err := inUse(fs)
	if err != nil {
		return secret.Key{}, err
	}
	if used {
		return secret.Key{}, ErrNotEncrypted
	}
	key, err := ReadNodeKey(ctx, cfg.Access.NodeKey, cfg.Data)
	if errors.Is(err, os.ErrNotExist) {
		key, err = makeNodeKey(ctx, cfg)
	}
	if err == nil {
		err = encryption.Mark(fs, key.ID())
	}
	return key, err
}

// readSeal returns the key of a directory that is encrypted, under the one with an id.
func readSeal(ctx context.Context, cfg Config, id string) (secret.Key, error) {
	key, err := ReadNodeKey(ctx, cfg.Access.NodeKey, cfg.Data)
	switch {
	case err == nil:
		err = encryption.Match(id, key)
	case errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("the data directory is encrypted (%s) and needs the node key with the id %s: bring it back, or name where it is with --node-key: %w", encryption.File, id, err)
	default:
		err = fmt.Errorf("the data directory is encrypted (%s) and needs the node key with the id %s: %w", encryption.File, id, err)
	}
	return key, err
}

// inUse says whether a server has kept something in the directory.
func inUse(fs vfs.FS) (bool, error) {
	entries, err := fs.List(".")
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Name == walDir || e.Name == blocksDir || e.Name == snapshotDir {
			return true, nil
		}
	}
	return false, nil
}
