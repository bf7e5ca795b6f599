package disk

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/headrace/headrace/internal/coordinator"
)

// table is the state machine: rows by key, and the version of the last change, which deletions
// raise too. The journal guards it.
type table struct {
	version coordinator.Version
	rows    map[string]row
	keys    []string // of rows, sorted, for list
	// changed is called after each change. It takes no part in the state.
	changed func(change)
}

// row is the state of a key. Its value is never changed in place.
type row struct {
	value   []byte
	version coordinator.Version
}

// outcome is what became of a command.
type outcome struct {
	version  coordinator.Version
	conflict bool
}

// change is one that happened to a key.
type change struct {
	key     string
	version coordinator.Version
	deleted bool
	// existed says that the key was there before.
	existed bool
}

func newTable() *table { return &table{rows: make(map[string]row)} }

// refuses says whether the command conflicts with the rows as they are.
func (t *table) refuses(m *message) bool {
	r, exists := t.rows[m.key]
	return uint64(r.version) != m.number || m.kind == kindDelete && !exists
}

// Apply implements journal.Machine.
func (t *table) Apply(command []byte) (outcome, error) {
	m, err := parse(command)
	if err != nil {
		return outcome{}, err
	}
	if m.kind != kindPut && m.kind != kindDelete {
		return outcome{}, fmt.Errorf("%w: kind %d is not a command", errMessage, m.kind)
	}
	if t.refuses(&m) {
		return outcome{conflict: true}, nil
	}
	t.version++
	_, existed := t.rows[m.key]
	ch := change{key: m.key, version: t.version, deleted: m.kind == kindDelete, existed: existed}
	i, _ := slices.BinarySearch(t.keys, m.key)
	if ch.deleted {
		delete(t.rows, m.key)
		t.keys = slices.Delete(t.keys, i, i+1)
	} else {
		t.rows[m.key] = row{value: append([]byte{}, m.value...), version: t.version}
		if !existed {
			t.keys = slices.Insert(t.keys, i, m.key)
		}
	}
	if t.changed != nil {
		t.changed(ch)
	}
	return outcome{version: t.version}, nil
}

// Freeze implements journal.Machine: the last version, then every row in order of keys.
func (t *table) Freeze() iter.Seq[[]byte] {
	version, keys := t.version, slices.Clone(t.keys)
	rows := make([]row, len(keys))
	for i, key := range keys {
		rows[i] = t.rows[key]
	}
	return func(yield func([]byte) bool) {
		last := message{kind: kindVersion, number: uint64(version)}
		buf := last.append(nil)
		if !yield(buf) {
			return
		}
		for i, r := range rows {
			m := message{kind: kindRow, number: uint64(r.version), key: keys[i], value: r.value}
			if buf = m.append(buf[:0]); !yield(buf) {
				return
			}
		}
	}
}

// Restore implements journal.Machine.
func (t *table) Restore(stored []byte) error {
	m, err := parse(stored)
	if err != nil {
		return err
	}
	version := coordinator.Version(m.number)
	switch {
	case m.kind == kindVersion && t.version == 0 && len(t.keys) == 0:
		t.version = version
		return nil
	case m.kind != kindRow:
		return fmt.Errorf("%w: kind %d is not a row", errMessage, m.kind)
	case version == 0 || version > t.version:
		return fmt.Errorf("%w: version %d of key %q, the last was %d", errMessage, version, m.key, t.version)
	case len(t.keys) > 0 && m.key <= t.keys[len(t.keys)-1]:
		return fmt.Errorf("%w: key %q is out of order", errMessage, m.key)
	}
	t.rows[m.key] = row{value: append([]byte{}, m.value...), version: version}
	t.keys = append(t.keys, m.key)
	return nil
}

// list returns rows as coordinator.Coordinator's List does, with the table's own values.
func (t *table) list(prefix, after string, limit int) []coordinator.Entry {
	var found []coordinator.Entry
	i, _ := slices.BinarySearch(t.keys, max(prefix, after))
	for _, key := range t.keys[i:] {
		if len(found) >= limit || !strings.HasPrefix(key, prefix) {
			break
		}
		if key > after {
			r := t.rows[key]
			found = append(found, coordinator.Entry{Key: key, Value: r.value, Version: r.version})
		}
	}
	return found
}

func (r row) entry(key string) coordinator.Entry {
	return coordinator.Entry{Key: key, Value: bytes.Clone(r.value), Version: r.version}
}
