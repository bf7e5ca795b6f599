package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/secret/kms"
	"github.com/headrace/headrace/internal/secret/wrapped"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

// nodeKeyFile is the node's key in a data directory.
const nodeKeyFile = "node.key"

// envKey begins the name of a variable that holds the node's key.
const envKey = "env:"

// nodeKey returns the node's key, and makes it if this installation has none yet. While there are
// secrets that only one key opens, no other is made.
func nodeKey(ctx context.Context, cfg Config, e engines) (secret.Key, error) {
	switch {
	case !e.node.IsZero():
		return e.node, nil // it opened the directory
	case cfg.Data == "" && cfg.Access.NodeKey == "":
		return secret.NewKey(), nil
	case cfg.Data == "" && kms.IsURI(cfg.Access.NodeKey):
		return secret.Key{}, errors.New("a node key that a KMS wraps lies in a data directory, and there is none: give --data, or take --node-key away")
	}
	key, err := ReadNodeKey(ctx, cfg.Access.NodeKey, cfg.Data)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	needed, err := keyring.Used(ctx, e.rows)
	if err == nil && !needed {
		needed, err = stream.HasKeys(ctx, e.rows)
	}
	if err != nil {
		return secret.Key{}, fmt.Errorf("make node key: %w", err)
	}
	if needed {
		return secret.Key{}, missing(cfg)
	}
	return makeNodeKey(ctx, cfg)
}

// missing says that the node's key is not where it should be, and what to do.
func missing(cfg Config) error {
	path, err := nodeKeyPath(cfg.Access.NodeKey, cfg.Data)
	what := "bring it back, or name where it is with --node-key"
	if kms.IsURI(cfg.Access.NodeKey) {
		what = "bring it back, from a backup if need be, or have a key that lies elsewhere wrapped: headrace node-key wrap"
	}
	return errors.Join(fmt.Errorf("the node key %s is missing, and there are secrets that only it opens: %s", path, what), err)
}

// ReadNodeKey returns the node's key that name names, as Access.NodeKey does, of the data directory data.
// The error is os.ErrNotExist if there is no such file, and says which. A KMS is asked once, for at most
// kms.Patience.
func ReadNodeKey(ctx context.Context, name, data string) (secret.Key, error) {
	if variable, ok := strings.CutPrefix(name, envKey); ok {
		key, err := secret.ParseKey(os.Getenv(variable))
		if err != nil {
			return secret.Key{}, fmt.Errorf("read node key from the variable %s: %w", variable, err)
		}
		return key, nil
	}
	if kms.IsURI(name) {
		return unwrapNodeKey(ctx, name, data)
	}
	path, err := nodeKeyPath(name, data)
	if err != nil {
		return secret.Key{}, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && name == "" {
		if w, wErr := readWrapped(data); wErr == nil {
			return secret.Key{}, fmt.Errorf("the node key in %s is wrapped (%s): give --node-key %s", data, wrapped.File, w.URI)
		}
	}
	if err != nil {
		return secret.Key{}, fmt.Errorf("read node key: %w", err)
	}
	key, err := secret.ParseKey(string(text))
	if err != nil {
		return secret.Key{}, fmt.Errorf("read node key from %s: %w", path, err)
	}
	return key, nil
}

// unwrapNodeKey returns the key that lies wrapped in the data directory.
func unwrapNodeKey(ctx context.Context, uri, data string) (secret.Key, error) {
	if err := kms.Check(uri); err != nil {
		return secret.Key{}, fmt.Errorf("read node key: %w", err)
	}
	w, err := readWrapped(data)
	if err != nil {
		return secret.Key{}, err
	}
	key, err := kms.Unwrap(ctx, uri, w)
	if errors.Is(err, os.ErrNotExist) {
		err = errors.New(err.Error()) // a file of credentials, say: the key is there, and none may take its place
	}
	return key, err
}

// readWrapped reads the wrapped key of a data directory.
func readWrapped(data string) (wrapped.Key, error) {
	var w wrapped.Key
	err := within(data, func(fs vfs.FS) (err error) {
		w, err = wrapped.Read(fs)
		return err
	})
	return w, err
}

// within calls f with a directory that exists.
func within(dir string, f func(vfs.FS) error) error {
	path, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	fs, err := osfs.Open(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	return errors.Join(f(fs), fs.Close())
}

// nodeKeyPath returns the file that holds the node's key.
func nodeKeyPath(name, data string) (string, error) {
	switch {
	case kms.IsURI(name):
		name = filepath.Join(data, wrapped.File)
	case name == "":
		name = filepath.Join(data, nodeKeyFile)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("find node key: %w", err)
	}
	return path, nil
}

// makeNodeKey makes a key and the file that the configuration names.
func makeNodeKey(ctx context.Context, cfg Config) (secret.Key, error) {
	if kms.IsURI(cfg.Access.NodeKey) {
		key := secret.NewKey()
		return key, writeWrapped(ctx, key, cfg.Access.NodeKey, cfg.Data)
	}
	path, err := nodeKeyPath(cfg.Access.NodeKey, cfg.Data)
	if err != nil {
		return secret.Key{}, err
	}
	fs, err := osfs.Open(filepath.Dir(path))
	if err != nil {
		return secret.Key{}, fmt.Errorf("make node key: %w", err)
	}
	key, err := secret.MakeFile(fs, filepath.Base(path))
	return key, errors.Join(err, fs.Close())
}

// writeWrapped has the KMS wrap the key, and returns when that is durable in the data directory.
func writeWrapped(ctx context.Context, key secret.Key, uri, data string) error {
	w, err := kms.Wrap(ctx, uri, key)
	if err != nil {
		return err
	}
	return within(data, func(fs vfs.FS) error { return wrapped.Write(fs, w) })
}

// WrapNodeKey has another key of a KMS wrap the node's key of a data directory, which a server may use
// meanwhile: it is the same key, and read at starts alone. name says where the node's key is until now, as
// Access.NodeKey does. The old wrapping stays until the new one was tried and is durable. It returns the
// key's id.
func WrapNodeKey(ctx context.Context, name, data, uri string) (id string, err error) {
	if err := kms.Check(uri); err != nil {
		return "", fmt.Errorf("wrap node key: %w", err)
	}
	key, err := ReadNodeKey(ctx, name, data)
	if err != nil {
		return "", err
	}
	if err := within(data, func(fs vfs.FS) error { return belongs(fs, key) }); err != nil {
		return "", err
	}
	return key.ID(), writeWrapped(ctx, key, uri, data)
}

// belongs returns an error if something in the directory says that its node key is another one.
func belongs(fs vfs.FS, key secret.Key) error {
	id, err := encryption.Of(fs)
	if err != nil {
		return err
	}
	if id != "" {
		if err := encryption.Match(id, key); err != nil {
			return err
		}
	}
	w, err := wrapped.Read(fs)
	switch {
	case errors.Is(err, vfs.ErrNotExist), errors.Is(err, wrapped.ErrFile):
		return nil // none that would be lost
	case err == nil && w.ID != key.ID():
		err = fmt.Errorf("the wrapped node key (%s) is another one: its id is %s, and that of the one given %s", wrapped.File, w.ID, key.ID())
	}
	return err
}
