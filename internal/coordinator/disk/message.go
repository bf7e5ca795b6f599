package disk

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/coordinator"
)

// The layout of a message is drawn in docs/format/coordinator.md.
const (
	formatVersion = 1
	headerBytes   = 16
)

// kind says what a message is: the first two are commands, the others rows of a snapshot.
type kind uint8

const (
	kindPut     kind = 1 // number is the version expected
	kindDelete  kind = 2 // number is the version expected
	kindVersion kind = 3 // number is the version of the last change
	kindRow     kind = 4 // number is the row's version
)

var errMessage = errors.New("coordinator: message makes no sense")

// message is a command of the coordinator's log, or a row of its snapshot.
type message struct {
	kind   kind
	number uint64
	key    string
	// value aliases what was parsed.
	value []byte
}

func (m *message) append(b []byte) []byte {
	b = append(b, byte(m.kind), formatVersion)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(m.key)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, m.number)
	b = append(b, m.key...)
	return append(b, m.value...)
}

// parse reads a message and checks what coordinator.Check asks of key and value.
func parse(b []byte) (message, error) {
	if len(b) < headerBytes {
		return message{}, fmt.Errorf("%w: it has %d bytes", errMessage, len(b))
	}
	if b[1] != formatVersion {
		return message{}, fmt.Errorf("format version %d is not one this program reads", b[1])
	}
	m := message{kind: kind(b[0]), number: binary.LittleEndian.Uint64(b[8:])}
	length := int(binary.LittleEndian.Uint16(b[2:]))
	if rest := b[headerBytes:]; length <= len(rest) {
		m.key, m.value = string(rest[:length]), rest[length:]
	}
	bare := m.kind == kindDelete || m.kind == kindVersion
	switch {
	case m.kind < kindPut || m.kind > kindRow:
		return message{}, fmt.Errorf("%w: kind %d", errMessage, m.kind)
	case length != len(m.key) || binary.LittleEndian.Uint32(b[4:]) != 0 || bare && len(m.value) > 0:
		return message{}, fmt.Errorf("%w: its parts do not add up", errMessage)
	case m.kind == kindVersion && length > 0:
		return message{}, fmt.Errorf("%w: a version with a key", errMessage)
	case m.kind == kindVersion:
		return m, nil
	}
	return m, coordinator.Check(m.key, m.value)
}
