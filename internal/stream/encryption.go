package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/row"
	"github.com/headrace/headrace/internal/stream/seal"
)

const (
	// maxDataKeys is how many data keys a stream has at most: more than one a day for as long as they
	// are kept, which is keyLife in milliseconds after the next one was made. By then every record
	// under a key has expired, whatever the retention is and has been.
	maxDataKeys               = 500
	keyLife     record.Millis = (maxRetention + 30*24) * 3600_000
)

// KeyBox returns the box that the data keys of streams lie in, of the node's key.
func KeyBox(node secret.Key) *secret.Box { return node.Box("stream data keys") }

// encryption is how a stream seals the records that it takes; the zero value does not.
type encryption = row.Encryption

// StartEncryption has a stream seal the records that it takes from then on under a new data key, which
// belongs to the key that keyID names; one that has a data key for that, and can use it, keeps it. The
// stream is UPDATING for a while, and until it is ACTIVE again records are taken as before.
func (s *Streams) StartEncryption(ctx context.Context, sc Scope, ref Ref, keyID string) error {
	return s.changeKey(ctx, sc, ref, keyID, func(e *entry, named string, v *view, next *streamRow) error {
		if has, _ := namedKey(e.scope, next.Encryption.KeyID); has == named {
			if _, err := v.sealing(); err == nil {
				return errUnchanged
			}
		}
		keys, number := seal.Add(s.cfg.KeyBox, e.id, next.Keys, s.now(), keyLife)
		if len(keys) > maxDataKeys {
			return refuse(LimitExceeded, "Stream %s under account %s has %d data keys. Limit: %d.", e.name, sc.Account, maxDataKeys, maxDataKeys)
		}
		if err := s.daily(e.name, sc, "StartStreamEncryption", &next.Sealings, maxSealings); err != nil {
			return err
		}
		next.Layout, next.Keys = row.EncryptedVersion, keys
		next.Plan = &plan{Encryption: &encryption{KeyID: strings.Clone(keyID), Key: number}}
		return nil
	})
}

// StopEncryption ends what StartEncryption began, and needs the same key. Records that are there stay
// sealed, and readable. A stream that is not encrypted stays so.
func (s *Streams) StopEncryption(ctx context.Context, sc Scope, ref Ref, keyID string) error {
	return s.changeKey(ctx, sc, ref, keyID, func(e *entry, named string, v *view, row *streamRow) error {
		if row.Encryption.Key == 0 {
			return errUnchanged
		}
		if has, _ := namedKey(e.scope, row.Encryption.KeyID); has != named {
			return refuse(InvalidArgument, "Stream %s under account %s is encrypted with key %s, not with key %s.",
				e.name, sc.Account, row.Encryption.KeyID, keyID)
		}
		row.Plan = &plan{Encryption: &encryption{}}
		return nil
	})
}

// changeKey begins a change of a stream's encryption. named is what keyID names.
func (s *Streams) changeKey(ctx context.Context, sc Scope, ref Ref, keyID string, change func(e *entry, named string, v *view, row *streamRow) error) error {
	e, _, err := s.find(sc, ref)
	if err != nil {
		return err
	}
	named, err := namedKey(e.scope, keyID)
	if err != nil {
		return err
	}
	return s.begin(ctx, e, Updating, func(v *view, row *streamRow) error {
		if err := v.idle(sc); err != nil {
			return err
		}
		return change(e, named, v, row)
	})
}

// namedKey returns what a KeyId names, in one spelling; or AWS's answer to one that names no key.
func namedKey(sc Scope, keyID string) (string, error) {
	named, err := seal.Named(keyID, sc.Account, sc.Region)
	switch {
	case errors.Is(err, seal.ErrForeignKey):
		return "", refuse(KMSAccessDenied, "The key %s is not accessible to Kinesis Data Streams.", keyID)
	case err != nil:
		return "", refuse(KMSNotFound, "Invalid keyId %s", keyID)
	}
	return named, nil
}

// locked answers calls to a stream that has no data key to encrypt or decrypt records with.
func (v *view) locked(to string, err error) *Error {
	r := v.row
	if errors.Is(err, seal.ErrOtherNodeKey) {
		return refuse(KMSAccessDenied, "User %s is not authorized to %s records in stream %s:%s:%d", r.Account, to, r.Account, r.Name, r.Created)
	}
	return refuse(KMSInvalidState, "A data key of stream %s under account %s is not in a state to %s records.", r.Name, r.Account, to)
}

// sealing returns the key that a stream seals records with, nil if it does not.
func (v *view) sealing() (*seal.Key, error) {
	if v.row.Encryption.Key == 0 {
		return nil, nil
	}
	key, err := v.keys.Find(v.row.Encryption.Key)
	if err != nil {
		return nil, v.locked("encrypt", err)
	}
	return key, nil
}

// seal seals the records that are about to be appended, if the stream wants that. Those that meet a closed
// shard are sealed again for another.
func (ps *putScratch) seal(v *view) error {
	key, err := v.sealing()
	if key == nil || err != nil {
		return err
	}
	ps.sealer.Begin(key, ps.entries)
	for _, b := range ps.batches {
		ps.sealer.Seal(b.Shard.Stream, b.Shard.Shard, b.Entries)
	}
	return nil
}

// openPage opens the sealed records of a page; the opener, nil if there are none, is to be given back with
// the page. A page ends before the first record that cannot be opened; it is an error to begin with one.
func (s *Streams) openPage(ctx context.Context, e *entry, sh *shard, page *shardlog.Page) (*seal.Opener, error) {
	if !seal.Any(page.Records) {
		return nil, nil
	}
	o := s.openers.Get().(*seal.Opener)
	v := e.view.Load() // what this node has sealed by now was under a key that it knows by now
	n, err := o.Open(v.keys, sh.Stream, sh.Number, page.Records)
	if n == 0 && errors.Is(err, seal.ErrMissing) && s.reload(ctx, e) == nil { // another node may have made it
		v = e.view.Load()
		n, err = o.Open(v.keys, sh.Stream, sh.Number, page.Records)
	}
	switch {
	case err == nil:
		return o, nil
	case n > 0:
		page.Next, page.NextArrival = page.Records[n].Index, page.Records[n].ArrivalTime
		clear(page.Records[n:])
		page.Records = page.Records[:n]
		return o, nil
	}
	s.giveOpener(o)
	if errors.Is(err, seal.ErrRecord) {
		return nil, fmt.Errorf("read record %d of %s of stream %s: %w", page.Records[0].Index, sh.ID, e.name, err)
	}
	return nil, v.locked("decrypt", err)
}

func (s *Streams) giveOpener(o *seal.Opener) {
	if o != nil && o.Reset() {
		s.openers.Put(o)
	}
}

// Locked is a stream with a data key that cannot be opened, and why.
type Locked struct {
	Scope Scope
	Name  string
	Err   error
}

// Locked returns the streams whose records cannot be read or written, all or some.
func (s *Streams) Locked() []Locked {
	var out []Locked
	for sc, a := range *s.accounts.Load() {
		for name, e := range a.directory.Load().byName {
			v := e.view.Load()
			err := v.keys.Err()
			if n := v.row.Encryption.Key; err == nil && n != 0 {
				_, err = v.keys.Find(n)
			}
			if err != nil {
				out = append(out, Locked{Scope: sc, Name: name, Err: err})
			}
		}
	}
	return out
}

// HasKeys reports whether rows of streams hold data keys: then only the node key they were sealed with
// will do.
func HasKeys(ctx context.Context, c coordinator.Coordinator) (found bool, err error) {
	s := &Streams{cfg: Config{Coordinator: c}}
	err = s.list(ctx, row.StreamPrefix, func(page []coordinator.Entry) error {
		for _, e := range page {
			var row struct {
				Keys []json.RawMessage `json:"keys"`
			}
			if err := json.Unmarshal(e.Value, &row); err != nil {
				return fmt.Errorf("read row %s: %w", e.Key, err)
			}
			found = found || len(row.Keys) > 0
		}
		return nil
	})
	return found, err
}
