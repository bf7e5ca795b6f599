package server

import (
	"errors"
	"fmt"
	"os"

	"github.com/headrace/headrace/internal/encryption"
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

// openSeal returns how the directory is encrypted: as it was made. A new one is made as the configuration
// says, which is written down before anything else is.
func openSeal(cfg Config, fs vfs.FS) (encryption.Seal, error) {
	id, err := encryption.Of(fs)
	switch {
	case err != nil:
		return encryption.Seal{}, err
	case id != "" && !cfg.Encrypt:
		return encryption.Seal{}, ErrEncrypted
	case id != "":
		return readSeal(cfg, id)
	case !cfg.Encrypt:
		return encryption.Seal{}, nil
	}
	used, err := inUse(fs)
	if err != nil {
		return encryption.Seal{}, err
	}
	if used {
		return encryption.Seal{}, ErrNotEncrypted
	}
	key, err := ReadNodeKey(cfg.Access.NodeKey, cfg.Data)
	if errors.Is(err, os.ErrNotExist) {
		key, err = makeNodeKey(cfg)
	}
	if err == nil {
		err = encryption.Mark(fs, key.ID())
	}
	if err != nil {
		return encryption.Seal{}, err
	}
	return encryption.With(key), nil
}

// readSeal returns how a directory is encrypted that is, under the key with an id.
func readSeal(cfg Config, id string) (encryption.Seal, error) {
	key, err := ReadNodeKey(cfg.Access.NodeKey, cfg.Data)
	if err == nil {
		err = encryption.Match(id, key)
	} else {
		err = fmt.Errorf("the data directory is encrypted (%s) and needs the node key with the id %s: bring it back, or name where it is with --node-key: %w", encryption.File, id, err)
	}
	if err != nil {
		return encryption.Seal{}, err
	}
	return encryption.With(key), nil
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
